//! Guests that misbehave. Each is a component in the text format, around one
//! body of `decide`.

use std::path::PathBuf;

use super::*;
use crate::Chain;
use crate::ChainRefusal;
use crate::destinations::Destinations;
use crate::fetch::Fetcher;
use crate::fetch::credentials::Credentials;
use crate::lists::Lists;
use crate::load::{self, Parts};
use crate::settings;
use crate::settings::Quarantine;
use crate::world::Live;
use base::diagnostics::{Diagnostics, Place};
use session::registry::Registry;
use session::testing::start;

mod references;
mod wasi;

/// A component whose `on-connect` runs `body`; `more` goes into its core
/// module. It can write to the log.
fn guest(body: &str, more: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
  (import "sluice:policy/types@0.1.0" (instance $types
    (type $r (record (field "close-code" (option u16)) (field "code" string) (field "message" string)
      (field "retryable" bool) (field "retry-after-ms" (option u32))))
    (export "rejection" (type $rejection (eq $r)))
    (type $d (variant (case "accept") (case "reject" $rejection)))
    (export "decision" (type (eq $d)))))
  (import "sluice:policy/connection@0.1.0" (instance $connection (export "facts" (type (sub resource)))))
  (import "sluice:policy/log@0.1.0" (instance $log
    (type $l (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "write" (func (param "level" $level) (param "message" string)))))
  (alias export $types "decision" (type $decision))
  (alias export $connection "facts" (type $facts))
  (core module $memory-of (memory (export "memory") 1))
  (core instance $memory (instantiate $memory-of))
  (core func $drop (canon resource.drop $facts))
  (core func $write (canon lower (func $log "write") (memory (core memory $memory "memory"))))
  (core module $guest
    (import "host" "memory" (memory 1))
    (import "host" "write" (func $write (param i32 i32 i32)))
    (import "host" "drop" (func $drop (param i32)))
    (func (export "decide") (param i32) (result i32) {body})
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
    {more})
  (core instance $core (instantiate $guest (with "host" (instance
    (export "memory" (memory $memory "memory"))
    (export "write" (func $write))
    (export "drop" (func $drop))))))
  (func $decide (param "c" (borrow $facts)) (result $decision)
    (canon lift (core func $core "decide") (memory (core memory $memory "memory")) (realloc (core func $core "realloc"))))
  (instance $hook (export "decide" (func $decide)))
  (export "sluice:policy/on-connect@0.1.0" (instance $hook)))"#
    );
    wat::parse_str(text).unwrap()
}

struct Loaded {
    policy: Option<Arc<ComponentPolicy>>,
    report: String,
    registry: Registry,
    folder: tempfile::TempDir,
}

fn settings(file: PathBuf) -> settings::Policy {
    settings::Policy {
        component: settings::Component::File(file),
        sha256: None,
        trial: None,
        quarantine: Quarantine {
            after: 1000,
            lasts: Duration::ZERO,
        },
        grants: vec![],
        destinations: vec![],
        wasi: settings::Wasi::None,
        on_failure: OnFailure::Closed,
        limits: PolicyLimits {
            max_memory: 1 << 20,
            hostcall_fuel: 64 << 10,
            ..PolicyLimits::default()
        },
        config: [].into(),
        secrets: [].into(),
        tenants: settings::Tenants::default(),
        place: Place::nowhere(),
        component_place: Place::nowhere(),
        grants_place: Place::nowhere(),
        destinations_place: Place::nowhere(),
        config_place: Place::nowhere(),
        signatures: crate::signature::Signatures::NotAsked,
        config_places: [].into(),
        value_places: [].into(),
    }
}

async fn load(bytes: &[u8]) -> Loaded {
    load_with(bytes, settings::Wasi::None).await
}

async fn load_with(bytes: &[u8], wasi: settings::Wasi) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guest.wasm");
    std::fs::write(&file, bytes).unwrap();
    let registry = Registry::default();
    let parts = Parts {
        engine: Arc::new(Engine::new().unwrap()),
        fetcher: Arc::new(Fetcher::new(folder.path(), &Credentials::default(), &[])),
        world: Arc::new(Live {
            key_sets: Arc::default(),
            registry: registry.clone(),
            counters: Arc::default(),
            lists: Lists::default(),
            destinations: Destinations::default(),
        }),
    };
    let mut diagnostics = Diagnostics::default();
    let settings = settings::Policy {
        wasi,
        ..settings(file)
    };
    let policy = load::policy("p", &settings, &parts, &mut diagnostics).await;
    let policy = policy.map(Arc::new);
    let report = diagnostics.to_string();
    Loaded {
        policy,
        report,
        registry,
        folder,
    }
}

