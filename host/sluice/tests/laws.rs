//! The laws of the house: who may know whom. Dependencies run one way, from what is particular to
//! what is general.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read the manifests has failed"
)]

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// A crate of the house, and those of its crates that it may know.
struct Room {
    name: &'static str,
    may_know: &'static [&'static str],
}

/// From the ground up. Policies know no socket and no upstream, upstreams know no policy, and only the binary knows how all
/// of it is put together.
const HOUSE: [Room; 12] = [
    Room {
        name: "base",
        may_know: &[],
    },
    Room {
        name: "wire",
        may_know: &[],
    },
    Room {
        name: "keys",
        may_know: &["base"],
    },
    Room {
        name: "session",
        may_know: &["base", "wire"],
    },
    Room {
        name: "policy",
        may_know: &["base", "keys", "session"],
    },
    Room {
        name: "upstream",
        may_know: &["base", "wire", "session"],
    },
    Room {
        name: "config",
        may_know: &["base", "wire", "keys", "session", "policy", "upstream"],
    },
    Room {
        name: "gateway",
        may_know: &["base", "wire", "session", "policy", "upstream"],
    },
    Room {
        name: "client",
        may_know: &["base", "session"],
    },
    Room {
        name: "guest",
        may_know: &[],
    },
    Room {
        name: "kit",
        may_know: &["base", "keys", "session", "policy", "config", "guest"],
    },
    Room {
        name: "sluice",
        may_know: &[
            "base", "wire", "keys", "session", "policy", "upstream", "config", "gateway", "client",
            "kit",
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
