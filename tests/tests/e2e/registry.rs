//! Policies that come from an OCI registry.

use std::path::Path;

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::registry::{self, Guard, Issuer, PASSWORD, Registry};
use sluice_tests::tls::Authority;
use sluice_tests::token;

/// The auth policy as a file that any client could have pushed.
const AUTH: &[u8] = include_bytes!("../../guests/v0.1.0/auth.wasm");
/// Above what a component may have.
const TOO_LARGE: u64 = (64 << 20) + 1;

fn reference(registry: &Registry, digest: &str) -> String {
    let address = registry.address();
    format!("oci+http://{address}/policies/mine:latest@sha256:{digest}")
}

/// The main job with its auth policy from elsewhere.
fn config(component: &str) -> Config {
    Config::ingest().set("policies.auth", "component", json!(component))
}

/// A folder with a configuration, where its data will be too.
fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sluice.toml"), config).unwrap();
    folder
}

fn check(folder: &Path) -> Done {
    let file = folder.join("sluice.toml");
    command::run(command::sluice(&["check", "--config"]).arg(file))
}

/// What a check says, on one line.
fn complaint(config: &str) -> String {
    let folder = folder(config);
    let done = check(folder.path());
    assert_eq!(done.status, Some(1), "{done:?}");
    let line = config
        .lines()
        .position(|line| line.starts_with("component = \"oci"));
    let line = format!("sluice.toml:{}:", line.expect("the mistake is there") + 1);
    assert!(done.stderr.contains(&line), "{line} in {done:?}");
    let words: Vec<&str> = done.stderr.split_whitespace().collect();
    words.join(" ").replace("│ ", "").replace("| ", "")
}

fn admits_who_has_a_token(gateway: &Gateway) {
    let mut client = Client::connect(Library::Ws, gateway, &meeting("m1", "mic", &token::good()));
    client.handshake();
    client.expect_ack();
    let mut client = Client::connect(Library::Ws, gateway, &meeting("m2", "mic", "nonsense"));
    let refusal = client.message();
    assert_eq!(refusal["code"], "auth_failed", "{refusal}");
}

fn stop(gateway: &mut Gateway) {
    gateway.signal(Signal::TERM);
    gateway.wait();
}

#[test]
fn a_policy_from_a_registry_decides_and_needs_the_registry_once() {
    let mut registry = Registry::start(&Guard::Open);
    let digest = registry.push(AUTH);
    let reference = reference(&registry, &digest);
    let sha256 = registry::hex(AUTH);
    let config = config(&reference).set("policies.auth", "sha256", json!(sha256));
    let mut gateway = Gateway::start(&config);
    admits_who_has_a_token(&gateway);

    registry.kill();
    gateway.signal(Signal::HUP);
    gateway.reloaded(2);
    assert_eq!(check(gateway.folder()).status, Some(0));
    let cases = "[[case]]\nname = \"nobody\"\nexpect = { reject = \"auth_failed\" }\n";
    let file = gateway.folder().join("cases.toml");
    std::fs::write(&file, cases).unwrap();
    let mut kit = command::sluice(&["policy", "test", "--policy", "auth", "--config"]);
    let kit = kit.arg(gateway.folder().join("sluice.toml")).arg(&file);
    let tried = command::run(kit.current_dir(gateway.folder()));
    assert!(tried.stdout.contains("1 passed, 0 failed"), "{tried:?}");
    stop(&mut gateway);
    gateway.start_again();
    admits_who_has_a_token(&gateway);
    stop(&mut gateway);

    // What is kept is nothing but what its name says.
    let kept = gateway.data().join(format!("components/{sha256}.fetched"));
    let mut bytes = std::fs::read(&kept).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&kept, bytes).unwrap();
    let done = check(gateway.folder());
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stderr.contains("cannot be reached"), "{done:?}");
    assert!(!kept.exists());
}

#[test]
fn who_the_gateway_is_stands_in_a_file_and_nowhere_else() {
    let issuer = Issuer::start();
    for guard in [Guard::Password, Guard::Token(issuer)] {
        let registry = Registry::start(&guard);
        let reference = reference(&registry, &registry.push(AUTH));
        let said = complaint(&config(&reference).to_string());
        assert!(
            said.contains("asks for credentials, and there are none for it"),
            "{said}"
        );

        let text = format!(
            "registry_credentials = \"auths.json\"\n{}",
            config(&reference)
        );
        let folder = folder(&text);
        let file = folder.path().join("auths.json");
        for (password, said) in [
            ("wrong", Some("does not accept the credentials")),
            (PASSWORD, None),
        ] {
            registry::credentials(&file, registry.address(), password);
            let mut check = command::sluice(&["check", "--config"]);
            check
                .arg(folder.path().join("sluice.toml"))
                .env("RUST_LOG", "trace");
            let done = command::run(&mut check);
            assert_eq!(done.status, Some(i32::from(said.is_some())), "{done:?}");
            assert!(done.stderr.contains(said.unwrap_or_default()), "{done:?}");
            let printed = done.stdout + &done.stderr;
            assert!(!printed.contains(password), "{printed}");
        }
    }
}

