//! `sluice policy push`: components on their way to a real registry.

use std::path::Path;

use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::registry::{self, Guard, Issuer, PASSWORD, Registry, pinned};
use sluice_tests::token;

/// The auth policy as a file.
const AUTH: &[u8] = include_bytes!("../../guests/v0.1.0/auth.wasm");

/// Folder with a component, and with credentials for a registry.
fn folder(registry: &Registry, password: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("auth.wasm"), AUTH).unwrap();
    let file = folder.path().join("auths.json");
    registry::credentials(&file, registry.address(), password);
    folder
}

fn push(folder: &Path, to: &str, more: &[&str]) -> Done {
    let mut push = command::sluice(&["policy", "push", to, "--component", "auth.wasm"]);
    command::run(push.args(more).current_dir(folder).env("RUST_LOG", "trace"))
}

#[test]
fn what_was_pushed_is_what_a_gateway_fetches_by_the_line_that_was_printed() {
    for guard in [Guard::Open, Guard::Password, Guard::Token(Issuer::start())] {
        let registry = Registry::start(&guard);
        let folder = folder(&registry, PASSWORD);
        let to = format!("oci+http://{}/policies/mine:1.0", registry.address());
        let login = ["--credentials", "auths.json"];
        let done = push(folder.path(), &to, &login);
        let line = pinned(&done);
        assert!(line.starts_with(&format!("{to}@sha256:")), "{line}");
        assert!(!format!("{done:?}").contains(PASSWORD), "{done:?}");
        // The same component has the same digest, also without a tag.
        let again = push(folder.path(), to.trim_end_matches(":1.0"), &login);
        assert_eq!(pinned(&again), line.replace(":1.0@", "@"));

        // The login stands in the configuration, as for a gateway.
        let config = Config::ingest().set("policies.auth", "component", json!(line));
        let config = format!("registry_credentials = \"auths.json\"\n{config}");
        std::fs::write(folder.path().join("sluice.toml"), config).unwrap();
        let config = ["--config", "sluice.toml"];
        assert_eq!(pinned(&push(folder.path(), &to, &config)), line);
        let mut serve = command::sluice(&["serve", "--listen", "127.0.0.1:0", "--config"]);
        serve.arg(folder.path().join("sluice.toml"));
        let gateway = Gateway::launch(serve, folder);
        let path = meeting("m1", "mic", &token::good());
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        client.handshake();
        client.expect_ack();
    }
}

#[test]
fn what_keeps_a_component_from_being_pushed_is_told_with_what_to_do() {
    let mut registry = Registry::start(&Guard::Password);
    let folder = folder(&registry, "wrong");
    std::fs::write(folder.path().join("text.wasm"), "no component").unwrap();
    let to = format!("oci+http://{}/policies/mine:1.0", registry.address());
    let complaint = |to: &str, more: &[&str], told: &str| {
        let done = push(folder.path(), to, more);
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(done.stderr.contains(told), "{told}: {done:?}");
        assert!(!done.stderr.contains("wrong"), "{done:?}");
    };
    complaint(&to, &[], "asks for credentials, and there are none for it");
    let login = ["--credentials", "auths.json"];
    complaint(&to, &login, "does not accept the credentials");
    complaint(
        &format!("{to}@sha256:{}", "0".repeat(64)),
        &[],
        "leave out what follows the @",
    );
    complaint(
        "registry.example/mine",
        &[],
        "write oci://HOST/REPOSITORY:TAG",
    );
    complaint(
        "oci://registry.example/Mine",
        &[],
        "a repository is lowercase",
    );
    complaint(
        "oci+http://registry.example/mine",
        &[],
        "oci+http:// is for 127.0.0.1",
    );
    complaint(
        &to,
        &["--credentials", "text.wasm"],
        "not {\"auths\": {…}} in JSON",
    );
    complaint(&to, &["--config", "none.toml"], "none.toml");
    registry.kill();
    complaint(&to, &[], "cannot be reached");
    let mut push = command::sluice(&["policy", "push", &to, "--component", "text.wasm"]);
    let done = command::run(push.current_dir(folder.path()));
    assert!(
        done.stderr
            .contains("text.wasm: it is not a WebAssembly component"),
        "{done:?}"
    );
}
