use std::collections::HashMap;
use std::path::Component;

use super::*;
use crate::testing::stream_info;

const ROOT: &str = "/recordings";

fn began() -> Timestamp {
    Timestamp::from_second(1_795_381_053).unwrap()
}

/// The folder of a stream of this tenant, as text below the root.
fn folder_of(layout: &Layout, tenant: Option<&str>, meeting: &str) -> String {
    let stream = stream_info(meeting);
    if let Some(tenant) = tenant {
        let left = stream
            .facts
            .set_attribute("auth", "tenant_id", tenant.into());
        left.unwrap();
    }
    // A policy that verifies no token does not count.
    let others = stream
        .facts
        .set_attribute("other", "tenant_id", "forged".into());
    others.unwrap();
    let folder = layout.folder(Path::new(ROOT), &stream, began());
    let below = folder.strip_prefix(ROOT).unwrap();
    below.to_str().unwrap().to_owned()
}

fn expand(layout: &str, tenant: Option<&str>, meeting: &str) -> String {
    folder_of(&Layout::parse(layout).unwrap(), tenant, meeting)
}

#[test]
fn every_placeholder_becomes_one_folder() {
    for (layout, folder) in [
        ("{tenant}/{meeting}", "acme/m1"),
        ("calls/{date}/{tenant}", "calls/2026-11-22/acme"),
        (
            "{route}/{source}/{session}",
            "ingest/mic/019ab1de-0c3a-7b52-8a05-9f1e6a1b7c5f",
        ),
        ("{param.meeting_id}/{query.lang}", "m1/%none"),
        ("{auth.tenant_id}/{other.tenant_id}", "acme/forged"),
        ("{user}/{param.room}", "%none/%none"),
        ("Archive_1.x", "Archive_1.x"),
    ] {
        assert_eq!(expand(layout, Some("acme"), "m1"), folder, "{layout}");
    }
    assert_eq!(folder_of(&Layout::default(), Some("acme"), "m1"), "acme/m1");
}

#[test]
fn without_a_meeting_it_is_the_route_that_names_the_folder() {
    let mut stream = stream_info("m1");
    stream.params.clear();
    let folder = Layout::default().folder(Path::new(ROOT), &stream, began());
    assert_eq!(folder, Path::new(ROOT).join("%none/ingest"));
}

#[test]
fn the_first_policy_that_names_the_tenant_is_believed() {
    let mut stream = stream_info("m1");
    stream.identified_by = ["guard", "auth", "late"].map(str::to_owned).into();
    for (policy, tenant) in [("late", "third"), ("auth", "second")] {
        let left = stream
            .facts
            .set_attribute(policy, "tenant_id", tenant.into());
        left.unwrap();
    }
    let folder = Layout::default().folder(Path::new(ROOT), &stream, began());
    assert_eq!(folder, Path::new(ROOT).join("second/m1"));
}

#[test]
fn no_two_tenants_share_a_folder_and_none_has_that_of_those_without() {
    let long = "x".repeat(8000);
    let longer = format!("{long}y");
    let tenants = [
        "", "acme", "Acme", "ACME", "acme.", ".acme", "acme ", "%none", "%4eone", "none", "%empty",
        "..", ".", "../../x", "a/b", "a\\b", "a\0b", "a\nb", "CON", "con", "con.wav", "nul", "~",
        "🎙", "🎙🎙", "é", "e\u{301}", "\u{202e}", "{tenant}", &long, &longer,
    ];
    let mut seen = HashMap::new();
    let layout = Layout::default();
    for tenant in tenants.iter().copied().map(Some).chain([None]) {
        let folder = folder_of(&layout, tenant, "m1");
        let parts: Vec<_> = Path::new(&folder).components().collect();
        let [Component::Normal(first), Component::Normal(second)] = parts[..] else {
            panic!("{tenant:?} is in {folder}")
        };
        assert_eq!(second, "m1");
        let first = first.to_str().unwrap();
        assert!(
            first.len() < 200 && first.is_ascii() && !first.starts_with('.'),
            "{first}"
        );
        if let Some(other) = seen.insert(first.to_ascii_lowercase(), tenant) {
            panic!("{tenant:?} and {other:?} share {first}");
        }
    }
}

#[test]
fn a_credential_in_a_claim_is_in_no_folder_s_name() {
    let stream = stream_info("m1");
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw";
    let left = stream
        .facts
        .set_attribute("auth", "tenant_id", token.into());
    left.unwrap();
    let folder = Layout::default().folder(Path::new(ROOT), &stream, began());
    assert!(!folder.to_str().unwrap().contains("eyJ"), "{folder:?}");
}

#[test]
fn what_is_no_layout_says_which_part_is_wrong() {
    let name = |name: &str| Flaw::Name(name.to_owned());
    let mixed = |part: &str| Flaw::Mixed(part.to_owned());
    let braces = |part: &str| Flaw::Braces(part.to_owned());
    let unknown = |name: &str| Flaw::Unknown(name.to_owned());
    let deep = ["a"; MAX_FOLDERS + 1].join("/");
    for (layout, at, flaw) in [
        ("/var/calls", 0..1, Flaw::Absolute),
        ("", 0..0, Flaw::Empty),
        ("{tenant}//x", 9..9, Flaw::Empty),
        ("{tenant}/", 9..9, Flaw::Empty),
        ("{tenant}/../x", 9..11, Flaw::Dots("..".to_owned())),
        ("./x", 0..1, Flaw::Dots(".".to_owned())),
        ("x/.hidden", 2..9, name(".hidden")),
        ("a b", 0..3, name("a b")),
        ("a\\b", 0..3, name("a\\b")),
        ("con/x", 0..3, name("con")),
        ("%none", 0..5, name("%none")),
        ("é/x", 0..2, name("é")),
        ("x/{tenant}-{user}", 2..17, mixed("{tenant}-{user}")),
        ("t-{tenant}", 0..10, mixed("t-{tenant}")),
        ("{tenant", 0..7, braces("{tenant")),
        ("tenant}", 0..7, braces("tenant}")),
        ("{{tenant}}", 0..10, braces("{{tenant}}")),
        ("x/{tennant}", 2..11, unknown("tennant")),
        ("{}", 0..2, unknown("")),
        ("{param.}", 0..8, unknown("param.")),
        ("{header.cookie}", 0..15, unknown("header.cookie")),
        (
            "{query.token}",
            0..13,
            Flaw::Secret("query.token".to_owned()),
        ),
        (&deep, 0..deep.len(), Flaw::TooDeep),
    ] {
        assert_eq!(
            Layout::parse(layout),
            Err(LayoutError { at, flaw }),
            "{layout}"
        );
    }
}
