//! Components that must be signed, with keys and signatures of another library too.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::registry::{Guard, Registry, pinned};
use sluice_tests::{eventually, token};

/// The auth policy as a file.
const AUTH: &[u8] = include_bytes!("../../guests/v0.1.0/auth.wasm");
const BUNDLE: &str = "auth.wasm.sigstore.json";

/// Runs a script in Node.js, whose cryptography is OpenSSL's.
fn node(folder: &Path, script: &str) -> String {
    let script = format!("const crypto = require('crypto'), fs = require('fs');\n{script}");
    let mut node = Command::new("node");
    let done = node.args(["--eval", &script]).current_dir(folder).output();
    let done = done.expect("node runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    String::from_utf8(done.stdout).expect("text")
}

/// Makes a private and a public key in a folder.
fn keys(folder: &Path, name: &str) {
    let script = format!(
        "const pair = crypto.generateKeyPairSync('ec', {{namedCurve: 'P-256'}});
         fs.writeFileSync('{name}.key', pair.privateKey.export({{type: 'pkcs8', format: 'pem'}}));
         fs.writeFileSync('{name}.pub', pair.publicKey.export({{type: 'spki', format: 'pem'}}));"
    );
    node(folder, &script);
}

fn sign(folder: &Path, key: &str) -> Done {
    let mut sign = command::sluice(&["policy", "sign", "--key", key, "--component", "auth.wasm"]);
    command::run(sign.current_dir(folder))
}

/// The main job with the auth policy from elsewhere, which somebody must have signed.
fn config(component: &str) -> Config {
    Config::ingest()
        .set("policies.auth", "component", json!(component))
        .set("signers.release", "public_key_file", json!("release.pub"))
}

/// A folder with the component, keys of two and a configuration.
fn folder(config: &Config) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("auth.wasm"), AUTH).unwrap();
    std::fs::write(path.join("sluice.toml"), config.to_string()).unwrap();
    keys(path, "release");
    keys(path, "other");
    folder
}

fn check(folder: &Path) -> Done {
    let mut check = command::sluice(&["check", "--config", "sluice.toml"]);
    command::run(check.current_dir(folder))
}

fn admits(gateway: &Gateway) {
    let path = meeting("m1", "mic", &token::good());
    let mut client = Client::connect(Library::Ws, gateway, &path);
    client.handshake();
    client.expect_ack();
    client.finalize(0, 0);
}

fn serve(folder: tempfile::TempDir) -> Gateway {
    let mut serve = command::sluice(&["serve", "--listen", "127.0.0.1:0", "--config"]);
    serve.arg(folder.path().join("sluice.toml"));
    Gateway::launch(serve, folder)
}

#[test]
fn only_what_a_signer_has_signed_is_loaded() {
    let folder = folder(&config("auth.wasm"));
    let path = folder.path();
    let refused = |told: &str| {
        let done = check(path);
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(done.stderr.contains(told), "{told}: {done:?}");
        assert!(
            done.stderr.contains("policy \"auth\" does not load"),
            "{done:?}"
        );
    };
    refused("it has no signature");
    assert_eq!(sign(path, "other.key").status, Some(0));
    refused("its signature was made by none of the signers");
    assert_eq!(sign(path, "release.key").status, Some(0));
    assert_eq!(check(path).status, Some(0));
    // A signature does not pass to what it was not made for.
    let mut changed = AUTH.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(path.join("auth.wasm"), &changed).unwrap();
    refused("its signature is of other content");
    std::fs::write(path.join("auth.wasm"), AUTH).unwrap();
    std::fs::write(path.join(BUNDLE), "{}").unwrap();
    refused("no Sigstore bundle");
    // Nor does a key that is none count as no key.
    std::fs::copy(path.join("release.key"), path.join("release.pub")).unwrap();
    let done = check(path);
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(
        done.stderr.contains("release.pub has no public key"),
        "{done:?}"
    );
    let done = sign(path, "other.pub");
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(
        done.stderr
            .contains("other.pub: there is no PEM block `PRIVATE KEY` in it"),
        "{done:?}"
    );
}

