use super::{Ended, Evicted, Mock, Sent};
use crate::counters::{self, CounterError};
use crate::{Config, Frame, Holder, Kind, Rejection, TokenError, clock, log, references};

#[test]
fn a_connection_is_as_the_test_says() {
    let mock = Mock::new("mine");
    mock.session_id("s1").route("ingest").path("/m/m1");
    mock.param("meeting_id", "m1").query("source", "mic");
    mock.header("User-Agent", "mac")
        .remote_addr("192.0.2.7:1234");
    let connection = mock.connection();
    assert_eq!(connection.session_id(), "s1");
    assert_eq!(connection.route(), "ingest");
    assert_eq!(connection.path(), "/m/m1");
    assert_eq!(connection.param("meeting_id").as_deref(), Some("m1"));
    assert_eq!(connection.query("source").as_deref(), Some("mic"));
    assert_eq!(connection.header("user-AGENT").as_deref(), Some("mac"));
    assert_eq!(connection.remote_addr(), "192.0.2.7:1234");
    assert_eq!(connection.query("absent"), None);
}

#[test]
fn what_a_policy_leaves_has_its_name_and_replaces_nobody_elses() {
    let mock = Mock::new("mine");
    mock.attribute("auth.email", "a@b");
    mock.connection().set_attribute("email", "c@d");
    mock.connection().set_attribute("email", "e@f");
    let attribute = |name| mock.connection().attribute(name);
    assert_eq!(attribute("auth.email").as_deref(), Some("a@b"));
    assert_eq!(attribute("mine.email").as_deref(), Some("e@f"));
}

