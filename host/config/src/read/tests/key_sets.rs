//! Where keys come from, and every way to get that wrong.

use jsonwebtoken::Algorithm;

use super::*;
use keys::settings::KeySource;

/// PEM that only the loader would check further.
const PEM: &str = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";

const LONG: &str = "0123456789abcdef0123456789abcdef";

/// A folder with key files in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("lf", format!("{LONG}\n")),
        ("crlf", format!("{LONG}\r\n")),
        ("none", LONG.to_owned()),
        ("two", format!("{LONG}\n\n")),
        ("short", "HUSH\n".to_owned()),
        ("key.pem", PEM.to_owned()),
        ("jwks.json", jwks()),
        ("marked", format!("\u{feff}{LONG}\r\n")),
        ("marked.pem", format!("\u{feff}{PEM}")),
        ("marked.json", format!("\u{feff}{}", jwks())),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    for (name, content) in [
        ("utf16", format!("\u{feff}{LONG}\r\n")),
        ("utf16.pem", format!("\u{feff}{PEM}")),
        ("utf16.json", format!("\u{feff}{}", jwks())),
        ("unmarked", LONG.to_owned()),
    ] {
        let bytes: Vec<u8> = content.encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    std::fs::write(folder.path().join("key.der"), [0x30, 0x82, 1, 2, 0xff]).unwrap();
    std::fs::write(folder.path().join("latin1.json"), b"\"\xe7\"").unwrap();
    folder
}

fn jwks() -> String {
    format!(r#"{{"keys":[{{"kty":"oct","kid":"a","k":"{LONG}"}}]}}"#)
}

fn key_set(lines: &str) -> String {
    broken("generate = true", lines)
}

#[track_caller]
fn source(lines: &str) -> (KeySource, Vec<Algorithm>) {
    let folder = folder();
    let (mut config, diagnostics) = load_in(folder.path(), &key_set(lines)).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics}");
    let set = config.key_sets.remove("main").unwrap();
    (set.source, set.algorithms)
}

#[track_caller]
fn mistake(lines: &str, message: &str, help: &str) {
    let report = report_in(folder().path(), &key_set(lines));
    let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(message), "no {message:?} in\n{report}");
    assert!(flat.contains(help), "no {help:?} in\n{report}");
    assert!(
        report.contains("1 mistake in"),
        "more than one mistake:\n{report}"
    );
    assert!(!report.contains("HUSH"), "a secret in\n{report}");
}

fn pem(algorithms: &str) -> String {
    format!("pem = \"\"\"\n{PEM}\"\"\"\nalgorithms = {algorithms}")
}

#[test]
fn a_shared_secret_comes_from_anywhere_without_what_is_around_it() {
    for (lines, is_warned) in [
        (format!("secret = \"{LONG}\""), false),
        ("secret_env = \"LONG_SECRET\"".to_owned(), false),
        ("secret_file = \"lf\"".to_owned(), false),
        ("secret_file = \"crlf\"".to_owned(), false),
        ("secret_file = \"none\"".to_owned(), false),
        (format!("secret = \" {LONG}\\t\""), true),
        ("secret_env = \"MARKED_SECRET\"".to_owned(), true),
        ("secret_file = \"two\"".to_owned(), true),
        ("secret_file = \"marked\"".to_owned(), true),
        ("secret_file = \"utf16\"".to_owned(), true),
    ] {
        let folder = folder();
        let (mut config, diagnostics) = load_in(folder.path(), &key_set(&lines)).unwrap();
        let warnings = diagnostics
            .finish()
            .unwrap()
            .render(base::diagnostics::Look::Plain);
        let said = warnings.contains("the secret has white space or a byte order mark around it");
        assert_eq!(said, is_warned, "{lines}: {warnings}");
        assert!(!warnings.contains(LONG), "{warnings}");
        let set = config.key_sets.remove("main").unwrap();
        let KeySource::Secret(secret) = set.source else {
            panic!("{lines} is {:?}", set.source);
        };
        assert_eq!(secret.expose(), LONG.as_bytes(), "{lines}");
        assert_eq!(set.algorithms, [Algorithm::HS256]);
    }
}

#[test]
fn a_secret_in_another_encoding_is_refused_by_its_name() {
    mistake(
        "secret_file = \"unmarked\"",
        "the secret cannot be read: it is UTF-16 without a byte order mark",
        "the encoding that its other users have it in",
    );
}

