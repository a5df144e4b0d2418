//! A client that means harm to all others.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::client::{handshake, meeting};
use sluice_tests::raw::{self, upgrade_request};
use sluice_tests::token;
use socket2::{Domain, SockRef, Socket, Type};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Streams and half requests of one client that stay.
const HELD: usize = 8;

/// Does one bad thing after the other. All of them together are one user, who has many addresses
/// and uses one of them most of the time.
pub struct Hostile {
    gateway: SocketAddr,
    rng: fastrand::Rng,
    /// Connections that neither read nor go.
    held: Vec<TcpStream>,
    /// Streams that stay.
    streams: Vec<TcpStream>,
}

impl Hostile {
    pub fn new(gateway: SocketAddr, seed: u64) -> Self {
        Self {
            gateway,
            rng: fastrand::Rng::with_seed(seed),
            held: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// What becomes of it is of no interest.
    pub fn act(&mut self) {
        let name = format!("evil-{}", self.rng.u8(..20));
        // Whoever shares a tenant shares its meetings, and may take them.
        let claims = json!({"user_id": "evil", "tenant_id": "evil"});
        let mine = token::sign(&token::claims_with(claims));
        match self.rng.u8(..21) {
            0 => drop(self.says(&meeting(&name, "mic", "no.token.atall"), "", &[])),
            // Of somebody else's meeting.
            1 => drop(self.says(&meeting("honest-1", "mic", &mine), "", &[])),
            2 => {
                let id = "m".repeat(self.rng.usize(500..3000));
                self.leaves(&meeting(&id, "mic", &mine), "", &handshaken());
            }
            3 => {
                let email = "e".repeat(self.rng.usize(1000..6000));
                let large = json!({"tenant_id": "evil", "email": email});
                let large = token::sign(&token::claims_with(large));
                self.leaves(&meeting(&name, "mic", &large), "", &handshaken());
            }
            4 => {
                let query = "&a".repeat(self.rng.usize(100..5000));
                drop(self.says(&(meeting(&name, "mic", &mine) + &query), "", &handshaken()));
            }
            5 => {
                let cookies =
                    "Cookie: ".to_owned() + &"a-cookie=of-mine; ".repeat(self.rng.usize(1..1500));
                drop(self.says(
                    &meeting(&name, "mic", "none"),
                    &format!("{cookies}\r\n"),
                    &[],
                ));
            }
            // Takes nothing of all that it is sent.
            6 => {
                let flood = raw::binary(&[6; 60_000]).repeat(8);
                let stalled = self.says("/echo", "", &flood);
                self.held.extend(stalled);
                self.held.truncate(HELD);
            }
            // Breaks off within a message.
            7 => {
                let audio = [handshaken(), raw::binary(&[7; 3200]).repeat(5)].concat();
                self.leaves(
                    &meeting(&name, "mic", &mine),
                    "",
                    &audio[..audio.len() - 100],
                );
            }
            8 => {
                let noise: Vec<u8> = (0..self.rng.usize(1..3000))
                    .map(|_| self.rng.u8(..))
                    .collect();
                let path = meeting(&name, "sys", &mine);
                drop(self.says(&path, "", &noise));
                drop(self.says(&path, "", &[handshaken(), noise.clone()].concat()));
                drop(self.sends(&noise));
            }
            9 => {
                let code = self.rng.u16(..5100).to_be_bytes();
                let close = raw::masked(OpCode::Control(Control::Close), &code);
                drop(self.says(
                    &meeting(&name, "mic", &mine),
                    "",
                    &[handshaken(), close].concat(),
                ));
            }
            10 => {
                let array = format!("[{}0]", "0,".repeat(self.rng.usize(1..60_000)));
                let mut large = handshake();
                large["extra"] = serde_json::from_str(&array).expect("JSON");
                self.leaves(
                    &meeting(&name, "mic", &mine),
                    "",
                    &raw::text(&large.to_string()),
                );
            }
            11 => {
                let deep = raw::text(&"[".repeat(self.rng.usize(1..100_000)));
                drop(self.says(&meeting(&name, "mic", &mine), "", &deep));
            }
            // Never asks for anything.
            12 => {
                let half = self.sends(b"GET /echo HTTP/1.1\r\nHost: ");
                self.held.extend(half);
                self.held.truncate(HELD);
            }
            // Parks a stream, and comes back with what leads nowhere.
            13 => {
                let mut asking = handshake();
                asking["features"] = json!(["ack", "resume"]);
                let asking = raw::text(&asking.to_string());
                self.leaves(&meeting(&name, "mic", &mine), "", &asking);
                let path = meeting(&name, "mic", &mine) + "&resume=sluice.resume.none";
                drop(self.says(&path, "", &asking));
            }
            14 => (0..10).for_each(|_| drop(self.sends(b""))),
            // Has as many streams at once as it can get.
            15 => {
                for _ in 0..5 {
                    let id = format!("many-{}", self.rng.u16(..));
                    let stream = self.says(&meeting(&id, "mic", &mine), "", &handshaken());
                    self.streams.extend(stream);
                }
                self.streams.truncate(2 * HELD);
            }
            // A policy has too little memory for this.
            16 | 17 => {
                let wide = json!(vec![json!({"": 0}); 8_000]);
                let breaks = raw::text(&greeting(&[("more", wide)]).to_string());
                self.leaves(&meeting(&name, "mic", &mine), "", &breaks);
            }
            // The backend fails at what it asks for, or ends its streams in any way.
            18 => {
                let orders = [
                    "status:500",
                    "status:403",
                    "status:404",
                    "close-after:1,close:1011",
                    "abort-after:1",
                ];
                let orders = orders[self.rng.usize(..orders.len())];
                for _ in 0..6 {
                    let path = format!("/relay?do={orders}&token={mine}");
                    self.leaves(&path, "", &raw::binary(&[1; 100]));
                }
            }
            // Says more than anybody takes, reads nothing of it, and is gone.
            19 => {
                let audio = raw::binary(&[8; 32_000]).repeat(100);
                let flood = [handshaken(), audio].concat();
                if let Some(stream) = self.says(&meeting(&name, "mic", &mine), "", &flood) {
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
            }
            _ => {
                let part = raw::masked(OpCode::Data(Data::Text), b"\xff\xfe");
                drop(self.says("/echo", "", &part));
            }
        }
    }

    /// Upgrades, and says something, as far as it is let.
    fn says(&mut self, path: &str, headers: &str, bytes: &[u8]) -> Option<TcpStream> {
        let head = format!("\r\n{headers}\r\n");
        let request = upgrade_request(path).replacen("\r\n\r\n", &head, 1);
        self.sends(&[request.as_bytes(), bytes].concat())
    }

    fn sends(&mut self, bytes: &[u8]) -> Option<TcpStream> {
        let home = Ipv4Addr::new(127, 9, 9, 9);
        let away = Ipv4Addr::new(127, 9, self.rng.u8(..), self.rng.u8(..));
        let from = if self.rng.bool() { home } else { away };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        socket
            .bind(&SocketAddr::new(IpAddr::V4(from), 0).into())
            .ok()?;
        socket.connect(&self.gateway.into()).ok()?;
        let mut stream = TcpStream::from(socket);
        stream
            .set_write_timeout(Some(Duration::from_millis(200)))
            .ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        // A connection that takes no more is held all the same.
        let _ = stream.write_all(bytes);
        Some(stream)
    }

    /// Waits until it is told something behind the 101, and leaves in an odd way.
    fn leaves(&mut self, path: &str, headers: &str, bytes: &[u8]) {
        let Some(mut stream) = self.says(path, headers, bytes) else {
            return;
        };
        let mut heard = Vec::new();
        let mut some = [0; 1024];
        while !String::from_utf8_lossy(&heard).contains('{') {
            match stream.read(&mut some) {
                Ok(read) if read > 0 => heard.extend_from_slice(&some[..read]),
                _ => return,
            }
        }
        match self.rng.u8(..3) {
            0 => drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
            1 => drop(stream.shutdown(Shutdown::Write)),
            _ => {}
        }
    }
}

/// The handshake for any meeting and source, with these members more.
pub fn greeting(more: &[(&str, Value)]) -> Value {
    let mut greeting = handshake();
    for (name, value) in more {
        greeting[*name] = value.clone();
    }
    let members = greeting.as_object_mut().expect("an object");
    members.retain(|name, _| name != "source" && name != "meeting_id");
    greeting
}

fn handshaken() -> Vec<u8> {
    raw::text(&greeting(&[]).to_string())
}
