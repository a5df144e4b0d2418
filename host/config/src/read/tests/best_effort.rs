//! What is left of a configuration with mistakes in it.

use super::*;
use base::diagnostics::Place;
use base::limits::Limits;

fn load_broken(text: &str) -> (Config, Diagnostics) {
    let (config, diagnostics) = load(text).unwrap();
    assert!(!diagnostics.is_empty());
    (config, diagnostics)
}

#[test]
fn a_bad_value_is_replaced_by_its_default() {
    let text = broken(
        "upstream = \"sink\"",
        "upstream = \"sink\"\nidle_timeout = 1\nmax_message = \"5KiB\"",
    );
    let (config, _) = load_broken(&text);
    let expected = Limits {
        max_message: 5 << 10,
        ..Limits::default()
    };
    assert_eq!(*config.routes["ingest"].limits, expected);
}

#[test]
fn what_cannot_be_made_is_left_out_with_every_reference_to_it() {
    let (config, _) = load_broken(&broken("builtin:auth", "builtin:auht"));
    assert!(!config.policies.contains_key("auth"));
    assert!(config.routes["ingest"].on_connect.is_empty());
    assert_eq!(config.routes["ingest"].on_handshake, ["rate"]);

    let (config, _) = load_broken(&broken("kind = \"discard\"", "kind = \"discrad\""));
    assert!(config.upstreams.is_empty());
    assert!(config.routes.is_empty());

    let (config, _) = load_broken(&broken(
        "generate = true",
        "generate = true\nalgorithms = []",
    ));
    assert!(config.key_sets["main"].algorithms.len() == 1, "the default");
    let (config, _) = load_broken(&broken(
        "generate = true",
        "generate = true\nalgorithms = [\"RS256\"]",
    ));
    assert!(config.key_sets.is_empty());
}

#[test]
fn later_stages_add_to_the_same_report_in_the_order_of_the_file() {
    let (config, mut diagnostics) = load_broken(&broken(
        "upstream = \"sink\"",
        "upstream = \"sink\"\nidle_timout = \"1s\"",
    ));
    let policy = &config.policies["auth"];
    diagnostics.error(
        &policy.component_place,
        "it does not load",
        "build it again",
    );
    diagnostics.error(&policy.grants_place, "it imports more", "grant it");
    diagnostics.error(
        &policy.config_place,
        "it dislikes its configuration",
        "correct it",
    );
    diagnostics.error(&Place::nowhere(), "the port is taken", "choose another");
    let report = diagnostics.to_string();
    let at = |words: &str| {
        report
            .find(words)
            .unwrap_or_else(|| panic!("no {words:?} in\n{report}"))
    };
    assert!(at("the port is taken") < at("it does not load"));
    assert!(at("it does not load") < at("it imports more"));
    assert!(at("it imports more") < at("it dislikes its configuration"));
    assert!(at("it dislikes its configuration") < at("no option `idle_timout`"));
    assert!(
        report.ends_with("5 mistakes in the configuration\n"),
        "{report}"
    );
}

#[test]
fn a_place_says_its_line() {
    let config = good(GOOD);
    let line = |needle: &str| GOOD[..GOOD.find(needle).unwrap()].matches('\n').count() + 1;
    let expect = |place: &Place, needle: &str| {
        assert_eq!(
            format!("{place:?}"),
            format!("sluice.toml:{}", line(needle))
        );
    };
    expect(&config.key_sets["main"].place, "[key_sets.main]");
    let auth = &config.policies["auth"];
    expect(&auth.place, "[policies.auth]");
    expect(&auth.component_place, "component");
    expect(&auth.grants_place, "grants");
    expect(&auth.config_place, "config =");
    expect(&config.policies["rate"].grants_place, "[policies.rate]");
    let route = &config.routes["ingest"];
    expect(&route.place, "[routes.ingest]");
    expect(&route.on_connect_place, "on_connect");
    expect(&route.on_handshake_place, "on_handshake");
}

#[test]
fn a_pointer_into_a_policys_configuration_is_a_place() {
    let text = r#"
[policies.mine]
component = "builtin:auth"
[policies.mine.config]
limit = 3
"a/b" = [
  "one",
  { of = "two" },
]
[policies.mine.config.rooms]
first = "main"
[upstreams.sink]
kind = "discard"
[routes.ingest]
paths = ["/ws"]
on_connect = ["mine"]
upstream = "sink"
"#;
    let config = good(text);
    let policy = &config.policies["mine"];
    for (pointer, line) in [
        ("/limit", 5),
        ("/a~1b", 6),
        ("/a~1b/0", 7),
        ("/a~1b/1", 8),
        ("/a~1b/1/of", 8),
        ("/rooms", 10),
        ("/rooms/first", 11),
        // As far as it leads somewhere.
        ("/rooms/second/part", 10),
        ("/absent", 4),
        ("", 4),
        ("limit", 4),
    ] {
        let place = format!("{:?}", policy.place_of(pointer));
        assert_eq!(place, format!("sluice.toml:{line}"), "{pointer}");
    }
}

#[test]
fn nothing_found_means_go() {
    assert!(Diagnostics::default().finish().is_ok());
    let (_, diagnostics) = load_broken(&broken("generate = true", ""));
    assert!(diagnostics.finish().is_err());
}

#[test]
fn what_a_guest_says_cannot_reach_the_terminal() {
    let mut diagnostics = Diagnostics::default();
    diagnostics.error(&Place::nowhere(), "bad \u{1b}[31mred", "x".repeat(10_000));
    let report = diagnostics.to_string();
    assert!(!report.contains('\u{1b}'));
    assert!(report.len() < 5_000);
}
