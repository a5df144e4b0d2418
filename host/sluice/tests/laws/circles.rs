//! No modules beside each other import each other in a circle: neither those at the top of a crate
//! nor those inside of a module. So each can be read after what it stands on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::HOUSE;
use crate::imports::{Module, Modules};

/// Imports among the children of one module: who imports whom, and in which files.
type Imports = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Imports among modules beside each other, by the module that they are in. A module imports what
/// any file below it imports.
fn imports(sources: &Path) -> BTreeMap<Module, Imports> {
    let mut all: BTreeMap<Module, Imports> = BTreeMap::new();
    for (module, file, made) in Modules::of(sources).imports() {
        for other in made {
            let same = module
                .iter()
                .zip(&other)
                .take_while(|(one, two)| one == two);
            let depth = same.count();
            if let (Some(one), Some(two)) = (module.get(depth), other.get(depth)) {
                let beside = all.entry(module[..depth].to_vec()).or_default();
                let imports = beside.entry(one.clone()).or_default();
                let files = imports.entry(two.clone()).or_default();
                let file = file.strip_prefix(sources).unwrap();
                files.insert(file.display().to_string());
            }
        }
    }
    all
}

/// What is in a circle, or between two of them.
fn circles(mut imports: Imports) -> Imports {
    loop {
        let importing: BTreeSet<String> = imports.keys().cloned().collect();
        let imported: BTreeSet<String> =
            imports.values().flat_map(BTreeMap::keys).cloned().collect();
        for others in imports.values_mut() {
            others.retain(|other, _| importing.contains(other));
        }
        let before = imports.len();
        imports.retain(|module, others| !others.is_empty() && imported.contains(module));
        if imports.len() == before {
            return imports;
        }
    }
}

#[test]
fn no_modules_beside_each_other_import_each_other_in_a_circle() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    for room in &HOUSE {
        for (module, imports) in imports(&host.join(room.name).join("src")) {
            let circles = circles(imports);
            if !circles.is_empty() {
                found.insert(format!("{} {}", room.name, module.join("::")), circles);
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
