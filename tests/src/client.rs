//! Clients that use WebSocket libraries, each in a separate process.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use crate::event::Event;
use crate::gateway::Gateway;
use crate::output::Output;
use crate::speech::{Clip, HEADER};
use crate::tls::Authority;

mod ingest;

pub use ingest::{handshake, meeting};

/// Library of a client.
#[derive(Debug, Clone, Copy)]
pub enum Library {
    /// `websockets` from PyPI.
    Websockets,
    /// `ws` from npm.
    Ws,
}

impl Library {
    fn command(self) -> Command {
        match self {
            Self::Websockets => driver(".venv/bin/python", "client.py"),
            Self::Ws => driver("node", "client.mjs"),
        }
    }
}

/// Program of `clients` and its interpreter, which is in PATH or in this package.
fn driver(interpreter: &str, program: &str) -> Command {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = if interpreter.contains('/') {
        Command::new(tests.join(interpreter))
    } else {
        Command::new(interpreter)
    };
    command.arg(tests.join("clients").join(program));
    command
}

/// Runs each test twice: with `websockets` and with `ws`.
#[macro_export]
macro_rules! with_both_clients {
    ($($(#[$meta:meta])* fn $name:ident($library:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            fn run($library: $crate::client::Library) $body
            $(#[$meta])*
            #[test]
            fn websockets() { run($crate::client::Library::Websockets) }
            $(#[$meta])*
            #[test]
            fn ws() { run($crate::client::Library::Ws) }
        }
    )*};
}

/// Client with one connection. Dropping it kills the process.
pub struct Client {
    child: Child,
    commands: ChildStdin,
    events: Output,
    seen: usize,
    /// Folder for the client's own files.
    _folder: TempDir,
}

impl Client {
    /// Connects. The upgrade must succeed.
    ///
    /// # Panics
    /// If the upgrade fails.
    pub fn connect(library: Library, gateway: &Gateway, path: &str) -> Self {
        let mut client = Self::idle(library);
        client.open(gateway, path, &[]);
        client
    }

    /// Opens a connection with these headers, after an earlier one has ended.
    ///
    /// # Panics
    /// If the upgrade fails.
    pub fn open(&mut self, gateway: &Gateway, path: &str, headers: &[(&str, &str)]) {
        self.open_url(&gateway.url(path), headers);
    }

    /// Opens a connection to a URL.
    ///
    /// # Panics
    /// If the upgrade fails.
    pub fn open_url(&mut self, url: &str, headers: &[(&str, &str)]) {
        self.open_offering(url, headers, &[]);
    }

    /// Opens a connection and offers subprotocols. Returns the chosen one.
    ///
    /// # Panics
    /// If the upgrade fails.
    pub fn open_offering(
        &mut self,
        url: &str,
        headers: &[(&str, &str)],
        subprotocols: &[&str],
    ) -> String {
        self.offer(url, headers, subprotocols);
        match self.event() {
            Event::Open(subprotocol) => subprotocol,
            other => panic!("{url}: {other:?}"),
        }
    }

    /// Starts to open a connection, without waiting for the result.
    pub fn offer(&mut self, url: &str, headers: &[(&str, &str)], subprotocols: &[&str]) {
        let headers: serde_json::Map<_, _> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        self.command(
            &json!({"do": "connect", "url": url, "headers": headers, "subprotocols": subprotocols}),
        );
    }

    /// Client without a connection.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn idle(library: Library) -> Self {
        Self::start(library.command())
    }

    /// Web page in Chromium without a connection, and its origin.
    ///
    /// # Panics
    /// If the browser cannot be started.
    pub fn page() -> (Self, String) {
        let mut page = Self::start(driver("node", "browser.mjs"));
        let Event::Text(origin) = page.event() else {
            panic!("the page has an origin");
        };
        (page, origin)
    }

    /// Client without a connection, which trusts the certificates of an authority.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn trusting(library: Library, authority: &Authority) -> Self {
        let mut command = library.command();
        command.env("SSL_CERT_FILE", authority.ca());
        command.env("NODE_EXTRA_CA_CERTS", authority.ca());
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let folder = TempDir::new().expect("a folder");
        let pipes = command
            .env("FOLDER", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap_or_else(|error| {
            panic!("cannot start {command:?}: {error}: run `make setup` first")
        });
        let events = Output::default();
        events.follow(child.stdout.take().expect("piped"));
        events.follow(child.stderr.take().expect("piped"));
        let commands = child.stdin.take().expect("piped");
        Self {
            child,
            commands,
            events,
            seen: 0,
            _folder: folder,
        }
    }

    fn command(&mut self, command: &Value) {
        writeln!(self.commands, "{command}").expect("the client takes commands");
    }

    /// Sends a JSON message.
    pub fn json(&mut self, message: &Value) {
        self.text(&message.to_string());
    }

    /// Sends a TEXT message.
    pub fn text(&mut self, message: &str) {
        self.command(&json!({"do": "text", "data": message}));
    }

    /// Sends a BINARY message.
    pub fn binary(&mut self, message: &[u8]) {
        self.command(&json!({"do": "binary", "data": BASE64_STANDARD.encode(message)}));
    }

    /// Sends all samples of a clip, in messages of `chunk` bytes, as fast as possible.
    pub fn stream(&mut self, clip: &Clip, chunk: usize) {
        self.file(&clip.path, HEADER, chunk);
    }

    /// Sends a file from a byte on, in messages of `chunk` bytes, as fast as possible.
    pub fn file(&mut self, path: &Path, skip: usize, chunk: usize) {
        self.command(&json!({"do": "file", "path": path, "skip": skip, "chunk": chunk}));
    }

    /// Starts the closing handshake.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.command(&json!({"do": "close", "code": code, "reason": reason}));
    }

    /// Next event of the client.
    ///
    /// # Panics
    /// If nothing comes, or the client fails.
    pub fn event(&mut self) -> Event {
        loop {
            let mut place = 0;
            let seen = self.seen;
            let line = self.events.find("an event of a client", |line| {
                place += 1;
                (place > seen).then(|| line.to_owned())
            });
            self.seen += 1;
            let line = line.expect("the client reports how it ends");
            let seen = serde_json::from_str(&line).unwrap_or_else(|_| {
                panic!("the client is broken:\n{}", self.events.wait_for_end())
            });
            // Failed writes are skipped: the Close of the gateway, which follows, says why.
            if let Some(event) = Event::parse(&seen) {
                return event;
            }
        }
    }

    /// Next message, which must be JSON.
    ///
    /// # Panics
    /// If something else comes.
    pub fn message(&mut self) -> Value {
        match self.event() {
            Event::Text(text) => serde_json::from_str(&text).expect("messages are JSON"),
            other => panic!("a message was expected, and not {other:?}"),
        }
    }

    /// Kills the process, so that the kernel ends the connection without a Close.
    pub fn vanish(mut self) {
        self.child.kill().expect("the client is there");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
