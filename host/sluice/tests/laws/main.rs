//! The laws of the house: who may know whom. Dependencies run one way, from what is particular to
//! what is general.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read manifests or sources has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

mod circles;
mod imports;

/// A crate of the house, and those of its crates that it may know.
struct Crate {
    name: &'static str,
    may_know: &'static [&'static str],
}

/// From the ground up. Policies know no socket and no upstream, upstreams know no policy, and only the binary knows how all
/// of it is put together.
const HOUSE: [Crate; 14] = [
    Crate {
        name: "base",
        may_know: &[],
    },
    Crate {
        name: "traces",
        may_know: &["base"],
    },
    Crate {
        name: "wire",
        may_know: &[],
    },
    Crate {
        name: "keys",
        may_know: &["base"],
    },
    Crate {
        name: "session",
        may_know: &["base", "wire"],
    },
    Crate {
        name: "cluster",
        may_know: &["base", "session"],
    },
    Crate {
        name: "policy",
        may_know: &["base", "keys", "session"],
    },
    Crate {
        name: "upstream",
        may_know: &["base", "traces", "wire", "session", "cluster"],
    },
    Crate {
        name: "config",
        may_know: &[
            "base", "traces", "wire", "keys", "session", "cluster", "policy", "upstream",
        ],
    },
    Crate {
        name: "gateway",
        may_know: &["base", "traces", "wire", "session", "policy", "upstream"],
    },
    Crate {
        name: "client",
        may_know: &["base", "session"],
    },
    Crate {
        name: "guest",
        may_know: &[],
    },
    Crate {
        name: "kit",
        may_know: &["base", "keys", "session", "policy", "config", "guest"],
    },
    Crate {
        name: "sluice",
        may_know: &[
            "base", "traces", "wire", "keys", "session", "cluster", "policy", "upstream", "config",
            "gateway", "client", "kit",
        ],
    },
];

/// The crates under `host/`, by folder, and what each is built from of them. What tests and build
/// scripts need is their own affair.
fn crates() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let folder_in_host = |path: &Value| {
        let (_, folder) = path.as_str()?.rsplit_once("/host/")?;
        Some(folder.split('/').next()?.to_owned())
    };
    let mut crates = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let Some(name) = folder_in_host(&package["manifest_path"]) else {
            continue;
        };
        let dependencies = package["dependencies"].as_array().unwrap();
        let known = dependencies
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| folder_in_host(&dependency["path"]));
        crates.insert(name, known.collect());
    }
    crates
}

#[test]
fn a_crate_knows_only_what_it_may() {
    let mut broken = Vec::new();
    for (name, known) in crates() {
        let room = HOUSE.iter().find(|room| room.name == name);
        let Some(room) = room else {
            broken.push(format!("`{name}` has no room: give it one in HOUSE"));
            continue;
        };
        for other in known {
            if !room.may_know.contains(&other.as_str()) {
                broken.push(format!("`{name}` knows `{other}`"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn crates_know_only_crates_below_them() {
    for (number, room) in HOUSE.iter().enumerate() {
        for known in room.may_know {
            let below = HOUSE[..number].iter().any(|below| below.name == *known);
            assert!(
                below,
                "{} may know {known}, which is not below it",
                room.name
            );
        }
    }
}

#[test]
fn every_crate_of_the_table_is_there() {
    let crates = crates();
    for room in &HOUSE {
        assert!(
            crates.contains_key(room.name),
            "{} is gone: take it out of HOUSE",
            room.name
        );
    }
}

/// Whether a file is there for tests alone.
fn is_for_tests(file: &Path) -> bool {
    file.components().any(|part| {
        let name = Path::new(part.as_os_str()).file_stem();
        name.is_some_and(|name| {
            ["tests", "testing", "fixtures"]
                .iter()
                .any(|test| name == *test)
        })
    })
}

/// A file's code: no comments, and no tests, which stand at its end.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let code: Vec<_> = code
        .take_while(|line| !line.starts_with("mod tests {"))
        .collect();
    code.join("\n")
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The words of code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The name that a line gives to something for other crates, unless it is a struct or an enum: those may be part of what
/// another name means.
fn published(line: &str) -> Option<&str> {
    let mut words = line.trim_start().strip_prefix("pub ")?.split(' ');
    loop {
        match words.next()? {
            "async" | "unsafe" => {}
            // `const NAME: …` or `const fn name`.
            "const" => match words.next()? {
                "fn" => return words.next().map(word),
                name => return Some(word(name)),
            },
            "fn" | "static" | "type" | "trait" | "mod" => return words.next().map(word),
            _ => return None,
        }
    }
}

#[test]
fn nothing_is_public_that_no_other_crate_uses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // By the folder that is a crate, or holds what uses crates.
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut public = Vec::new();
    let mut all = Vec::new();
    for room in &HOUSE {
        for part in ["src", "tests", "benches"] {
            let folder = root.join("host").join(room.name).join(part);
            if folder.is_dir() {
                files(&folder, &mut all);
            }
        }
    }
    for part in ["src", "tests", "fuzz/targets"] {
        files(&root.join("tests").join(part), &mut all);
    }
    for file in &all {
        let inside = file.strip_prefix(&root).unwrap();
        let mut parts = inside.iter().map(|part| part.to_str().unwrap());
        let (top, folder) = (parts.next().unwrap(), parts.next().unwrap());
        let is_library = top == "host" && parts.next() == Some("src");
        let user = if is_library && !inside.ends_with("main.rs") {
            folder.to_owned()
        } else {
            inside.display().to_string()
        };
        let text = fs::read_to_string(file).unwrap();
        let known = used.entry(user.clone()).or_default();
        known.extend(words(&text).map(str::to_owned));
        if is_library && !is_for_tests(inside) {
            let code = code(file);
            let names = code.lines().filter_map(published);
            public.extend(names.map(|name| (user.clone(), inside.to_owned(), name.to_owned())));
        }
    }
    let unused: Vec<_> = public
        .iter()
        .filter(|(owner, _, name)| {
            let mut others = used.iter().filter(|(user, _)| *user != owner);
            !others.any(|(_, words)| words.contains(name))
        })
        .map(|(_, file, name)| format!("{}: {name}", file.display()))
        .collect();
    assert!(public.len() > 500, "{}", public.len());
    assert!(unused.is_empty(), "make these `pub(crate)`: {unused:#?}");
}