#[test]
fn keys_are_read_in_every_encoding_that_says_what_it_is() {
    for (lines, pem) in [
        ("pem_file = \"marked.pem\"\nalgorithms = [\"RS256\"]", true),
        ("pem_file = \"utf16.pem\"\nalgorithms = [\"RS256\"]", true),
        (
            "jwks_file = \"marked.json\"\nalgorithms = [\"HS256\"]",
            false,
        ),
        (
            "jwks_file = \"utf16.json\"\nalgorithms = [\"HS256\"]",
            false,
        ),
    ] {
        match source(lines).0 {
            KeySource::Pem(bytes) if pem => assert_eq!(bytes, PEM.as_bytes()),
            KeySource::Jwks(text) if !pem => assert_eq!(text, jwks()),
            other => panic!("{lines} is {other:?}"),
        }
    }
    mistake(
        "pem_file = \"key.der\"\nalgorithms = [\"RS256\"]",
        "`pem_file` is DER, and not PEM",
        "openssl pkey -pubin -inform der",
    );
}

#[test]
fn a_public_key_comes_from_the_file_or_another() {
    let elsewhere = "pem_file = \"key.pem\"\nalgorithms = [\"RS256\", \"EdDSA\"]".to_owned();
    for lines in [pem("[\"RS256\", \"EdDSA\"]"), elsewhere] {
        let (source, algorithms) = source(&lines);
        assert!(
            matches!(source, KeySource::Pem(bytes) if bytes == PEM.as_bytes()),
            "{lines}"
        );
        assert_eq!(algorithms, [Algorithm::RS256, Algorithm::EdDSA]);
    }
}

#[test]
fn an_algorithm_that_does_not_fit_the_kind_of_key_is_refused() {
    mistake(
        &pem("[\"HS256\"]"),
        "HS256 needs a shared secret",
        "could sign HS256 tokens",
    );
    mistake(
        "generate = true\nalgorithms = [\"RS256\"]",
        "RS256 needs a public key",
        "write \"HS256\"",
    );
}

#[test]
fn a_jwk_set_comes_from_the_file_or_another() {
    for lines in [
        format!("jwks = '{}'", jwks()),
        "jwks_file = \"jwks.json\"".to_owned(),
    ] {
        let (source, _) = source(&format!("{lines}\nalgorithms = [\"HS256\"]"));
        assert!(
            matches!(source, KeySource::Jwks(text) if text == jwks()),
            "{lines}"
        );
    }
}

#[test]
fn keys_that_cannot_be_used_are_refused() {
    mistake(
        "secret = \"HUSH\"",
        "the secret has 4 bytes, and HS256 needs at least 32",
        "openssl rand",
    );
    mistake(
        "secret_env = \"SHORT_SECRET\"",
        "the secret has 4 bytes",
        "openssl rand",
    );
    mistake(
        "secret_file = \"short\"",
        "the secret has 4 bytes",
        "openssl rand",
    );
    mistake(
        "secret_env = \"UNSET\"",
        "the environment variable UNSET is not set",
        "use `secret_file`",
    );
    mistake(
        "secret_file = \"nowhere\"",
        "`secret_file` cannot be read",
        "relative to this configuration file",
    );
    mistake(
        "jwks_file = \"latin1.json\"\nalgorithms = [\"RS256\"]",
        "`jwks_file` cannot be read: it is not UTF-8: line 1 has the byte 0xE7",
        "RFC 8259",
    );
}

#[test]
fn keys_come_from_one_place() {
    mistake(
        "",
        "[key_sets.main] does not say where its keys come from",
        "set one of: `generate = true`, `secret`",
    );
    mistake(
        "generate = false",
        "`generate = false` does not say where the key comes from",
        "leave it out, and set one of",
    );
    mistake(
        &format!("generate = true\nsecret = \"{LONG}\""),
        "[key_sets.main] has two sources of keys: `generate` and `secret`",
        "keep one",
    );
}

#[test]
fn algorithms_are_said_where_they_cannot_be_guessed() {
    mistake(
        &pem("[]"),
        "does not say which algorithms it accepts",
        "`algorithms = [\"RS256\"]`",
    );
    mistake(
        "jwks_file = \"jwks.json\"",
        "does not say which algorithms it accepts",
        "\"EdDSA\"",
    );
    mistake(
        "generate = true\nalgorithms = []",
        "`algorithms` is empty",
        "leave `algorithms` out",
    );
    mistake(
        "generate = true\nalgorithms = [\"none\"]",
        "`algorithms` does not know \"none\"",
        "it knows: \"HS256\", \"RS256\", \"ES256\", \"EdDSA\"",
    );
}