#[test]
fn claims_are_read_as_the_gateway_reads_them() {
    let mock = Mock::new("mine");
    let verify = |key_set| mock.connection().verify_token(key_set);
    assert!(matches!(verify("main"), Err(TokenError::Missing)));
    mock.token(
        "main",
        Ok(r#"{"user_id":"u","level":3,"none":null,"exp":9,"a":{"b":"c"}}"#),
    );
    let claims = verify("main").unwrap();
    assert_eq!(claims.claim("user_id").as_deref(), Some("u"));
    assert_eq!(claims.claim("level").as_deref(), Some("3"));
    assert_eq!(claims.claim("none"), None);
    assert_eq!(claims.get("/a/b").as_deref(), Some("c"));
    assert_eq!(claims.expires_at(), Some(9));
    for fault in [
        TokenError::Missing,
        TokenError::Malformed,
        TokenError::BadSignature,
        TokenError::Expired,
        TokenError::NotYetValid,
        TokenError::WrongIssuer,
        TokenError::WrongAudience,
        TokenError::UnknownKey,
        TokenError::Unavailable,
        TokenError::Invalid,
    ] {
        mock.token("main", Err(fault));
        assert_eq!(verify("main").err(), Some(fault));
    }
}

#[test]
fn a_key_has_one_holder_and_goes_to_who_evicts_that_one() {
    let mock = Mock::new("mine");
    let first = Holder {
        session_id: "first".to_owned(),
        since_ms: 1,
        attributes: vec![("auth.user_id".to_owned(), "u".to_owned())],
    };
    mock.holder("k", first.clone());
    let connection = mock.connection();
    assert_eq!(connection.claim("k"), Err(first.clone()));
    let notice = Rejection::new("superseded", "a newer one came").close_code(4003);
    let stale = Holder {
        session_id: "stale".to_owned(),
        ..first.clone()
    };
    let evict = |holder| connection.evict("k", holder, notice.clone());
    assert_eq!(evict(&stale), Err(first.clone()));
    assert_eq!(mock.evicted(), []);
    assert_eq!(evict(&first), Ok(()));
    let evicted = Evicted {
        session_id: "first".to_owned(),
        key: "k".to_owned(),
        notice,
    };
    assert_eq!(mock.evicted(), [evicted]);
    assert_eq!(connection.claim("k"), Ok(()));
    // Another connection meets this one.
    mock.session_id("newcomer");
    assert_eq!(
        connection.claim("k").unwrap_err().session_id,
        "this-session"
    );
    assert_eq!(mock.holder_of("k").as_deref(), Some("this-session"));
}

#[test]
fn counters_end_in_their_time_and_there_is_room_for_so_many() {
    let mock = Mock::new("mine");
    mock.max_counters(2);
    assert_eq!(counters::add("a", 2, 1_000), Ok(2));
    mock.pass(600);
    assert_eq!(counters::add("a", 1, 1_000), Ok(3));
    assert_eq!(counters::replace("b", 7, 1_000), Ok(0));
    assert_eq!(counters::add("c", 1, 1_000), Err(CounterError::Full));
    assert_eq!(counters::get("c"), Ok(0));
    // The first one has ended: adding to it did not prolong its life.
    mock.pass(400);
    assert_eq!((mock.count_of("a"), mock.count_of("b")), (0, 7));
    assert_eq!(counters::add("c", 1, 1_000), Ok(1));
    assert_eq!(mock.counter("c", i64::MAX).count_of("c"), i64::MAX);
    assert_eq!(counters::add("c", 1, 1_000), Ok(i64::MAX));
}

#[test]
fn time_stands_still_unless_it_is_told_to_pass() {
    let mock = Mock::new("mine");
    mock.now_ms(5);
    let began = clock::monotonic_ns();
    assert_eq!(clock::now_ms(), 5);
    mock.pass(3);
    assert_eq!(clock::now_ms(), 8);
    assert_eq!(clock::monotonic_ns() - began, 3_000_000);
}

#[test]
fn the_log_and_the_configuration_are_the_tests() {
    let mock = Mock::new("mine");
    mock.config("limit", "3");
    assert_eq!(Config::host().get::<u8>("limit", ""), Ok(Some(3)));
    assert_eq!(Config::host().get::<u8>("absent", ""), Ok(None));
    log::debug("a");
    log::info("b");
    log::warn("c");
    log::error("d");
    assert_eq!(mock.log(), ["debug a", "info b", "warn c", "error d"]);
}

#[test]
fn what_options_refer_to_is_declared_in_that_order() {
    let mock = Mock::new("mine");
    references::key_set("/key_set", "main");
    references::param("/key/0", "meeting_id");
    references::attribute("/key/1", "auth.user_id");
    references::leaves("seen");
    references::no_effect("/user", "nobody looks", "leave it out");
    assert_eq!(
        mock.references(),
        [
            "key_set /key_set main",
            "param /key/0 meeting_id",
            "attribute /key/1 auth.user_id",
            "leaves seen",
            "no_effect /user nobody looks leave it out",
        ]
    );
}

#[test]
fn a_window_is_counted_by_kind() {
    let frame = |kind, size, at_us| Frame { kind, size, at_us };
    let frames = vec![
        frame(Kind::Text, 16, 10),
        frame(Kind::Binary, 640, 20),
        frame(Kind::Binary, 3200, 30),
    ];
    let sent = Sent {
        index: 4,
        length_ms: 5_000,
        held_ms: 7,
        paused: true,
        frames: frames.clone(),
        payloads: [(2, vec![1, 2])].into(),
    };
    let window = sent.window();
    assert_eq!(window.index(), 4);
    assert_eq!((window.length_ms(), window.held_ms()), (5_000, 7));
    assert!(window.paused());
    assert_eq!(
        (window.count(Kind::Text), window.bytes(Kind::Text)),
        (1, 16)
    );
    assert_eq!(
        (window.count(Kind::Binary), window.bytes(Kind::Binary)),
        (2, 3840)
    );
    assert_eq!(window.frames(), frames);
    assert_eq!(
        (window.payload(1), window.payload(2)),
        (None, Some(vec![1, 2]))
    );
}

#[test]
fn an_ending_is_told_as_it_was_written() {
    let ended = Ended {
        cause: "idle_timeout".to_owned(),
        close_code: 4008,
        ..Ended::default()
    };
    let ending = ended.ending();
    assert_eq!(ending.cause(), "idle_timeout");
    assert_eq!(ending.close_code(), 4008);
    assert_eq!(ending.closed_by(), "gateway");
    assert!(ending.streamed());
    assert_eq!(ending.lasted_ms(), 1_000);
    assert_eq!((ending.received_bytes(), ending.sent_bytes()), (32_000, 0));
}

#[test]
fn a_world_ends_with_its_mock() {
    let first = Mock::new("mine");
    first.config("limit", "3");
    drop(first);
    let _second = Mock::new("mine");
    assert_eq!(Config::host().get::<u8>("limit", ""), Ok(None));
}

#[test]
#[should_panic(expected = "make a `sluice_policy::testing::Mock` on this thread first")]
fn without_a_mock_the_question_is_answered_with_what_to_do() {
    clock::now_ms();
}

#[test]
#[should_panic(expected = "has a `Mock` already")]
fn a_thread_has_one_world_at_a_time() {
    let _first = Mock::new("mine");
    let _second = Mock::new("mine");
}
