//! An upstream that does what the schedule says.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Sleep, sleep};
use upstream::{
    Control, Downward, Link, Lost, OpenError, Presence, Receipts, Refusal, Sealed, StreamEnd,
    StreamInfo, Upstream, Upward,
};
use wire::frame::PeerClose;

use super::item::Blob;
use super::output::Said;
use super::schedule::{Fault, LinkPlan, Open, Readiness, Seal, millis};
use super::trace::{Event, Gone, Taken};
use super::world::{self, World, who};

pub struct Scripted(pub Arc<World>);

impl Upstream for Scripted {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        let me = who(&stream.facts);
        let world = Arc::clone(&self.0);
        async move {
            let plan = world.schedule.connections[me].link.clone();
            world.trace.record(me, Event::Opening);
            if plan.open_after > 0 {
                sleep(millis(plan.open_after)).await;
            }
            match plan.open {
                Open::Succeeds => {}
                Open::Panics => panics(&world, me),
                Open::Fails | Open::NoPlace | Open::Refuses(_) => {
                    world.trace.record(me, Event::OpenFailed);
                    return Err(refused(plan.open));
                }
            }
            world.link_opens(me);
            world.set_link(me, world::Link::Held);
            world.trace.record(me, Event::Opened);
            let link = ScriptedLink::new(world, me, plan, stream.receipts);
            let link: Box<dyn Link> = Box::new(link);
            Ok(link)
        }
        .boxed()
    }
}

fn refused(how: Open) -> OpenError {
    let detail = anyhow::anyhow!("scheduled");
    match how {
        Open::NoPlace => OpenError::NoPlace {
            public: "no such place".to_owned(),
            detail,
        },
        Open::Refuses(code) => OpenError::Refused(Refusal {
            close: close(code),
            code: Some("full".to_owned()),
            message: "no room".to_owned(),
            retryable: true,
        }),
        _ => OpenError::unavailable("the upstream refused", detail),
    }
}

/// What an upstream closes with.
fn close(code: u16) -> PeerClose {
    PeerClose {
        code,
        reason: CLOSE_REASON.to_owned(),
    }
}

/// The reason with which an upstream closes.
pub const CLOSE_REASON: &str = "hoşça kal";

struct ScriptedLink {
    world: Arc<World>,
    /// The connection that has the stream, or had it last.
    me: usize,
    /// Whether its client is away.
    away: bool,
    receipts: Receipts,
    kept: u64,
    receipt: Option<Pin<Box<Sleep>>>,
    vanishes: Option<Pin<Box<Sleep>>>,
    closes: Option<Pin<Box<Sleep>>>,
    completion: Completion,
    plan: LinkPlan,
    taken: usize,
    bytes: u64,
    echoes: VecDeque<Downward>,
    listener: Option<Waker>,
    rest: Option<Pin<Box<Sleep>>>,
    talk: Option<Pin<Box<Sleep>>>,
    talked: u32,
    doom: Option<Pin<Box<Sleep>>>,
}

fn panics(world: &World, me: usize) -> ! {
    world.trace.record(me, Event::Panicked);
    std::panic::resume_unwind(Box::new("scheduled"))
}

impl ScriptedLink {
    fn new(world: Arc<World>, me: usize, plan: LinkPlan, receipts: Receipts) -> Self {
        let timer = |ms: u64| Box::pin(sleep(millis(ms)));
        Self {
            away: false,
            completion: Completion::NotAsked,
            receipts,
            kept: 0,
            receipt: plan
                .receipts
                .filter(|_| receipts == Receipts::Given)
                .map(timer),
            vanishes: plan.away_after.map(timer),
            closes: plan.closes.map(|(after, _)| timer(after)),
            talk: plan.talk.map(|talk| timer(talk.every)),
            doom: match plan.fault {
                Some(Fault::LostAfter(ms) | Fault::PanicAfter(ms)) => Some(timer(ms)),
                _ => None,
            },
            rest: None,
            taken: 0,
            bytes: 0,
            echoes: VecDeque::new(),
            listener: None,
            talked: 0,
            world,
            me,
            plan,
        }
    }

