//! Whole reports, as an operator sees them.

use super::*;
use base::diagnostics::Look;

#[test]
fn mistakes_of_every_kind_are_reported_together() {
    let text = r#"[server]
listen = "127.0.0.1:8080"
header_timeout = 5

[key_sets.main]
secret = "HUSH"

[policies.auth]
component = "builtin:auht"
on_failure = "open"
time_out = "50ms"
grants = ["jwt"]

[upstreams.recordings]
kind = "wav"

[routes.ingest]
paths = ["/ws/{meeting_id}"]
on_connect = ["auth"]
upstream = "recording"

[routes.other]
paths = ["/ws/{id}"]
upstream = "recordings"
"#;
    assert_eq!(report(text), include_str!("report.txt"));
}

#[test]
fn a_terminal_gets_colour_and_nothing_else_does() {
    let diagnostics = load("a = 1\na = 2").unwrap_err();
    assert!(
        diagnostics
            .render(Look::Terminal)
            .to_string()
            .contains("\u{1b}[")
    );
    let plain = diagnostics.render(Look::Plain).to_string();
    assert!(plain.is_ascii() && !plain.contains('\u{1b}'), "{plain}");
    let file = tempfile::tempfile().unwrap();
    assert_eq!(Look::of(&file), Look::Plain);
}

#[test]
fn nothing_that_a_file_names_moves_the_cursor() {
    let named = broken(
        r#"on_connect = ["auth"]"#,
        r#"on_connect = ["\u001b[2J\t"]"#,
    );
    let report = report(&named);
    let control = report.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{report}");
}
