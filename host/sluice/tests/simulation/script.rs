//! Makes a client's part from a seed.

use fastrand::Rng;

use super::generate::{chance, even, pick};
use super::item::{
    self, BINARY, Blob, CLOSE, CONTINUATION, FIN, Item, Meaning, PING, PONG, TEXT, Text,
};
use super::schedule::{Bounds, Pace, Return, RouteKind, Step};

/// The headers of a web page that may connect, and of one that may not.
const ORIGIN: &str = "Origin: https://our.example\r\n";
pub const FOREIGN_ORIGIN: &str = "Origin: https://their.example\r\n";

struct Script<'a> {
    rng: &'a mut Rng,
    steps: Vec<Step>,
    max_message: usize,
}

/// What may be sent after a part of a script, if the meaning of what was sent
/// is to stand.
#[derive(PartialEq, Eq)]
enum After {
    Anything,
    Nothing,
}

pub fn script(rng: &mut Rng, n: usize, route: RouteKind, bounds: Bounds) -> Vec<Step> {
    let mut script = Script {
        rng,
        steps: Vec::new(),
        max_message: bounds.max_message,
    };
    script.all(n, route);
    script.may_go()
}

/// The part of a client that may come back, or has.
pub fn speech(rng: &mut Rng, n: usize, back: Option<Return>, bounds: Bounds) -> Vec<Step> {
    let mut script = Script {
        rng,
        steps: Vec::new(),
        max_message: bounds.max_message,
    };
    script.speech(n, back);
    script.may_go()
}