async fn ask(body: &str, more: &str) -> Verdict {
    let Loaded {
        policy,
        report,
        registry,
        folder: _folder,
    } = load(&guest(body, more)).await;
    let policy = policy.expect(&report);
    let guard = start(&registry, "s");
    policy.ask(guard.session(), &Question::Connect).await
}

#[tokio::test]
async fn a_guest_that_answers_is_believed() {
    assert_eq!(
        ask("(call $drop (local.get 0)) (i32.const 0)", "").await,
        Verdict::Accept
    );
}

#[tokio::test]
async fn a_trap_is_a_failure_and_no_denial() {
    assert!(matches!(
        ask("(unreachable)", "").await,
        Verdict::Failed(Failure::Trap(_))
    ));
}

#[tokio::test]
async fn deep_recursion_traps() {
    let recursion = "(func $down (call $down) (call $down))";
    assert!(matches!(
        ask("(call $down) (i32.const 0)", recursion).await,
        Verdict::Failed(Failure::Trap(_))
    ));
}

#[tokio::test]
async fn a_loop_runs_out_of_time() {
    assert_eq!(
        ask("(loop (br 0)) (i32.const 0)", "").await,
        Verdict::Failed(Failure::Limit(Limit::Time(Duration::from_millis(50))))
    );
}

#[tokio::test]
async fn what_cannot_start_does_not_load() {
    let start = "(func $start (loop (br 0))) (start $start)";
    let Loaded { policy, report, .. } = load(&guest("(i32.const 0)", start)).await;
    assert!(policy.is_none());
    assert!(
        report.contains("exceeded its limit of time (2s,"),
        "{report}"
    );
}

#[tokio::test]
async fn growing_memory_past_the_limit_is_its_own_failure() {
    let body = "(drop (memory.grow (i32.const 100))) (i32.const 0)";
    assert_eq!(
        ask(body, "").await,
        Verdict::Failed(Failure::Limit(Limit::Memory(1 << 20)))
    );
}

#[tokio::test]
async fn growing_tables_past_the_limit_is_its_own_failure() {
    let body = "(drop (table.grow (ref.null func) (i32.const 100000))) (i32.const 0)";
    let table = "(table 1 funcref)";
    assert_eq!(
        ask(body, table).await,
        Verdict::Failed(Failure::Limit(Limit::Table(64 * 1024)))
    );
}

#[tokio::test]
async fn a_giant_string_is_stopped_before_it_is_copied() {
    let body = "(drop (memory.grow (i32.const 10))) (call $write (i32.const 1) (i32.const 0) (i32.const 500000)) (i32.const 0)";
    assert_eq!(
        ask(body, "").await,
        Verdict::Failed(Failure::Limit(Limit::HostcallFuel(64 << 10)))
    );
}

#[tokio::test]
async fn an_invalid_enum_or_an_answer_out_of_bounds_traps() {
    let body = "(call $write (i32.const 77) (i32.const 0) (i32.const 0)) (i32.const 0)";
    assert!(matches!(
        ask(body, "").await,
        Verdict::Failed(Failure::Trap(_))
    ));
    assert!(matches!(
        ask("(i32.const -4)", "").await,
        Verdict::Failed(Failure::Trap(_))
    ));
}

