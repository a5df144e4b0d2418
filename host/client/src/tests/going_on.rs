use super::*;
use crate::peer::{AckSupport, Welcome};
use crate::upload::{NextStep, Upload};

const ASKING: Manner = Manner {
    features: RequestedFeatures::Asked,
    ..PLAIN
};

fn welcome(receipts: AckSupport, token: Option<&str>, from_bytes: Option<u64>) -> Welcome {
    Welcome {
        session_id: "s-1".to_owned(),
        receipts,
        token: token.map(|token| token.parse().unwrap()),
        from_bytes,
    }
}

/// Upload that the gateway has taken with these, and of which this much was sent.
fn taken(receipts: AckSupport, token: Option<&str>, sent: u64) -> Upload {
    let mut upload = Upload::new(Recording::new(SAMPLES).audio(), ASKING, Arc::default());
    let welcomed = upload.welcomed(welcome(receipts, token, None), &mut Progress::Silent);
    assert!(welcomed.is_ok());
    upload.tally.sent(sent);
    upload
}

fn lost() -> StreamOutcome {
    StreamOutcome::Lost(anyhow::anyhow!("gone"))
}

fn refused(code: u16, error: Option<&str>) -> StreamOutcome {
    StreamOutcome::Refused(GatewayRefusal {
        error: error.map(str::to_owned),
        close: Some(Close {
            code: Some(code),
            reason: String::new(),
        }),
    })
}

fn goes_on(upload: &mut Upload, outcome: StreamOutcome) -> bool {
    matches!(upload.after(outcome), NextStep::Again(_))
}

#[test]
fn a_gateway_has_no_more_than_it_was_sent_and_takes_nothing_back() {
    let upload = taken(AckSupport::Given, None, 1000);
    for (said, safe) in [(600, 600), (500, 600), (u64::MAX, 1000)] {
        upload.tally.kept(said);
        assert_eq!(upload.tally.acked(), safe);
    }
}

#[test]
fn only_where_it_is_known_what_arrived_does_a_stream_go_on() {
    assert!(goes_on(
        &mut taken(AckSupport::Given, Some("t"), 100),
        lost()
    ));
    assert!(goes_on(&mut taken(AckSupport::Given, None, 100), lost()));
    assert!(!goes_on(&mut taken(AckSupport::None, None, 100), lost()));
}

#[test]
fn a_refusal_is_tried_again_where_the_gateway_says_so() {
    let retryable = r#"{"type":"error","close_code":4006,"retryable":true}"#;
    let not = r#"{"type":"error","close_code":4001,"retryable":false}"#;
    for (code, error, again) in [
        (4006, Some(retryable), true),
        (4001, Some(not), false),
        // Its words count more than its code.
        (1013, Some(not), false),
        (1001, None, true),
        (1013, None, true),
        (1000, None, false),
        (1009, None, false),
        (4100, None, false),
        (4006, Some("not JSON"), false),
        // Nothing is to be resumed here.
        (4011, Some(not), false),
    ] {
        let mut upload = Upload::new(Recording::new(SAMPLES).audio(), ASKING, Arc::default());
        let goes = goes_on(&mut upload, refused(code, error));
        assert_eq!(goes, again, "{code} {error:?}");
    }
}

#[test]
fn a_stream_that_cannot_be_resumed_begins_anew_with_the_first_sample_that_is_not_safe() {
    let mut upload = taken(AckSupport::Given, Some("t"), 3200);
    upload.tally.kept(1601);
    assert!(goes_on(&mut upload, refused(4011, None)));
    assert!(upload.token().is_none());
    let again = welcome(AckSupport::Given, Some("u"), None);
    assert!(upload.welcomed(again, &mut Progress::Silent).is_ok());
    assert_eq!(upload.audio.position(), 1600);
    // What it says now counts from there, and of what it was sent since.
    upload.tally.kept(1000);
    assert_eq!(upload.tally.acked(), 1601);
    upload.tally.sent(3200);
    upload.tally.kept(1000);
    assert_eq!(upload.tally.acked(), 2600);
}

#[test]
fn a_stream_of_which_all_is_safe_has_nothing_to_begin_anew_with() {
    let mut upload = taken(AckSupport::Given, Some("t"), 4000);
    upload.tally.kept(4000);
    let NextStep::Stop(outcome) = upload.after(refused(4011, None)) else {
        panic!("it begins anew")
    };
    assert_eq!(outcome.exit_code(), 0);
    let shown = outcome.to_string();
    assert!(
        shown.starts_with("acknowledged: 4000 bytes, 0.1 s"),
        "{shown}"
    );
}

#[test]
fn a_gateway_that_wants_what_is_not_there_is_told_apart() {
    let mut upload = taken(AckSupport::Given, Some("t"), 100);
    let wants = welcome(AckSupport::Given, Some("u"), Some(4001));
    let outcome = upload.welcomed(wants, &mut Progress::Silent).unwrap_err();
    assert!(outcome.to_string().contains("past the end"), "{outcome}");
}
