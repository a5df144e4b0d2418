//! The incident that Sluice was made for: a server that hung up before it
//! explained, or explained and never hung up. Each row of its plan, with both
//! clients: the upgrade succeeds, the error frame comes, the Close follows.

use serde_json::{Value, json};
use sluice_tests::client::{Client, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{token, with_both_clients};

with_both_clients! {
    fn every_refusal_of_the_plan_is_explained_and_closed(library) {
        let gateway = Gateway::start(&Config::ingest().limit("handshake_timeout", "2s"));
        let good = meeting("m1", "mic", &token::good());
        let other = meeting("m2", "mic", &token::good());
        let mut active = Client::connect(library, &gateway, &good);
        active.handshake();
        active.expect_ack();
        let mut telephone = handshake();
        telephone["sample_rate"] = json!(8000);
        let mut client = Client::idle(library);
        let mut expect = |path: &str, message: Option<Value>, close_code, code| {
            client.open(&gateway, path, &[]);
            if let Some(message) = message {
                client.json(&message);
            }
            client.expect_refusal(close_code, code)["message"].clone()
        };
        let auth = expect(&meeting("m2", "mic", "wrong"), None, 4001, "auth_failed");
        assert_eq!(auth, "auth failed: token malformed");
        let stranger = meeting("m1", "mic", &token::of_user("u-2"));
        assert_eq!(expect(&stranger, None, 4002, "ingest_exists"), "Ingest already active");
        expect(&other, Some(json!({"type": "hello"})), 4000, "handshake_invalid");
        expect(&other, None, 4000, "handshake_timeout");
        let rate = expect(&other, Some(telephone), 4000, "invalid_sample_rate");
        assert_eq!(rate, "Invalid sample rate 8000, expected 16000");
        // None of it has touched the stream that was there before.
        active.finalize(0, 0);
    }
}
