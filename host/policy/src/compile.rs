//! Compiling components in a process of their own.
//!
//! What a compiler needs for a component is up to whoever wrote that: one of 6 MB can take a
//! gigabyte and a quarter of a minute. In the gateway's own process that memory would be missed by
//! the streams, and would not all go back to the system afterwards. So the gateway starts its own
//! program once more, which limits its memory and its processor time, reads a component from
//! standard input and writes machine code to standard output. It gets no file, socket or
//! environment of the gateway, and ends when it is done.
//!
//! There is no way back into the gateway's process for a component that cannot be compiled there:
//! where the process cannot be started the policy does not load, and the error says so. Only the
//! built-in policies are compiled in the gateway, since they are as trusted as the compiler.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use wasmtime::Engine;
use wasmtime::component::Component;

mod functions;
mod process;

use functions::Kept;
pub use process::{COMMAND, run};

/// What compiling one component may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: usize,
    /// Processor time, of all threads together.
    pub time: Duration,
}

/// Where components are compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, without limits: for trusted components.
    InProcess,
    /// In a process of their own.
    Apart,
    /// The same, with the code of functions that earlier components had too, from this folder of
    /// the cache: for authors.
    ApartWithFunctions(Arc<Path>),
}

/// Processor time that a process which compiles gets beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// As much as any other process: somebody waits for the result.
    Usual,
    /// What streams leave over.
    BelowStreams,
}

/// Why a component is not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is not a component, or not one for this engine.
    #[error("{0}")]
    Invalid(String),
    /// Compiling it takes more than [`Limits::memory`].
    #[error("compiling it takes more memory than its limit of {}", ByteSize(*.0 as u64).display().iec())]
    Memory(usize),
    /// Compiling it takes more than [`Limits::time`].
    #[error("compiling it takes more processor time than its limit of {0:?}")]
    Time(Duration),
    /// There is no process to compile it.
    #[error("the process that compiles components could not be started: {0}")]
    Start(io::Error),
    /// The process ended in another way.
    #[error("the process that compiles components ended with {0}: {1}")]
    Died(ExitStatus, String),
}

impl CompileError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Invalid(_) => {
                "give the path of a WebAssembly component that targets sluice:policy, or builtin:auth, \
                 builtin:duplicate or builtin:sample-rate"
            }
            Self::Memory(_) => {
                "build it smaller and for release; or, if you trust it, raise `compile_memory` in its section"
            }
            Self::Time(_) => {
                "build it smaller and for release; or, if you trust it, raise `compile_time` in its section"
            }
            Self::Start(_) => {
                "let the gateway start processes: it runs its own program, /proc/self/exe, for each component"
            }
            Self::Died(..) => {
                "see whether the machine has run out of memory; if not, this is a bug of the gateway's"
            }
        }
    }
}

/// A component's machine code.
pub struct Code(Vec<u8>);

impl Code {
    /// The bytes, to be kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The component.
    ///
    /// # Errors
    /// Where the code is for another engine.
    pub fn load(&self, engine: &Engine) -> Result<Component, CompileError> {
        load(engine, &self.0)
    }
}

/// What compiled code depends on. The rest of an engine's configuration does not matter to it.
pub(super) fn code_config() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .wasm_component_model(true);
    config
}

/// Configuration of an engine that only compiles, for engines of this kind. It reserves no pool.
fn compiler_config(metered: bool) -> wasmtime::Config {
    let mut config = code_config();
    config.consume_fuel(metered);
    config
}

/// An engine that only compiles.
pub(super) fn compiler(metered: bool) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&compiler_config(metered))
}

/// Loads machine code that this gateway has compiled: now, or earlier and found whole by its keyed
/// digest. Nothing else may be given to it, since whoever chooses these bytes runs code in the
/// gateway.
pub(super) fn load(engine: &Engine, code: &[u8]) -> Result<Component, CompileError> {
    // SAFETY: the code was compiled by this program, and nobody else could change it since: see
    // above for who calls this, and the cache for who can write there.
    #[allow(unsafe_code, reason = "the one place where compiled code is loaded")]
    let loaded = unsafe { Component::deserialize(engine, code) };
    loaded.map_err(|error| CompileError::Invalid(format!("{error:#}")))
}

impl Compiler {
    /// Compiles a component for an engine, which may count what guests execute.
    ///
    /// # Errors
    /// [`CompileError`]
    pub fn compile(
        &self,
        component: &[u8],
        metered: bool,
        limits: Limits,
        priority: Priority,
    ) -> Result<Code, CompileError> {
        match self {
            Self::InProcess => compiled(component, metered).map_err(CompileError::Invalid),
            Self::Apart => process::apart(component, metered, limits, priority, None),
            Self::ApartWithFunctions(folder) => {
                process::apart(component, metered, limits, priority, Some(folder))
            }
        }
        .map(Code)
    }
}

fn compiled(component: &[u8], metered: bool) -> Result<Vec<u8>, String> {
    let engine = compiler(metered);
    let code = engine.and_then(|engine| engine.precompile_component(component));
    code.map_err(|error| format!("{error:#}"))
}

/// The same with the functions of earlier compilations. Whatever is wrong with these, the component
/// is compiled.
fn compiled_with_functions(
    component: &[u8],
    metered: bool,
    folder: &Path,
) -> Result<Vec<u8>, String> {
    let Ok(kept) = Kept::open(folder, metered) else {
        return compiled(component, metered);
    };
    let functions = Arc::new(kept.read());
    let mut config = compiler_config(metered);
    let code = config
        .enable_incremental_compilation(Arc::clone(&functions) as _)
        .and_then(|config| wasmtime::Engine::new(config))
        .and_then(|engine| engine.precompile_component(component))
        .map_err(|error| format!("{error:#}"))?;
    kept.keep(&functions);
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory: 1 << 30,
        time: Duration::from_secs(60),
    };

    #[test]
    fn what_is_no_component_is_told_in_the_engines_words() {
        let error = Compiler::InProcess
            .compile(b"\0asm\x0d\0\x01\0\xff", false, LIMITS, Priority::Usual)
            .map(drop)
            .unwrap_err();
        assert!(matches!(error, CompileError::Invalid(_)), "{error}");
    }

    #[test]
    fn with_the_functions_of_another_component_the_code_is_the_same() {
        let component = |of_its_own: u32| {
            let text = format!(
                "(component (core module
                    (func (export \"shared\") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
                    (func (export \"own\") (result i32) (i32.const {of_its_own}))))"
            );
            wat::parse_str(text).unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let functions = folder.path().join("components");
        let file = functions.join("plain.functions");
        let mut sizes = Vec::new();
        for of_its_own in [1, 2, 1] {
            let component = component(of_its_own);
            let code = compiled_with_functions(&component, false, &functions).unwrap();
            assert_eq!(code, compiled(&component, false).unwrap());
            sizes.push(std::fs::metadata(&file).unwrap().len());
        }
        // What they share is kept once. (The compiler may give a function more than one key.)
        assert!(sizes[2] < 2 * sizes[0], "{sizes:?}");
    }
}
