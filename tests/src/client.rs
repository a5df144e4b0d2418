//! WebSocket clients that nobody here wrote, each in a process of its own.

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

/// Which client.
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

/// A program of `clients`, run by an interpreter: one in PATH, or a path in this package.
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

/// Makes two tests of one: with `websockets`, and with `ws`.
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

/// One connection. The process is killed when this is dropped.
pub struct Client {
    child: Child,
    commands: ChildStdin,
    events: Output,
    seen: usize,
    /// For the client's own files.
    _folder: TempDir,
}

impl Client {
    /// Connects, and expects that the upgrade succeeds: it always does.
    ///
    /// # Panics
    /// When it does not.
    pub fn connect(library: Library, gateway: &Gateway, path: &str) -> Self {
        let mut client = Self::idle(library);
        client.open(gateway, path, &[]);
        client
    }

    /// Opens a connection with these headers, after an earlier one has ended.
    ///
    /// # Panics
    /// When the upgrade does not succeed.
    pub fn open(&mut self, gateway: &Gateway, path: &str, headers: &[(&str, &str)]) {
        self.open_url(&gateway.url(path), headers);
    }

    /// The same, for any URL.
    ///
    /// # Panics
    /// When the upgrade does not succeed.
    pub fn open_url(&mut self, url: &str, headers: &[(&str, &str)]) {
        self.open_offering(url, headers, &[]);
    }

    /// The same, offering subprotocols. Returns the one that was agreed on.
    ///
    /// # Panics
    /// When the upgrade does not succeed.
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

    /// Asks for a connection, whatever comes of it.
    pub fn offer(&mut self, url: &str, headers: &[(&str, &str)], subprotocols: &[&str]) {
        let headers: serde_json::Map<_, _> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        self.command(
            &json!({"do": "connect", "url": url, "headers": headers, "subprotocols": subprotocols}),
        );
    }

