//! The laws of the house: who may know whom. Dependencies run one way, from what is particular to
//! what is general.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A part of the house: its modules, and the rooms that they may import beside their own.
struct Room {
    name: &'static str,
    modules: &'static [&'static str],
    may_know: &'static [&'static str],
}

/// From the ground up. What is not in `may_know` must not be imported: policies know no socket and no
/// upstream, upstreams know no policy, and only the command line knows how all of it is put together.
const HOUSE: [Room; 12] = [
    Room {
        name: "ground",
        modules: &[
            "blocking",
            "credentials",
            "diagnostics",
            "files",
            "lanes",
            "limits",
            "metrics",
            "paths",
            "rejection",
            "secret",
            "shutdown",
            "text",
            "tls",
        ],
        may_know: &[],
    },
    Room {
        name: "wire",
        modules: &["frame", "headers", "http1", "proxies", "scratch"],
        may_know: &[],
    },
    Room {
        name: "keys",
        modules: &["keys"],
        may_know: &["ground"],
    },
    Room {
        name: "session",
        modules: &["facts", "handshake", "origin", "rate_limit", "session"],
        may_know: &["ground", "wire"],
    },
    Room {
        name: "policy",
        modules: &["policy"],
        may_know: &["ground", "keys", "session"],
    },
    Room {
        name: "upstream",
        modules: &["upstream"],
        may_know: &["ground", "wire", "session"],
    },
    Room {
        name: "config",
        modules: &["config"],
        may_know: &["ground", "wire", "keys", "session", "policy", "upstream"],
    },
    Room {
        name: "socket",
        modules: &["gateway", "parking", "server", "socket", "watchdog"],
        may_know: &["ground", "wire", "session", "policy", "upstream"],
    },
    Room {
        name: "operation",
        modules: &[
            "admin", "assemble", "listen", "lock", "logs", "reload", "series",
        ],
        may_know: &[
            "ground", "wire", "keys", "session", "policy", "upstream", "config", "socket",
        ],
    },
    Room {
        name: "arguments",
        modules: &["cli"],
        may_know: &["ground", "policy", "config"],
    },
    Room {
        name: "tools",
        modules: &["client", "kit", "token"],
        may_know: &["ground", "keys", "session", "policy", "config", "arguments"],
    },
    Room {
        name: "service",
        modules: &["banner", "serve"],
        may_know: &[
            "ground",
            "wire",
            "keys",
            "session",
            "policy",
            "upstream",
            "config",
            "socket",
            "operation",
            "arguments",
            "tools",
        ],
    },
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
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

/// The first words of a list of paths: `{a::b, c::{d, e}}` has `a` and `c`.
fn first_words(list: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut depth = 0;
    let mut begins = true;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => begins = true,
            c if begins && c.is_alphanumeric() => {
                words.push(word(&list[at..]));
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    words
}

/// The modules at the top that code names: `crate::a::B`, `use crate::{a, b::C}`.
fn named(code: &str) -> BTreeSet<&str> {
    let named = code.split("crate::").skip(1).flat_map(|rest| {
        if rest.starts_with('{') {
            first_words(rest)
        } else {
            vec![word(rest)]
        }
    });
    named.collect()
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

/// Who imports whom, and where: the modules at the top of the crate.
fn imports() -> BTreeMap<String, BTreeMap<String, PathBuf>> {
    let mut all = Vec::new();
    files(&sources(), &mut all);
    let mut imports: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    for file in all {
        let inside = file.strip_prefix(sources()).unwrap().to_owned();
        let first = inside.components().next().unwrap();
        let module = Path::new(first.as_os_str()).file_stem().unwrap();
        let module = module.to_str().unwrap().to_owned();
        if is_for_tests(&inside) || ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let code = code(&file);
        let of = imports.entry(module.clone()).or_default();
        for imported in named(&code) {
            if imported != module {
                of.entry(imported.to_owned())
                    .or_insert_with(|| inside.clone());
            }
        }
    }
    imports
}

fn room_of(module: &str) -> &'static Room {
    let room = HOUSE.iter().find(|room| room.modules.contains(&module));
    assert!(
        room.is_some(),
        "`{module}` has no room: give it one in HOUSE"
    );
    room.unwrap()
}

#[test]
fn a_module_imports_only_what_its_room_may_know() {
    let mut broken = Vec::new();
    for (module, imported) in imports() {
        let room = room_of(&module);
        for (other, file) in imported {
            let its = room_of(&other);
            if its.name != room.name && !room.may_know.contains(&its.name) {
                broken.push(format!(
                    "{}: `{module}` ({}) imports `{other}` ({})",
                    file.display(),
                    room.name,
                    its.name
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn rooms_know_only_rooms_below_them() {
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
fn no_modules_import_each_other_in_a_circle() {
    let imports = imports();
    let mut left: BTreeMap<&str, BTreeSet<&str>> = imports
        .iter()
        .map(|(module, others)| (module.as_str(), others.keys().map(String::as_str).collect()))
        .collect();
    // Whoever imports nothing that is left is in no circle, and goes.
    loop {
        let there: BTreeSet<&str> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|_, others| others.iter().any(|other| there.contains(other)));
        if left.len() == before {
            break;
        }
    }
    assert!(
        left.is_empty(),
        "in a circle, or above one: {:?}",
        left.keys()
    );
}

#[test]
fn every_module_of_the_table_is_there() {
    let known: BTreeSet<String> = imports().into_keys().collect();
    for module in HOUSE.iter().flat_map(|room| room.modules) {
        assert!(
            known.contains(*module),
            "{module} is gone: take it out of HOUSE"
        );
    }
}
