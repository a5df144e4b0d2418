//! Plays a schedule against a gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::policy::OnFailure;
use ::policy::{Chain, Policy};
use ::upstream::Upstream;
use base::limits::{Limits, Metering};
use gateway::routes::{Gateway, Generation, Route, Routes};
use gateway::socket::accept::Arrival;
use session::handshake::HandshakeMode;
use session::origin::{Origins, Security};
use session::rate_limit::{Allowance, AttemptLimit, KeyPart};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::schedule::{Schedule, millis};
use super::trace::{Entry, Event, Stage};
use super::world::{FIRST_PORT, World};
use super::{client, pipe, policy, upstream};

/// What is kept of a window's messages.
pub const FRAMES: usize = 8;
pub const PAYLOAD: usize = 500;

/// How long a client may take to send its request's head.
pub const HEAD: Duration = Duration::from_secs(5);
/// After the gateway was told to close everything: the longest seal, write and
/// close, and some.
const LAST: Duration = Duration::from_secs(100);

/// What came of a schedule.
pub struct Report {
    pub schedule: Schedule,
    pub entries: Vec<Entry>,
    /// What was seen to be wrong while it ran.
    pub faults: Vec<String>,
}

pub fn play(schedule: Schedule) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(drive(schedule))
}

async fn drive(schedule: Schedule) -> Report {
    let world = Arc::new(World::new(schedule));
    let schedule = &world.schedule;
    let gateway = gateway(&world);
    let began = Instant::now();
    let mut clients = JoinSet::new();
    let closes = began + millis(schedule.close_at);
    for (me, plan) in schedule.connections.iter().enumerate() {
        let (world, gateway) = (Arc::clone(&world), Arc::clone(&gateway));
        let start = began + millis(plan.start);
        clients.spawn(async move {
            sleep_until(start).await;
            if start >= closes {
                return;
            }
            let plan = &world.schedule.connections[me];
            let (host, client) = pipe::pipe(&world, me);
            let arrival = Arrival {
                remote: SocketAddr::from((plan.address, FIRST_PORT + me as u16)),
                security: Security::Plain,
                certificate: None,
            };
            let permit = gateway.permits.grant(gateway.permits.socket().await);
            let got_place = Event::GotPlace(permit.place.is_some());
            world.trace.record(me, got_place);
            let deadline = Instant::now() + HEAD;
            let shared = Arc::clone(&gateway);
            let http = gateway::server::speak_http(host, arrival, permit, shared, deadline);
            gateway.tasks.spawn(http);
            client::play(world, me, client).await;
        });
    }
    if let Some(at) = schedule.drain_at {
        sleep_until(began + millis(at)).await;
        gateway.shutdown.drain();
    }
    sleep_until(closes).await;
    gateway.shutdown.close();
    gateway.tasks.close();
    if timeout(LAST, gateway.tasks.wait()).await.is_err() {
        world
            .trace
            .fault(0, "tasks have not ended long after the gateway closed");
    }
    // The clock moves only when every client has read what it was left.
    sleep(Duration::from_millis(1)).await;
    check(&world, &gateway);
    let (entries, faults) = world.trace.take();
    Report {
        schedule: schedule.clone(),
        entries,
        faults,
    }
}

/// What must be so when all is over.
fn check(world: &World, gateway: &Gateway) {
    if !gateway.registry.is_empty() {
        let left = format!("{} claims were not released", gateway.registry.len());
        world.trace.fault(0, left);
    }
    let (places, sockets) = (world.free_places(), world.free_sockets());
    if places < world.schedule.places || sockets < places + world.schedule.connections.len() {
        let left = format!("only {places} places and {sockets} sockets are free again");
        world.trace.fault(0, left);
    }
    for token in world.tokens() {
        if gateway.parking.find(&token).is_some() {
            world.trace.fault(0, "a token still leads to a stream");
        }
    }
    for me in world.sessions_alive() {
        world.trace.fault(me, "somebody still holds the session");
    }
    let (dropped, panics) = (gateway.defects.connections_dropped(), world.trace.panics());
    if dropped != panics {
        let what = format!("{dropped} connections were dropped, and {panics} panicked");
        world.trace.fault(0, what);
    }
    for (me, torn) in world.torn().into_iter().enumerate() {
        if torn {
            world.trace.record(me, Event::Torn);
        }
    }
}

fn gateway(world: &Arc<World>) -> Arc<Gateway> {
    let policy = |stage, index, name: &str, on_failure| -> Arc<dyn Policy> {
        Arc::new(policy::Scripted {
            world: Arc::clone(world),
            stage,
            index,
            name: name.into(),
            on_failure,
        })
    };
    let limits = Arc::new(world.schedule.bounds.limits());
    let route = |name: &str, handshake, attempts| {
        let upstream: Arc<dyn Upstream> = Arc::new(upstream::Scripted(Arc::clone(world)));
        Arc::new(Route {
            name: name.into(),
            handshake,
            on_connect: Chain::new(vec![
                policy(Stage::Connect, 0, "first", OnFailure::Closed),
                policy(Stage::Connect, 1, "second", OnFailure::Open),
            ]),
            on_handshake: Chain::new(vec![policy(
                Stage::Handshake,
                0,
                "third",
                OnFailure::Closed,
            )]),
            on_frames: Chain::new(vec![policy(Stage::Frames, 0, "watcher", OnFailure::Closed)]),
            on_close: Chain::new(vec![
                policy(Stage::Close, 0, "listener", OnFailure::Closed),
                policy(Stage::Close, 1, "another", OnFailure::Closed),
            ]),
            metering: Metering {
                frames: FRAMES,
                payload: PAYLOAD,
                ..Metering::default()
            },
            identified_by: ["first".to_owned()].into(),
            renews: false,
            upstream,
            limits: Arc::clone(&limits),
            origins: Origins::new(vec!["https://our.example".parse().unwrap()]),
            subprotocols: Vec::new(),
            attempts,
        })
    };
    let mut routes = Routes::default();
    let attempts = world.schedule.attempts.map(|attempts| {
        Arc::new(AttemptLimit::new(&Allowance {
            attempts: attempts.try_into().unwrap(),
            per: Duration::from_hours(24),
            key: vec![KeyPart::Remote],
        }))
    });
    let ingest = route("ingest", HandshakeMode::IngestV1, attempts);
    routes.insert("/ingest/{n}", ingest).unwrap();
    let raw = route("raw", HandshakeMode::None, None);
    routes.insert("/raw/{n}", raw).unwrap();
    let generation = Generation {
        policies: Default::default(),
        number: 1,
        routes,
        upstreams: Vec::new(),
        folders: std::collections::BTreeSet::new(),
    };
    Arc::new(Gateway {
        generation: Arc::new(generation).into(),
        default_limits: Arc::new(Limits::default()),
        permits: world.permits.clone(),
        proxies: wire::proxies::Proxies::default(),
        registry: world.registry.clone(),
        connections: std::sync::Arc::default(),
        refusals: gateway::refusals::Refusals::default(),
        revocations: gateway::revocations::Revocations::default(),
        tracer: std::sync::OnceLock::new(),
        parking: gateway::parking::Parking::new(world.schedule.parking, world.schedule.per_client),
        tasks: tokio_util::task::TaskTracker::new(),
        shutdown: base::shutdown::Shutdown::default(),
        defects: gateway::routes::Defects::default(),
    })
}
