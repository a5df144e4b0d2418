use std::path::Path;

use policy::references::Reference;

use super::*;

const GOOD: &str = r#"
[key_sets.main]
generate = true
[policies.first]
component = "builtin:auth"
grants = ["jwt"]
config = { key_set = "main", rooms = { room = "meeting_id" } }
[policies.second]
component = "builtin:sample-rate"
config = { key = ["route", "first.tenant"] }
[upstreams.sink]
kind = "discard"
[routes.ingest]
paths = ["/ws/{meeting_id}", "/v1/{meeting_id}"]
on_connect = ["first", "second"]
upstream = "sink"
"#;

const BACKEND: &str = "kind = \"websocket\"\nurl = \"ws://h/x\"";

fn named(kind: ReferenceKind, pointer: &str, name: &str) -> References {
    let mut references = References::default();
    references.named.push(Reference {
        kind,
        pointer: pointer.to_owned(),
        name: name.to_owned(),
        tenant: None,
    });
    references
}

fn leaving(names: &[&str]) -> References {
    let mut references = References::default();
    references.leaves = names.iter().map(|name| (*name).to_owned()).collect();
    references
}

fn without_effect(pointer: &str) -> References {
    let mut references = References::default();
    references.ineffective.push(Ineffective {
        pointer: pointer.to_owned(),
        why: "nobody looks".to_owned(),
        help: "leave it out".to_owned(),
    });
    references
}

