//! Backends that use WebSocket libraries, each in a separate process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::client::{Client, Event, Library, meeting};
use crate::config::Config;
use crate::output::Output;
use crate::tls::Authority;
use crate::{eventually, token};

/// Running backend. Dropping it kills the process.
pub struct Backend {
    child: Child,
    events: Output,
    port: u16,
}

impl Backend {
    /// Starts a backend of a library, and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(library: Library) -> Self {
        Self::start_as(library, |_| {})
    }

    /// Starts a backend that keeps what it confirms in a folder, and reads it there when it starts
    /// again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn storing(folder: &Path) -> Self {
        Self::start_as(Library::Websockets, |command| {
            command.env("STORE", folder);
        })
    }

    /// Starts a backend that speaks TLS, with a certificate of this authority.
    ///
    /// # Panics
    /// If it does not start.
    pub fn secure(authority: &Authority) -> Self {
        Self::start_as(Library::Websockets, |command| {
            command
                .env("CERTIFICATE", authority.certificate())
                .env("KEY", authority.key());
        })
    }

    /// Starts a FastAPI app with uvicorn on a port, or on a free one if `port` is 0. It keeps what
    /// it takes in a folder, and reads it there when it starts again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn uvicorn(port: u16, folder: &Path) -> Self {
        let mut command = python();
        command
            .args(["-m", "uvicorn", "app:app", "--app-dir"])
            .arg(folder_of_tests().join("backends"))
            .args(["--port", &port.to_string()])
            .env("STORE", folder);
        Self::spawn(command, |line| {
            let (_, rest) = line.split_once("Uvicorn running on http://127.0.0.1:")?;
            rest.split(' ').next()?.parse().ok()
        })
    }

    fn start_as(library: Library, change: impl FnOnce(&mut Command)) -> Self {
        let backends = folder_of_tests().join("backends");
        let mut command = match library {
            Library::Websockets => {
                let mut python = python();
                python.arg(backends.join("backend.py"));
                python
            }
            Library::Ws => {
                let mut node = Command::new("node");
                node.arg(backends.join("backend.mjs"));
                node
            }
        };
        change(&mut command);
        Self::spawn(command, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            u16::try_from(event["port"].as_u64()?).ok()
        })
    }

    fn spawn(mut command: Command, port: impl Fn(&str) -> Option<u16>) -> Self {
        let pipes = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("the backend starts");
        let events = Output::default();
        events.follow(child.stdout.take().expect("piped"));
        events.follow(child.stderr.take().expect("piped"));
        // From here on the process is killed with this.
        let mut backend = Self {
            child,
            events,
            port: 0,
        };
        let listening = backend.events.find("where the backend listens", port);
        backend.port = listening.unwrap_or_else(|| panic!("no port:\n{}", backend.events.text()));
        backend
    }

    /// Address of its listener.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// First event of this name, waiting for one if there is none yet.
    ///
    /// # Panics
    /// If none comes.
    pub fn event(&self, name: &str) -> Value {
        let found = self.events.find(name, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["event"] == name).then_some(event)
        });
        found.unwrap_or_else(|| panic!("no {name}:\n{}", self.events.text()))
    }

    /// All events of this name so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.events.lines();
        let events = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        events
            .filter(|event: &Value| event["event"] == name)
            .collect()
    }

    /// End of a connection that carried a complete stream.
    ///
    /// # Panics
    /// If there is none.
    pub fn whole(&self) -> Value {
        eventually("the end of the stream", || {
            let ends = self.events("end");
            ends.into_iter()
                .find(|end| end["code"] == 1000 && end["reason"] == "finalized")
        })
    }

    /// Asks the process to end, as a deployment does.
    ///
    /// # Panics
    /// If it does not end.
    pub fn terminate(mut self) {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::TERM).expect("it is there");
        eventually("the backend's end", || {
            self.child.try_wait().expect("it is ours")
        });
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder_of_tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> Command {
    Command::new(folder_of_tests().join(".venv/bin/python"))
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Path of the deployed client, with orders for the backend.
#[must_use]
pub fn path(orders: &str) -> String {
    format!("{}&do={orders}", meeting("m1", "mic", &token::good()))
}

/// Finalizes a stream, and returns the backend's messages up to its good end, without reports of
/// its presence.
///
/// # Panics
/// If the stream does not end well, or has another number of bytes.
pub fn finalize(client: &mut Client, bytes: usize) -> Vec<Value> {
    client.json(&json!({"type": "finalize"}));
    let mut said = Vec::new();
    loop {
        let message = client.message();
        match message["status"].as_str() {
            Some("upstream_lost" | "upstream_restored") => {}
            Some("finalized") => {
                assert_eq!(message["bytes"], bytes);
                assert_eq!(client.event(), Event::Close(1000, "finalized".to_owned()));
                return said;
            }
            _ => said.push(message),
        }
    }
}

/// SHA-256 in hexadecimal, as backends report it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    base::text::hex(digest(&SHA256, bytes).as_ref())
}

/// Configuration of the ingest routes with a backend at this address instead of recordings. The
/// client's parameter `do` is passed on. `/relay` is a plain relay to the backend.
#[must_use]
pub fn relaying(to: SocketAddr) -> Config {
    let url = |path: &str| json!(format!("ws://{to}/{path}do={{query.do}}"));
    Config::ingest()
        .set("upstreams.recordings", "kind", json!("websocket"))
        .set(
            "upstreams.recordings",
            "url",
            url("in/{param.meeting_id}?source={query.source}&"),
        )
        .set("upstreams.plain", "kind", json!("websocket"))
        .set("upstreams.plain", "url", url("plain?"))
        .set("routes.relay", "paths", json!(["/relay"]))
        .set("routes.relay", "handshake", json!("none"))
        .set("routes.relay", "upstream", json!("plain"))
}
