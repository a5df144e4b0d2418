//! Backends whose names nobody resolves.

use std::net::UdpSocket;

use serde_json::json;
use sluice_tests::client::{Client, Event, Library, handshake};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::machine::{can, with_mounts};
use sluice_tests::raw::{self, Raw};

/// More than the threads that a runtime has for what blocks.
const STREAMS: usize = 600;

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
    let config = Config::open()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("upstreams.far", "kind", json!("websocket"))
        .set(
            "upstreams.far",
            "url",
            json!("ws://backend.sluice-test.example:9/"),
        )
        .set("upstreams.recordings", "kind", json!("wav"))
        .set("routes.ingest", "upstream", json!("recordings"))
        .set("routes.far", "paths", json!(["/far"]))
        .set("routes.far", "handshake", json!("none"))
        .set("routes.far", "admission_timeout", json!("30s"))
        .set("routes.far", "upstream", json!("far"));
    let gateway = Gateway::start_as(&config, |command| {
        let script = "mkdir -p \"$DATA\"; \
            printf 'nameserver 127.83.11.7\\noptions timeout:20 attempts:5\\n' >\"$DATA/resolv.conf\"; \
            mount --bind \"$DATA/resolv.conf\" /etc/resolv.conf";
        with_mounts(&command, script)
    });
    let mut waiting: Vec<_> = (0..STREAMS)
        .map(|_| {
            let mut peer = Raw::connect(gateway.address());
            peer.upgrade("/far");
            peer
        })
        .collect();
    // It was asked, and the streams do wait for it.
    server
        .set_read_timeout(Some(sluice_tests::DEADLINE))
        .unwrap();
    server.recv(&mut [0; 512]).expect("a question");
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    echo.text("still here");
    assert_eq!(echo.event(), Event::Text("still here".to_owned()));
    assert_eq!(gateway.admin("GET /livez").0, 200);
    // Disks and reloads have threads of their own.
    let mut recorded = Raw::connect(gateway.address());
    recorded.upgrade("/ingest/m1");
    recorded
        .write(&raw::text(&handshake().to_string()))
        .unwrap();
    assert_eq!(recorded.message()["status"], "ready");
    assert_eq!(gateway.admin("POST /reload").0, 200);
    for peer in &mut waiting {
        let refused = peer.message();
        assert_eq!(refused["code"], "upstream_unavailable", "{refused}");
    }
    assert_eq!(gateway.metric("sluice_worker_stalls_total"), 0.0);
}
