//! A client that stops as the deployed Mac app does at its worst: it sends everything, finalizes,
//! and closes its socket with unread input, so that the kernel resets the connection.

use serde_json::json;
use sluice_tests::backend::{Backend, relaying, sha256};
use sluice_tests::client::{Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, read_wav};
use sluice_tests::{eventually, token};

const STOPS: usize = 40;

/// Whether the client waits for what the gateway says before it stops.
#[derive(Clone, Copy)]
enum Ack {
    /// Everything is sent at once.
    NotAwaited,
    /// The ack has arrived, and stays unread.
    Unread,
}

/// Sends a whole stream and resets the connection once the gateway's kernel has all of it.
fn stop(gateway: &Gateway, meeting_id: &str, pcm: &[u8], ack: Ack) {
    let mut client = Raw::connect(gateway.address());
    client.upgrade(&meeting(meeting_id, "mic", &token::good()));
    let handshake = raw::text(&handshake().to_string());
    // The gateway stands still meanwhile, so that it finds the reset behind everything else.
    let still = match ack {
        Ack::NotAwaited => {
            let still = gateway.stand_still();
            client.write(&handshake).unwrap();
            still
        }
        Ack::Unread => {
            client.write(&handshake).unwrap();
            client.wait_for_input();
            gateway.stand_still()
        }
    };
    // More messages than the gateway takes at once. Each ping is something to write to a client
    // that is gone.
    for chunk in pcm.chunks(160) {
        let both = [raw::binary(chunk), raw::text(r#"{"type":"ping"}"#)].concat();
        client.write(&both).unwrap();
    }
    client.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    client.wait_until_sent();
    client.reset();
    drop(still);
}

fn audio() -> Vec<u8> {
    speech::long_clip().pcm[..48_000].to_vec()
}

#[test]
fn a_recording_has_all_that_had_arrived_before_the_reset() {
    let gateway = Gateway::start(&Config::ingest());
    let pcm = audio();
    for number in 0..STOPS {
        let ack = [Ack::NotAwaited, Ack::Unread][number % 2];
        stop(&gateway, &format!("m{number}"), &pcm, ack);
    }
    eventually("the recordings of all stops", || {
        let recordings = gateway.recordings();
        let whole = |path: &std::path::PathBuf| read_wav(path).1 == pcm;
        (recordings.len() == STOPS && recordings.iter().all(whole)).then_some(())
    });
}

#[test]
fn a_backend_gets_all_that_had_arrived_before_the_reset() {
    let backend = Backend::start(Library::Websockets);
    let gateway = Gateway::start(&relaying(backend.address()));
    let pcm = audio();
    for number in 0..STOPS {
        let ack = [Ack::NotAwaited, Ack::Unread][number % 2];
        stop(&gateway, &format!("m{number}"), &pcm, ack);
    }
    let hash = sha256(&pcm);
    eventually("the ends of all stops", || {
        let ends = backend.events("end");
        let whole =
            |end: &serde_json::Value| end["sha256"] == json!(hash) && end["reason"] == "finalized";
        (ends.iter().filter(|end| whole(end)).count() == STOPS).then_some(())
    });
}
