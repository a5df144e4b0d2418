//! The gateways that the clients meet.

use std::sync::Barrier;

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::handshake;
use sluice_tests::config::Config;
use sluice_tests::eventually;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::tls::Authority;
use tempfile::TempDir;

const GUEST: &str = include_str!("../../../guests/connect.wat");

/// Refuses with 4321, the word "no" and the message "no".
const REFUSES: &str = "(call $drop (local.get 0)) \
    (i32.store16 (i32.const 0) (i32.const 0x6f6e)) \
    (i32.store8 (i32.const 512) (i32.const 1)) \
    (i32.store8 (i32.const 516) (i32.const 1)) \
    (i32.store16 (i32.const 518) (i32.const 4321)) \
    (i32.store (i32.const 520) (i32.const 0)) (i32.store (i32.const 524) (i32.const 2)) \
    (i32.store (i32.const 528) (i32.const 0)) (i32.store (i32.const 532) (i32.const 2)) \
    (i32.const 512)";

pub struct World<'a> {
    pub gateway: Gateway,
    pub authority: Option<&'a Authority>,
    /// Where clients wait for each other, if they do.
    pub together: Barrier,
    /// Connections that stay for as long as it lasts.
    held: Vec<Raw>,
    _files: TempDir,
}

impl<'a> World<'a> {
    /// Where there is a route for every cause that is a client's own.
    pub fn usual(authority: Option<&'a Authority>) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let trap = files.path().join("trap.wasm");
        let component = wat::parse_str(GUEST.replace("BODY", "(unreachable)"));
        std::fs::write(&trap, component.expect("a component")).expect("room for a file");
        let own = files.path().join("own.wasm");
        let component = wat::parse_str(GUEST.replace("BODY", REFUSES));
        std::fs::write(&own, component.expect("a component")).expect("room for a file");
        let config = Config::ingest()
            .set("policies.own", "component", json!(own))
            .set("policies.own", "timeout", json!("2s"))
            .set("policies.trap", "component", json!(trap))
            .set("policies.takeover", "component", json!("builtin:duplicate"))
            .set("policies.takeover", "grants", json!(["sessions"]))
            .set("policies.takeover.config", "mode", json!("takeover"))
            // As of the others: the machine is busier than a gateway may be.
            .set("policies.takeover", "timeout", json!("2s"))
            // All clients here are one user's.
            .set("policies.duplicate.config", "same_user", json!("reject"))
            .set("policies.trap", "timeout", json!("2s"))
            .set("upstreams.fault-open-error", "kind", json!("discard"))
            .set("upstreams.fault-open-panic", "kind", json!("discard"))
            .set("upstreams.fault-ready-error", "kind", json!("discard"));
        let config = route(config, "open", "nowhere", &[]);
        let config = route(config, "auth", "nowhere", &["auth"]);
        let config = route(config, "single", "nowhere", &["auth", "duplicate"]);
        let config = route(config, "takeover", "nowhere", &["auth", "takeover"]);
        let config = route(config, "trap", "nowhere", &["trap"]);
        let config = route(config, "closed", "fault-open-error", &[]);
        let config = route(config, "bug", "fault-open-panic", &[]);
        let config = route(config, "lost", "fault-ready-error", &[]);
        let config = route(config, "strict", "nowhere", &[]).set(
            "routes.strict",
            "on_handshake",
            json!(["sample-rate"]),
        );
        let config = route(config, "limited", "nowhere", &[])
            .set("routes.limited", "rate_attempts", json!(1))
            .set("routes.limited", "rate_per", json!("1h"))
            .set("routes.limited", "rate_key", json!(["param.meeting_id"]));
        let config = route(config, "own", "nowhere", &["own"]);
        let config = route(config, "brief", "nowhere", &[]).set(
            "routes.brief",
            "max_duration",
            json!("500ms"),
        );
        let config = route(config, "late", "nowhere", &[]).set(
            "routes.late",
            "handshake_timeout",
            json!("500ms"),
        );
        let config = route(config, "idle", "nowhere", &[]).set(
            "routes.idle",
            "idle_timeout",
            json!("500ms"),
        );
        let config = route(config, "unfinished", "nowhere", &[]).set(
            "routes.unfinished",
            "message_timeout",
            json!("500ms"),
        );
        let mut world = Self::start(authority, &config, files);
        // What makes the others one too many.
        world.hold(&super::cases::taken());
        world.hold("/limited/m0");
        world
    }

