use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::KeySet;
use crate::fixtures::*;
use crate::settings::KeySource;
use crate::{Claims, TokenError};
use base::secret::Secret;
use std::path::Path;

fn set(issuers: &[&str], audiences: &[&str]) -> KeySet {
    let mut settings = settings(KeySource::Secret(Secret::new(SECRET)), &[Algorithm::HS256]);
    settings.issuers = issuers.iter().map(ToString::to_string).collect();
    settings.audiences = audiences.iter().map(ToString::to_string).collect();
    KeySet::build("test", &settings, Path::new("/nonexistent")).unwrap()
}

fn verify(set: &KeySet, claims: &str) -> Result<Claims, TokenError> {
    set.verify_at(&hs256(r#"{"alg":"HS256"}"#, claims), NOW)
}

fn verdict(set: &KeySet, claims: &Value) -> Result<(), TokenError> {
    verify(set, &claims.to_string()).map(|_| ())
}

#[test]
fn a_token_expires_at_exp_plus_leeway() {
    let set = secret_set();
    assert_eq!(verdict(&set, &json!({"exp": NOW + 1})), Ok(()));
    assert_eq!(verdict(&set, &json!({"exp": NOW - 29})), Ok(()));
    assert_eq!(
        verdict(&set, &json!({"exp": NOW - 30})),
        Err(TokenError::Expired)
    );
    assert_eq!(verdict(&set, &json!({"exp": 0})), Err(TokenError::Expired));
    assert_eq!(verdict(&set, &json!({"exp": -5})), Err(TokenError::Expired));
    assert_eq!(verdict(&set, &json!({"exp": u64::MAX})), Ok(()));
}

#[test]
fn a_token_is_taken_until_its_leeway_is_over() {
    let claims = |exp: u64| verify(&secret_set(), &json!({"exp": exp}).to_string()).unwrap();
    let late = claims(NOW - 5);
    assert_eq!(late.accepted_until(), NOW + 25);
    assert_eq!(late.expires_at(), Some(NOW - 5), "what a policy is told");
    assert_eq!(claims(u64::MAX).accepted_until(), u64::MAX);
}

#[test]
fn exp_may_have_a_fraction() {
    let expires_at = |exp: f64| {
        verify(&secret_set(), &json!({"exp": exp}).to_string()).map(|claims| claims.expires_at())
    };
    assert_eq!(expires_at(1_800_000_000.9).unwrap(), Some(1_800_000_000));
    assert_eq!(expires_at(1e300).unwrap(), Some(u64::MAX));
    assert_eq!(expires_at(-1e300).unwrap_err(), TokenError::Expired);
    assert_eq!(
        expires_at(1_799_999_970.9).unwrap_err(),
        TokenError::Expired
    );
}

#[test]
fn exp_must_be_there_and_a_number() {
    for claims in [
        "{}",
        r#"{"exp":"1900000000"}"#,
        r#"{"exp":null}"#,
        r#"{"exp":true}"#,
        r#"{"exp":[1900000000]}"#,
        r#"{"exp":{"$gt":0}}"#,
        r#"{"exp":1e999}"#,
        r#"{"exp":NaN}"#,
        r#"{"EXP":1900000000}"#,
    ] {
        assert_eq!(
            verify(&secret_set(), claims).unwrap_err(),
            TokenError::Malformed,
            "{claims}"
        );
    }
}

#[test]
fn nbf_is_honoured_with_leeway() {
    let set = secret_set();
    let with = |nbf: Value| verdict(&set, &json!({"exp": NOW + 600, "nbf": nbf}));
    assert_eq!(with(json!(NOW)), Ok(()));
    assert_eq!(with(json!(NOW + 30)), Ok(()));
    assert_eq!(with(json!(NOW + 31)), Err(TokenError::NotYetValid));
    assert_eq!(with(json!(u64::MAX)), Err(TokenError::NotYetValid));
    assert_eq!(with(json!("0")), Err(TokenError::Malformed));
    assert_eq!(with(json!(null)), Err(TokenError::Malformed));
}

#[test]
fn iss_must_be_one_that_is_configured() {
    let set = set(&["our-app", "old-app"], &[]);
    let with = |iss: Value| verdict(&set, &json!({"exp": NOW + 60, "iss": iss}));
    assert_eq!(with(json!("our-app")), Ok(()));
    assert_eq!(with(json!("old-app")), Ok(()));
    for iss in [
        json!("Our-app"),
        json!("our-app "),
        json!(""),
        json!(null),
        json!(["our-app"]),
        json!(5),
    ] {
        assert_eq!(with(iss.clone()), Err(TokenError::WrongIssuer), "{iss}");
    }
    assert_eq!(
        verdict(&set, &json!({"exp": NOW + 60})),
        Err(TokenError::WrongIssuer)
    );
}

#[test]
fn iss_is_not_looked_at_where_none_is_configured() {
    let set = set(&[], &[]);
    assert_eq!(
        verdict(&set, &json!({"exp": NOW + 60, "iss": "anybody"})),
        Ok(())
    );
}

#[test]
fn aud_must_name_one_that_is_configured() {
    let set = set(&[], &["meetings", "calls"]);
    let with = |aud: Value| verdict(&set, &json!({"exp": NOW + 60, "aud": aud}));
    assert_eq!(with(json!("meetings")), Ok(()));
    assert_eq!(with(json!(["else", "calls"])), Ok(()));
    for aud in [
        json!("meeting"),
        json!("meetings,calls"),
        json!([]),
        json!(["else"]),
        json!(["meetings", 5]),
        json!([["meetings"]]),
        json!({"meetings": true}),
        json!(null),
        json!(5),
    ] {
        assert_eq!(with(aud.clone()), Err(TokenError::WrongAudience), "{aud}");
    }
    assert_eq!(
        verdict(&set, &json!({"exp": NOW + 60})),
        Err(TokenError::WrongAudience)
    );
}

#[test]
fn a_token_for_some_audience_is_refused_where_none_is_configured() {
    let set = set(&[], &[]);
    for aud in [
        json!("meetings"),
        json!(["meetings"]),
        json!([]),
        json!(5),
        json!(null),
        json!(""),
    ] {
        let claims = json!({"exp": NOW + 60, "aud": aud});
        assert_eq!(
            verdict(&set, &claims),
            Err(TokenError::WrongAudience),
            "{aud}"
        );
    }
    assert_eq!(verdict(&set, &json!({"exp": NOW + 60})), Ok(()));
}

#[test]
fn a_claim_that_is_there_twice_is_malformed() {
    for claims in [
        r#"{"exp":1900000000,"user_id":"me","user_id":"admin"}"#,
        r#"{"exp":1900000000,"exp":1}"#,
        r#"{"exp":1,"exp":1900000000}"#,
        r#"{"exp":1900000000,"user_id":"me","user\u005fid":"admin"}"#,
    ] {
        assert_eq!(
            verify(&secret_set(), claims).unwrap_err(),
            TokenError::Malformed,
            "{claims}"
        );
    }
}

#[test]
fn a_payload_that_is_no_json_object_is_malformed() {
    let deep = format!(
        r#"{{"exp":1900000000,"x":{}1{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    for claims in [
        "",
        "null",
        "[]",
        r#""exp""#,
        "{",
        r#"{"exp":1900000000} {}"#,
        "\u{feff}{}",
        &deep,
    ] {
        let result = verify(&secret_set(), claims);
        assert_eq!(result.unwrap_err(), TokenError::Malformed, "{claims:.40}");
    }
}

#[test]
fn the_signature_is_looked_at_before_the_claims() {
    let token = hs256(r#"{"alg":"HS256"}"#, r#"{"exp":1}"#);
    let (message, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", "A".repeat(43));
    assert_eq!(
        secret_set().verify_at(&token, NOW).unwrap_err(),
        TokenError::Expired
    );
    assert_eq!(
        secret_set().verify_at(&forged, NOW).unwrap_err(),
        TokenError::BadSignature
    );
}

#[test]
fn claims_are_read_by_pointer() {
    let json = json!({
        "exp": NOW + 60, "email": "a@b.example", "groups": ["x", "y"], "a/b": 1, "m~n": 1.5,
        "nested": {"admin": false}, "nothing": null, "empty": "",
    });
    let claims = verify(&secret_set(), &json.to_string()).unwrap();
    let get = |pointer: &str| claims.get(pointer).map(std::borrow::Cow::into_owned);
    assert_eq!(get("/email").as_deref(), Some("a@b.example"));
    assert_eq!(get("/groups/1").as_deref(), Some("y"));
    assert_eq!(get("/groups").as_deref(), Some(r#"["x","y"]"#));
    assert_eq!(get("/nested/admin").as_deref(), Some("false"));
    assert_eq!(get("/a~1b").as_deref(), Some("1"));
    assert_eq!(get("/m~0n").as_deref(), Some("1.5"));
    assert_eq!(get("/empty").as_deref(), Some(""));
    for absent in [
        "/nothing",
        "/none",
        "email",
        "/groups/2",
        "/groups/01",
        "/email/0",
        "/",
    ] {
        assert_eq!(get(absent), None, "{absent}");
    }
    assert_eq!(claims.json().parse::<Value>().unwrap(), json);
    assert_eq!(get(""), Some(claims.json()));
    assert_eq!(claims.expires_at(), Some(NOW + 60));
}

#[test]
fn debug_of_claims_shows_names_only() {
    let claims = verify(&secret_set(), r#"{"exp":1900000000,"email":"a@b.example"}"#).unwrap();
    let shown = format!("{claims:?}");
    assert!(shown.contains("email"), "{shown}");
    assert!(
        !shown.contains("example") && !shown.contains("1900000000"),
        "{shown}"
    );
}

#[test]
fn a_token_tells_of_the_clock_only_if_nothing_but_its_time_is_wrong() {
    let set = set(&["our-app"], &["meetings"]);
    let seen = || set.clock.times(NOW);
    let claims = |iat: u64, more: Value| {
        let mut claims = json!({"iat": iat, "exp": NOW + 60, "iss": "our-app", "aud": "meetings"});
        claims
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        claims
    };
    let forged = hs256(
        r#"{"alg":"HS256"}"#,
        &claims(NOW + 500, json!({})).to_string(),
    );
    let forged = format!("{}AAAA", &forged[..forged.len() - 4]);
    assert_eq!(
        set.verify_at(&forged, NOW).unwrap_err(),
        TokenError::BadSignature
    );
    for (more, error) in [
        (json!({"iss": "others"}), TokenError::WrongIssuer),
        (json!({"aud": "others"}), TokenError::WrongAudience),
        (json!({"nbf": "soon"}), TokenError::Malformed),
    ] {
        assert_eq!(verdict(&set, &claims(NOW + 500, more)), Err(error));
    }
    assert_eq!(seen().tokens, 0);
    for (more, result) in [
        (json!({}), Ok(())),
        (json!({"exp": NOW - 60}), Err(TokenError::Expired)),
        (json!({"nbf": NOW + 400}), Err(TokenError::NotYetValid)),
        (json!({"iat": "yesterday"}), Ok(())),
    ] {
        assert_eq!(verdict(&set, &claims(NOW - 10, more)), result);
    }
    assert_eq!(
        (seen().tokens, seen().expired, seen().not_yet_valid),
        (4, 1, 1)
    );
    assert_eq!((seen().ahead(), seen().youngest()), (0, Some(10)));
    // The times go first where more is wrong.
    let both = claims(NOW, json!({"exp": NOW - 60, "iss": "others"}));
    assert_eq!(verdict(&set, &both), Err(TokenError::Expired));
    assert_eq!(seen().tokens, 4);
    verify(&set, &claims(NOW + 40, json!({})).to_string()).unwrap();
    assert_eq!(seen().ahead(), 40);
}
