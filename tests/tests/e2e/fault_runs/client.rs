//! A client that streams over a line that breaks. It asks for acks and a way
//! back, uses them, and checks what it is told.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_tests::client::{handshake, meeting};
use sluice_tests::proxy::Proxy;
use sluice_tests::{DEADLINE, token};
use tungstenite::{Message, WebSocket};

use super::plan::{Plan, Stroke};

const CHUNK: usize = 3200;

/// One client.
pub struct Client {
    address: SocketAddr,
    path: String,
    /// The way back, once it has one.
    token: Option<String>,
    acked: u64,
}

/// How a stream that is not resumed ended, as its client saw it.
pub enum End {
    Finalized,
    /// With an error frame, and a Close that says the same.
    Refused(Value),
    /// The line broke.
    Gone,
}

/// A connection whose stream is admitted.
struct Stream {
    socket: WebSocket<TcpStream>,
    session: String,
    from: usize,
}

/// Why there is none.
enum NoStream {
    /// The line broke.
    Gone,
    /// It is to be tried again.
    Later,
}

impl Client {
    pub fn new(line: &Proxy, name: &str, orders: &str) -> Self {
        Self {
            address: line.address(),
            path: format!("{}&do={orders}", meeting(name, "mic", &token::good())),
            token: None,
            acked: 0,
        }
    }

