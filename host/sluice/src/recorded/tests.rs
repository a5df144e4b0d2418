use serde_json::json;

use super::*;

fn refusal(session: &str) -> String {
    let line = json!({
        "v": 1, "time": "2026-11-23T09:12:07Z", "session": session, "route": "r", "generation": 1,
        "policy": "p", "digest": null, "stage": "connect", "role": "enforced",
        "verdict": "accept", "effect": "refused", "duration_us": 1,
        "input": {"path": "/x", "remote": "127.0.0.1:9", "params": [], "query": [], "headers": [],
                  "attributes": [], "withheld": []},
        "calls": [], "left_out": 0
    });
    format!("{line}\n")
}

/// Number of decisions about a session.
fn found(session: &str, file: &Path) -> usize {
    about(session, file).unwrap().lines.len()
}

#[test]
fn a_record_that_is_missing_between_others_hides_none_of_those_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decisions.jsonl");
    for (name, session) in [
        ("decisions.jsonl", "latest"),
        ("decisions.jsonl.2", "second"),
        ("decisions.jsonl.10", "tenth"),
        ("decisions.jsonl.+3", "other"),
        ("decisions.jsonl.3.gz", "other"),
        ("decisions.jsonlx1", "other"),
    ] {
        let text = refusal(session) + &refusal("all");
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    std::fs::create_dir(folder.path().join("decisions.jsonl.4")).unwrap();
    for (session, count) in [
        ("latest", 1),
        ("second", 1),
        ("tenth", 1),
        ("all", 3),
        ("other", 0),
    ] {
        assert_eq!(found(session, &file), count, "{session}");
    }
    let tenth = about("tenth", &file).unwrap().file;
    assert_eq!(tenth, folder.path().join("decisions.jsonl.10"));
    let names = put_aside(&file).unwrap();
    let names = names.iter().map(|file| file.extension().unwrap());
    assert!(names.eq(["2", "10"]));
}

#[test]
fn a_line_that_is_no_decision_is_left_out_and_told_and_those_beside_it_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decisions.jsonl");
    let (before, behind) = (refusal("a"), refusal("a"));
    let half = &before[..before.len() - 10];
    assert!(half.contains("\"a\""));
    std::fs::write(&file, format!("{before}{half}\n{behind}")).unwrap();
    let recorded = about("a", &file).unwrap();
    assert_eq!(recorded.lines.len(), 2);
    let left_out = format!("{:#}", recorded.left_out.unwrap());
    assert!(left_out.contains("decisions.jsonl:2: "), "{left_out}");
    let others = about("b", &file).unwrap();
    assert!(others.lines.is_empty() && others.left_out.is_none());
}

#[test]
fn where_a_place_has_no_line_about_them_the_record_is_searched_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decisions.jsonl");
    let (first, second) = (refusal("b"), refusal("a"));
    std::fs::write(&file, first.clone() + &second).unwrap();
    let is_about = |line: &Line| line.session == "a";
    let right = first.len() as u64;
    assert_eq!(at(&file, &[right], is_about).unwrap().len(), 1);
    let end = (first + &second).len() as u64;
    for wrong in [0, 1, right - 1, right + 1, end, end + 1] {
        let lines = at(&file, &[wrong, right], is_about);
        assert!(lines.is_none(), "{wrong}");
    }
}
