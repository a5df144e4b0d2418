//! One case, tried: the policy is asked as the gateway would ask it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Map;

use super::fixture::Case;
use super::scene::{Looked, Scene};
use super::subject::Subject;
use base::rejection::Rejection;
use policy::component::{ComponentPolicy, Examined, Usage};
use policy::effects::Effects;
use policy::{Hook, Policy as _, Question, Verdict};
use session::notices::ClientNotice;

/// What came of a case.
pub struct Trial {
    /// What came of it.
    pub result: TrialResult,
    /// The hooks that were asked, with what each took.
    pub calls: Vec<HookCall>,
    /// What the policy has logged.
    pub log: Vec<String>,
    /// What it did that its author may not have meant.
    pub looked: Looked,
    /// The world afterwards.
    pub scene: Scene,
}

/// One call of a hook.
pub struct HookCall {
    /// The hook.
    pub hook: Hook,
    /// How long it took, by the clock on the wall.
    pub took: Duration,
    /// What it used, unless it broke.
    pub usage: Option<Usage>,
    /// What the policy said beside its answer.
    pub effects: Effects,
}

/// What came of a case in all.
#[derive(Debug, PartialEq, Eq)]
pub enum TrialResult {
    /// The policy was asked, or broke before. It accepts where it accepted at each hook.
    Asked(Verdict),
    /// The policy does not accept its configuration.
    ConfigError(String),
    /// The policy was not asked, because the case is about something for which it has no hook.
    NotAsked(String),
}

impl Trial {
    /// Notices that the client is sent.
    pub(crate) fn notices(&self) -> impl Iterator<Item = &ClientNotice> {
        self.calls.iter().flat_map(|call| &call.effects.notices)
    }

    /// What is added to metrics, by `NAME` or `NAME:LABEL`.
    pub(crate) fn metrics(&self) -> BTreeMap<String, u64> {
        let mut metrics = BTreeMap::new();
        for count in self.calls.iter().flat_map(|call| &call.effects.counts) {
            let key = if count.label.is_empty() {
                count.name.clone()
            } else {
                format!("{}:{}", count.name, count.label)
            };
            *metrics.entry(key).or_default() += count.amount;
        }
        metrics
    }

    /// Tries a case.
    ///
    /// # Errors
    /// Where the case or the configuration asks for what cannot be.
    pub async fn of(subject: &Subject, case: &Case) -> anyhow::Result<Self> {
        let scene = Scene::of(case, &subject.name, &subject.config, subject.lists()?)?;
        let policy = subject.policy(scene.world.clone(), &case.config)?;
        let mut calls = Vec::new();
        let result = match policy.try_out().await {
            Err(failure) => TrialResult::Asked(Verdict::Failed(failure)),
            Ok(Err(complaint)) => TrialResult::ConfigError(complaint),
            Ok(Ok(_)) => match without_a_hook(case, &policy) {
                Some(why) => TrialResult::NotAsked(why),
                None => TrialResult::Asked(ask(&policy, &scene, &mut calls).await),
            },
        };
        Ok(Self {
            result,
            calls,
            log: scene.world.log(),
            looked: scene.world.looked(),
            scene,
        })
    }
}

/// Asks the hooks that the policy has, in the order of a connection's life,
/// until one does not accept; and tells it of the end, whatever it answered.
pub async fn ask(policy: &ComponentPolicy, scene: &Scene, calls: &mut Vec<HookCall>) -> Verdict {
    let verdict = decide(policy, scene, calls).await;
    let told = match &scene.ending {
        Some(ending) if policy.hooks().has(Hook::Close) => {
            let question = Question::Close(Arc::clone(ending));
            put(policy, scene, &question, calls).await
        }
        _ => None,
    };
    told.unwrap_or(verdict)
}

