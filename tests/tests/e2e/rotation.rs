//! Everything that identities rest on is replaced under live streams.

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::{handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::eventually;
use sluice_tests::gateway::Gateway;
use sluice_tests::provider::Provider;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, read_wav};
use sluice_tests::tls::Authority;
use sluice_tests::token::{self, KeyOfOurs};

const STREAMS: usize = 200;
const CHUNK: usize = 3200;
const OPERATOR: &str = "0123456789abcdef0123456789abcdef";

/// Whoever signs tokens: a provider, and an issuer with a file.
struct Issuers {
    by_provider: KeyOfOurs,
    kid: &'static str,
    by_file: KeyOfOurs,
}

impl Issuers {
    fn new(kid: &'static str) -> Self {
        Self {
            by_provider: KeyOfOurs::generate(),
            kid,
            by_file: KeyOfOurs::generate(),
        }
    }

    /// A token of a user, by either issuer in turn.
    fn token(&self, provider: &Provider, number: usize, seconds: u64) -> String {
        let user = format!("u-{number}");
        let claims = json!({"user_id": user, "exp": token::now() + seconds});
        let mut claims = token::claims_with(claims);
        if number.is_multiple_of(2) {
            claims["iss"] = json!(provider.issuer());
            self.by_provider.sign_as(self.kid, &claims)
        } else {
            self.by_file.sign(&claims)
        }
    }
}

/// A client that has sent its handshake.
fn client(gateway: &Gateway, authority: &Authority, number: usize, token: &str) -> Raw {
    let mut peer = Raw::connect(gateway.address()).over_tls(authority);
    peer.upgrade(&meeting(&format!("m{number}"), "mic", token));
    // A refusal may have come first.
    drop(peer.write(&raw::text(&handshake().to_string())));
    peer
}

/// Comes again as long as the keys are unavailable.
fn admitted(gateway: &Gateway, authority: &Authority, number: usize, token: &str) -> Raw {
    eventually("an admission", || {
        let mut peer = client(gateway, authority, number, token);
        let answer = peer.message();
        if answer["ok"] == true {
            return Some(peer);
        }
        assert_eq!(answer["close_code"], 4012, "{answer}");
        None
    })
}

fn refused(gateway: &Gateway, authority: &Authority, token: &str) {
    let answer = client(gateway, authority, STREAMS + 9, token).message();
    assert_eq!(answer["type"], "error", "{answer}");
}

#[test]
fn identities_rotate_expire_and_are_revoked_under_200_live_streams_that_lose_nothing() {
    let (first, second) = (Issuers::new("first"), Issuers::new("second"));
    let (authority, other) = (Authority::new(), Authority::new());
    let shown = Authority::new();
    authority.give_to(&shown);
    let mut provider = Provider::start(&[first.by_provider.jwk("first")]);
    let config = Config::ingest()
        .without("key_sets.main", "secret")
        .set("key_sets.main", "pem_file", json!("app.pem"))
        .set("key_sets.main", "algorithms", json!(["EdDSA"]))
        .set("key_sets.login", "audiences", json!(["meetings"]))
        .set("key_sets.all", "by_issuer", json!(["main", "login"]))
        .set("policies.auth.config", "key_set", json!("all"))
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "admin_token_file", json!("operator"))
        // Hundreds come at once, and the machine may have others to serve.
        .limit("admission_timeout", "5min")
        .limit("idle_timeout", "1h");
    let config = shown.secure(provider.discovered(config, "login"));
    let files = [
        ("app.pem", first.by_file.pem.as_bytes()),
        ("operator", OPERATOR.as_bytes()),
    ];
    let gateway = Gateway::start_with_files(&config, &files);
    let speech = speech::long_clip().pcm;
    let mut streams: Vec<Raw> = (0..STREAMS)
        .map(|number| {
            let token = first.token(&provider, number, 3600);
            admitted(&gateway, &authority, number, &token)
        })
        .collect();
    let mut sent = 0;
    let mut speak = |streams: &mut Vec<Raw>| {
        let chunk = &speech[sent..sent + CHUNK];
        for stream in streams {
            stream.write(&raw::binary(chunk)).unwrap();
        }
        sent += CHUNK;
    };
    speak(&mut streams);
    // The provider has other keys.
    provider.set(&json!({"keys": [second.by_provider.jwk("second")]}));
    let token = second.token(&provider, STREAMS, 3600);
    drop(admitted(&gateway, &authority, STREAMS, &token));
    refused(&gateway, &authority, &first.token(&provider, 0, 3600));
    speak(&mut streams);
    // So has the file.
    gateway.replace("app.pem", &second.by_file.pem);
    gateway.reloaded(2);
    let token = second.token(&provider, STREAMS + 1, 3600);
    drop(admitted(&gateway, &authority, STREAMS + 1, &token));
    refused(&gateway, &authority, &first.token(&provider, 1, 3600));
    speak(&mut streams);
    // The gateway has another certificate, of another authority.
    other.give_to(&shown);
    gateway.reloaded(3);
    let token = second.token(&provider, STREAMS + 2, 3600);
    drop(admitted(&gateway, &other, STREAMS + 2, &token));
    speak(&mut streams);
    // Every stream renews its token. Keys that are gone are good for nothing.
    for (number, stream) in streams.iter_mut().enumerate() {
        let mut renew = |token: String| -> Value {
            let auth = json!({"type": "auth", "token": token});
            stream.write(&raw::text(&auth.to_string())).unwrap();
            stream.message()
        };
        let answer = renew(first.token(&provider, number, 3600));
        assert_eq!(answer["status"], "renewal_refused", "{answer}");
        let answer = renew(second.token(&provider, number, 3600));
        assert_eq!(answer["status"], "renewed", "{answer}");
    }
    speak(&mut streams);
    // A token expires, and its stream alone ends.
    let token = second.token(&provider, STREAMS + 3, 5);
    let mut short = client(&gateway, &other, STREAMS + 3, &token);
    // On a busy machine the token may have expired before the ack.
    let ended = eventually("the end of a token", || {
        let message = short.message();
        (message["type"] == "error").then_some(message)
    });
    assert!(
        ["token_expired", "auth_failed"].contains(&ended["code"].as_str().unwrap()),
        "{ended}"
    );
    // A user is revoked, and that stream alone ends.
    let token = second.token(&provider, STREAMS + 4, 3600);
    let mut gone = admitted(&gateway, &other, STREAMS + 4, &token);
    let request = format!(
        "POST /sessions/close?user=u-{}&until=2099-01-01T00:00:00Z\r\nAuthorization: Bearer {OPERATOR}",
        STREAMS + 4
    );
    let (status, answer) = gateway.admin(&request);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(gone.message()["code"], "ended_by_operator");
    refused(&gateway, &other, &token);
    speak(&mut streams);
    gateway.signal(Signal::HUP);
    gateway.reloaded(4);
    speak(&mut streams);
    for stream in &mut streams {
        stream.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    }
    for stream in &mut streams {
        let finalized = stream.message();
        assert_eq!(finalized["bytes"], sent, "{finalized}");
        let close = stream.frame().expect("a Close");
        assert_eq!(close.close().map(|(code, _)| code), Some(1000));
    }
    let recordings = gateway.recordings();
    let whole = recordings
        .iter()
        .filter(|file| read_wav(file).1 == speech[..sent]);
    assert_eq!(whole.count(), STREAMS);
    assert_eq!(
        gateway.metric("sluice_token_renewals_total{result=\"renewed\"}"),
        STREAMS as f64
    );
    assert_eq!(gateway.metric("sluice_connections_dropped_total"), 0.0);
}
