use axum::http::HeaderMap;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::*;
use crate::Chain;
use crate::Failure;
use crate::bindings::sluice::policy::log::Level;
use crate::counters::{Account, Change, CounterError};
use crate::destinations;
use crate::record::{HostAnswer, HostCall, Line, RecordedVerdict};
use crate::settings::Decisions;
use crate::verdict::OnFailure;
use crate::world::World;
use base::rejection::Rejection;
use keys::{Claims, TokenError};
use session::facts::Facts;
use session::registry::{ClaimError, Registry, SessionGuard};

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0";

struct Nowhere;

impl World for Nowhere {
    fn now_ms(&self) -> u64 {
        42
    }
    fn verify(&self, _: &Session, _: &str) -> Option<Result<Claims, TokenError>> {
        Some(Err(TokenError::Expired))
    }
    fn claim(&self, _: &Arc<Session>, _: &str) -> Result<(), ClaimError> {
        Ok(())
    }
    fn evict(&self, _: &Arc<Session>, _: &str, _: &str, _: Rejection) -> Result<(), ClaimError> {
        Ok(())
    }
    fn count(&self, _: Account<'_>, _: &str, _: Change) -> Result<i64, CounterError> {
        Ok(1)
    }
    fn list_contains(&self, _: &str, _: &str) -> Option<bool> {
        None
    }
    fn list_get(&self, _: &str, _: &str) -> Option<Option<String>> {
        None
    }
    fn ask<'a>(
        &'a self,
        asking: destinations::Asking<'a>,
    ) -> BoxFuture<'a, Result<Vec<destinations::Answered>, destinations::Misuse>> {
        let all = destinations::Destinations::default();
        async move { all.ask(asking).await }.boxed()
    }
    fn log(&self, _: &str, _: Level, _: &str) {}
}

/// Asks the world, and says what it is told to; forever where that is nothing.
struct Asking(Arc<str>, Option<Verdict>);

impl Policy for Asking {
    fn name(&self) -> &Arc<str> {
        &self.0
    }
    fn on_failure(&self) -> OnFailure {
        OnFailure::Open
    }
    fn ask<'a>(&'a self, _: &'a Arc<Session>, _: &'a Question) -> BoxFuture<'a, Verdict> {
        unreachable!("decisions are noted")
    }
    fn ask_noted<'a>(
        &'a self,
        session: &'a Arc<Session>,
        _: &'a Question,
        notes: &'a Notes,
    ) -> BoxFuture<'a, Verdict> {
        let world = notes.of(&(Arc::new(Nowhere) as Arc<dyn World>));
        async move {
            world.now_ms();
            world.verify(session, "main");
            match &self.1 {
                Some(answer) => answer.clone(),
                None => std::future::pending().await,
            }
        }
        .boxed()
    }
}

fn session(registry: &Registry) -> SessionGuard {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {JWT}").parse().unwrap());
    headers.insert("x-api-key", "hush-hush-hush".parse().unwrap());
    headers.insert("user-agent", "mac".parse().unwrap());
    let facts = Facts::new(
        "s-1".into(),
        "ingest".into(),
        &format!("/m/1?source=mic&token={JWT}").parse().unwrap(),
        vec![("meeting_id".into(), "1".into())],
        headers,
        ([127, 0, 0, 1], 9).into(),
    );
    SessionGuard::new(facts, registry.clone())
}

struct Recorded {
    folder: tempfile::TempDir,
    recorder: Recorder,
}

fn recording(file: Option<&str>) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let decisions = Decisions {
        file: Some(file.map_or_else(|| folder.path().join("d.jsonl"), Into::into)),
        max_size: 1 << 20,
        max_files: 2,
    };
    Recorded {
        recorder: Recorder::start(&decisions).unwrap().of(3),
        folder,
    }
}

impl Recorded {
    async fn text(&self) -> String {
        self.recorder.flush().await;
        std::fs::read_to_string(self.folder.path().join("d.jsonl")).unwrap()
    }