    /// Finds out for whom the link is driven.
    fn here(&mut self) {
        match self.world.whose_task() {
            Some(me) if me == self.me && !self.away => {}
            Some(me) => {
                self.world.takes(self.me, self.away, me);
                (self.me, self.away) = (me, false);
            }
            None if self.away => {}
            None => {
                self.world.parks(self.me);
                self.away = true;
            }
        }
    }

    fn record(&self, event: Event, away: Gone) {
        let event = if self.away { Event::Away(away) } else { event };
        self.world.trace.record(self.me, event);
    }

    fn panics(&self) -> ! {
        self.record(Event::Panicked, Gone::Panicked);
        std::panic::resume_unwind(Box::new("scheduled"))
    }

    fn lose<T>(&self) -> Poll<Result<T, Lost>> {
        self.record(Event::Lost, Gone::Lost);
        Poll::Ready(Err(lost()))
    }

    fn meet_doom(&mut self, cx: &mut Context<'_>) -> Poll<Lost> {
        let Some(doom) = &mut self.doom else {
            return Poll::Pending;
        };
        std::task::ready!(doom.as_mut().poll(cx));
        self.doom = None;
        if matches!(self.plan.fault, Some(Fault::PanicAfter(_))) {
            self.panics();
        }
        self.record(Event::Lost, Gone::Lost);
        Poll::Ready(lost())
    }

    fn next_event(&mut self, cx: &mut Context<'_>) -> Option<Downward> {
        if let Some(echo) = self.echoes.pop_front() {
            return Some(echo);
        }
        if let Some(after) = self.plan.receipts
            && rings(&mut self.receipt, cx)
        {
            self.receipt = Some(Box::pin(sleep(millis(after))));
            // So that the timer is polled; nobody is told what is no news.
            cx.waker().wake_by_ref();
            if self.bytes > self.kept {
                self.kept = self.bytes;
                return Some(Downward::Kept(self.kept));
            }
        }
        if rings(&mut self.vanishes, cx) {
            return Some(Downward::Upstream(Presence::Away));
        }
        if let Some((_, code)) = self.plan.closes
            && rings(&mut self.closes, cx)
        {
            return Some(Downward::Close(close(code)));
        }
        let plan = self.plan.talk?;
        if self.talked >= plan.times {
            return None;
        }
        let timer = self.talk.as_mut()?;
        if timer.as_mut().poll(cx).is_pending() {
            return None;
        }
        timer.set(sleep(millis(plan.every)));
        self.talked += 1;
        let filler = vec![b'a' + (self.talked % 26) as u8; plan.bytes];
        Some(if self.talked.is_multiple_of(2) {
            Downward::Text(filler.into())
        } else {
            Downward::Binary(filler.into())
        })
    }
}

/// How far a link is with what its client completed.
enum Completion {
    NotAsked,
    Waits(Pin<Box<Sleep>>),
    Speaks,
}