    /// A client that has not connected yet.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn idle(library: Library) -> Self {
        Self::start(library.command())
    }

    /// A web page in Chromium that has not connected yet, and its origin.
    ///
    /// # Panics
    /// When the browser cannot be started.
    pub fn page() -> (Self, String) {
        let mut page = Self::start(driver("node", "browser.mjs"));
        let Event::Text(origin) = page.event() else {
            panic!("the page has an origin");
        };
        (page, origin)
    }

    /// The same as [`Client::idle`], which trusts the certificates of an authority.
    ///
    /// # Panics
    /// When it cannot be started.
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

    /// Sends all samples of a clip, in messages of `chunk` bytes, as fast as
    /// they go.
    pub fn stream(&mut self, clip: &Clip, chunk: usize) {
        self.file(&clip.path, HEADER, chunk);
    }

    /// Sends a file from a byte on, in the same way.
    pub fn file(&mut self, path: &Path, skip: usize, chunk: usize) {
        self.command(&json!({"do": "file", "path": path, "skip": skip, "chunk": chunk}));
    }

    /// Starts the closing handshake.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.command(&json!({"do": "close", "code": code, "reason": reason}));
    }

    /// The next thing that the client sees.
    ///
    /// # Panics
    /// When nothing comes, or when the client itself is broken.
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
            // The gateway may close while the client sends: the Close says why.
            if let Some(event) = Event::parse(&seen) {
                return event;
            }
        }
    }

    /// The next message, which must be JSON.
    ///
    /// # Panics
    /// When something else comes.
    pub fn message(&mut self) -> Value {
        match self.event() {
            Event::Text(text) => serde_json::from_str(&text).expect("messages are JSON"),
            other => panic!("a message was expected, and not {other:?}"),
        }
    }

    /// The next event must be the Close.
    ///
    /// # Panics
    /// When it is something else.
    pub fn expect_close(&mut self, code: u16, reason: &str) {
        assert_eq!(self.event(), Event::Close(code, reason.to_owned()));
    }

    /// Sends a message, which must come back.
    ///
    /// # Panics
    /// When something else comes.
    pub fn echoes(&mut self, message: &str) {
        self.text(message);
        assert_eq!(self.event(), Event::Text(message.to_owned()));
    }

    /// Closes, and waits for the answer.
    ///
    /// # Panics
    /// When something else comes.
    pub fn leave(&mut self) {
        self.close(1000, "");
        self.expect_close(1000, "");
    }

    /// What comes next must be a whole refusal: the error frame with all its
    /// fields, then Close with the frame's code and, as far as it fits, its
    /// message. Returns the frame.
    ///
    /// # Panics
    /// When it is not.
    pub fn expect_refusal(&mut self, close_code: u16, code: &str) -> Value {
        let frame = self.message();
        let expected = json!({
            "type": "error", "status": "error", "code": code, "message": frame["message"],
            "close_code": close_code, "retryable": frame["retryable"],
            "retry_after_ms": frame["retry_after_ms"], "session_id": frame["session_id"],
        });
        assert_eq!(frame, expected);
        assert!(frame["retryable"].is_boolean(), "{frame}");
        assert!(
            frame["retry_after_ms"].is_null() || frame["retry_after_ms"].is_u64(),
            "{frame}"
        );
        assert!(
            frame["session_id"]
                .as_str()
                .is_some_and(|id| !id.is_empty()),
            "{frame}"
        );
        let message = frame["message"]
            .as_str()
            .filter(|message| !message.is_empty())
            .expect("a message");
        self.expect_close(close_code, &message[..message.floor_char_boundary(123)]);
        frame
    }

    /// The same, for a refusal that always says the same.
    ///
    /// # Panics
    /// When it does not.
    pub fn expect_refusal_saying(&mut self, close_code: u16, code: &str, message: &str) -> Value {
        let frame = self.expect_refusal(close_code, code);
        assert_eq!(frame["message"], message);
        frame
    }

    /// Sends audio.
    pub fn audio(&mut self, pcm: &[u8]) {
        for chunk in pcm.chunks(3200) {
            self.binary(chunk);
        }
    }

    /// Sends audio, and waits until the gateway has taken it.
    ///
    /// # Panics
    /// When the gateway says anything but that it is there.
    pub fn send_audio(&mut self, pcm: &[u8]) {
        self.audio(pcm);
        self.json(&json!({"type": "ping"}));
        assert_eq!(self.message(), json!({"type": "pong"}));
    }

    /// Sends the handshake of the deployed client.
    pub fn handshake(&mut self) {
        self.json(&handshake());
    }

    /// What comes next must be the ack. Returns the session's id.
    ///
    /// # Panics
    /// When it is not.
    pub fn expect_ack(&mut self) -> String {
        let ack = self.message();
        let session = ack["session_id"].as_str().unwrap_or_default().to_owned();
        assert!(!session.is_empty(), "{ack}");
        let expected = json!({
            "type": "handshake-ack", "ok": true, "status": "ready", "protocol": "ingest.v1",
            "session_id": session, "message": ack["message"],
        });
        assert_eq!(ack, expected);
        assert!(ack["message"].is_string(), "{ack}");
        session
    }

    /// Finalizes the stream, and expects to be told that `bytes` arrived.
    ///
    /// # Panics
    /// When something else comes.
    pub fn finalize(&mut self, bytes: usize, duration_ms: usize) {
        self.json(&json!({"type": "finalize"}));
        let expected = json!({"type": "status", "status": "finalized", "bytes": bytes, "duration_ms": duration_ms});
        assert_eq!(self.message(), expected);
        assert!(matches!(self.event(), Event::Close(1000, _)));
    }

    /// Ends the process at once: the kernel ends the connection, with no Close.
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

/// The handshake of the deployed client, for 16 kHz.
pub fn handshake() -> Value {
    json!({
        "type": "handshake", "source": "mic", "sample_rate": 16000, "channels": 1, "codec": "pcm_s16le",
        "device_id": "mac-1", "language": "tr", "ai_mode": "standard", "client": "macclient",
        "version": "1.0.0", "meeting_id": "m1",
    })
}

/// The path that the deployed client asks for.
pub fn meeting(meeting: &str, source: &str, token: &str) -> String {
    format!("/api/v1/ws/ingest/meetings/{meeting}?source={source}&token={token}")
}
