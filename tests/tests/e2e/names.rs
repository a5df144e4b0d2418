//! Backends whose names nobody resolves.

use std::collections::BTreeSet;
use std::net::UdpSocket;

use serde_json::json;
use sluice_tests::backend::Backend;
use sluice_tests::client::{Client, Event, Library, handshake};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::machine::{can, with_mounts};
use sluice_tests::raw::{self, Raw};

/// Names that are asked for at once: more than a runtime has threads for what blocks.
const NAMES: usize = 600;
/// Lookups that are under way at once at the least: these threads do nothing else.
const LOOKUPS: usize = 64;

#[test]
fn a_name_server_that_never_answers_holds_up_only_the_streams_that_need_it() {
    // It takes questions, and answers none.
    let Ok(server) = UdpSocket::bind("127.83.11.7:53") else {
        // Says why.
        can("listen as a name server (it needs root)", "exit 1");
        return;
    };
    if !can(
        "replace resolv.conf for one process (it needs root)",
        "mount --bind /dev/null /etc/resolv.conf",
    ) {
        return;
    }
    let backend = Backend::start(Library::Ws);
    let config = Config::open()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("upstreams.recordings", "kind", json!("wav"))
        .set("routes.ingest", "upstream", json!("recordings"))
        .set("upstreams.near", "kind", json!("websocket"))
        .set(
            "upstreams.near",
            "url",
            json!(format!("ws://{}/", backend.address())),
        )
        .set("routes.near", "paths", json!(["/near"]))
        .set("routes.near", "handshake", json!("none"))
        .set("routes.near", "upstream", json!("near"));
    // Each has a name of its own: a name is looked up once, however many streams wait for it.
    let config = (0..NAMES).fold(config, |config, n| {
        let (upstream, route) = (format!("upstreams.far{n}"), format!("routes.far{n}"));
        let url = format!("ws://backend{n}.sluice-test.example:9/");
        config
            .set(&upstream, "kind", json!("websocket"))
            .set(&upstream, "url", json!(url))
            .set(&route, "paths", json!([format!("/far{n}")]))
            .set(&route, "handshake", json!("none"))
            .set(&route, "admission_timeout", json!("30s"))
            .set(&route, "upstream", json!(format!("far{n}")))
    });
    let gateway = Gateway::start_as(&config, |command| {
        let script = "mkdir -p \"$DATA\"; \
            printf 'nameserver 127.83.11.7\\noptions timeout:30 attempts:5\\n' >\"$DATA/resolv.conf\"; \
            mount --bind \"$DATA/resolv.conf\" /etc/resolv.conf";
        with_mounts(&command, script)
    });
    let mut waiting: Vec<_> = (0..NAMES)
        .map(|n| {
            let mut peer = Raw::connect(gateway.address());
            peer.upgrade(&format!("/far{n}"));
            peer
        })
        .collect();
    // However long a stream waits for its name, the thread that asks for it waits longer.
    server
        .set_read_timeout(Some(sluice_tests::DEADLINE))
        .unwrap();
    let mut asked = BTreeSet::new();
    while asked.len() < LOOKUPS {
        let mut question = [0; 512];
        let length = server.recv(&mut question).expect("a question");
        // Behind the header, the name begins with the length of its first label.
        let label = usize::from(question[12]);
        assert!(length > 13 + label);
        asked.insert(question[13..13 + label].to_vec());
    }
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    echo.text("still here");
    assert_eq!(echo.event(), Event::Text("still here".to_owned()));
    assert_eq!(gateway.admin("GET /livez").0, 200);
    // Disks, reloads, and backends that have an address, wait for no name.
    let mut recorded = Raw::connect(gateway.address());
    recorded.upgrade("/ingest/m1");
    recorded
        .write(&raw::text(&handshake().to_string()))
        .unwrap();
    assert_eq!(recorded.message()["status"], "ready");
    recorded.write(&raw::binary(&[1; 3200])).unwrap();
    recorded
        .write(&raw::text(r#"{"type":"finalize"}"#))
        .unwrap();
    assert_eq!(recorded.message()["bytes"], 3200);
    let mut near = Raw::connect(gateway.address());
    near.upgrade("/near");
    backend.event("open");
    assert_eq!(gateway.admin("POST /reload").0, 200);
    for peer in &mut waiting {
        let refused = peer.message();
        assert_eq!(refused["code"], "upstream_unavailable", "{refused}");
    }
    assert_eq!(gateway.metric("sluice_worker_stalls_total"), 0.0);
}
