//! `sluice policy` on policies that are asked about streams and told of their
//! end.

use sluice_tests::command::{self, Done};
use sluice_tests::guest::example;

/// Runs `sluice policy` where an example has been built, beside its cases.
fn policy(args: &[&str], name: &str) -> Done {
    let sources = command::root().join("plugins/examples").join(name);
    let folder = tempfile::tempdir().expect("a folder");
    let built = format!("build/sluice-example-{name}.wasm");
    for (file, from) in [
        ("sluice.toml", sources.join("sluice.toml")),
        ("tests/decisions.toml", sources.join("tests/decisions.toml")),
        (&built, example(name)),
    ] {
        let to = folder.path().join(file);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        std::fs::copy(from, to).expect("a file");
    }
    // Those of the example that looks into lists.
    for entry in std::fs::read_dir(sources.join("lists"))
        .into_iter()
        .flatten()
    {
        let file = entry.expect("a file").path();
        let to = folder.path().join("lists");
        std::fs::create_dir_all(&to).expect("a folder");
        std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("a file");
    }
    let mut policy = command::sluice(&["policy"]);
    policy.current_dir(folder.path()).args(args);
    command::run(policy.args(["--policy", name]))
}

#[test]
fn the_examples_that_watch_streams_pass_their_cases() {
    for (name, passed) in [("silence-or-too-fast", 8), ("rate-limit", 7), ("plans", 6)] {
        let done = policy(&["test"], name);
        assert_eq!(done.status, Some(0), "{done:?}");
        let told = format!("{passed} passed, 0 failed");
        assert!(done.stdout.contains(&told), "{done:?}");
    }
}

#[test]
fn a_stream_is_shown_and_measured_window_by_window() {
    let of = |case| ["tests/decisions.toml", "--case", case];
    let asked = of("more than that is too fast");
    let run = policy(&[&["run"], &asked[..]].concat(), "silence-or-too-fast");
    assert!(
        run.stdout.contains("verdict  reject too_fast (4109)"),
        "{run:?}"
    );
    assert_eq!(run.stdout.matches("on-frames ").count(), 2, "{run:?}");
    let bench = [&["bench"], &asked[..], &["--for", "10ms"]].concat();
    let bench = policy(&bench, "silence-or-too-fast");
    assert!(bench.stdout.contains("median"), "{bench:?}");

    let asked = of("what got as far as to stream is taken back");
    let run = policy(&[&["run"], &asked[..]].concat(), "rate-limit");
    let place = |hook| {
        run.stdout
            .find(hook)
            .unwrap_or_else(|| panic!("{hook}: {run:?}"))
    };
    assert!(place("on-connect ") < place("on-close "), "{run:?}");
}

#[test]
fn a_case_without_a_stream_is_told_that_it_needs_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cases.toml");
    std::fs::write(&file, "[[case]]\nname = \"n\"\nexpect = \"accept\"\n").expect("a file");
    let file = file.to_str().expect("a path of text");
    let done = policy(&["test", file], "silence-or-too-fast");
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(
        done.stdout.contains("add `windows` or `ending`"),
        "{done:?}"
    );
}

#[test]
fn a_case_with_what_the_policy_has_no_hook_for_fails_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cases.toml");
    let ask = |example: &str, part: &str| {
        let case = format!(
            "[[case]]\nname = \"n\"\n{part}\nexpect = \"accept\"\n\n\
             [[case]]\nname = \"another\"\nexpect = \"accept\"\n"
        );
        std::fs::write(&file, case).expect("a file");
        policy(&["test", file.to_str().expect("a path of text")], example)
    };
    // It has on-connect and on-close.
    for (part, hook) in [
        ("handshake = {}", "on-handshake"),
        ("windows = [{ length_ms = 5000 }]", "on-frames"),
    ] {
        let done = ask("rate-limit", part);
        assert_eq!(done.status, Some(1), "{done:?}");
        let why = format!("\"rate-limit\" has no hook {hook}");
        assert!(done.stdout.contains(&why), "{why}: {done:?}");
        // The other cases are tried all the same.
        assert!(done.stdout.contains("1 passed, 1 failed"), "{done:?}");
    }
    // It has on-frames alone.
    let done = ask(
        "silence-or-too-fast",
        "ending = { cause = \"idle_timeout\", close_code = 4008 }",
    );
    assert!(done.stdout.contains("has no hook on-close"), "{done:?}");
    // A case is not even run.
    let file = file.to_str().expect("a path of text");
    let done = policy(&["run", file, "--case", "n"], "silence-or-too-fast");
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stdout.contains("has no hook on-close"), "{done:?}");
}