    /// The main job, with all of its timings as they are if nobody sets them.
    pub fn by_default(authority: Option<&'a Authority>) -> Self {
        Self::start(authority, &Config::ingest(), files())
    }

    /// Where all places are taken.
    pub fn overloaded(authority: Option<&'a Authority>) -> Self {
        let config = open().set("server", "max_connections", json!(1));
        let mut world = Self::start(authority, &config, files());
        world.hold("/open/held");
        world
    }

    /// Which is on its way out, and waits for one who stays.
    pub fn draining(authority: Option<&'a Authority>) -> Self {
        let config = open().set("server", "drain_timeout", json!("10min"));
        let mut world = Self::start(authority, &config, files());
        world.hold("/open/held");
        world.gateway.signal(Signal::TERM);
        eventually("newcomers are refused", || {
            let mut newcomer = super::connect(&world);
            newcomer.upgrade("/open/newcomer");
            newcomer.write(&raw::text(&handshake().to_string())).ok()?;
            (newcomer.message()["type"] == "error").then_some(())
        });
        world
    }

    /// Which is told to stop once `clients` stream.
    pub fn ending(authority: Option<&'a Authority>, clients: usize) -> Self {
        let config = open().set("server", "drain_timeout", json!("1ms"));
        let mut world = Self::start(authority, &config, files());
        world.together = Barrier::new(clients);
        world
    }

    /// Which hangs up right behind its Close.
    pub fn hasty(authority: Option<&'a Authority>) -> Self {
        let config = open()
            .set("routes.open", "close_timeout", json!("1ms"))
            .set("routes.open", "max_discard", json!("1B"));
        Self::start(authority, &config, files())
    }

    fn start(authority: Option<&'a Authority>, config: &Config, files: TempDir) -> Self {
        let secure = authority.map(|authority| authority.secure(config.clone()));
        Self {
            gateway: Gateway::start_faulty(secure.as_ref().unwrap_or(config)),
            authority,
            together: Barrier::new(1),
            held: Vec::new(),
            _files: files,
        }
    }

    /// Streams on `path`, and stays.
    fn hold(&mut self, path: &str) {
        let mut peer = super::connect(self);
        peer.upgrade(path);
        peer.write(&raw::text(&handshake().to_string())).unwrap();
        assert_eq!(peer.message()["type"], "handshake-ack");
        self.held.push(peer);
    }
}

fn files() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Where no policy has to be compiled.
fn open() -> Config {
    route(Config::open(), "open", "nowhere", &[])
}

/// `/NAME/{meeting_id}`. What counts here is that the gateway reads on, and
/// not how long a machine that does much else needs to.
fn route(config: Config, name: &str, upstream: &str, policies: &[&str]) -> Config {
    let section = format!("routes.{name}");
    config
        .set(
            &section,
            "paths",
            json!([format!("/{name}/{{meeting_id}}")]),
        )
        .set(&section, "handshake", json!("ingest.v1"))
        .set(&section, "on_connect", json!(policies))
        .set(&section, "upstream", json!(upstream))
        .set(&section, "close_timeout", json!("10min"))
        .set(&section, "write_timeout", json!("10min"))
        .set(&section, "message_timeout", json!("10min"))
        .set(&section, "handshake_timeout", json!("10min"))
        .set(&section, "idle_timeout", json!("10min"))
}
