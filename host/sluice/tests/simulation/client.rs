//! A client that does what the schedule says.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use futures_util::future::select;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::item::{self, CLOSE, FIN, Item, Meaning};
use super::output::{Output, Said};
use super::pipe::ClientEnd;
use super::schedule::{OnClose, Pace, Plan, Reading, RouteKind, Step, millis};
use super::trace::Event;
use super::world::World;

/// What the reading half has seen.
#[derive(Default)]
struct Seen {
    upgrade: CancellationToken,
    text: CancellationToken,
    close: CancellationToken,
    /// The end of the transport.
    over: CancellationToken,
}

/// Plays a client's part, until it leaves.
pub async fn play(world: Arc<World>, me: usize, end: ClientEnd) {
    let seen = Seen::default();
    let plan = &world.schedule.connections[me];
    let mut token = item::TOKEN.to_owned();
    if let Some(back) = plan.returns {
        let told = world.token(back);
        world
            .trace
            .record(me, Event::Presents(told.as_ref().map(|told| told.0)));
        token = told.map_or(token, |told| told.1);
    }
    let client = Client {
        world: &world,
        me,
        token,
        place: AtomicU64::new(0),
        plan,
        end: &end,
        seen: &seen,
        stuck: AtomicBool::new(false),
    };
    let reading = async {
        client.read().await;
        // The writing half decides when the client leaves.
        std::future::pending::<()>().await;
    };
    select(pin!(client.write()), pin!(reading)).await;
}

struct Client<'a> {
    world: &'a World,
    me: usize,
    /// With which it comes back.
    token: String,
    /// How much of what it has to say it has said.
    place: AtomicU64,
    plan: &'a Plan,
    end: &'a ClientEnd,
    seen: &'a Seen,
    /// Whether the writing half waits for room.
    stuck: AtomicBool,
}

impl Client<'_> {
    async fn write(&self) {
        let end = self.end;
        let mut open = true;
        for step in &self.plan.script {
            if self.seen.over.is_cancelled() {
                break;
            }
            if self.plan.on_close != OnClose::GoOn && self.seen.close.is_cancelled() {
                break;
            }
            match step {
                Step::Send(item, pace) if open => open = self.send(item, *pace).await.is_ok(),
                Step::Send(..) => {}
                Step::Wait(ms) => self.unless_over(sleep(millis(*ms))).await,
                Step::AwaitUpgrade => self.unless_over(self.seen.upgrade.cancelled()).await,
                Step::AwaitText => self.unless_over(self.seen.text.cancelled()).await,
                Step::HalfClose => {
                    end.half_close();
                    open = false;
                }
                Step::Reset => {
                    end.reset();
                    return;
                }
                Step::Leave => return,
            }
        }
        self.seen_close_or_over().await;
        if open && self.plan.on_close == OnClose::Reply && !self.seen.over.is_cancelled() {
            let reply = item::frame(FIN | CLOSE, &1000_u16.to_be_bytes(), Some([1, 2, 3, 4]));
            // The host may have gone meanwhile, which is its right.
            let _ = end.write(&reply).await;
        }
        if self.plan.on_close != OnClose::Leave {
            self.seen.over.cancelled().await;
        }
    }

    async fn seen_close_or_over(&self) {
        self.unless_over(self.seen.close.cancelled()).await;
    }

    async fn unless_over(&self, wait: impl Future<Output = ()>) {
        let (wait, over) = (pin!(wait), pin!(self.seen.over.cancelled()));
        if self.plan.on_close == OnClose::GoOn {
            select(over, wait).await;
        } else {
            let close = pin!(self.seen.close.cancelled());
            select(over, select(close, wait)).await;
        }
    }

    async fn read(&self) {
        let mut output = Output::new(self.plan.route != RouteKind::Raw);
        let mut left = match self.plan.reading {
            Reading::Until(bytes) | Reading::Rests { after: bytes, .. } => bytes,
            _ => usize::MAX,
        };
        let (most, pause) = match self.plan.reading {
            Reading::Slowly { bytes, pause } => (bytes, pause),
            _ => (64 * 1024, 0),
        };
        loop {
            if left == 0 {
                let Reading::Rests { pause, .. } = self.plan.reading else {
                    return;
                };
                sleep(millis(pause)).await;
                left = usize::MAX;
            }
            let bytes = self.receive(most.min(left)).await;
            if bytes.is_empty() {
                return self.seen.over.cancel();
            }
            left -= bytes.len();
            for said in output.push(&bytes) {
                self.sees(&said);
            }
            if let Some(token) = output.token() {
                self.world.tells(self.me, token);
            }
            if pause > 0 {
                sleep(millis(pause)).await;
            }
        }
    }

    fn sees(&self, said: &Said) {
        match said {
            Said::Head(101) => self.seen.upgrade.cancel(),
            Said::Close { .. } => self.seen.close.cancel(),
            Said::Ack { from, .. } => {
                if let Some(from) = from {
                    self.place.store(*from, Ordering::Relaxed);
                }
                self.seen.text.cancel();
            }
            Said::Text(_) | Said::Error { .. } => self.seen.text.cancel(),
            _ => {}
        }
    }

    async fn receive(&self, most: usize) -> Vec<u8> {
        let mut read = pin!(self.end.read(most));
        let received = poll_fn(|cx| {
            let waits = self.plan.reading == Reading::BetweenSends;
            // Both halves are one task: it is polled again when the other half
            // is no longer stuck.
            if waits && self.stuck.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            read.as_mut().poll(cx)
        });
        received.await.unwrap_or_default()
    }

    async fn send(&self, item: &Item, pace: Pace) -> std::io::Result<()> {
        let bytes = item.fill(self.place.load(Ordering::Relaxed), &self.token);
        if let Meaning::Speech(length) = item.meaning {
            self.place.fetch_add(length as u64, Ordering::Relaxed);
        }
        for piece in bytes.chunks(pace.bytes) {
            let mut piece = piece;
            while !piece.is_empty() {
                self.stuck.store(true, Ordering::Relaxed);
                let count = self.end.write(piece).await;
                self.stuck.store(false, Ordering::Relaxed);
                piece = &piece[count?..];
            }
            if pace.pause > 0 {
                sleep(millis(pace.pause)).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}
