//! `[cluster]` and the upstreams that need it, and every way to get them wrong.

use super::*;
use ::cluster::settings::Login;
use std::time::Duration;
use upstream::settings::Upstream;

/// [`GOOD`] with streams in NATS, and these lines in the two sections.
fn with(cluster: &str, upstream: &str) -> String {
    broken(
        "kind = \"discard\"",
        &format!("kind = \"jetstream\"\n{upstream}"),
    )
    .replace("paths =", "handshake = \"ingest.v1\"\npaths =")
        + &format!("\n[cluster]\n{cluster}\n")
}

const HERE: &str = "servers = [\"nats://127.0.0.1:4222\"]\n";

#[track_caller]
fn wrong(cluster: &str, upstream: &str, message: &str, help: &str) {
    let report = report(&with(cluster, upstream));
    let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(message), "no {message:?} in\n{report}");
    assert!(flat.contains(help), "no {help:?} in\n{report}");
    assert!(!report.contains("hush"), "{report}");
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = good(&with(HERE, ""));
    let cluster = config.cluster.unwrap();
    assert_eq!(cluster.servers, ["nats://127.0.0.1:4222"]);
    assert_eq!((cluster.login, cluster.tls), (Login::None, None));
    assert_eq!((cluster.replicas, &*cluster.prefix), (1, "sluice"));
    assert_eq!(cluster.timeout, Duration::from_secs(2));
    let Upstream::JetStream(jetstream) = &config.upstreams["sink"] else {
        panic!("{:?}", config.upstreams);
    };
    assert_eq!((jetstream.partitions, jetstream.max_bytes), (1, 1 << 30));
    assert_eq!(jetstream.max_age, Duration::from_secs(24 * 3600));
    assert_eq!(jetstream.hold.timeout, Duration::from_secs(30));
}

#[test]
fn an_upstream_needs_servers_and_servers_an_upstream() {
    let without = "keeps streams in NATS, and there is none";
    wrong("", "", without, "servers = [\"nats://127.0.0.1:4222\"]");
    assert_eq!(good(GOOD).cluster, None);
    let told = warnings(&format!("{GOOD}\n[cluster]\nreplicas = 3\n"));
    assert!(told.contains("[cluster] connects to nothing"), "{told}");
    let told = warnings(&format!("{GOOD}\n[cluster]\n{HERE}"));
    assert!(told.contains("no upstream keeps streams in NATS"), "{told}");
    let plain = with(HERE, "")
        .replace("ingest.v1", "none")
        .replace("on_handshake", "on_frames");
    let report = report(&plain);
    let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("have no handshake"), "{report}");
}

#[test]
fn an_address_is_one_of_nats_and_has_no_user() {
    for url in [
        "127.0.0.1:4222",
        "http://127.0.0.1:4222",
        "nats://user:hush@nats:4222",
        "nats://nats:4222/path",
        "no url",
    ] {
        wrong(
            &format!("servers = [\"{url}\"]"),
            "",
            "an entry that is not the address of a NATS server",
            "write \"nats://HOST:4222\"",
        );
    }
    let mixed = "servers = [\"tls://a:4222\", \"nats://b:4222\"]";
    wrong(
        mixed,
        "",
        "and this one does not",
        "write tls:// for all of them",
    );
}

#[test]
fn a_login_is_one_of_two_and_a_password_is_sent_by_tls_or_stays_here() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "hush\n").unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let load = |lines: &str| load_in(folder.path(), &with(lines, "")).unwrap();
    let by_password = "user = \"sluice\"\npassword_file = \"secret\"\n";
    let (config, report) = load(&format!("{HERE}{by_password}"));
    assert!(report.is_empty(), "{report}");
    let Login::Password { user, password } = config.cluster.unwrap().login else {
        panic!("no password");
    };
    assert_eq!((&*user, password.expose()), ("sluice", &b"hush"[..]));
    let (config, _) = load(&format!("{HERE}credentials_file = \"secret\""));
    assert!(matches!(
        config.cluster.unwrap().login,
        Login::Credentials(_)
    ));
    for (lines, message) in [
        (
            format!("servers = [\"nats://nats.example:4222\"]\n{by_password}"),
            "would be sent to this server without TLS",
        ),
        (format!("{HERE}user = \"sluice\""), "belong together"),
        (
            format!("{HERE}password_file = \"secret\""),
            "belong together",
        ),
        (
            format!("{HERE}{by_password}credentials_file = \"secret\""),
            "two ways to log in",
        ),
        (
            format!("{HERE}credentials_file = \"secret\"\ncredentials_env = \"LONG_SECRET\""),
            "two sources of one secret",
        ),
        (format!("{HERE}credentials_file = \"empty\""), "it is empty"),
        (
            format!("{HERE}credentials_file = \"gone\""),
            "cannot be read",
        ),
        (format!("{HERE}credentials_env = \"GONE\""), "is not set"),
    ] {
        let (_, report) = load(&lines);
        let report = report.to_string();
        let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(message), "no {message:?} in\n{report}");
        assert!(!report.contains("hush"), "{report}");
    }
}

#[test]
fn certificates_are_for_servers_that_speak_tls() {
    wrong(
        &format!("{HERE}ca_file = \"ca.pem\""),
        "",
        "certificates are for servers that speak TLS",
        "write tls:// in `servers`",
    );
    wrong(
        "servers = [\"tls://nats:4222\"]\nca_file = \"gone.pem\"",
        "",
        "TLS to NATS is not possible",
        "correct `ca_file`",
    );
}

#[test]
fn numbers_and_names_have_bounds() {
    let replicas = format!("{HERE}replicas = 6");
    wrong(
        &replicas,
        "",
        "NATS keeps at most 5",
        "write 1 for a single server",
    );
    let prefix = format!("{HERE}prefix = \"a.b\"");
    wrong(
        &prefix,
        "",
        "cannot be a prefix",
        "at most 32 lowercase letters",
    );
    wrong(HERE, "partitions = 65", "64 are the most", "a power of two");
    let elsewhere = broken("kind = \"discard\"", "kind = \"discard\"\nmax_age = \"1h\"");
    let report = report(&elsewhere);
    assert!(report.contains("of the kind \"jetstream\""), "{report}");
}