/// Whether a timer is there and has come; it is gone then.
fn rings(timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> bool {
    let rings = timer
        .as_mut()
        .is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
    if rings {
        *timer = None;
    }
    rings
}

fn lost() -> Lost {
    Lost {
        public: "the upstream is lost".to_owned(),
        detail: anyhow::anyhow!("scheduled"),
    }
}

impl Link for ScriptedLink {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.here();
        match self.plan.fault {
            Some(Fault::LostAt(n)) if n == self.taken => return self.lose(),
            Some(Fault::PanicAt(n)) if n == self.taken => self.panics(),
            _ => {}
        }
        if let Some(rest) = &mut self.rest {
            std::task::ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        if matches!(self.plan.ready, Readiness::Until(n) if n <= self.taken) {
            return Poll::Pending;
        }
        self.world.set_link(self.me, world::Link::Ready);
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, message: Upward) {
        self.here();
        if self.world.link(self.me) != world::Link::Ready {
            let fault = "a message was sent to an upstream that is not ready";
            self.world.trace.fault(self.me, fault);
        }
        if self.plan.fault == Some(Fault::PanicInSend(self.taken)) {
            self.panics();
        }
        self.world.set_link(self.me, world::Link::Held);
        self.taken += 1;
        if let Readiness::Every(ms) = self.plan.ready {
            self.rest = Some(Box::pin(sleep(millis(ms))));
        }
        let (taken, echo) = match message {
            Upward::Binary(bytes) => {
                self.bytes += bytes.len() as u64;
                self.world.took(self.me, bytes.len());
                (Taken::Binary(blob(&bytes)), Some(Downward::Binary(bytes)))
            }
            Upward::Text(text) => (Taken::Text(blob(&text)), Some(Downward::Text(text))),
            Upward::Control(Control::Pause) => (Taken::Pause, None),
            Upward::Control(Control::Resume) => (Taken::Resume, None),
        };
        self.world.trace.record(self.me, Event::Took(taken));
        if self.plan.echo {
            self.echoes.extend(echo);
            if let Some(listener) = self.listener.take() {
                listener.wake();
            }
        }
    }

    fn receipts(&self) -> Receipts {
        self.receipts
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        self.here();
        if let Poll::Ready(lost) = self.meet_doom(cx) {
            return Poll::Ready(Err(lost));
        }
        let Some(event) = self.next_event(cx) else {
            self.listener = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let (said, bytes) = match &event {
            Downward::Binary(bytes) => (Said::Binary(blob(bytes)), bytes.len()),
            Downward::Text(text) => (Said::Text(blob(text)), text.len()),
            Downward::Kept(bytes) => (Said::Kept { bytes: *bytes }, 0),
            Downward::Upstream(_) => (Said::Status("upstream_lost".to_owned()), 0),
            Downward::Close(close) => {
                self.record(Event::Closed(close.code), Gone::Closed);
                return Poll::Ready(Ok(event));
            }
            Downward::TakenOver => return Poll::Ready(Ok(event)),
        };
        if self.away {
            self.world.keeps(self.me, bytes);
        } else {
            self.world.emits(self.me, bytes);
        }
        self.record(Event::Emitted(said.clone()), Gone::Emitted(said));
        Poll::Ready(Ok(event))
    }

    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.here();
        let Some(after) = self.plan.last_message else {
            return Poll::Ready(Ok(()));
        };
        loop {
            match &mut self.completion {
                Completion::NotAsked => {
                    self.world.trace.record(self.me, Event::Completing);
                    self.completion = Completion::Waits(Box::pin(sleep(millis(after))));
                }
                Completion::Waits(timer) => {
                    std::task::ready!(timer.as_mut().poll(cx));
                    self.completion = Completion::Speaks;
                    self.echoes.push_back(Downward::Text("last words".into()));
                    // Not before they are taken.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Completion::Speaks if self.echoes.is_empty() => {
                    self.world.trace.record(self.me, Event::Completed);
                    return Poll::Ready(Ok(()));
                }
                Completion::Speaks => return Poll::Pending,
            }
        }
    }

    fn seal(mut self: Box<Self>, ending: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        self.here();
        self.world.set_link(self.me, world::Link::Sealing);
        self.record(Event::Sealing(ending.clone()), Gone::Sealing(ending));
        if self.plan.fault == Some(Fault::PanicInSeal) {
            self.panics();
        }
        async move {
            if self.plan.seal == Seal::Never {
                std::future::pending::<()>().await;
            }
            if self.plan.seal_after > 0 {
                sleep(millis(self.plan.seal_after)).await;
            }
            self.world.link_ends(self.me);
            if self.plan.seal == Seal::Fails {
                self.record(Event::SealFailed, Gone::SealFailed);
                return Err(lost());
            }
            self.record(Event::Sealed(self.bytes), Gone::Sealed(self.bytes));
            Ok(Sealed { bytes: self.bytes })
        }
        .boxed()
    }
}

impl Drop for ScriptedLink {
    fn drop(&mut self) {
        if self.world.link(self.me) != world::Link::Gone {
            self.world.trace.record(self.me, Event::LinkDropped);
            self.world.link_ends(self.me);
        }
    }
}

fn blob(bytes: &Bytes) -> Blob {
    Blob(bytes.to_vec())
}