#[test]
fn debug_shows_no_keys() {
    let config = good(&key_set(&format!("secret = \"{LONG}\"")));
    assert!(!format!("{config:?}").contains(LONG));
    let jwks = good(&key_set(&format!(
        "jwks = '{}'\nalgorithms = [\"HS256\"]",
        jwks()
    )));
    assert!(!format!("{jwks:?}").contains(LONG));
    let hidden = GOOD.replace(
        "key_set = \"main\"",
        "key_set = \"main\", webhook = \"HUSH\"",
    );
    assert!(!format!("{:?}", good(&hidden)).contains("HUSH"));
}

#[test]
fn keys_of_a_provider_come_by_https_and_need_algorithms() {
    let provider = |lines: &str| {
        let lines = format!("{lines}\nalgorithms = [\"RS256\", \"ES256\"]");
        let mut config = good(&key_set(&lines));
        let set = config.key_sets.remove("main").unwrap();
        let KeySource::Provider(provider) = set.source else {
            panic!("{lines} is {:?}", set.source);
        };
        (*provider, set.issuers)
    };
    let (by_url, issuers) = provider("jwks_url = \"https://a.example/keys?tenant=HUSH\"");
    assert_eq!(by_url.address.shown(), "https://a.example/keys");
    assert!(issuers.is_empty());
    let (by_issuer, issuers) = provider("issuer = \"https://a.example/\"\njwks_refresh = \"1m\"");
    assert_eq!(by_issuer.refresh.as_secs(), 60);
    assert_eq!(issuers, ["https://a.example/"]);
    let mistaken = |url: &str, message| {
        let lines = format!("{url}\nalgorithms = [\"RS256\"]");
        mistake(&lines, message, "");
    };
    mistaken("jwks_url = \"http://a/\"", "keys come by https alone");
    mistaken("jwks_url = \"keys.json\"", "it is not a URL");
    mistaken("jwks_url = \"https://u:HUSH@a/\"", "it has a user name");
    mistaken("issuer = \"https://a/?b\"", "an issuer has no query");
    mistaken(
        "jwks_url = \"https://a/\"\njwks_stale = \"1m\"",
        "`jwks_stale` is shorter than `jwks_refresh`",
    );
    mistaken(
        "jwks_url = \"https://a/\"\njwks_ca_file = \"missing\"",
        "the provider's certificate cannot be verified",
    );
    mistake(
        "jwks_url = \"https://a/\"",
        "does not say which algorithms it accepts",
        "\"RS256\"",
    );
    mistake(
        "jwks_url = \"https://a/\"\nalgorithms = [\"HS256\"]",
        "HS256 needs a shared secret, which nobody may fetch",
        "whichever the provider signs with",
    );
    mistake(
        "generate = true\njwks_refresh = \"1m\"",
        "`jwks_refresh` is for keys that are fetched",
        "leave it out",
    );
}

#[test]
fn a_set_that_chooses_among_others_knows_all_of_them_by_their_issuers() {
    let sets = |main: &str, more: &str| format!("{}\n{more}", key_set(main));
    let secret = format!("secret = \"{LONG}\"\n");
    let other = |name: &str, lines: &str| format!("[key_sets.{name}]\n{secret}{lines}\n");
    let ours = other("ours", "issuers = [\"us\"]");
    let mut config = good(&sets("by_issuer = [\"ours\"]", &ours));
    let set = config.key_sets.remove("main").unwrap();
    assert!(matches!(set.source, KeySource::ByIssuer(names) if names == ["ours"]));
    for (main, more, message) in [
        ("by_issuer = []", &*ours, "`by_issuer` names no key set"),
        ("by_issuer = [\"our\"]", &ours, "no key set called \"our\""),
        (
            "by_issuer = [\"ours\"]",
            &other("ours", ""),
            "has no `issuers`",
        ),
        (
            "by_issuer = [\"ours\", \"too\"]",
            &format!("{ours}{}", other("too", "issuers = [\"us\"]")),
            "has the issuer \"us\", as `ours` has",
        ),
        (
            "by_issuer = [\"main\"]",
            &ours,
            "chooses among others itself",
        ),
        (
            "by_issuer = [\"ours\"]\naudiences = [\"a\"]",
            &ours,
            "`audiences` has no meaning beside `by_issuer`",
        ),
    ] {
        let report = report_in(folder().path(), &sets(main, more));
        let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(message), "no {message:?} in\n{report}");
    }
}