/// What is reported of a configuration whose policies declared this. Folded lines are one line.
#[track_caller]
fn report_of(text: &str, declared: &[(&str, &References)]) -> String {
    let read = Config::parse("sluice.toml", text, Path::new("/etc/sluice"));
    let (config, _) = read.expect("it is TOML");
    let mut diagnostics = Diagnostics::default();
    report(
        &config,
        &declared.iter().copied().collect(),
        &mut diagnostics,
    );
    let report = diagnostics.to_string();
    let words = report.split_whitespace().filter(|word| *word != "|");
    words.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn fine(text: &str, declared: &[(&str, &References)]) {
    let report = report_of(text, declared);
    assert!(!report.contains("sluice.toml:"), "{report}");
}

#[track_caller]
fn mistake(text: &str, declared: &[(&str, &References)], parts: &[&str]) {
    let report = report_of(text, declared);
    for part in parts {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    assert!(
        report.ends_with("1 mistake in the configuration"),
        "{report}"
    );
}

#[test]
fn a_key_set_that_nobody_declares_is_a_mistake_where_it_is_named() {
    let main = named(ReferenceKind::KeySet, "/key_set", "main");
    fine(GOOD, &[("first", &main)]);
    let text = GOOD.replace("key_set = \"main\"", "key_set = \"mian\"");
    let mian = named(ReferenceKind::KeySet, "/key_set", "mian");
    mistake(
        &text,
        &[("first", &mian)],
        &[
            "there is no key set called \"mian\"",
            "did you mean \"main\"?",
            "sluice.toml:7:",
            "no [key_sets.mian]",
        ],
    );
}

#[test]
fn a_key_set_with_a_mistake_of_its_own_is_not_missing() {
    let text = GOOD.replace("generate = true", "generat = true");
    let main = named(ReferenceKind::KeySet, "/key_set", "main");
    let report = report_of(&text, &[("first", &main)]);
    assert!(!report.contains("no key set called"), "{report}");
}

#[test]
fn each_path_of_each_route_that_asks_a_policy_has_its_parameters() {
    let meeting = named(ReferenceKind::Param, "/rooms/room", "meeting_id");
    fine(GOOD, &[("first", &meeting)]);
    let text = GOOD.replace("/v1/{meeting_id}", "/v1/{meeting}");
    mistake(
        &text,
        &[("first", &meeting)],
        &[
            "[policies.first] needs the path parameter `meeting_id`, and [routes.ingest] has a path",
            "name a parameter that \"/v1/{meeting}\" has",
            "sluice.toml:7:",
        ],
    );
    fine(
        &text.replace("[\"first\", \"second\"]", "[\"second\"]"),
        &[("first", &meeting)],
    );
}

#[test]
fn the_policy_of_an_attribute_is_asked_before_whoever_needs_it() {
    let tenant = named(ReferenceKind::Attribute, "/key/1", "first.tenant");
    fine(GOOD, &[("second", &tenant)]);
    let text = GOOD.replace("[\"first\", \"second\"]", "[\"second\", \"first\"]");
    mistake(
        &text,
        &[("second", &tenant)],
        &[
            "in [routes.ingest] no policy \"first\" is asked before it",
            "put \"first\" before \"second\" in the route's `on_connect`",
            "sluice.toml:10:",
            "nobody sets this",
        ],
    );
    let later = GOOD.replace(
        "[\"first\", \"second\"]",
        "[\"first\"]\non_close = [\"second\"]",
    );
    fine(&later, &[("second", &tenant)]);
    let alone = later.replace("on_connect = [\"first\"]\n", "");
    mistake(
        &alone,
        &[("second", &tenant)],
        &["put \"first\" into the route's `on_connect`"],
    );
}

#[test]
fn a_policy_whose_section_has_a_mistake_is_not_missing_on_a_route() {
    let text = GOOD.replace("\"builtin:auth\"", "\"builtin:auht\"");
    let tenant = named(ReferenceKind::Attribute, "/key/1", "first.tenant");
    let report = report_of(&text, &[("second", &tenant)]);
    assert!(!report.contains("is asked before it"), "{report}");
}

#[test]
fn a_policy_leaves_what_it_declares_and_nothing_else() {
    let needs = |name| named(ReferenceKind::Attribute, "/key/1", name);
    let (tenant, user) = (needs("first.tenant"), needs("first.user"));
    let leaves = leaving(&["email", "tenant"]);
    fine(GOOD, &[("first", &leaves), ("second", &tenant)]);
    mistake(
        GOOD,
        &[("first", &leaves), ("second", &user)],
        &[
            "[policies.second] needs `first.user`, which no policy leaves",
            "there are: `first.email`, `first.tenant`",
            "sluice.toml:10:",
        ],
    );
    // Whoever declares nothing may leave anything.
    let nothing = References::default();
    fine(GOOD, &[("first", &nothing), ("second", &user)]);
    fine(GOOD, &[("second", &user)]);
}

#[test]
fn what_speaks_in_the_name_of_another_may_leave_anything() {
    let user = named(ReferenceKind::Attribute, "/key/1", "first.user");
    let leaves = leaving(&["tenant"]);
    let trial = "[policies.next]\ncomponent = \"builtin:auth\"\ngrants = [\"jwt\"]\nshadow_of = \"first\"\n";
    fine(
        &format!("{GOOD}{trial}"),
        &[("first", &leaves), ("second", &user), ("next", &leaves)],
    );
}

#[test]
fn an_upstream_is_told_what_its_policies_leave() {
    let leaves = leaving(&["email", "tenant"]);
    let with = |option: &str| GOOD.replace("kind = \"discard\"", &format!("{BACKEND}\n{option}"));
    fine(
        &with("attributes = [\"first.email\"]\ntenant = \"first.tenant\""),
        &[("first", &leaves)],
    );
    mistake(
        &with("attributes = [\"first.mail\"]"),
        &[("first", &leaves)],
        &[
            "[upstreams.sink] needs `first.mail`, which no policy leaves",
            "`first.email`",
            "sluice.toml:11:",
        ],
    );
    mistake(
        &with("tenant = \"first.tenant_id\""),
        &[("first", &leaves)],
        &[
            "[upstreams.sink] never tells the `tenant`: \"first\" leaves no `first.tenant_id`",
            "it leaves: `first.email`, `first.tenant`",
        ],
    );
    let address = GOOD.replace(
        "kind = \"discard\"",
        &BACKEND.replace("/x", "/{first.mail}"),
    );
    let folders = "kind = \"wav\"\npath = \"{first.mail}\"";
    for text in [address, GOOD.replace("kind = \"discard\"", folders)] {
        mistake(
            &text,
            &[("first", &leaves)],
            &[
                "[upstreams.sink] needs `first.mail`",
                "there are: `first.email`",
            ],
        );
    }
}

#[test]
fn an_option_without_effect_is_a_warning_where_all_else_is_right() {
    let key = without_effect("/key/1");
    let report = report_of(GOOD, &[("second", &key)]);
    for part in [
        "`key.1` has no effect: nobody looks",
        "leave it out",
        "sluice.toml:10:",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    assert!(
        report.ends_with("1 warning in the configuration"),
        "{report}"
    );
    let unasked = GOOD.replace("[\"first\", \"second\"]", "[\"first\"]");
    let report = report_of(&unasked, &[("second", &key)]);
    assert!(!report.contains("has no effect"), "{report}");
    let broken = named(ReferenceKind::KeySet, "/key_set", "mian");
    mistake(GOOD, &[("first", &broken), ("second", &key)], &[]);
}

#[test]
fn an_option_that_is_not_written_is_shown_where_it_would_be() {
    let missing = named(ReferenceKind::KeySet, "/more/keys", "mian");
    mistake(GOOD, &[("first", &missing)], &["sluice.toml:7:"]);
    for (pointer, words) in [
        ("/user", "user"),
        ("/a~1b/0/c~0d", "a/b.0.c~d"),
        ("", "config"),
    ] {
        assert_eq!(in_words(pointer), words);
    }
}

#[test]
fn a_key_set_that_no_policy_names_is_told_of() {
    let report = report_of(&format!("{GOOD}[key_sets.old]\ngenerate = true\n"), &[]);
    assert!(
        report.contains("no policy verifies tokens with the key set `old`"),
        "{report}"
    );
    fine(GOOD, &[]);
}
