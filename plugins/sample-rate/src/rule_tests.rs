use sluice_policy::{Config, Decision, Handshake, Rejection};

use super::Rule;

fn rule(pairs: &[(&str, &str)]) -> Rule {
    Rule::from_config(&Config::fixed(pairs)).unwrap()
}

fn mistake(key: &str, json: &str) -> String {
    Rule::from_config(&Config::fixed(&[(key, json)]))
        .unwrap_err()
        .to_string()
}

fn check(rule: &Rule, fields: &str) -> Decision {
    let handshake = format!(r#"{{"type":"handshake","device_id":"d",{fields}}}"#);
    rule.check(&Handshake::new(&handshake))
}

fn wrong_rate(message: &str) -> Decision {
    Err(Rejection::new("invalid_sample_rate", message).close_code(4000))
}

fn invalid(message: &str) -> Decision {
    Err(Rejection::handshake_invalid(message))
}

#[test]
fn sixteen_kilohertz_mono_is_let_in_by_default() {
    let rule = rule(&[]);
    assert_eq!(check(&rule, r#""sample_rate":16000"#), Ok(()));
    assert_eq!(
        check(
            &rule,
            r#""sample_rate":16000,"channels":1,"codec":"pcm_s16le""#
        ),
        Ok(())
    );
    assert_eq!(
        check(&rule, r#""sample_rate":16000,"channels":null,"codec":null"#),
        Ok(())
    );
}

#[test]
fn another_rate_is_refused_with_what_is_expected() {
    let message = "Invalid sample rate 44100, expected 16000";
    assert_eq!(
        check(&rule(&[]), r#""sample_rate":44100"#),
        wrong_rate(message)
    );
    let two = rule(&[("rates", "[16000,48000]")]);
    let message = "Invalid sample rate 44100, expected 16000 or 48000";
    assert_eq!(check(&two, r#""sample_rate":44100"#), wrong_rate(message));
    let three = rule(&[("rates", "[8000,16000,48000]")]);
    let message = "Invalid sample rate 44100, expected 8000, 16000 or 48000";
    assert_eq!(check(&three, r#""sample_rate":44100"#), wrong_rate(message));
}

#[test]
fn a_whole_number_may_be_written_with_a_fraction() {
    let rule = rule(&[]);
    assert_eq!(
        check(&rule, r#""sample_rate":16000.0,"channels":1.0"#),
        Ok(())
    );
    assert!(check(&rule, r#""sample_rate":16000.5"#).is_err());
}

#[test]
fn a_rate_that_is_no_number_is_refused_as_a_rate() {
    for (value, shown) in [
        ("null", "null"),
        ("\"16000\"", "\"16000\""),
        ("-16000", "-16000"),
        ("4294983296", "4294983296"),
        ("16000.5", "(not a whole number)"),
        ("1e300", "(not a whole number)"),
        ("[16000]", "[…]"),
        ("{}", "{…}"),
        ("true", "true"),
    ] {
        let message = format!("Invalid sample rate {shown}, expected 16000");
        assert_eq!(
            check(&rule(&[]), &format!("\"sample_rate\":{value}")),
            wrong_rate(&message)
        );
    }
    let message = "Invalid sample rate null, expected 16000";
    assert_eq!(check(&rule(&[]), r#""channels":1"#), wrong_rate(message));
}

#[test]
fn channels_and_codec_are_checked_too() {
    let rule = rule(&[]);
    let message = "Invalid channels 2, expected 1";
    assert_eq!(
        check(&rule, r#""sample_rate":16000,"channels":2"#),
        invalid(message)
    );
    let message = "Invalid codec \"opus\", expected pcm_s16le";
    assert_eq!(
        check(&rule, r#""sample_rate":16000,"codec":"opus""#),
        invalid(message)
    );
    let message = "Invalid codec 7, expected pcm_s16le";
    assert_eq!(
        check(&rule, r#""sample_rate":16000,"codec":7"#),
        invalid(message)
    );
}

#[test]
fn a_codec_may_be_written_with_escapes() {
    assert_eq!(
        check(
            &rule(&[]),
            r#""sample_rate":16000,"codec":"pcm\u005fs16le""#
        ),
        Ok(())
    );
}

#[test]
fn a_client_that_names_no_codec_is_refused_where_its_own_is_not_let_in() {
    let message = "Invalid codec \"pcm_s16le\", expected opus";
    let opus = rule(&[("codecs", "[\"opus\"]")]);
    assert_eq!(check(&opus, r#""sample_rate":16000"#), invalid(message));
}

#[test]
fn a_hostile_value_is_cut_and_stays_on_one_line() {
    let huge = "x".repeat(100_000);
    let rule = rule(&[]);
    for fields in [
        format!(r#""sample_rate":16000,"codec":"{huge}""#),
        format!(r#""sample_rate":16000,"codec":["{huge}"]"#),
        format!(r#""sample_rate":16000,"codec":"\r\n\u001b[2J{huge}""#),
        format!(r#""sample_rate":16000,"channels":{}"#, "9".repeat(100_000)),
        format!(r#""sample_rate":"{huge}""#),
    ] {
        let refusal = check(&rule, &fields).unwrap_err();
        assert!(refusal.message().len() < 110, "{}", refusal.message());
        assert!(
            !refusal.message().contains(char::is_control),
            "{}",
            refusal.message()
        );
    }
}

#[test]
fn a_field_that_is_there_twice_is_refused_as_the_gateway_refuses_it() {
    for rates in [[44100, 16000], [16000, 44100], [16000, 16000]] {
        let [first, second] = rates;
        let fields = format!(r#""sample_rate":{first},"sample_rate":{second}"#);
        assert_eq!(check(&rule(&[]), &fields), invalid("Invalid handshake"));
    }
}

#[test]
fn what_a_client_adds_to_its_handshake_is_passed_over() {
    let deep = "[".repeat(50_000) + &"]".repeat(50_000);
    let wide = format!("[{}0]", "0,".repeat(50_000));
    for more in [deep, wide] {
        let fields = format!(r#""more":{more},"sample_rate":16000"#);
        assert_eq!(check(&rule(&[]), &fields), Ok(()));
    }
}

#[test]
fn what_is_no_object_is_refused() {
    for text in ["", "[", "7", "{\"sample_rate\":16000"] {
        let refusal = rule(&[]).check(&Handshake::new(text)).unwrap_err();
        assert_eq!(refusal.code(), "handshake_invalid", "{text}");
    }
}

#[test]
fn a_mistake_is_named_with_what_to_do() {
    assert!(mistake("rates", "16000").starts_with("`rates` cannot be 16000: list"));
    assert!(mistake("rates", "[]").starts_with("`rates` cannot be []: list"));
    assert!(mistake("rates", "[0]").starts_with("`rates` cannot be a list with a zero: list"));
    assert!(mistake("rates", "[-1]").starts_with("`rates` cannot be [-1]: list"));
    assert!(mistake("channels", "[\"1\"]").starts_with("`channels` cannot be [\"1\"]: list"));
    assert!(mistake("codecs", "\"opus\"").starts_with("`codecs` cannot be \"opus\": list"));
    assert!(mistake("codecs", "[\"\"]").contains("an empty name"));
}
