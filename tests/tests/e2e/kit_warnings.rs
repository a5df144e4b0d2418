//! Warnings of `sluice policy`: a test that passes may not have asked what its author means.

use sluice_tests::command;
use sluice_tests::project::{edit, place, policy, succeeds};

#[test]
fn what_is_changed_not_read_or_stale_is_a_warning_and_a_failure_where_tests_are_strict() {
    let place = place("warnings");
    succeeds(&["new", "mine"], &place);
    let project = place.join("mine");
    succeeds(&["test", "--strict"], &project);

    edit(
        &project.join("src/lib.rs"),
        "no access\").close_code(4100)",
        "no access\".repeat(80)).close_code(1000)",
    );
    edit(
        &project.join("tests/decisions.toml"),
        ", close_code = 4100",
        "",
    );
    edit(
        &project.join("sluice.toml"),
        "tenants = [\"dev\"]",
        "tenants = [\"dev\"]\ntenant = \"dev\"",
    );
    let told = [
        "warning: the close code 1000 became 4005: a policy may use 4000, 4001, 4002, 4005 and 4100 to 4999",
        "warning: the `message` of a rejection has 2000 bytes, and was cut to 1024 (max_message = \"1KiB\")",
        "warning: `tenant` of [policies.mine.config] is read in no case",
        "3 passed, 0 failed, 3 warnings",
    ];
    for (args, status) in [(&["test"][..], 0), (&["test", "--strict"], 1)] {
        let done = policy(args, &project);
        assert_eq!(done.status, Some(status), "{done:?}");
        for told in told {
            assert!(done.stdout.contains(told), "{told}: {done:?}");
        }
    }
    let case = "another tenant is told why not";
    let shown = succeeds(&["run", "tests/decisions.toml", "--case", case], &project);
    assert!(
        shown.contains("changed  the close code 1000 became 4005"),
        "{shown}"
    );

    edit(
        &project.join("src/lib.rs"),
        "close_code(1000)",
        "close_code(4100)",
    );
    let args = ["test", "--component", "build/mine.wasm"];
    let done = policy(&args, &project);
    let stale =
        "warning: build/mine.wasm is older than the sources of `mine`: run \"sluice policy build\"";
    assert!(done.stdout.contains(stale), "{done:?}");
    // It is built first, and so is what the author means.
    let done = policy(&["test"], &project);
    assert!(!done.stdout.contains("is older than"), "{done:?}");
    assert!(!done.stdout.contains("the close code"), "{done:?}");
}

#[test]
fn an_import_that_the_world_lacks_is_told_with_the_line_to_add() {
    for (language, file, from, to) in [
        (
            "js",
            "src/rule.js",
            "/** The operator's list",
            "import { nowMs } from \"sluice:policy/clock@0.1.0\";\nexport const now = nowMs;\n\n/** The operator's list",
        ),
        (
            "python",
            "src/policy.py",
            "import rule\n",
            "import rule\nfrom wit_world.imports import clock\n",
        ),
    ] {
        let place = place(&format!("world-{language}"));
        succeeds(&["new", "mine", "--lang", language], &place);
        let project = place.join("mine");
        if language == "js" {
            let packages = command::root().join("tests/.componentize/node_modules");
            std::os::unix::fs::symlink(packages, project.join("node_modules")).unwrap();
        }
        edit(&project.join(file), from, to);
        let done = policy(&["build"], &project);
        assert_eq!(done.status, Some(1), "{done:?}");
        let line = "add this line to its world:\n\n  import sluice:policy/clock@0.1.0;\n";
        assert!(done.stderr.contains(line), "{done:?}");
    }
}

#[test]
fn the_workflow_of_a_project_fails_at_warnings() {
    let place = place("workflow");
    for (language, install) in [
        ("rust", "rustup target add"),
        ("js", "npm install"),
        ("python", "pip install"),
    ] {
        succeeds(&["new", language, "--lang", language], &place);
        let workflow = place.join(language).join(".github/workflows/policy.yml");
        let text = std::fs::read_to_string(&workflow).unwrap();
        assert!(text.contains("run: sluice policy test --strict"), "{text}");
        assert!(text.contains(install), "{text}");
    }
}
