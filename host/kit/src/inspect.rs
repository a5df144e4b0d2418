//! What a component is, without running or compiling it.

use std::fmt;
use std::io::Write as _;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wit_component::DecodedWasm;

use crate::arguments::InspectArgs;
use base::text;
use policy::load::{Needed, PACKAGE, grant_needed, is_core_module, read_bounded};

/// Runs `sluice policy inspect`.
///
/// # Errors
/// Where the file cannot be read or is no component.
pub fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let shown = args.component.display();
    let bytes = read_bounded(&args.component).with_context(|| shown.to_string())?;
    let inspection = Inspection::of(&bytes).with_context(|| shown.to_string())?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &inspection)?;
        writeln!(out)?;
    } else {
        write!(out, "{inspection}")?;
    }
    Ok(())
}

/// What there is to know of a component.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// Its hooks, by the names of their interfaces.
    pub hooks: Vec<String>,
    /// What it imports, with package and version.
    pub imports: Vec<String>,
    /// What it exports, in the same way.
    pub exports: Vec<String>,
    /// What an operator must grant.
    pub grants: Vec<&'static str>,
    /// What it imports of WASI: the operator must write `wasi = "stub"`.
    pub wasi: Vec<String>,
    /// Imports that no grant gives: with any of them it does not load.
    pub not_offered: Vec<String>,
    /// Bytes.
    pub size: usize,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

impl Inspection {
    /// Looks at a component's types.
    ///
    /// # Errors
    /// Where the bytes are no component.
    pub fn of(bytes: &[u8]) -> anyhow::Result<Self> {
        ensure!(
            !is_core_module(bytes),
            "it is a core WebAssembly module, not a component: build it with \"sluice policy build\""
        );
        let decoded = wit_component::decode(bytes).context("it is not a WebAssembly component")?;
        let DecodedWasm::Component(resolve, world) = decoded else {
            bail!("it is a WIT package, not a component");
        };
        let world = resolve.worlds.get(world).context("it has no world")?;
        let name = |key| resolve.name_world_key(key);
        // Their order in a component says nothing, and changes with its build.
        let mut imports: Vec<String> = world.imports.keys().map(name).collect();
        imports.sort_unstable();
        let mut exports: Vec<String> = world.exports.keys().map(name).collect();
        exports.sort_unstable();
        let hooks = exports
            .iter()
            .filter_map(|name| Some(name.strip_prefix(PACKAGE)?.split_once('@')?.0.to_owned()))
            .collect();
        let mut grants = Vec::new();
        let mut wasi = Vec::new();
        let mut not_offered = Vec::new();
        for import in &imports {
            match grant_needed(import) {
                Needed::Nothing => {}
                Needed::Grant(grant) => grants.push(grant.name()),
                Needed::Wasi => wasi.push(import.clone()),
                Needed::Unknown => not_offered.push(import.clone()),
            }
        }
        Ok(Self {
            hooks,
            imports,
            exports,
            grants,
            wasi,
            not_offered,
            size: bytes.len(),
            sha256: text::hex(&Sha256::digest(bytes)),
        })
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |words: &[String]| {
            if words.is_empty() {
                "none".to_owned()
            } else {
                words.join(", ")
            }
        };
        writeln!(f, "  hooks    {}", list(&self.hooks))?;
        if self.grants.is_empty() {
            writeln!(f, "  grants   none needed")?;
        } else {
            writeln!(f, "  grants   grants = {:?}", self.grants)?;
        }
        match self.wasi.len() {
            0 => writeln!(f, "  wasi     none needed")?,
            imports => writeln!(f, "  wasi     wasi = \"stub\" ({imports} imports)")?,
        }
        writeln!(f, "  imports  {}", list(&self.imports))?;
        if !self.not_offered.is_empty() {
            writeln!(
                f,
                "  no host offers {}: it will not load",
                self.not_offered.join(", ")
            )?;
        }
        writeln!(
            f,
            "  size     {}",
            bytesize::ByteSize(self.size as u64).display().iec()
        )?;
        writeln!(f, "  sha256   {}", self.sha256)
    }
}
