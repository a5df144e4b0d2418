//! One case, tried: the policy is asked as the gateway would ask it.

use std::time::{Duration, Instant};

use serde_json::Map;

use super::fixture::Case;
use super::scene::Scene;
use super::subject::Subject;
use base::rejection::Rejection;
use policy::component::{ComponentPolicy, Usage};
use policy::{Answer, Decision, Failure, Policy as _, Question};

/// What came of a case.
pub struct Trial {
    /// The policy's verdict.
    pub verdict: Verdict,
    /// The hooks that were asked, with what each took.
    pub calls: Vec<Call>,
    /// What the policy has logged.
    pub log: Vec<String>,
    /// The world afterwards.
    pub scene: Scene,
}

/// One call of a hook.
pub struct Call {
    /// The hook.
    pub hook: &'static str,
    /// How long it took, by the clock on the wall.
    pub took: Duration,
    /// What it used, unless it broke.
    pub usage: Option<Usage>,
}

/// What a policy answered in all.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It accepted wherever it was asked.
    Accept,
    /// It rejected.
    Reject(Rejection),
    /// It rejected after the keys could not be had: the client is told so, and
    /// not what the policy said.
    AuthUnavailable,
    /// It does not accept its configuration.
    ConfigError(String),
    /// It broke.
    Failed(Failure),
    /// It was not asked, because the case is about something for which it has no hook.
    NotAsked(String),
}

impl Trial {
    /// Tries a case.
    ///
    /// # Errors
    /// Where the case or the configuration asks for what cannot be.
    pub async fn of(subject: &Subject, case: &Case) -> anyhow::Result<Self> {
        let scene = Scene::of(case, &subject.name, &subject.config)?;
        let policy = subject.policy(scene.world.clone(), &case.config)?;
        let mut calls = Vec::new();
        let verdict = match policy.try_out().await {
            Err(failure) => Verdict::Failed(failure),
            Ok(Err(complaint)) => Verdict::ConfigError(complaint),
            Ok(Ok(_)) => match without_a_hook(case, &policy) {
                Some(why) => Verdict::NotAsked(why),
                None => ask(&policy, &scene, &mut calls).await,
            },
        };
        Ok(Self {
            verdict,
            calls,
            log: scene.world.log(),
            scene,
        })
    }
}

/// Asks the hooks that the policy has, in the order of a connection's life,
/// until one does not accept; and tells it of the end, whatever it answered.
pub async fn ask(policy: &ComponentPolicy, scene: &Scene, calls: &mut Vec<Call>) -> Verdict {
    let verdict = decide(policy, scene, calls).await;
    let told = match &scene.ending {
        Some(ending) if policy.hooks().close.is_some() => {
            put(policy, scene, ("on-close", Question::Close(ending)), calls).await
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
        (
            "handshake",
            "on-handshake",
            case.handshake.is_some(),
            hooks.handshake.is_some(),
        ),
        (
            "windows",
            "on-frames",
            !case.windows.is_empty(),
            hooks.frames.is_some(),
        ),
        (
            "ending",
            "on-close",
            case.ending.is_some(),
            hooks.close.is_some(),
        ),
    ];
    let mut lacking = parts
        .iter()
        .filter(|(_, _, is_there, has_hook)| *is_there && !has_hook);
    if let Some((part, hook, ..)) = lacking.next() {
        return Some(format!(
            "the case has `{part}`, and \"{name}\" has no hook {hook}: take `{part}` out of the case, \
             or export the hook"
        ));
    }
    let always = hooks.connect.is_some() || hooks.handshake.is_some();
    let asked = always
        || parts
            .iter()
            .any(|(_, _, is_there, has_hook)| *is_there && *has_hook);
    (!asked).then(|| {
        format!(
            "\"{name}\" is asked about streams, or told of their end, and this case has neither: \
             add `windows` or `ending`"
        )
    })
}

async fn decide(policy: &ComponentPolicy, scene: &Scene, calls: &mut Vec<Call>) -> Verdict {
    let hooks = policy.hooks();
    let mut questions = Vec::new();
    if hooks.connect.is_some() {
        questions.push(("on-connect", Question::Connect));
    }
    // A policy of that hook alone is asked in every case.
    let usual;
    if hooks.handshake.is_some() {
        let message = match &scene.handshake {
            Some(message) => Some(message),
            None if questions.is_empty() => {
                usual = super::scene::handshake(&Map::new());
                Some(&usual)
            }
            None => None,
        };
        if let Some(message) = message {
            questions.push(("on-handshake", Question::Handshake(message)));
        }
    }
    if hooks.frames.is_some() {
        let windows = scene.windows.iter();
        questions.extend(windows.map(|window| ("on-frames", Question::Frames(window))));
    }
    for question in questions {
        if let (_, Question::Frames(window)) = question {
            scene.world.pass(window);
        }
        if let Some(verdict) = put(policy, scene, question, calls).await {
            return verdict;
        }
    }
    Verdict::Accept
}

/// Puts one question; the verdict, unless it accepts.
async fn put(
    policy: &ComponentPolicy,
    scene: &Scene,
    (hook, question): (&'static str, Question<'_>),
    calls: &mut Vec<Call>,
) -> Option<Verdict> {
    let started = Instant::now();
    let answer = policy.examine(scene.connection.session(), question).await;
    let took = started.elapsed();
    let usage = answer.as_ref().ok().map(|(_, usage)| *usage);
    calls.push(Call { hook, took, usage });
    match answer {
        Ok((Answer::Decided(Decision::Accept) | Answer::KeysUnavailable(Decision::Accept), _)) => {
            None
        }
        Ok((Answer::Decided(Decision::Reject(rejection)), _)) => Some(Verdict::Reject(rejection)),
        Ok((Answer::KeysUnavailable(Decision::Reject(_)), _)) => Some(Verdict::AuthUnavailable),
        Ok((Answer::ClientFault(fault), _)) => Some(Verdict::Reject(fault.rejection())),
        Err(failure) => Some(Verdict::Failed(failure)),
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Reject(rejection) => {
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
            Self::AuthUnavailable => {
                f.write_str("reject auth_unavailable (4012): the keys could not be had")
            }
            Self::ConfigError(complaint) => {
                write!(f, "config error: {}", base::text::clean(complaint, 1024))
            }
            Self::Failed(failure) => write!(f, "the policy {failure}"),
            Self::NotAsked(why) => write!(f, "not asked: {why}"),
        }
    }
}