    /// Streams everything, over as many connections as it takes, and is told
    /// that all of it arrived.
    pub fn stream_through(&mut self, pcm: &[u8], mut plan: Plan, mut befall: impl FnMut(Stroke)) {
        let end = Instant::now() + DEADLINE;
        let mut furthest = 0;
        while Instant::now() < end {
            let opened = self.open(true);
            if self.try_to_end(opened, pcm, &mut plan, &mut furthest, &mut befall) {
                return;
            }
            // What is left of the plan is not to break everything for ever.
            if let Some(stroke) = plan.next(usize::MAX) {
                befall(stroke);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it never came to its end: {} acknowledged", self.acked);
    }

    fn try_to_end(
        &mut self,
        opened: Result<Stream, NoStream>,
        pcm: &[u8],
        plan: &mut Plan,
        furthest: &mut usize,
        befall: &mut impl FnMut(Stroke),
    ) -> bool {
        let Ok(mut stream) = opened else {
            return false;
        };
        assert!(
            stream.from as u64 >= self.acked,
            "acknowledged audio is missing"
        );
        let mut at = stream.from;
        while at < pcm.len() {
            let chunk = &pcm[at..pcm.len().min(at + CHUNK)];
            if stream.socket.send(Message::binary(chunk.to_vec())).is_err() {
                return false;
            }
            at += chunk.len();
            *furthest = at.max(*furthest);
            while let Some(stroke) = plan.next(*furthest) {
                befall(stroke);
            }
            while let Some(message) = hear(&mut stream.socket, Duration::from_millis(1)) {
                match message {
                    Ok(message) => self.heed(&message),
                    Err(()) => return false,
                }
            }
        }
        if stream
            .socket
            .send(Message::text(r#"{"type":"finalize"}"#))
            .is_err()
        {
            return false;
        }
        loop {
            match hear(&mut stream.socket, DEADLINE) {
                Some(Ok(message)) if message["status"] == "finalized" => {
                    assert_eq!(message["bytes"], pcm.len());
                    return true;
                }
                Some(Ok(message)) => self.heed(&message),
                Some(Err(())) => return false,
                None => panic!("it is told nothing"),
            }
        }
    }

    /// Streams over one connection; gives the session, and how it ended.
    pub fn stream_once(
        &mut self,
        pcm: &[u8],
        mut plan: Plan,
        mut befall: impl FnMut(Stroke),
    ) -> Option<(String, End)> {
        let mut stream = self.open(false).ok()?;
        let mut refused = None;
        for (number, chunk) in pcm.chunks(CHUNK).enumerate() {
            while let Some(stroke) = plan.next(number * CHUNK) {
                befall(stroke);
            }
            if stream.socket.send(Message::binary(chunk.to_vec())).is_err() {
                break;
            }
            while let Some(Ok(message)) = hear(&mut stream.socket, Duration::from_millis(1)) {
                if message["type"] == "error" {
                    refused = Some(message);
                }
            }
        }
        while let Some(stroke) = plan.next(pcm.len()) {
            befall(stroke);
        }
        let _ = stream.socket.send(Message::text(r#"{"type":"finalize"}"#));
        let session = stream.session;
        loop {
            match hear(&mut stream.socket, DEADLINE) {
                Some(Ok(message)) if message["status"] == "finalized" => {
                    return Some((session, End::Finalized));
                }
                Some(Ok(message)) if message["type"] == "error" => refused = Some(message),
                Some(Ok(_)) => {}
                Some(Err(())) => {
                    return Some((session, refused.map_or(End::Gone, End::Refused)));
                }
                None => panic!("it is told nothing"),
            }
        }
    }

    /// Streams up to a byte, does something terrible, and gives what was
    /// acknowledged by then.
    pub fn stream_until(&mut self, pcm: &[u8], until: usize, terrible: impl FnOnce()) -> u64 {
        let Ok(mut stream) = self.open(true) else {
            panic!("the line is in order");
        };
        for chunk in pcm[..until].chunks(CHUNK) {
            stream
                .socket
                .send(Message::binary(chunk.to_vec()))
                .expect("the line is in order");
            while let Some(Ok(message)) = hear(&mut stream.socket, Duration::from_millis(1)) {
                self.heed(&message);
            }
        }
        terrible();
        while let Some(Ok(message)) = hear(&mut stream.socket, DEADLINE) {
            self.heed(&message);
        }
        self.acked
    }

    /// Notes what is acknowledged, which only grows.
    fn heed(&mut self, message: &Value) {
        if message["type"] == "ack" {
            let bytes = message["bytes"].as_u64().expect("a number");
            assert!(bytes > self.acked, "{bytes} after {}", self.acked);
            self.acked = bytes;
            return;
        }
        let known = ["upstream_lost", "upstream_restored"]
            .map(|status| json!({"type": "status", "status": status}));
        assert!(
            known.contains(message) || message["type"] == "transcript",
            "{message}"
        );
    }

    fn open(&mut self, asking: bool) -> Result<Stream, NoStream> {
        let stream = TcpStream::connect(self.address).map_err(|_| NoStream::Gone)?;
        // The proxy may be in the middle of a fault that swallows everything.
        stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let mut path = self.path.clone();
        if let Some(token) = &self.token {
            path.push_str("&resume=");
            path.push_str(token);
        }
        let url = format!("ws://{}{path}", self.address);
        let (mut socket, _) = tungstenite::client(url, stream).map_err(|_| NoStream::Gone)?;
        let mut greeting = handshake();
        if asking {
            greeting["features"] = json!(["ack", "resume"]);
        }
        socket
            .send(Message::text(greeting.to_string()))
            .map_err(|_| NoStream::Gone)?;
        let Some(Ok(ack)) = hear(&mut socket, Duration::from_secs(10)) else {
            return Err(NoStream::Gone);
        };
        if ack["type"] == "error" {
            assert_eq!(ack["retryable"], true, "{ack}");
            return Err(NoStream::Later);
        }
        assert_eq!(ack["status"], "ready", "{ack}");
        self.token = ack["resume_token"].as_str().map(str::to_owned);
        let from = ack["from_bytes"].as_u64().unwrap_or_default();
        if from == 0 {
            self.acked = 0;
        }
        Ok(Stream {
            socket,
            session: ack["session_id"].as_str().unwrap_or_default().to_owned(),
            from: usize::try_from(from).unwrap(),
        })
    }
}

/// The next message; nothing where none comes in time, and an error where none
/// will.
fn hear(socket: &mut WebSocket<TcpStream>, patience: Duration) -> Option<Result<Value, ()>> {
    socket.get_ref().set_read_timeout(Some(patience)).unwrap();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                return Some(Ok(serde_json::from_str(&text).expect("messages are JSON")));
            }
            Ok(Message::Close(_)) => return Some(Err(())),
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                return None;
            }
            Err(_) => return Some(Err(())),
        }
    }
}