/// Why a policy cannot answer a case: the case has what only a hook is asked about that the policy
/// does not have, or it has nothing that any of the policy's hooks is asked about.
fn without_a_hook(case: &Case, policy: &ComponentPolicy) -> Option<String> {
    let hooks = policy.hooks();
    let name = policy.name();
    let parts = [
        ("handshake", Hook::Handshake, case.handshake.is_some()),
        ("windows", Hook::Frames, !case.windows.is_empty()),
        ("ending", Hook::Close, case.ending.is_some()),
    ];
    if !case.answers.is_empty() && hooks.prepare.is_none() {
        return Some(format!(
            "the case has `answers`, and \"{name}\" has no hook prepare: take `answers` out of the case, \
             or export the hook"
        ));
    }
    let mut there = parts.iter().filter(|(_, _, is_there)| *is_there);
    if let Some((part, hook, _)) = there.clone().find(|(_, hook, _)| !hooks.has(*hook)) {
        let hook = hook.name();
        return Some(format!(
            "the case has `{part}`, and \"{name}\" has no hook {hook}: take `{part}` out of the case, \
             or export the hook"
        ));
    }
    let always = hooks.has(Hook::Connect) || hooks.has(Hook::Handshake);
    let asked = always || there.any(|(_, hook, _)| hooks.has(*hook));
    (!asked).then(|| {
        format!(
            "\"{name}\" is asked about streams, or told of their end, and this case has neither: \
             add `windows` or `ending`"
        )
    })
}

async fn decide(policy: &ComponentPolicy, scene: &Scene, calls: &mut Vec<HookCall>) -> Verdict {
    let hooks = policy.hooks();
    let mut questions = Vec::new();
    if hooks.has(Hook::Connect) {
        questions.push(Question::Connect);
    }
    if hooks.has(Hook::Handshake) {
        let message = match &scene.handshake {
            Some(message) => Some(Arc::clone(message)),
            // A policy of that hook alone is asked in every case.
            None => questions
                .is_empty()
                .then(|| super::scene::handshake(&Map::new())),
        };
        questions.extend(message.map(Question::Handshake));
    }
    if hooks.has(Hook::Frames) {
        let windows = scene.windows.iter().map(Arc::clone);
        questions.extend(windows.map(Question::Frames));
    }
    for question in questions {
        if let Question::Frames(window) = &question {
            scene.world.pass(window);
        }
        if let Some(verdict) = put(policy, scene, &question, calls).await {
            return verdict;
        }
    }
    Verdict::Accept
}

/// Puts one question; the verdict, unless it accepts.
async fn put(
    policy: &ComponentPolicy,
    scene: &Scene,
    question: &Question,
    calls: &mut Vec<HookCall>,
) -> Option<Verdict> {
    let started = Instant::now();
    let Examined {
        verdict,
        usage,
        mut effects,
    } = policy.examine(scene.connection.session(), question).await;
    if verdict != Verdict::Accept || question.hook() == Hook::Close {
        // Its client has the error frame, or is gone.
        effects.notices.clear();
    }
    calls.push(HookCall {
        hook: question.hook(),
        took: started.elapsed(),
        usage,
        effects,
    });
    Some(verdict).filter(|verdict| *verdict != Verdict::Accept)
}

/// Gives the rejection that the client is told of in the policy's words.
pub(super) fn told(verdict: &Verdict) -> Option<Cow<'_, Rejection>> {
    match verdict {
        Verdict::Reject(rejection) => Some(Cow::Borrowed(rejection)),
        Verdict::ClientFault(fault) => Some(Cow::Owned(fault.rejection())),
        Verdict::Accept
        | Verdict::KeysUnavailable(_)
        | Verdict::Unanswered(_)
        | Verdict::Failed(_) => None,
    }
}

impl fmt::Display for TrialResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(verdict) => write(verdict, f),
            Self::ConfigError(complaint) => {
                write!(f, "config error: {}", base::text::clean(complaint, 1024))
            }
            Self::NotAsked(why) => write!(f, "not asked: {why}"),
        }
    }
}

fn write(verdict: &Verdict, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match verdict {
        Verdict::Accept => f.write_str("accept"),
        Verdict::Reject(rejection) => write_rejection(rejection, f),
        Verdict::KeysUnavailable(_) => {
            f.write_str("reject auth_unavailable (4012): the keys could not be had")
        }
        Verdict::Unanswered(unanswered) => {
            write!(f, "reject service_unavailable (1013): {unanswered}")
        }
        Verdict::ClientFault(fault) => write_rejection(&fault.rejection(), f),
        Verdict::Failed(failure) => write!(f, "the policy {failure}"),
    }
}

fn write_rejection(rejection: &Rejection, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Rejection {
        close_code,
        code,
        message,
        retryable,
        retry_after,
    } = rejection;
    write!(f, "reject {code} ({close_code}) \"{message}\"")?;
    match (retry_after, retryable) {
        (Some(after), _) => write!(f, ", retry after {} ms", after.as_millis()),
        (None, true) => f.write_str(", may be tried again"),
        (None, false) => Ok(()),
    }
}
