use super::*;

fn hiding(secrets: &[&str]) -> Redactor {
    let mut all = Secrets::default();
    secrets.iter().for_each(|secret| all.add(secret));
    all.settle()
}

#[test]
fn a_secret_and_its_parts_are_hidden_wherever_they_stand() {
    let secrets = hiding(&["Bearer first-half.second-half"]);
    for text in [
        "said Bearer first-half.second-half",
        "first-half.second-half",
        "only second-half here",
    ] {
        let hidden = secrets.hide(text);
        assert!(!hidden.contains("half"), "{hidden}");
    }
    assert_eq!(secrets.hide("a Bearer of news"), "a Bearer of news");
    assert_eq!(
        hiding(&[]).hide("got eyJhbGciOiJIUzI1NiJ9.e30.c2ln, twice"),
        "got [withheld], twice"
    );
}

#[test]
fn members_that_are_called_like_a_secret_have_no_value() {
    let mut value =
        serde_json::json!({"a": [{"api_key": {"b": 1}}], "c": [["p.token", "t"], ["e", "f"]]});
    hiding(&[]).hide_in(&mut value);
    let expected =
        serde_json::json!({"a": [{"api_key": HIDDEN}], "c": [["p.token", HIDDEN], ["e", "f"]]});
    assert_eq!(value, expected);
}

/// The same, by looking for each secret at each place.
fn naive(text: &str, secrets: &[&str]) -> String {
    let mut ranges = Vec::new();
    for secret in secrets {
        let places = (0..text.len()).filter(|at| text[*at..].starts_with(secret));
        ranges.extend(places.map(|at| at..at + secret.len()));
    }
    let mut covered = vec![false; text.len()];
    ranges
        .into_iter()
        .for_each(|range: std::ops::Range<usize>| covered[range].fill(true));
    let kept = text.bytes().zip(&covered);
    kept.map(|(byte, covered)| if *covered { '#' } else { char::from(byte) })
        .collect()
}

#[test]
fn no_byte_of_a_secret_is_left_where_secrets_overlap_or_hold_each_other() {
    fastrand::seed(7);
    for _ in 0..5_000 {
        let word = |length: std::ops::Range<usize>| -> String {
            (0..fastrand::usize(length))
                .map(|_| if fastrand::bool() { 'a' } else { 'b' })
                .collect()
        };
        let secrets: Vec<String> = (0..4).map(|_| word(8..12)).collect();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let text = word(0..60) + "|";
        let hidden = hiding(&secrets).hide(&text);
        let expected = naive(&text, &secrets);
        // A run of what is covered is one mark; two runs that touch may be two.
        let expected: Vec<&str> = expected
            .split('#')
            .filter(|kept| !kept.is_empty())
            .collect();
        let kept: Vec<&str> = hidden
            .split(HIDDEN)
            .filter(|kept| !kept.is_empty())
            .collect();
        assert_eq!(kept, expected, "{text} without {secrets:?}");
    }
}

#[test]
fn a_long_text_is_cut_and_never_within_a_secret() {
    let secret = "s3cr3t-".repeat(20);
    let secrets = hiding(&[&secret]);
    for before in LONGEST - 150..LONGEST + 10 {
        let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(9000));
        let hidden = secrets.hide(&text);
        assert!(
            !hidden.contains("s3c"),
            "{before}: {}",
            &hidden[before.min(LONGEST) - 10..]
        );
        assert!(hidden.ends_with(HIDDEN) && hidden.len() <= LONGEST + 2 * HIDDEN.len());
        assert!(!hidden.contains('y') || before + secret.len() < LONGEST);
    }
    let whole = "é".repeat(LONGEST / 2);
    assert_eq!(secrets.hide(&whole), whole);
    assert_eq!(secrets.hide(&(whole.clone() + "é")), whole + HIDDEN);
}

#[test]
fn the_beginning_of_a_secret_that_somebody_else_cut_off_is_hidden() {
    let secret = "opaque-and-long-secret";
    let secrets = hiding(&[secret]);
    for kept in SHORTEST..secret.len() {
        let hidden = secrets.hide(&format!("it said: {}", &secret[..kept]));
        assert_eq!(hidden, "it said: [withheld]");
    }
    assert_eq!(secrets.hide("an opaque-"), "an opaque-");
    assert_eq!(secrets.hide("opaque-and-short"), "opaque-and-short");
}

/// What was shown to take 0.4 s a decision.
#[test]
fn who_sends_too_many_secrets_has_every_text_hidden() {
    use std::fmt::Write as _;
    let mut cookies = String::new();
    for n in 0..3_000 {
        let _ = write!(cookies, "cookie-{n:05}; ");
    }
    let secrets = hiding(&[&cookies]);
    assert_eq!(secrets.hide("anything"), HIDDEN);
    let mut value = serde_json::json!(["b", {"c": ["d", 1]}]);
    secrets.hide_in(&mut value);
    assert_eq!(value, serde_json::json!([HIDDEN, {HIDDEN: [HIDDEN, 1]}]));
    // The same part as often as it likes is one secret.
    let same = "cookie-value; ".repeat(3_000);
    let Redactor::Secrets(search) = hiding(&[&same[..30_000]]) else {
        panic!("repeated parts are one")
    };
    assert_eq!(search.secrets.len(), 2);
}

#[test]
fn json_stays_as_it_is_where_nothing_is_hidden_and_is_hidden_whole_where_a_name_is_twice() {
    let redactor = Secrets::default().settle();
    let hidden = |text: &str| {
        let mut text = text.to_owned();
        redactor.hide_in_json(&mut text);
        text
    };
    for clean in [
        r#"{"a": {"b": ":\":"},  "c:": [1, {"a": 2}]}"#,
        r#"[":", "\\", {"x\\": 1}]"#,
    ] {
        assert_eq!(hidden(clean), clean);
    }
    for twice in [
        r#"{"a": {"token": "x"}, "a": 1}"#,
        r#"[{"b": {"a": "x", "\u0061": "y"}}]"#,
    ] {
        assert_eq!(hidden(twice), HIDDEN);
    }
}
