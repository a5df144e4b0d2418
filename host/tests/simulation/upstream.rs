//! An upstream that does what the schedule says.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use sluice::upstream::{
    Control, Downward, Ending, Link, Lost, OpenError, Sealed, StreamInfo, Upstream, Upward,
};
use tokio::time::{Sleep, sleep};

use super::item::Blob;
use super::output::Said;
use super::schedule::{Fault, LinkPlan, Open, Readiness, Seal, millis};
use super::trace::{Event, Taken};
use super::world::{self, World};

pub struct Scripted(pub Arc<World>);

impl Upstream for Scripted {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        let me: usize = stream.param("n").unwrap().parse().unwrap();
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
                Open::Fails => {
                    world.trace.record(me, Event::OpenFailed);
                    return Err(OpenError::unavailable(
                        "the upstream refused",
                        anyhow::anyhow!("scheduled"),
                    ));
                }
            }
            world.link_opens(me);
            world.set_link(me, world::Link::Held);
            world.trace.record(me, Event::Opened);
            let link: Box<dyn Link> = Box::new(ScriptedLink::new(world, me, plan));
            Ok(link)
        }
        .boxed()
    }
}

struct ScriptedLink {
    world: Arc<World>,
    me: usize,
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
    fn new(world: Arc<World>, me: usize, plan: LinkPlan) -> Self {
        let timer = |ms: u64| Box::pin(sleep(millis(ms)));
        Self {
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

    fn lose<T>(&self) -> Poll<Result<T, Lost>> {
        self.world.trace.record(self.me, Event::Lost);
        Poll::Ready(Err(lost()))
    }

    fn meet_doom(&mut self, cx: &mut Context<'_>) -> Poll<Lost> {
        let Some(doom) = &mut self.doom else {
            return Poll::Pending;
        };
        std::task::ready!(doom.as_mut().poll(cx));
        self.doom = None;
        if matches!(self.plan.fault, Some(Fault::PanicAfter(_))) {
            panics(&self.world, self.me);
        }
        self.world.trace.record(self.me, Event::Lost);
        Poll::Ready(lost())
    }

    fn next_event(&mut self, cx: &mut Context<'_>) -> Option<Downward> {
        if let Some(echo) = self.echoes.pop_front() {
            return Some(echo);
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

fn lost() -> Lost {
    Lost {
        public: "the upstream is lost".to_owned(),
        detail: anyhow::anyhow!("scheduled"),
    }
}

impl Link for ScriptedLink {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        match self.plan.fault {
            Some(Fault::LostAt(n)) if n == self.taken => return self.lose(),
            Some(Fault::PanicAt(n)) if n == self.taken => panics(&self.world, self.me),
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
        if self.world.link(self.me) != world::Link::Ready {
            let fault = "a message was sent to an upstream that is not ready";
            self.world.trace.fault(self.me, fault);
        }
        if self.plan.fault == Some(Fault::PanicInSend(self.taken)) {
            panics(&self.world, self.me);
        }
        self.world.set_link(self.me, world::Link::Held);
        self.taken += 1;
        if let Readiness::Every(ms) = self.plan.ready {
            self.rest = Some(Box::pin(sleep(millis(ms))));
        }
        let (taken, echo) = match message {
            Upward::Binary(bytes) => {
                self.bytes += bytes.len() as u64;
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

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
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
            Downward::Kept(_) | Downward::Upstream(_) | Downward::Close(_) => {
                unreachable!("no schedule has the upstream say this")
            }
        };
        self.world.emits(self.me, bytes);
        self.world.trace.record(self.me, Event::Emitted(said));
        Poll::Ready(Ok(event))
    }

    fn seal(self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Sealed, Lost>> {
        self.world.set_link(self.me, world::Link::Sealing);
        self.world.trace.record(self.me, Event::Sealing(ending));
        if self.plan.fault == Some(Fault::PanicInSeal) {
            panics(&self.world, self.me);
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
                self.world.trace.record(self.me, Event::SealFailed);
                return Err(lost());
            }
            self.world.trace.record(self.me, Event::Sealed(self.bytes));
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