#[test]
fn another_library_agrees_about_a_signature_and_makes_one_that_counts() {
    let folder = folder(&config("auth.wasm"));
    let path = folder.path();
    assert_eq!(sign(path, "release.key").status, Some(0));
    let said = node(
        path,
        "const {signature} = JSON.parse(fs.readFileSync('auth.wasm.sigstore.json')).messageSignature;
         const [key, component] = [fs.readFileSync('release.pub'), fs.readFileSync('auth.wasm')];
         console.log(crypto.verify('sha256', component, key, Buffer.from(signature, 'base64')));",
    );
    assert_eq!(said.trim(), "true");
    // As `cosign` writes it, with what a gateway does not need.
    node(
        path,
        "const component = fs.readFileSync('auth.wasm');
         const sha256 = crypto.createHash('sha256').update(component).digest('base64');
         const signature = crypto.sign('sha256', component, fs.readFileSync('release.key'));
         fs.writeFileSync('auth.wasm.sigstore.json', JSON.stringify({
           mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
           verificationMaterial: {publicKey: {hint: 'aGludA=='}, tlogEntries: [], timestampVerificationData: {}},
           messageSignature: {
             messageDigest: {algorithm: 'SHA2_256', digest: sha256},
             signature: signature.toString('base64'),
           },
         }));",
    );
    let done = check(path);
    assert_eq!(done.status, Some(0), "{done:?}");
}

#[test]
fn a_component_without_a_signature_takes_no_signed_ones_place_in_a_running_gateway() {
    let config = config("auth.wasm")
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("decisions", "file", json!("decisions.jsonl"));
    let folder = folder(&config);
    assert_eq!(sign(folder.path(), "release.key").status, Some(0));
    let bundle = std::fs::read(folder.path().join(BUNDLE)).unwrap();
    let gateway = serve(folder);
    admits(&gateway);
    let (_, policies) = gateway.admin("GET /policies");
    assert!(policies.contains("\"signer\":\"release\""), "{policies}");
    eventually("a decision in the record", || {
        let record = std::fs::read_to_string(gateway.data().join("decisions.jsonl")).ok()?;
        record.contains("\"signer\":\"release\"").then_some(())
    });

    std::fs::remove_file(gateway.folder().join(BUNDLE)).unwrap();
    eventually("a reload that is refused", || {
        let refused = gateway.metric("sluice_reloads_total{result=\"refused\"}");
        (refused >= 1.0).then_some(())
    });
    admits(&gateway);
    gateway.replace(BUNDLE, &bundle);
    gateway.reloaded(2);
    admits(&gateway);
}

#[test]
fn a_signature_comes_along_from_a_registry() {
    let registry = Registry::start(&Guard::Open);
    let folder = folder(&config("auth.wasm"));
    let to = format!("oci+http://{}/policies/mine:1.0", registry.address());
    let push = || {
        let mut push = command::sluice(&["policy", "push", &to, "--component", "auth.wasm"]);
        pinned(&command::run(push.current_dir(folder.path())))
    };
    let with = |component: &str| {
        let file = folder.path().join("sluice.toml");
        std::fs::write(file, config(component).to_string()).unwrap();
        check(folder.path())
    };
    std::fs::remove_file(folder.path().join("sluice.toml")).unwrap();
    let unsigned = push();
    assert_eq!(sign(folder.path(), "release.key").status, Some(0));
    let signed = push();
    assert_ne!(signed, unsigned);
    let done = with(&unsigned);
    assert!(done.stderr.contains("it has no signature"), "{done:?}");
    let done = with(&signed);
    assert_eq!(done.status, Some(0), "{done:?}");
    admits(&serve(folder));
}
