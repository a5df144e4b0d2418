//! What one decision costs: each built-in policy asked as the gateway asks it,
//! in a fresh instance, beside the native verification of the same token. Warm
//! instances are not measured, as there are none.
//!
//! The host verifies the token in both, so the difference between `auth` and
//! `native-verify` is the price of the sandbox. What is measured is CPU time of
//! the thread, so that it matters less what else the machine does.
//!
//! `language` has one rule in every language: that of the kit's templates,
//! "the tenant is on the operator's list", natively and as the components that
//! the end-to-end tests build. `frames` has what a frame hook costs for fifty
//! messages: metering them, and one look of a policy at them. `list` looks tenants up in lists of
//! ten and of a million entries.

#![allow(
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench that cannot begin has nobody to report to; criterion's macros write no docs"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use base::diagnostics::Diagnostics;
use base::limits::Metering;
use config::Config;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use keys::provider::Providers;
use keys::{KeySet, KeySets};
use policy::component::ComponentPolicy;
use policy::engine::Engine;
use policy::fetch::Fetcher;
use policy::lists::{Entries, Lists};
use policy::load::{self, Parts};
use policy::settings;
use policy::window::{Frame, Kind, Total, Window};
use policy::world::Live;
use policy::{Policy as _, Question, Verdict};
use rustix::time::{ClockId, clock_gettime};
use session::facts::Facts;
use session::registry::{Registry, Session, SessionGuard};
use sluice::token::{self, Bearer};
use tokio::runtime::Runtime;

const CONFIG: &str = concat!(
    include_str!("policies.toml"),
    r#"
[key_sets.main]
secret = "a secret that only this bench knows of"
issuers = ["our-app"]
audiences = ["meetings"]

[policies.watch]
component = "../tests/guests/v0.1.0/silence-or-too-fast.wasm"
grants = ["counters"]

[upstreams.discard]
kind = "discard"

[routes.ingest]
paths = ["/ws/ingest/meetings/{meeting_id}"]
on_connect = ["auth", "duplicate"]
on_handshake = ["sample-rate"]
upstream = "discard"
"#
);

const HANDSHAKE: &str = r#"{"type":"handshake","source":"mic","sample_rate":16000,"channels":1,"codec":"pcm_s16le","device_id":"mac-1","language":"tr","ai_mode":"standard","client":"macclient","version":"1.0.0"}"#;

/// Whom the templates' rule lets in: a short list, and the last one comes.
const TENANTS: [&str; 2] = ["acme", "t-1"];

/// What the gateway has when a connection arrives.
struct Bench {
    runtime: Runtime,
    config: Config,
    parts: Parts,
    registry: Registry,
    keys: Arc<KeySet>,
    token: String,
}

impl Bench {
    fn new() -> Self {
        let (config, mut diagnostics) =
            Config::parse("bench", CONFIG, Path::new(env!("CARGO_MANIFEST_DIR")))
                .expect("it is TOML");
        let key_sets = Arc::new(KeySets::build(
            &config.key_sets,
            &config.data_dir,
            &Providers::default(),
            &mut diagnostics,
        ));
        drop(diagnostics.finish().expect("it has no mistakes"));
        let keys = Arc::clone(key_sets.get("main").expect("it is configured"));
        let token = token::mint(&keys, &Bearer::default(), Duration::from_hours(1))
            .expect("the key set has a secret");
        let registry = Registry::default();
        let parts = Parts {
            engine: Arc::new(Engine::new().expect("there is address space")),
            fetcher: Arc::new(Fetcher::new(
                &config.data_dir,
                &config.credentials,
                &config.realms,
            )),
            world: Arc::new(Live {
                key_sets,
                registry: registry.clone(),
                counters: Arc::default(),
                destinations: policy::destinations::Destinations::default(),
                lists: Lists::default(),
            }),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            runtime,
            config,
            parts,
            registry,
            keys,
            token,
        }
    }

    fn policy(&self, name: &str) -> Arc<ComponentPolicy> {
        self.load(name, &self.config.policies[name])
    }

    fn load(&self, name: &str, policy: &settings::Policy) -> Arc<ComponentPolicy> {
        let mut diagnostics = Diagnostics::default();
        let loading = load::policy(name, policy, &self.parts, &mut diagnostics);
        let loaded = self.runtime.block_on(loading);
        Arc::new(loaded.unwrap_or_else(|| panic!("{name} does not load: {diagnostics}")))
    }

    /// The policy that a project made by the kit is, if its component is there.
    fn of_the_kit(&self, project: &str) -> Option<Arc<ComponentPolicy>> {
        // Benches are run from target/<profile>/deps.
        let bench = std::env::current_exe().expect("a bench knows where it is");
        let target = bench.ancestors().nth(3).expect("cargo's target directory");
        let component = target.join(format!("kit/{project}/mine/build/mine.wasm"));
        if !component.is_file() {
            eprintln!(
                "skipped: {} is not built; \"cargo test -p sluice-tests --test e2e kit::a_new\" builds it",
                component.display()
            );
            return None;
        }
        // Granted nothing, like the built-in policy that is granted nothing.
        let settings = settings::Policy {
            component: settings::Component::File(component),
            config: [("tenants".to_owned(), TENANTS.as_slice().into())].into(),
            ..self.config.policies["sample-rate"].clone()
        };
        Some(self.load(project, &settings))
    }

