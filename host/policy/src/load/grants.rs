//! What a component imports, and what a policy is granted of that.

use wasmparser::{Parser, Payload};

use crate::interfaces::INTERFACES;
use crate::settings::{self, Grant, Wasi};
use crate::wasi;
use base::diagnostics::Diagnostics;
use base::text;

/// The package whose interfaces a policy may import.
pub const PACKAGE: &str = "sluice:policy/";

/// Denies by default: whatever is not known and granted is a mistake. What is
/// to be granted is said once, for all imports together.
pub(super) fn imports_are_granted<'a>(
    name: &str,
    policy: &settings::Policy,
    imports: impl Iterator<Item = &'a str>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let mut missing = Vec::new();
    let mut fine = true;
    let mut of_wasi = Vec::new();
    for import in imports.filter(|import| !may_import(policy, import)) {
        match grant_needed(import) {
            Needed::Nothing => {}
            Needed::Grant(grant) => missing.push((import, grant)),
            Needed::Wasi => of_wasi.push(import),
            Needed::Unknown => {
                fine = false;
                diagnostics.error(
                    &policy.component_place,
                    format!(
                        "policy \"{name}\" imports {}, which this host does not offer",
                        text::clean(import, 200)
                    ),
                    not_offered(import),
                );
            }
        }
    }
    // A toolchain that takes any of it takes it all: that is one mistake.
    if let Some((first, others)) = of_wasi.split_first() {
        fine = false;
        let more = match others.len() {
            0 => String::new(),
            others => format!(" (and {others} more of WASI)"),
        };
        diagnostics.error(
            &policy.component_place,
            format!(
                "policy \"{name}\" imports {}{more}, which it is not given",
                text::clean(first, 200)
            ),
            format!(
                "build it without WASI (Rust: target wasm32-unknown-unknown); or, if its toolchain cannot, \
                 write this line in [policies.{name}], which gives it WASI with nothing behind it: wasi = \"stub\""
            ),
        );
    }
    if missing.is_empty() {
        return fine;
    }
    let imports: Vec<_> = missing.iter().map(|(import, _)| *import).collect();
    let granted = policy.grants.iter().copied();
    let mut all: Vec<_> = granted.map(Grant::name).collect();
    for (_, grant) in missing {
        // Two versions of an interface need one grant.
        if !all.contains(&grant.name()) {
            all.push(grant.name());
        }
    }
    diagnostics.error(
        &policy.grants_place,
        format!(
            "policy \"{name}\" imports {}, which it is not granted",
            imports.join(" and ")
        ),
        format!("if it may have that, write this line in [policies.{name}]: grants = {all:?}"),
    );
    false
}

/// What to do about an import that this host does not offer.
fn not_offered(import: &str) -> String {
    let Some((interface, version)) = import
        .strip_prefix(PACKAGE)
        .and_then(|rest| rest.split_once('@'))
    else {
        return "a policy may import only what wit/policy.wit has".to_owned();
    };
    let release = env!("CARGO_PKG_VERSION");
    if version.starts_with("0.1.") {
        format!(
            "`{}` is no interface of sluice:policy 0.1 that this release ({release}) knows: correct its \
             name; or, if it is a later addition, use a gateway that has it",
            text::clean(interface, 64)
        )
    } else {
        format!(
            "it is built against sluice:policy {}, and this release ({release}) speaks 0.1: build it \
             against the wit/policy.wit of this release, or use a gateway that speaks that version",
            text::clean(version, 32)
        )
    }
}

/// The report of imports that a policy is not granted.
#[must_use]
pub fn ungranted(name: &str, policy: &settings::Policy, imports: &[String]) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let imports = imports.iter().map(String::as_str);
    imports_are_granted(name, policy, imports, &mut diagnostics);
    diagnostics
}

pub(super) fn may_import(policy: &settings::Policy, import: &str) -> bool {
    match grant_needed(import) {
        Needed::Nothing => true,
        Needed::Grant(grant) => policy.grants.contains(&grant),
        Needed::Wasi => policy.wasi == Wasi::Stub,
        Needed::Unknown => false,
    }
}

/// The names of what a component imports, read off its bytes. What is malformed is for the compiler
/// to tell, which comes next and whose word counts.
pub(super) fn imports(component: &[u8]) -> Vec<String> {
    let mut imports = Vec::new();
    // Of what is inside of it nothing is asked of the gateway.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(section)) if depth == 0 => {
                let names = section.into_iter().map_while(Result::ok);
                imports.extend(names.map(|import| import.name.name.to_owned()));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    imports
}

/// What it takes for a policy to have an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Every policy has it.
    Nothing,
    /// The operator's grant.
    Grant(Grant),
    /// The operator's `wasi = "stub"`.
    Wasi,
    /// This host does not offer it.
    Unknown,
}

/// What an import takes, by its name with package and version.
#[must_use]
pub fn grant_needed(import: &str) -> Needed {
    let interface = import
        .strip_prefix(PACKAGE)
        .and_then(|rest| rest.split_once('@'))
        // Within 0.1.x everything older fits what is newer.
        .filter(|(_, version)| version.starts_with("0.1."))
        .and_then(|(name, _)| INTERFACES.iter().find(|interface| interface.name == name));
    match interface {
        None if wasi::is_offered(import) => Needed::Wasi,
        None => Needed::Unknown,
        Some(interface) => interface.grant.map_or(Needed::Nothing, Needed::Grant),
    }
}