#[tokio::test]
async fn a_guest_that_loops_leaves_its_neighbours_on_the_thread_their_turns() {
    let Loaded {
        policy,
        report,
        registry,
        folder: _folder,
    } = load(&guest("(loop (br 0)) (i32.const 0)", "")).await;
    let policy = policy.expect(&report);
    let guard = start(&registry, "s");
    let mut polls = 0u32;
    let neighbour = async {
        loop {
            polls += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        answer = policy.ask(guard.session(), &Question::Connect) => {
            assert!(matches!(answer, Verdict::Failed(_)));
        }
        () = neighbour => {}
    }
    assert!(polls > 2, "{polls}");
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_its_slot_free() {
    let Loaded {
        policy,
        report,
        registry,
        folder: _folder,
    } = load(&guest("(loop (br 0)) (i32.const 0)", "")).await;
    let policy = policy.expect(&report);
    let guard = start(&registry, "s");
    for _ in 0..300 {
        let call = policy.ask(guard.session(), &Question::Connect);
        assert!(futures_util::poll!(std::pin::pin!(call)).is_pending());
    }
    assert_eq!(
        policy.ask(guard.session(), &Question::Connect).await,
        Verdict::Failed(Failure::Limit(Limit::Time(Duration::from_millis(50))))
    );
}

/// A log that is broken: whatever is written panics.
struct BrokenLog;

impl tracing::Subscriber for BrokenLog {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "sluice::guest"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        panic!("the log is broken");
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_panic_in_a_host_import_passes_through_the_guest_and_leaves_its_slot_free() {
    let body = "(call $write (i32.const 3) (i32.const 0) (i32.const 4))
                (call $drop (local.get 0)) (i32.const 0)";
    let Loaded {
        policy,
        report,
        registry,
        folder: _folder,
    } = load(&guest(body, "")).await;
    let policy = policy.expect(&report);
    let guard = start(&registry, "s");
    for _ in 0..300 {
        let _broken = tracing::subscriber::set_default(BrokenLog);
        let call = policy.ask(guard.session(), &Question::Connect);
        let panic = std::panic::AssertUnwindSafe(call).catch_unwind().await;
        assert_eq!(
            panic.unwrap_err().downcast_ref(),
            Some(&"the log is broken")
        );
    }
    assert_eq!(
        policy.ask(guard.session(), &Question::Connect).await,
        Verdict::Accept
    );
}

#[tokio::test]
async fn memory_of_an_earlier_call_is_never_seen() {
    // Accepts only while the byte that it then writes is still zero.
    let body = "(if (i32.load8_u (i32.const 4096)) (then (unreachable)))
                (i32.store8 (i32.const 4096) (i32.const 1)) (call $drop (local.get 0)) (i32.const 0)";
    let Loaded {
        policy,
        report,
        registry,
        folder: _folder,
    } = load(&guest(body, "")).await;
    let policy = policy.expect(&report);
    let guard = start(&registry, "s");
    for _ in 0..10 {
        assert_eq!(
            policy.ask(guard.session(), &Question::Connect).await,
            Verdict::Accept
        );
    }
}

#[tokio::test]
async fn a_failing_policy_refuses_in_a_chain_with_its_name() {
    let Loaded {
        policy,
        report,
        registry,
        folder: _folder,
    } = load(&guest("(unreachable)", "")).await;
    let chain = Chain::new(vec![policy.expect(&report)]);
    let guard = start(&registry, "s");
    let mut records = Vec::new();
    let answer = chain
        .ask(guard.session(), &registry, &Question::Connect, &mut records)
        .await;
    assert!(matches!(
        answer,
        Err(ChainRefusal::Failed(Failure::Trap(_)))
    ));
    assert!(
        matches!(&records[..], [record] if &*record.policy == "p" && matches!(record.verdict, Some(Verdict::Failed(_))))
    );
}

#[tokio::test]
async fn what_is_no_policy_does_not_load_and_the_report_says_why() {
    let import = |name: &str| {
        wat::parse_str(format!(r#"(component (import "{name}" (instance)))"#)).unwrap()
    };
    // All that is missing stands in the one line that is to be written.
    let two = r#"(component (import "sluice:policy/jwt@0.1.0" (instance))
                            (import "sluice:policy/counters@0.1.0" (instance)))"#;
    let cases = [
        (
            wat::parse_str(two).unwrap(),
            "grants = [\"jwt\", \"counters\"]",
        ),
        (b"not wasm".to_vec(), "does not load"),
        (
            wat::parse_str("(module)").unwrap(),
            "core WebAssembly module",
        ),
        (wat::parse_str("(component)").unwrap(), "has no hook"),
        (import("sluice:policy/jwt@0.1.0"), "grants = [\"jwt\"]"),
        (
            import("sluice:policy/counters@0.1.0"),
            "grants = [\"counters\"]",
        ),
        (
            import("sluice:policy/payload@0.1.0"),
            "grants = [\"payload\"]",
        ),
        (
            import("wasi:cli/environment@0.2.0"),
            "imports wasi:cli/environment@0.2.0, which it is not given",
        ),
        (import("sluice:policy/future@0.1.0"), "does not offer"),
        (import("sluice:policy/log@9.0.0"), "does not offer"),
    ];
    for (bytes, expected) in cases {
        let Loaded { policy, report, .. } = load(&bytes).await;
        assert!(policy.is_none());
        // The report is folded to a width.
        let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(report.contains(expected), "{report}");
    }
}
