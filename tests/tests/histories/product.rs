//! Two whole gateways, which share the servers of the histories: a client whose stream goes from one to
//! the other and back, and a rival who wants its meeting.
//!
//! No rival is let in while the stream goes on. `host/docs/cluster.md` names the exceptions, none of
//! which happens here: no gateway stops, none is away from NATS for 10 s, and no policy evicts. A stream
//! that its gateway has given up has no key until its client is back, so a rival is judged only if the
//! stream has gone on after it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_tests::client::{handshake, meeting};
use sluice_tests::gateway::Gateway;
use sluice_tests::nats::{keeping, place, read};
use sluice_tests::raw::{self, Raw};
use sluice_tests::token;

use crate::said::audio;

/// Time for which the client stays at a gateway, at least.
const LEG: Duration = Duration::from_millis(1500);
/// Pause between two chunks, and before the client comes again.
const PAUSE: Duration = Duration::from_millis(50);
/// Size of a chunk.
const CHUNK: usize = 3200;
/// Time limit for a client to be let in, once nothing happens any more.
const PATIENCE: Duration = Duration::from_mins(1);

/// Two gateways.
pub struct Product {
    gateways: [Gateway; 2],
    urls: Vec<String>,
}

/// Client with its stream.
struct Client<'a> {
    gateways: &'a [Gateway; 2],
    meeting: String,
    session: Option<String>,
    resume: Option<String>,
    /// Bytes that are safe.
    acked: u64,
    /// What it sent over each of its connections, and from where on.
    legs: Vec<(u64, Vec<u8>)>,
    faults: Vec<String>,
}

impl Product {
    pub fn start(urls: Vec<String>) -> Self {
        let config = keeping(&urls).set("cluster", "replicas", json!(urls.len()));
        Self {
            gateways: [Gateway::start(&config), Gateway::start(&config)],
            urls,
        }
    }

    /// Plays the client for this time. Says what is wrong.
    pub fn play(&self, name: &str, lasts: Duration) -> Vec<String> {
        let mut client = Client {
            gateways: &self.gateways,
            meeting: name.to_owned(),
            session: None,
            resume: None,
            acked: 0,
            legs: Vec::new(),
            faults: Vec::new(),
        };
        let began = Instant::now();
        let mut leg = 0;
        while began.elapsed() < lasts && client.faults.is_empty() {
            if let Some(raw) = client.comes(leg % 2) {
                client.streams(raw, leg % 2);
                leg += 1;
            }
        }
        client.ends();
        if client.faults.is_empty() {
            let place = place(name, &client.session.clone().unwrap_or_default());
            let found = read(&self.urls, &place, None);
            if found.audio != client.expected() {
                let fault = format!("{} bytes are not those that were sent", found.audio.len());
                client.faults.push(fault);
            }
        }
        client.faults
    }
}

