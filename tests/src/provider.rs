//! Identity provider: a JWK set over HTTPS, served by a process.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use crate::config::Config;
use crate::output::Output;
use crate::tls::Authority;

/// Running identity provider. Dropping it kills the process.
pub struct Provider {
    child: Child,
    commands: ChildStdin,
    output: Output,
    port: u64,
    changes: u64,
    authority: Authority,
}

impl Provider {
    /// Starts a provider with these keys.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(keys: &[Value]) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let authority = Authority::new();
        let mut child = Command::new(tests.join(".venv/bin/python"))
            .arg(tests.join("peers/provider.py"))
            .args([authority.certificate(), authority.key()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python starts: run `make setup`");
        let output = Output::default();
        output.follow(child.stdout.take().expect("piped"));
        output.follow(child.stderr.take().expect("piped"));
        let commands = child.stdin.take().expect("piped");
        let mut provider = Self {
            child,
            commands,
            output,
            port: 0,
            changes: 0,
            authority,
        };
        let port = provider.output.find("the provider listens", |line| {
            serde_json::from_str::<Value>(line).ok()?["port"].as_u64()
        });
        provider.port = port.expect("the provider runs");
        provider.set(&json!({"keys": keys}));
        provider
    }

    /// Replaces members of its state: `keys`, `mode`, `max_age`, `issuer`.
    ///
    /// # Panics
    /// If it has ended.
    pub fn set(&mut self, state: &Value) {
        writeln!(self.commands, "{state}").expect("the provider takes commands");
        let number = self.changes;
        let changed = self.output.find("the change", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["changed"] == number).then_some(())
        });
        changed.expect("the provider runs");
        self.changes += 1;
    }

    /// Its issuer.
    pub fn issuer(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// `config` with the provider in place of the keys of a set.
    #[must_use]
    pub fn give_keys(&self, config: Config, key_set: &str) -> Config {
        let url = format!("{}/jwks?hint=HUSH", self.issuer());
        let section = format!("key_sets.{key_set}");
        let config = config
            .without(&section, "secret")
            .set(&section, "jwks_url", json!(url));
        self.trusted(config, key_set)
    }

    /// `config` with the provider, which is found by its issuer, in place of the keys of a set.
    #[must_use]
    pub fn discovered(&self, config: Config, key_set: &str) -> Config {
        let section = format!("key_sets.{key_set}");
        let config = config
            .without(&section, "secret")
            .without(&section, "issuers")
            .set(&section, "issuer", json!(self.issuer()));
        self.trusted(config, key_set)
    }

    fn trusted(&self, config: Config, key_set: &str) -> Config {
        let section = format!("key_sets.{key_set}");
        config.set(&section, "algorithms", json!(["EdDSA"])).set(
            &section,
            "jwks_ca_file",
            json!(self.authority.ca()),
        )
    }

    /// Statuses of the answers so far on this path; 0 if none was given.
    pub fn answers(&self, path: &str) -> Vec<u64> {
        let lines = self.output.lines();
        let events = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        let of_path = events.filter(|event: &Value| event["path"] == path);
        of_path
            .filter_map(|event| event["status"].as_u64())
            .collect()
    }

    /// Ends the process.
    ///
    /// # Panics
    /// If it had ended before.
    pub fn stop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the provider printed:\n{}", self.output.text());
        }
    }
}