impl Script<'_> {
    /// A client can go at any moment.
    fn may_go(mut self) -> Vec<Step> {
        if chance(self.rng, 10) {
            let at = self.rng.usize(..=self.steps.len());
            let ends = [Step::Reset, Step::Leave, Step::HalfClose];
            let end = ends[self.rng.usize(..3)].clone();
            self.steps.insert(at, end);
        }
        self.steps
    }

    fn speech(&mut self, n: usize, back: Option<Return>) {
        let path = match back {
            Some(_) => format!("/ingest/{n}?resume={}", item::TOKEN),
            None => format!("/ingest/{n}"),
        };
        self.send(Item::upgrade(&path, ""));
        self.noise();
        let greeting = match self.rng.u8(..20) {
            0 => Text::Handshake,
            1 => Text::HandshakeForReceipts,
            _ => Text::HandshakeToResume,
        };
        self.text(greeting);
        // Who comes back has to know from where to go on.
        if back.is_some() || chance(self.rng, 80) {
            self.steps.push(Step::AwaitText);
        }
        for _ in 0..self.rng.usize(..10) {
            let length = self.rng.usize(..=300.min(self.max_message));
            self.send(Item::speech(length));
            self.pause(25);
            self.noise();
            if chance(self.rng, 10) {
                let text = pick(self.rng, &[Text::Ping, Text::Pause, Text::Resume]);
                self.text(text);
            }
        }
        match self.rng.u8(..20) {
            0..4 => self.steps.push(Step::Reset),
            4..8 => self.steps.push(Step::Leave),
            8 | 9 => self.steps.push(Step::HalfClose),
            10 => self.unfinished(),
            11..15 => {
                self.text(Text::Finalize);
                // Before it has read the answer, mostly.
                let ends = [Step::Reset, Step::Leave, Step::Wait(50)];
                let end = ends[self.rng.usize(..3)].clone();
                self.steps.push(end);
            }
            15 => self.text(Text::Done),
            16 => self.close(Some((1001, ""))),
            // Half dead, or silent.
            _ => {}
        }
    }

    fn all(&mut self, n: usize, route: RouteKind) {
        let path = match route {
            RouteKind::Ingest => format!("/ingest/{n}"),
            RouteKind::Raw => format!("/raw/{n}"),
            RouteKind::Nowhere => "/nowhere".to_owned(),
            RouteKind::BadSource => format!("/ingest/{n}?source=tv"),
        };
        self.pause(10);
        match self.rng.u8(..40) {
            0 => return self.send(Item::no_upgrade(&path)),
            // Never finished.
            1 => return self.send(Item::torn(Item::upgrade(&path, "").bytes.0, 50)),
            2 => self.send(Item::upgrade(&path, FOREIGN_ORIGIN)),
            3 => self.send(Item::upgrade(&path, ORIGIN)),
            _ => self.send(Item::upgrade(&path, "")),
        }
        if chance(self.rng, 50) {
            self.steps.push(Step::AwaitUpgrade);
        }
        self.noise();
        if route != RouteKind::Raw {
            if self.greet() == After::Nothing {
                return;
            }
            if chance(self.rng, 60) {
                self.steps.push(Step::AwaitText);
            }
        }
        for _ in 0..self.rng.usize(..16) {
            self.message();
            self.pause(15);
            self.noise();
        }
        if self.end() == After::Nothing {
            return;
        }
        for _ in 0..pick(self.rng, &[0, 0, 1, 20]) {
            self.message();
            self.pause(20);
        }
    }

    fn greet(&mut self) -> After {
        match self.rng.u8(..30) {
            0 => self.text(Text::WrongSource),
            1 => self.text(Text::NotJson),
            2 => self.text(Text::Ping),
            3 => self.binary(),
            // Nothing.
            4 => {}
            5 => return self.end(),
            6 => self.text(Text::HandshakeForReceipts),
            7 => self.text(Text::HandshakeToResume),
            _ => self.text(Text::Handshake),
        }
        After::Anything
    }

    fn noise(&mut self) {
        match self.rng.u8(..12) {
            0 => {
                let payload = self.filler(125);
                let ping = Meaning::Ping(Blob(payload.clone()));
                self.frame(FIN | PING, &payload, ping);
            }
            1 => self.frame(FIN | PONG, b"x", Meaning::Pong),
            _ => {}
        }
    }

    fn pause(&mut self, percent: u8) {
        if chance(self.rng, percent) {
            let below = pick(self.rng, &[20, 200, 2000, 2000, 15_000, 100_000]);
            let ms = even(self.rng, below);
            self.steps.push(Step::Wait(ms));
        }
    }

    fn message(&mut self) {
        let text = match self.rng.u8(..20) {
            0 => Text::Ping,
            1 => Text::Pong,
            2 => Text::Pause,
            3 => Text::Resume,
            4 => Text::Unknown(self.rng.u32(..1000)),
            5 => Text::NotJson,
            _ => return self.binary(),
        };
        self.text(text);
    }

    fn binary(&mut self) {
        let most = match self.rng.u8(..10) {
            0 => self.max_message,
            1 => 1,
            _ => 700.min(self.max_message),
        };
        let payload = self.filler(most);
        let meaning = Meaning::Binary(Blob(payload.clone()));
        self.data(BINARY, &payload, meaning);
    }

    fn text(&mut self, text: Text) {
        self.data(TEXT, &text.bytes(), Meaning::Text(text));
    }

    /// A message, in one frame or in fragments with control frames between.
    fn data(&mut self, opcode: u8, payload: &[u8], meaning: Meaning) {
        if chance(self.rng, 80) {
            return self.frame(FIN | opcode, payload, meaning);
        }
        let mut opcode = opcode;
        let mut rest = payload;
        for _ in 0..self.rng.usize(1..4) {
            let (part, more) = rest.split_at(self.rng.usize(..=rest.len()));
            self.frame(opcode, part, Meaning::Part);
            (opcode, rest) = (CONTINUATION, more);
            self.noise();
            self.pause(10);
        }
        self.frame(FIN | opcode, rest, meaning);
    }

    fn end(&mut self) -> After {
        match self.rng.u8(..20) {
            0..6 => {
                self.text(Text::Finalize);
                // As the deployed client does.
                if chance(self.rng, 50) {
                    self.close(Some((1001, "going away")));
                }
            }
            6 => self.text(Text::Done),
            7..10 => {
                let code = pick(self.rng, &[1000, 1001, 3000, 4999]);
                let bodies = [None, Some((code, "")), Some((code, "güle güle"))];
                let body = pick(self.rng, &bodies);
                self.close(body);
            }
            10..14 => self.violation(),
            14 => self.steps.push(Step::HalfClose),
            15 => self.steps.push(Step::Reset),
            16 => self.steps.push(Step::Leave),
            17 => {
                self.unfinished();
                return After::Nothing;
            }
            _ => {}
        }
        After::Anything
    }

    fn close(&mut self, body: Option<(u16, &str)>) {
        let payload = body.map_or_else(Vec::new, |(code, reason)| {
            [&code.to_be_bytes(), reason.as_bytes()].concat()
        });
        let meaning = Meaning::Close(body.map(|(code, reason)| (code, reason.to_owned())));
        self.frame(FIN | CLOSE, &payload, meaning);
    }

    fn unfinished(&mut self) {
        let payload = self.filler(300);
        if chance(self.rng, 50) {
            self.frame(BINARY, &payload, Meaning::Part);
            // Endless empty fragments are no progress.
            for _ in 0..self.rng.usize(..6) {
                self.frame(CONTINUATION, b"", Meaning::Part);
                self.noise();
                self.pause(70);
            }
        } else {
            let whole = item::frame(FIN | BINARY, &payload, Some(self.mask()));
            let keep = self.rng.usize(1..whole.len());
            self.send(Item::torn(whole, keep));
        }
    }

    fn violation(&mut self) {
        let mask = self.mask();
        let too_long = self.max_message as u64 + 1;
        let header = |first, length| item::header(first, length, Some(mask));
        let whole = |first, payload: &[u8], code| {
            Item::frame(first, payload, mask, Meaning::Violation(code))
        };
        let in_header = |bytes: Vec<u8>, code| {
            let length = bytes.len();
            Item::bad_header(bytes, length, code)
        };
        let item = match self.rng.u8(..16) {
            0 => Item::bad_header(item::frame(FIN | BINARY, b"abc", None), 2, 1002),
            1 => in_header(header(0xC0 | BINARY, 5), 1002),
            2 => in_header(header(FIN | pick(self.rng, &[3, 7, 0xB, 0xF]), 5), 1002),
            3 => in_header(header(PING, 5), 1002),
            4 => in_header(header(FIN | PING, 126), 1002),
            5 => in_header(header(FIN | CONTINUATION, 5), 1002),
            6 => in_header(header(FIN | BINARY, too_long), 1009),
            7 => in_header(header(FIN | BINARY, 1 << 62), 1009),
            8 => whole(FIN | CLOSE, b"x", 1002),
            9 => whole(
                FIN | CLOSE,
                &pick(self.rng, &[1005_u16, 999, 1006]).to_be_bytes(),
                1002,
            ),
            10 => whole(FIN | CLOSE, b"\x03\xe8\xff", 1007),
            11 => whole(FIN | TEXT, b"ab\xffcd", 1007),
            12 => {
                // A character that is split, and then not what it began as.
                self.frame(TEXT, "ab\u{20ac}".as_bytes().split_at(3).0, Meaning::Part);
                self.noise();
                whole(CONTINUATION, b"z", 1007)
            }
            13 => {
                // As long as it says, and it need not say it so.
                let key = self.rng.u32(..).to_be_bytes();
                in_header([&[FIN | BINARY, 0x80 | 126, 0, 5], &key[..]].concat(), 1002)
            }
            14 => {
                self.frame(TEXT, b"begun", Meaning::Part);
                in_header(header(FIN | BINARY, 5), 1002)
            }
            _ => {
                // The fragments of one message are too much together.
                let half = vec![7; self.max_message];
                self.frame(BINARY, &half, Meaning::Part);
                in_header(header(FIN | CONTINUATION, 1), 1009)
            }
        };
        self.send(item);
    }

    fn frame(&mut self, first: u8, payload: &[u8], meaning: Meaning) {
        let item = Item::frame(first, payload, self.mask(), meaning);
        self.send(item);
    }

    fn send(&mut self, item: Item) {
        let (bytes, pause) = match self.rng.u8(..20) {
            0..14 => (usize::MAX, 0),
            14..17 => (pick(self.rng, &[1, 2, 11, 100]), 0),
            // Not too many timers for one item.
            _ => ((item.bytes.0.len() / 12).max(1), even(self.rng, 60)),
        };
        self.steps.push(Step::Send(item, Pace { bytes, pause }));
    }

    fn mask(&mut self) -> [u8; 4] {
        self.rng.u32(..).to_be_bytes()
    }

    fn filler(&mut self, most: usize) -> Vec<u8> {
        let length = self.rng.usize(..=most);
        let first = self.rng.u8(..);
        (0..length).map(|n| first.wrapping_add(n as u8)).collect()
    }
}
