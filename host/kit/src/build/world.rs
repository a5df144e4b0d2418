//! What a project's sources import of the contract, and its world does not.
//!
//! The tools of JavaScript and Python say of such an import that there is no module of that name.
//! The author has to know that a line is missing in `wit/world.wit`, and which.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::new::CONTRACT;
use crate::project::{Project, is_source_folder};

/// Why a project does not build, with the lines that its world may lack.
pub(super) fn does_not_build(project: &Project) -> anyhow::Error {
    let mut why = format!("`{}` does not build; it says above why", project.name);
    let world = std::fs::read_to_string(project.folder.join("wit/world.wit"));
    for name in missing(&world.unwrap_or_default(), &sources(&project.folder)) {
        // Writing to a text cannot fail.
        let _ = write!(
            why,
            "\nits sources import `{name}`, and wit/world.wit does not: \
             add this line to its world:\n\n  import sluice:policy/{name}@0.1.0;\n"
        );
    }
    anyhow::Error::msg(why)
}

/// The project's sources in JavaScript and Python.
fn sources(folder: &Path) -> Vec<String> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if is_source_folder(&entry.file_name()) {
                sources.extend(self::sources(&path));
            }
        } else if ["js", "mjs", "py"]
            .iter()
            .any(|kind| path.extension().is_some_and(|extension| extension == *kind))
        {
            sources.extend(std::fs::read_to_string(&path));
        }
    }
    sources
}

/// Interfaces that these sources import and a world does not.
fn missing(world: &str, sources: &[String]) -> BTreeSet<&'static str> {
    let imported = |name: &str| {
        let javascript = format!("sluice:policy/{name}@");
        let python = format!("wit_world.imports.{name} ");
        sources.iter().any(|source| {
            source.contains(&javascript)
                || source.contains(&python)
                || of_module(source).any(|imported| imported == name)
        })
    };
    let named = |name: &&str| world.contains(&format!("import sluice:policy/{name}@"));
    interfaces()
        .filter(|name| imported(name) && !named(name))
        .collect()
}

/// Names that a source in Python takes from the module of all imports.
fn of_module(source: &str) -> impl Iterator<Item = &str> {
    source
        .split("from wit_world.imports import")
        .skip(1)
        .flat_map(|rest| {
            let list = rest.trim_start_matches([' ', '\\', '\n']);
            let end = if list.starts_with('(') { ')' } else { '\n' };
            let list = list.split(end).next().unwrap_or_default();
            list.split(['(', ','])
                .filter_map(|name| name.split_whitespace().next())
        })
}

/// Interfaces that a policy may import. Those with nothing but types come with the others.
fn interfaces() -> impl Iterator<Item = &'static str> {
    let world = CONTRACT.split("world imports {").nth(1);
    let world = world.and_then(|rest| rest.split('}').next());
    world
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: &str = "world policy {\n  import sluice:policy/config@0.1.0;\n}\n";

    fn missing_in(source: &str) -> Vec<&'static str> {
        missing(WORLD, &[source.to_owned()]).into_iter().collect()
    }

    #[test]
    fn an_import_that_the_world_lacks_is_found_in_each_language() {
        for source in [
            "import { nowMs } from \"sluice:policy/clock@0.1.0\";\n",
            "from wit_world.imports import clock\n",
            "from wit_world.imports import config, clock as c\n",
            "from wit_world.imports import (\n    config,\n    clock,\n)\n",
            "from wit_world.imports.clock import now_ms\n",
        ] {
            assert_eq!(missing_in(source), ["clock"], "{source}");
        }
    }

    #[test]
    fn what_the_world_has_or_no_contract_has_is_not_missing() {
        for source in [
            "import { get } from \"sluice:policy/config@0.1.0\";\n",
            "from wit_world.imports import config\nimport clock\n",
            "from wit_world.imports.types import Decision, Rejection\n",
            "import { go } from \"sluice:policy/rockets@0.1.0\";\n",
        ] {
            assert_eq!(missing_in(source), Vec::<&str>::new(), "{source}");
        }
    }
}