impl Client<'_> {
    /// What the stream must be: of each connection, as much as the next one has not replaced.
    fn expected(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        for (from, sent) in &self.legs {
            whole.truncate(usize::try_from(*from).unwrap());
            whole.extend_from_slice(sent);
        }
        whole
    }

    /// Connects. `None` if it is told to come again.
    fn comes(&mut self, gateway: usize) -> Option<Raw> {
        let mut path = meeting(&self.meeting, "mic", &token::good());
        if let Some(token) = &self.resume {
            path = format!("{path}&resume={token}");
        }
        let (raw, ack) = greet(&self.gateways[gateway], &path)?;
        match (ack["status"].as_str(), ack["code"].as_str()) {
            (Some("ready"), _) => {}
            (_, Some("unavailable" | "upstream_unavailable")) => {
                std::thread::sleep(PAUSE);
                return None;
            }
            _ => {
                self.faults
                    .push(format!("{}: it is answered {ack}", self.meeting));
                return None;
            }
        }
        let from = ack["from_bytes"].as_u64().unwrap_or_default();
        if from < self.acked {
            let acked = self.acked;
            self.faults.push(format!(
                "{acked} bytes were safe, and it goes on from {from}"
            ));
        }
        let text = |name: &str| ack[name].as_str().map(str::to_owned);
        self.session = self.session.take().or_else(|| text("session_id"));
        self.resume = text("resume_token");
        self.legs.push((from, Vec::new()));
        Some(raw)
    }

    /// Streams for a while, and vanishes.
    fn streams(&mut self, mut raw: Raw, gateway: usize) {
        let (from, generation) = (self.legs.last().unwrap().0, self.legs.len());
        let generation = u32::try_from(generation).unwrap();
        let (began, stop) = (Instant::now(), AtomicBool::new(false));
        let written = AtomicU64::new(from);
        let mut writer = raw.writer();
        let sent = std::thread::scope(|scope| {
            let (stop, written) = (&stop, &written);
            let writing = scope.spawn(move || {
                let mut sent = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let chunk = audio(generation, from + sent.len() as u64, CHUNK);
                    let frame = raw::binary(&chunk);
                    if std::io::Write::write_all(&mut writer, &frame).is_err() {
                        break;
                    }
                    sent.extend_from_slice(&chunk);
                    written.store(from + sent.len() as u64, Ordering::Relaxed);
                    std::thread::sleep(PAUSE);
                }
                sent
            });
            let mut rivalled = None;
            while let Ok(Some(frame)) = raw.try_frame() {
                let Ok(message) = serde_json::from_slice::<Value>(&frame.payload) else {
                    break;
                };
                if let Some(bytes) = message["bytes"].as_u64() {
                    self.acked = bytes;
                }
                if message["type"] == "error" {
                    break;
                }
                match rivalled.take() {
                    None if began.elapsed() < LEG => {}
                    None => {
                        let faults = self.rival(gateway, began);
                        rivalled = Some((faults, written.load(Ordering::Relaxed)));
                    }
                    // What was sent after the rival's answer came is safe: the stream went on meanwhile.
                    Some((faults, until)) if self.acked > until => {
                        self.faults.extend(faults);
                        break;
                    }
                    unsure => rivalled = unsure,
                }
            }
            stop.store(true, Ordering::Relaxed);
            writing.join().unwrap()
        });
        self.legs.last_mut().unwrap().1 = sent;
    }

    /// Another user who wants the meeting while its stream is at this gateway. Says what is wrong if
    /// the stream goes on.
    fn rival(&self, at: usize, began: Instant) -> Vec<String> {
        let mut faults = Vec::new();
        let path = meeting(&self.meeting, "mic", &token::of_user("rival"));
        for gateway in [at, 1 - at] {
            let Some((_, answer)) = greet(&self.gateways[gateway], &path) else {
                continue;
            };
            let is_refused = matches!(
                answer["code"].as_str(),
                Some("ingest_exists" | "unavailable" | "upstream_unavailable")
            );
            if !is_refused {
                let here = if gateway == at {
                    "the gateway that has it"
                } else {
                    "the other one"
                };
                let after = began.elapsed();
                faults.push(format!(
                    "at {here} a rival is answered {answer}, after {after:?}"
                ));
            }
        }
        faults
    }

    /// Comes back, and ends the stream.
    fn ends(&mut self) {
        let end = Instant::now() + PATIENCE;
        let mut gateway = 0;
        while self.faults.is_empty() {
            if Instant::now() > end {
                self.faults
                    .push("the client is not let in any more".to_owned());
            }
            gateway = 1 - gateway;
            let Some(mut raw) = self.comes(gateway) else {
                continue;
            };
            let from = self.legs.last().unwrap().0;
            if raw.write(&raw::text(r#"{"type":"finalize"}"#)).is_err() {
                continue;
            }
            while let Ok(Some(frame)) = raw.try_frame() {
                let message: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
                if message["status"] == "finalized" {
                    if message["bytes"] != from {
                        self.faults.push(format!("{from} bytes, and {message}"));
                    }
                    return;
                }
            }
        }
    }
}

/// Connects and sends the handshake. Gives the answer; `None` if the connection breaks.
fn greet(gateway: &Gateway, path: &str) -> Option<(Raw, Value)> {
    let mut raw = Raw::connect(gateway.address());
    let mut greeting = handshake();
    greeting["features"] = json!(["ack", "resume"]);
    let request = raw::upgrade_request(path);
    let both = [request.as_bytes(), &raw::text(&greeting.to_string())].concat();
    raw.write(&both).ok()?;
    assert_eq!(raw.response().status, 101);
    let frame = raw.try_frame().ok()??;
    let answer = serde_json::from_slice(&frame.payload).ok()?;
    Some((raw, answer))
}