#[test]
fn a_gateway_never_says_a_registry_s_password() {
    let registry = Registry::start(&Guard::Password);
    let reference = reference(&registry, &registry.push(AUTH));
    let folder = folder(&format!(
        "registry_credentials = \"auths.json\"\n{}",
        config(&reference)
    ));
    registry::credentials(
        &folder.path().join("auths.json"),
        registry.address(),
        PASSWORD,
    );
    let mut serve = command::sluice(&["serve", "--listen", "127.0.0.1:0", "--config"]);
    serve
        .arg(folder.path().join("sluice.toml"))
        .env("RUST_LOG", "trace");
    let mut gateway = Gateway::launch(serve, folder);
    admits_who_has_a_token(&gateway);
    stop(&mut gateway);
    let printed = gateway.output().text();
    // base64 of the login.
    for secret in [PASSWORD, "YWRhOm9wZW4gc2VzYW1l"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn a_registry_that_is_not_on_this_machine_is_spoken_to_over_tls() {
    let authority = Authority::new();
    let plain = Registry::start(&Guard::Open);
    let digest = plain.push(AUTH);
    let registry = plain.over_tls(&authority);
    let reference = format!("oci://{}/policies/mine@sha256:{digest}", registry.address());
    let config = config(&reference);
    let said = complaint(&config.to_string());
    assert!(said.contains("certificate"), "{said}");
    let gateway = Gateway::start_as(&config, |mut command| {
        command.env("SSL_CERT_FILE", authority.ca());
        command
    });
    admits_who_has_a_token(&gateway);

    let plain = format!("oci://{}/policies/mine@sha256:{digest}", plain.address());
    let said = complaint(&self::config(&plain).to_string());
    assert!(
        said.contains("cannot be reached") && said.contains("oci+http://"),
        "{said}"
    );
}

#[test]
fn what_is_wrong_with_a_reference_is_told_with_its_line_and_what_to_do() {
    let registry = Registry::start(&Guard::Open);
    let address = registry.address();
    let good = registry.push(AUTH);
    let image = registry.push_as(b"layer", "application/vnd.oci.image.layer.v1.tar+gzip");
    let replaced = b"replaced";
    let other = registry.push(replaced);
    std::fs::write(registry.file(replaced), b"REPLACED").unwrap();
    let grown = b"grown";
    let large = registry.push(grown);
    let file = std::fs::File::options()
        .write(true)
        .open(registry.file(grown))
        .unwrap();
    file.set_len(TOO_LARGE).unwrap();
    let not_wasm = registry.push(b"no component");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let unknown = "0".repeat(64);
    let of = |digest: &str| reference(&registry, digest);
    for (component, said, help) in [
        (
            of(&unknown),
            "does not have the manifest",
            "correct the repository or the digest",
        ),
        (
            format!("oci+http://{address}/policies/other@sha256:{good}"),
            "does not have the manifest",
            "correct the repository or the digest",
        ),
        (
            of(&image),
            "layers are of the types application/vnd.oci.image.layer.v1.tar+gzip",
            "oras push",
        ),
        (of(&other), "has the digest sha256:", "do not use it"),
        (of(&large), "larger than 67108864 bytes", "build it smaller"),
        (of(&not_wasm), "policy \"auth\" does not load", "component"),
        (
            format!("oci+http://{nobody}/policies/mine@sha256:{good}"),
            "cannot be reached",
            "try again when the registry is there",
        ),
        (
            format!("oci://registry.invalid/policies/mine@sha256:{good}"),
            "the registry registry.invalid cannot be reached",
            "correct the host",
        ),
        (
            format!("oci://{address}/policies/mine:latest"),
            "needs the digest",
            "@sha256:DIGEST",
        ),
        (
            format!("oci://ada:hush@{address}/policies/mine@sha256:{good}"),
            "credentials do not belong",
            "registry_credentials",
        ),
        (
            format!("oci+http://10.0.0.1/policies/mine@sha256:{good}"),
            "plain HTTP is spoken only with a registry on this machine",
            "write oci:// for HTTPS",
        ),
    ] {
        let report = complaint(&config(&component).to_string());
        assert!(report.contains(said), "{said} in {report}");
        assert!(report.contains(help), "{help} in {report}");
        assert!(!report.contains("hush"), "{report}");
    }
    let pinned = config(&of(&good)).set("policies.auth", "sha256", json!(unknown));
    let report = check(folder(&pinned.to_string()).path()).stderr;
    assert!(report.contains("pinned to another component"), "{report}");
}