    /// A connection with ten headers, as a policy sees it.
    fn session(&self) -> SessionGuard {
        let bearer = format!("Bearer {}", self.token);
        let headers: HeaderMap = [
            ("host", "gateway.example.org"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("authorization", bearer.as_str()),
            (
                "user-agent",
                "MeetingApp/1 CFNetwork/1492.0.1 Darwin/23.3.0",
            ),
            ("accept", "*/*"),
            ("accept-language", "en-US,en;q=0.9"),
            ("accept-encoding", "gzip, deflate"),
        ]
        .into_iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value).expect("a header value");
            (HeaderName::from_static(name), value)
        })
        .collect();
        let mut facts = Facts::new(
            "0199-bench".into(),
            "ingest".into(),
            &Uri::from_static("/ws/ingest/meetings/m1?source=mic"),
            vec![("meeting_id".to_owned(), "m1".to_owned())],
            headers,
            ([127, 0, 0, 1], 50_000).into(),
        );
        facts.normalise_source().expect("mic is a source");
        SessionGuard::new(facts, self.registry.clone())
    }
}

/// CPU time of the thread, user and system.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(now).expect("CPU time is never negative")
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Audio at its own pace.
fn window() -> Window {
    let frames = (0..50).map(|n| Frame {
        kind: Kind::Binary,
        size: 3200,
        at_us: n * 100_000,
    });
    Window {
        length: Duration::from_secs(5),
        binary: Total {
            count: 50,
            bytes: 160_000,
        },
        frames: frames.collect(),
        ..Window::default()
    }
}

/// The rule of the kit's templates.
fn admits(session: &Session, tenants: &[String]) -> bool {
    let tenant = session.facts.attribute("auth.tenant_id");
    tenant.is_some_and(|tenant| tenants.contains(&tenant))
}

fn languages(criterion: &mut Criterion<CpuTime>) {
    let bench = Bench::new();
    let connection = bench.session();
    let session = connection.session();
    session
        .facts
        .set_attribute("auth", "tenant_id", TENANTS[1].to_owned())
        .expect("there is room");
    let mut group = criterion.benchmark_group("language");
    let tenants = TENANTS.map(str::to_owned);
    group.bench_function("native", |bencher| {
        bencher.iter(|| assert!(admits(black_box(session), black_box(&tenants))));
    });
    for (name, project) in [
        ("rust", "rust"),
        ("javascript", "JavaScript"),
        ("python", "Python"),
    ] {
        let Some(policy) = bench.of_the_kit(project) else {
            continue;
        };
        group.bench_function(name, |bencher| {
            bencher.to_async(&bench.runtime).iter(async || {
                let answer = policy.ask(session, &Question::Connect).await;
                assert_eq!(answer, Verdict::Accept);
            });
        });
    }
    group.finish();
}

fn frames(criterion: &mut Criterion<CpuTime>) {
    let bench = Bench::new();
    let policy = bench.policy("watch");
    let connection = bench.session();
    let metered = || {
        let mut window = Window::default();
        let began = tokio::time::Instant::now();
        for _ in 0..50 {
            // As the gateway keeps them unless it is told otherwise.
            window.saw(
                Kind::Binary,
                3200,
                began.elapsed(),
                Metering::default().frames,
            );
        }
        window
    };
    let mut group = criterion.benchmark_group("frames");
    group.bench_function("fifty-metered", |bencher| bencher.iter(metered));
    group.bench_function("fifty-metered-and-looked-at", |bencher| {
        bencher.to_async(&bench.runtime).iter(async || {
            let window = Window {
                length: Duration::from_secs(5),
                ..metered()
            };
            let question = Question::Frames(Arc::new(window));
            let answer = policy.ask(connection.session(), &question).await;
            assert_eq!(answer, Verdict::Accept);
        });
    });
    group.finish();
}

/// A list of so many tenants.
fn list(entries: u32) -> Lists {
    let entries = (0..entries).map(|number| format!("tenant-{number}").into());
    let entries = Entries::of(&serde_json::Value::Array(entries.collect()));
    Lists::of([("tenants".to_owned(), entries.expect("texts"))])
}

fn lists(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("list");
    for (name, entries) in [("ten-entries", 10), ("a-million-entries", 1_000_000)] {
        let lists = list(entries);
        // Others each time: the same one would stay in the processor's cache.
        let keys: Vec<_> = (0..4096)
            .map(|n| format!("tenant-{}", n * 199 % entries))
            .collect();
        let mut keys = keys.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| lists.contains("tenants", keys.next().expect("a cycle")));
        });
    }
    group.finish();
}

fn decisions(criterion: &mut Criterion<CpuTime>) {
    let bench = Bench::new();
    let mut group = criterion.benchmark_group("decision");
    group.bench_function("native-verify", |bencher| {
        bencher.iter(|| black_box(bench.keys.verify(black_box(&bench.token))).expect("valid"));
    });
    // Asked once for each window of a stream, with the last 64 of its messages:
    // at ten messages a second and 5 s, for each fifty of them.
    let questions = [
        ("auth", Question::Connect),
        ("duplicate", Question::Connect),
        ("sample-rate", Question::Handshake(HANDSHAKE.into())),
        ("watch", Question::Frames(Arc::new(window()))),
    ];
    for (name, question) in questions {
        let policy = bench.policy(name);
        // A claim is re-entrant, so one connection can be asked about for ever.
        let connection = bench.session();
        group.bench_function(name, |bencher| {
            bencher.to_async(&bench.runtime).iter(async || {
                let answer = policy.ask(connection.session(), &question).await;
                assert_eq!(answer, Verdict::Accept);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = decisions, languages, frames, lists
}
criterion_main!(benches);