    async fn lines(&self) -> Vec<Line> {
        let text = self.text().await;
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn chain(&self, answer: Option<Verdict>) -> Chain {
        let policy = Asking("asks".into(), answer);
        Chain::new(vec![Arc::new(policy)]).recorded(self.recorder.clone())
    }

    async fn ask(&self, answer: Verdict) {
        let registry = Registry::default();
        let guard = session(&registry);
        let mut records = Vec::new();
        let chain = self.chain(Some(answer));
        let handshake =
            r#"{"type":"handshake","api_token":"t","x":"eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}"#;
        let question = Question::Handshake(handshake.into());
        let asked = chain.ask(guard.session(), &registry, &question, &mut records);
        // The record is what is looked at.
        drop(asked.await);
    }
}

fn rejected(message: &str) -> Verdict {
    Verdict::Reject(Rejection::new(4100, "no", message))
}

#[tokio::test]
async fn a_line_says_who_decided_what_on_what_grounds() {
    let recorded = recording(None);
    recorded.ask(rejected("not today")).await;
    let lines = recorded.lines().await;
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (&*line.session, &*line.route, line.generation),
        ("s-1", "ingest", 3)
    );
    assert_eq!((&*line.policy, line.effect), ("asks", Effect::Refused));
    let expected = RecordedVerdict::Reject {
        close_code: 4100,
        code: "no".into(),
        message: "not today".into(),
        retryable: false,
        retry_after_ms: None,
        keys_unavailable: false,
    };
    assert_eq!(line.verdict, expected);
    let calls = [
        HostCall::NowMs { answer: 42 },
        HostCall::Verify {
            key_set: "main".into(),
            answer: HostAnswer::Err(TokenError::Expired),
        },
    ];
    assert_eq!(line.calls, calls);
    assert_eq!(
        line.input.headers,
        [("user-agent".to_owned(), "mac".to_owned())]
    );
    assert_eq!(line.input.query, [("source".to_owned(), "mic".to_owned())]);
    assert_eq!(
        line.input.withheld,
        ["query token", "header authorization", "header x-api-key"]
    );
    let handshake = json!({"type": "handshake", "api_token": "[withheld]", "x": "[withheld]"});
    assert_eq!(line.input.handshake, Some(handshake));
}

#[tokio::test]
async fn no_secret_gets_in_by_any_way_and_no_text_is_unescaped() {
    let recorded = recording(None);
    let parts: Vec<&str> = JWT.split('.').collect();
    let message = format!(
        "{JWT} {} {} hush-hush-hush \u{1b}[2J \u{202e}\u{9b}\n",
        parts[1], parts[2]
    );
    recorded.ask(rejected(&message)).await;
    recorded.ask(Verdict::Failed(Failure::Trap(message))).await;
    let text = recorded.text().await;
    for secret in [JWT, parts[1], parts[2], "hush-hush-hush"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(text.lines().count(), 2);
    let printable = |c: char| c == '\n' || (' '..='~').contains(&c);
    assert!(text.chars().all(printable), "{text}");
    recorded.lines().await;
}

#[tokio::test]
async fn what_was_done_about_a_failure_is_in_the_line() {
    let recorded = recording(None);
    recorded.ask(Verdict::Failed(Failure::Quarantined)).await;
    let lines = recorded.lines().await;
    assert_eq!(lines[0].effect, Effect::FailedOpen);
    assert!(
        matches!(&lines[0].verdict, RecordedVerdict::Failed { failure, .. } if failure == "quarantined")
    );
}

#[tokio::test]
async fn a_decision_that_nobody_waits_for_is_recorded_as_that() {
    let recorded = recording(None);
    let registry = Registry::default();
    let guard = session(&registry);
    let mut records = Vec::new();
    let chain = recorded.chain(None);
    let asked = chain.ask(guard.session(), &registry, &Question::Connect, &mut records);
    assert!(asked.now_or_never().is_none());
    let lines = recorded.lines().await;
    assert_eq!(
        (&lines[0].verdict, lines[0].effect),
        (&RecordedVerdict::Abandoned, Effect::None)
    );
    assert_eq!(lines[0].calls.len(), 2);
}

#[tokio::test]
async fn a_full_disk_stops_no_decision() {
    let recorded = recording(Some("/dev/full"));
    for _ in 0..3 {
        recorded.ask(rejected("no")).await;
    }
    recorded.recorder.flush().await;
}

#[tokio::test]
async fn without_a_file_nothing_is_taken_down() {
    let decisions = Decisions {
        file: None,
        max_size: 1,
        max_files: 1,
    };
    let recorder = Recorder::start(&decisions).unwrap();
    let world = Arc::new(Nowhere) as Arc<dyn World>;
    recorder.notes().of(&world).now_ms();
    assert!(recorder.notes().take().calls.is_empty());
    recorder.flush().await;
}
