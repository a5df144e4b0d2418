//! The guests' SDK ships its bindings as source, so that whoever builds a policy does not first build the generator. Here
//! they are made anew from the contract and compared.

use std::fs;
use std::path::{Path, PathBuf};

use wit_bindgen_core::{Files, WorldGenerator as _};
use wit_bindgen_rust::{Opts, WithOption};
use wit_parser::{Resolve, WorldItem, WorldKey};

/// The contract's worlds, and the module that each is generated into.
const HOOKS: [(&str, &str); 6] = [
    ("connect-policy", "on_connect"),
    ("handshake-policy", "on_handshake"),
    ("prepare-policy", "prepare"),
    ("frames-policy", "on_frames"),
    ("close-policy", "on_close"),
    ("configured-policy", "lifecycle"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn contract() -> (Resolve, wit_parser::PackageId) {
    let mut resolve = Resolve::default();
    let file = root().join("wit/policy.wit");
    let text = fs::read_to_string(&file).unwrap();
    let package = resolve.push_str("policy.wit", &text).unwrap();
    (resolve, package)
}

fn generate(world: &str, options: Opts) -> String {
    let (mut resolve, package) = contract();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut files = Files::default();
    let mut generator = options.build();
    generator.generate(&mut resolve, world, &mut files).unwrap();
    let (_, source) = files.iter().next().unwrap();
    String::from_utf8(source.to_vec()).unwrap()
}

/// What the gateway offers to a policy: each interface, and where the SDK has it.
fn shared_interfaces() -> Vec<(String, WithOption)> {
    let (resolve, package) = contract();
    let imports = resolve.select_world(&[package], Some("imports")).unwrap();
    let mut interfaces = Vec::new();
    for (key, item) in &resolve.worlds[imports].imports {
        let WorldItem::Interface { .. } = item else {
            panic!("the world `imports` has something else than interfaces");
        };
        let WorldKey::Interface(id) = key else {
            panic!("an interface without a name");
        };
        let name = resolve.interfaces[*id].name.as_deref().unwrap();
        let module = name.replace('-', "_");
        let path = format!("crate::bindings::imports::sluice::policy::{module}");
        interfaces.push((resolve.id_of(*id).unwrap(), WithOption::Path(path)));
    }
    interfaces
}

fn options(suffix: &str) -> Opts {
    Opts {
        format: true,
        type_section_suffix: Some(suffix.to_owned()),
        ..Opts::default()
    }
}

#[test]
fn the_sdk_ships_the_bindings_that_the_contract_generates() {
    let mut generated = vec![(
        "imports",
        generate(
            "imports",
            Opts {
                generate_unused_types: true,
                ..options("-imports")
            },
        ),
    )];
    for (world, module) in HOOKS {
        let hook = Opts {
            export_macro_name: Some(format!("export_{module}")),
            pub_export_macro: true,
            with: shared_interfaces(),
            ..options(&format!("-{}", module.replace('_', "-")))
        };
        generated.push((module, generate(world, hook)));
    }

    let folder = root().join("plugins/sdk/src/bindings");
    let mut stale = Vec::new();
    for (module, source) in generated {
        let file = folder.join(module).with_extension("rs");
        if fs::read_to_string(&file).ok().as_ref() != Some(&source) {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, source).unwrap();
            stale.push(format!("plugins/sdk/src/bindings/{module}.rs"));
        }
    }
    assert!(
        stale.is_empty(),
        "not what wit/policy.wit generates, and now written anew, to be looked at and committed: {}",
        stale.join(", ")
    );
}
