//! Policies that come from an OCI registry.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};

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
    command::check(&file)
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

/// A server that answers every request as `answer` says, and keeps the requests' heads.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(ip: &str, answer: impl Fn(SocketAddr, &str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        std::thread::spawn(move || {
            for peer in listener.incoming() {
                let mut peer = peer.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && peer.read(&mut byte).is_ok_and(|n| n > 0) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let answer = answer(address, &head);
                kept.lock().unwrap().push(head);
                let _ = peer.write_all(answer.as_bytes());
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn knows_the_password(&self) -> bool {
        self.heads()
            .iter()
            .any(|head| head.contains("authorization:"))
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// What a check says of a component in a registry, whose password it has.
fn complaint_with_password(registry: SocketAddr, more: &str) -> String {
    let component = format!(
        "oci+http://{registry}/policies/mine@sha256:{}",
        "0".repeat(64)
    );
    let text = format!(
        "registry_credentials = \"auths.json\"\n{more}{}",
        config(&component)
    );
    let folder = folder(&text);
    let file = folder.path().join("auths.json");
    registry::credentials(&file, registry, PASSWORD);
    let done = check(folder.path());
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(!done.stderr.contains(PASSWORD), "{done:?}");
    let words: Vec<&str> = done.stderr.split_whitespace().collect();
    words.join(" ").replace("│ ", "").replace("| ", "")
}

#[test]
fn whoever_a_registry_redirects_to_learns_no_password() {
    for scheme in [
        "Bearer realm=\"http://ADDRESS/token\"",
        "Basic realm=\"storage\"",
    ] {
        let storage = Server::start("127.0.0.2", move |address, head| {
            if head.starts_with("get /token") {
                return http("200 OK", "", "{\"token\":\"t\"}");
            }
            let challenge = scheme.replace("ADDRESS", &address.to_string());
            http(
                "401 Unauthorized",
                &format!("WWW-Authenticate: {challenge}\r\n"),
                "",
            )
        });
        let there = storage.address;
        let redirect =
            move |status: &str| http(status, &format!("Location: http://{there}/blob\r\n"), "");
        // At once, and behind a login that was asked for and given.
        let registry = Server::start("127.0.0.1", move |_, _| redirect("307 Temporary Redirect"));
        let said = complaint_with_password(registry.address, "");
        assert!(
            said.contains("redirected the gateway to another host"),
            "{said}"
        );
        assert!(!storage.heads().is_empty() && !storage.knows_the_password());
        assert!(!registry.knows_the_password());
        let registry = Server::start("127.0.0.1", move |_, head| {
            if head.contains("authorization: basic ") {
                return redirect("302 Found");
            }
            http(
                "401 Unauthorized",
                "WWW-Authenticate: Basic realm=\"a\"\r\n",
                "",
            )
        });
        complaint_with_password(registry.address, "");
        assert!(registry.knows_the_password() && !storage.knows_the_password());
    }
}

#[test]
fn a_password_goes_to_a_realm_of_the_registry_or_of_the_operator_s_list() {
    let stranger = Server::start("127.0.0.2", |_, _| http("200 OK", "", "{\"token\":\"t\"}"));
    let realm = stranger.address;
    let registry = Server::start("127.0.0.1", move |_, head| {
        if head.contains("authorization: bearer t") {
            return http("404 Not Found", "", "");
        }
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{realm}/token\"\r\n");
        http("401 Unauthorized", &challenge, "")
    });
    let said = complaint_with_password(registry.address, "");
    assert!(
        said.contains("given out by another host: 127.0.0.2"),
        "{said}"
    );
    assert!(said.contains("list it in `registry_realms`"), "{said}");
    assert!(stranger.heads().is_empty());
    let said = complaint_with_password(registry.address, "registry_realms = [\"127.0.0.2\"]\n");
    assert!(said.contains("does not have the manifest"), "{said}");
    assert!(stranger.knows_the_password());
}

#[test]
fn a_realm_that_redirects_leads_nobody_to_the_password() {
    let stranger = Server::start("127.0.0.2", |_, _| http("200 OK", "", "{\"token\":\"t\"}"));
    let there = stranger.address;
    let registry = Server::start("127.0.0.1", move |address, head| {
        if head.starts_with("get /token") {
            let location = format!("Location: http://{there}/token\r\n");
            return http("307 Temporary Redirect", &location, "");
        }
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{address}/token\"\r\n");
        http("401 Unauthorized", &challenge, "")
    });
    let said = complaint_with_password(registry.address, "");
    assert!(said.contains("answered with 307"), "{said}");
    assert!(registry.knows_the_password() && stranger.heads().is_empty());
}

#[test]
fn challenges_are_understood_in_however_many_lines_they_come() {
    let registry = Server::start("127.0.0.1", |address, head| {
        if head.starts_with("get /token") {
            return http("200 OK", "", "{\"token\":\"t\"}");
        }
        if head.contains("authorization: bearer t") {
            return http("404 Not Found", "", "");
        }
        let challenges = format!(
            "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: Digest realm=\r\n\
             WWW-Authenticate: Bearer realm=\"http://{address}/token\"\r\n"
        );
        http("401 Unauthorized", &challenges, "")
    });
    let said = complaint_with_password(registry.address, "");
    assert!(said.contains("does not have the manifest"), "{said}");
}

#[test]
fn redirects_come_to_an_end() {
    let registry = Server::start("127.0.0.1", |address, _| {
        let location = format!("Location: http://{address}/again\r\n");
        http("307 Temporary Redirect", &location, "")
    });
    let said = complaint_with_password(registry.address, "");
    assert!(said.contains("redirects the gateway without end"), "{said}");
}
