//! What may not be recorded. It hides too much rather than too little.
//!
//! Values of credentials are left out by their names; and whatever they are
//! is looked for in every other text of the line, so that a guest that was
//! granted credentials cannot write them down by another way. What looks like
//! a JWT is hidden wherever it stands.

use serde_json::Value;

/// What stands in the place of a secret, and at the end of a text of which
/// there was more.
pub const HIDDEN: &str = "[withheld]";
/// Words of which one is enough to make a name suspicious.
const WORDS: [&str; 10] = [
    "jwt", "key", "apikey", "otp", "pin", "sig", "bearer", "pwd", "sid", "csrf",
];
/// Parts of a name that are enough.
const PARTS: [&str; 7] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "passw",
    "credential",
    "signature",
];
/// A secret that is shorter is hidden under its own name only: hidden
/// everywhere, it would take ordinary words with it.
const SHORTEST: usize = 8;
/// Bytes of one text.
const LONGEST: usize = 4096;

/// Whether a value of this name is not recorded.
#[must_use]
pub fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    PARTS.iter().any(|part| name.contains(part))
        || words.any(|word| WORDS.contains(&word))
        || name == "x-auth"
}

/// The secrets of one connection.
#[derive(Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Hides this wherever it stands, and the parts that it is made of.
    pub fn add(&mut self, secret: &str) {
        // `Bearer …`, `Basic …`, `a=…; b=…`, and the three parts of a JWT.
        let parts = secret.split(|c: char| c.is_whitespace() || matches!(c, '=' | ';' | ',' | '.'));
        let all = parts.chain([secret, secret.trim()]);
        let long = all.filter(|part| part.len() >= SHORTEST);
        self.0.extend(long.map(str::to_owned));
    }

    /// The longest first, so that a part does not break up the whole.
    pub fn settle(&mut self) {
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.0.dedup();
    }

    /// A text without them, cut to a bound.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let mut text = hide_jwts(text);
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), HIDDEN);
            }
        }
        if text.len() > LONGEST {
            text = crate::text::clip(&text, LONGEST) + HIDDEN;
        }
        text
    }

    /// A JSON value without them, and without what is called like one.
    pub fn hide_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.hide(text),
            Value::Array(values) if is_pair_of_secret(values) => {
                values[1] = Value::String(HIDDEN.to_owned());
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.hide_in(value)),
            Value::Object(members) => {
                let taken = std::mem::take(members);
                members.extend(taken.into_iter().map(|(name, mut value)| {
                    if is_sensitive(&name) {
                        value = Value::String(HIDDEN.to_owned());
                    } else {
                        self.hide_in(&mut value);
                    }
                    (self.hide(&name), value)
                }));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Whether this is a name with its value, as attributes are written.
fn is_pair_of_secret(values: &[Value]) -> bool {
    matches!(values, [Value::String(name), _] if is_sensitive(name))
}

/// Every JWT begins with `{"` in base64url.
fn hide_jwts(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("eyJ") {
        shown.push_str(&rest[..at]);
        let tail = &rest[at..];
        let end = tail
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .unwrap_or(tail.len());
        if end >= 16 {
            shown.push_str(HIDDEN);
        } else {
            shown.push_str(&tail[..end]);
        }
        rest = &tail[end..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for name in [
            "Authorization",
            "cookie",
            "set-cookie",
            "token",
            "access_token",
            "x-api-key",
            "client-secret",
            "password",
            "X-Amz-Signature",
            "sec-websocket-key",
            "x-auth",
            "sig",
        ] {
            assert!(is_sensitive(name), "{name}");
        }
        for name in [
            "meeting_id",
            "source",
            "user-agent",
            "tenant_id",
            "auth.user_id",
            "email",
            "exp",
            "sample_rate",
            "device_id",
            "monkey",
            "spin",
        ] {
            assert!(!is_sensitive(name), "{name}");
        }
    }

    #[test]
    fn a_secret_and_its_parts_are_hidden_wherever_they_stand() {
        let mut secrets = Secrets::default();
        secrets.add("Bearer first-half.second-half");
        secrets.settle();
        for text in [
            "said Bearer first-half.second-half",
            "first-half.second-half",
            "only second-half here",
        ] {
            let hidden = secrets.hide(text);
            assert!(!hidden.contains("half"), "{hidden}");
        }
        assert_eq!(secrets.hide("a Bearer of news"), "a Bearer of news");
    }

    #[test]
    fn what_looks_like_a_jwt_is_hidden_with_the_words_around_it_kept() {
        let secrets = Secrets::default();
        assert_eq!(
            secrets.hide("got eyJhbGciOiJIUzI1NiJ9.e30.c2ln, twice"),
            "got [withheld], twice"
        );
        assert_eq!(secrets.hide("eyJust so eyJ"), "eyJust so eyJ");
    }

    #[test]
    fn members_that_are_called_like_a_secret_have_no_value() {
        let mut value =
            serde_json::json!({"a": [{"api_key": {"b": 1}}], "c": [["p.token", "t"], ["e", "f"]]});
        Secrets::default().hide_in(&mut value);
        let expected =
            serde_json::json!({"a": [{"api_key": HIDDEN}], "c": [["p.token", HIDDEN], ["e", "f"]]});
        assert_eq!(value, expected);
    }
}
