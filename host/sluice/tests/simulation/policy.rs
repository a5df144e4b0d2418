//! A policy that does what the schedule says.

use std::sync::Arc;
use std::time::Duration;

use base::rejection::Rejection;
use futures_util::future::{BoxFuture, FutureExt};
use policy::OnFailure;
use policy::window::Window;
use policy::{Failure, Limit, Policy, Question, Verdict};
use session::registry::Session;
use tokio::time::sleep;

use super::run::{FRAMES, PAYLOAD};
use super::schedule::{Act, PolicyPlan, millis};
use super::trace::{Event, Stage};
use super::world::{World, who};

pub struct Scripted {
    pub world: Arc<World>,
    pub stage: Stage,
    pub index: usize,
    pub name: Arc<str>,
    pub on_failure: OnFailure,
}

impl Policy for Scripted {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    fn ask<'a>(
        &'a self,
        session: &'a Arc<Session>,
        question: &'a Question,
    ) -> BoxFuture<'a, Verdict> {
        match question {
            Question::Connect | Question::Handshake(_) => self.act(session).boxed(),
            Question::Frames(window) => self.watch(session, window).boxed(),
            Question::Close(_) => self.listen(session).boxed(),
        }
    }
}

impl Scripted {
    async fn act(&self, session: &Arc<Session>) -> Verdict {
        let world = &self.world;
        let me = who(&session.facts);
        let plan = self.plan(me);
        world.begins(me, session);
        world.trace.record(me, Event::Asked(self.stage, self.index));
        pause(plan.before).await;
        let claims = world.claims(me);
        let mut act = plan.act;
        if let Some(claim) = plan.claim {
            let key = format!("key-{}", claim.key);
            if world.claim(session, &key, claim.takeover).is_err() {
                act = Act::Reject(4002);
            }
        }
        if plan.attribute {
            let value = "v".repeat(100);
            session.facts.set_attribute(&self.name, "a", value).unwrap();
        }
        pause(plan.after).await;
        if plan.expired && act == Act::Accept {
            session.expires(1);
            world.trace.record(me, Event::Expired);
        }
        let verdict = verdict(act);
        if matches!(verdict, Verdict::Failed(_)) && self.on_failure == OnFailure::Open {
            world.forget(me, claims);
        }
        if act == Act::Panic {
            world.trace.record(me, Event::Panicked);
            // Unlike `panic!`, this does not print.
            std::panic::resume_unwind(Box::new("scheduled"));
        }
        let answered = Event::Answered(self.stage, self.index, act);
        world.trace.record(me, answered);
        verdict
    }

    async fn watch(&self, session: &Arc<Session>, window: &Window) -> Verdict {
        let world = &self.world;
        let me = who(&session.facts);
        let asked = Event::Asked(self.stage, usize::try_from(window.index).unwrap());
        world.trace.record(me, asked);
        world.trace.record(me, Event::Watched(window.binary.bytes));
        if window.frames.len() > FRAMES
            || window.payloads.iter().map(|it| it.len()).sum::<usize>() > PAYLOAD
        {
            world.trace.fault(me, "a window keeps more than it may");
        }
        let (before, act) = match &world.schedule.connections[me].frames {
            Some((index, plan)) if *index == window.index => (plan.before, plan.act),
            _ => (0, Act::Accept),
        };
        pause(before).await;
        let answered = Event::Answered(self.stage, usize::try_from(window.index).unwrap(), act);
        if act == Act::Panic {
            world.trace.record(me, Event::Panicked);
            std::panic::resume_unwind(Box::new("scheduled"));
        }
        world.trace.record(me, answered);
        verdict(act)
    }

    async fn listen(&self, session: &Arc<Session>) -> Verdict {
        let me = who(&session.facts);
        self.world
            .trace
            .record(me, Event::Asked(self.stage, self.index));
        let deaf = self.index == 0 && self.world.schedule.connections[me].deaf;
        verdict(if deaf { Act::Trap } else { Act::Accept })
    }

    fn plan(&self, me: usize) -> PolicyPlan {
        let plan = &self.world.schedule.connections[me];
        match self.stage {
            Stage::Connect => plan.connect[self.index].clone(),
            Stage::Handshake => plan.handshake.clone(),
            Stage::Frames | Stage::Close => unreachable!("these are not asked for admission"),
        }
    }
}

async fn pause(ms: u64) {
    if ms > 0 {
        sleep(millis(ms)).await;
    }
}

fn verdict(act: Act) -> Verdict {
    match act {
        Act::Accept | Act::Panic => Verdict::Accept,
        Act::Reject(code) => Verdict::Reject(rejection(code)),
        Act::KeysUnavailable => Verdict::KeysUnavailable(rejection(4001)),
        Act::Trap => Verdict::Failed(Failure::Trap("unreachable".to_owned())),
        Act::OutOfTime => Verdict::Failed(Failure::Limit(Limit::Time(Duration::ZERO))),
        Act::Busy => Verdict::Failed(Failure::Busy),
    }
}

/// What a policy says that rejects with this code.
pub fn rejection(code: u16) -> Rejection {
    let (word, message) = match code {
        4001 => ("auth_failed", "auth failed: token expired".to_owned()),
        4002 => ("ingest_exists", "Ingest already active".to_owned()),
        4003 => ("superseded", "superseded by a newer connection".to_owned()),
        4005 => ("policy_denied", String::new()),
        // Too long for a close reason, and cut inside a character.
        _ => ("own_word", format!("x{}", "ğ".repeat(100))),
    };
    Rejection {
        retryable: code == 4002,
        retry_after: (code == 4002).then_some(Duration::from_secs(1)),
        ..Rejection::new(code, word, &message)
    }
}
