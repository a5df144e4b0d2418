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

use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use bytesize::ByteSize;
use rlimit::Resource;
use rustix::process::Signal;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::fetch::MAX_COMPONENT_BYTES;
use base::text;

/// This program, also after its file was replaced or removed.
const PROGRAM: &str = "/proc/self/exe";
/// The hidden command that it is started with.
pub const COMMAND: &str = "compile-component";
/// Bytes of what the process says on standard error.
const MAX_COMPLAINT: u16 = 4096;
/// How many times the processor time may pass by the clock: a machine that is busy, or has fewer
/// processors for the gateway, is no fault of the component's.
const PATIENCE: u32 = 10;
/// Exit codes of the process.
const INVALID: u8 = 10;
const LATE: u8 = 11;

/// What compiling one component may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: usize,
    /// Processor time, of all threads together.
    pub time: Duration,
}

/// Where components are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, without limits: for trusted components.
    InProcess,
    /// In a process of their own.
    Apart,
}

/// Why a component is not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is not a component, or not one for this engine.
    #[error("{0}")]
    Invalid(String),
    /// See [`Limits::memory`].
    #[error("compiling it takes more memory than its limit of {}", ByteSize(*.0 as u64).display().iec())]
    Memory(usize),
    /// See [`Limits::time`].
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

/// An engine that only compiles, for engines of this kind. It reserves no pool.
pub(super) fn compiler(metered: bool) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = code_config();
    config.consume_fuel(metered);
    wasmtime::Engine::new(&config)
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
        self,
        component: &[u8],
        metered: bool,
        limits: Limits,
    ) -> Result<Code, CompileError> {
        match self {
            Self::InProcess => compiled(component, metered).map_err(CompileError::Invalid),
            Self::Apart => apart(component, metered, limits),
        }
        .map(Code)
    }
}

fn compiled(component: &[u8], metered: bool) -> Result<Vec<u8>, String> {
    let engine = compiler(metered);
    let code = engine.and_then(|engine| engine.precompile_component(component));
    code.map_err(|error| format!("{error:#}"))
}

fn apart(component: &[u8], metered: bool, limits: Limits) -> Result<Vec<u8>, CompileError> {
    let mut command = Command::new(PROGRAM);
    command
        .arg(COMMAND)
        .arg(format!("--memory={}", limits.memory))
        .arg(format!("--time-ms={}", limits.time.as_millis()))
        .args(metered.then_some("--metered"))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(CompileError::Start)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut code = Vec::new();
    let (read, complaint) = thread::scope(|scope| {
        // It reads all of it before it says anything, unless it fails; then nobody reads on.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(component)));
        let complaint = scope.spawn(move || complaint(stderr));
        let read = stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut code));
        (read, complaint.join().unwrap_or_default())
    });
    let status = child.wait().map_err(CompileError::Start)?;
    judge(status, complaint, limits)?;
    read.map_err(CompileError::Start)?;
    Ok(code)
}

/// The beginning of what the process says; the rest is read, so that it is not held up.
fn complaint(stderr: Option<impl Read>) -> String {
    let Some(mut stderr) = stderr else {
        return String::new();
    };
    let mut said = Vec::new();
    let kept = stderr
        .by_ref()
        .take(MAX_COMPLAINT.into())
        .read_to_end(&mut said);
    if kept.is_ok() {
        // What it says beyond is of no interest, and neither is why it cannot be read.
        drop(io::copy(&mut stderr, &mut io::sink()));
    }
    let said = String::from_utf8_lossy(&said);
    text::clean(said.trim(), MAX_COMPLAINT.into())
}

/// What the end of the process says about the component.
fn judge(status: ExitStatus, complaint: String, limits: Limits) -> Result<(), CompileError> {
    let signal = |wanted: Signal| status.signal() == Some(wanted.as_raw());
    if status.success() {
        return Ok(());
    }
    // The runtime says so when an allocation fails, and aborts; or the engine is refused a mapping.
    let no_memory = complaint.contains("memory allocation of") || complaint.contains("os error 12");
    if no_memory {
        return Err(CompileError::Memory(limits.memory));
    }
    if status.code() == Some(LATE.into()) || signal(Signal::XCPU) {
        return Err(CompileError::Time(limits.time));
    }
    if status.code() == Some(INVALID.into()) {
        return Err(CompileError::Invalid(complaint));
    }
    Err(CompileError::Died(status, complaint))
}

/// The process that compiles: limits itself, reads a component, and writes its code.
#[must_use]
pub fn run(limits: Limits, metered: bool) -> ExitCode {
    match limited(limits, metered) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            // Whoever started it is gone if it cannot be told.
            drop(io::stderr().write_all(complaint.as_bytes()));
            ExitCode::from(INVALID)
        }
    }
}

fn limited(limits: Limits, metered: bool) -> Result<(), String> {
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let memory = limits.memory as u64;
    // What it can write to, which is what a compiler fills; that it reserves addresses costs nothing.
    Resource::DATA
        .set(memory, memory)
        .map_err(said("its memory cannot be limited"))?;
    let seconds = limits.time.as_millis().div_ceil(1000).max(1);
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX - 1);
    Resource::CPU
        .set(seconds, seconds + 1)
        .map_err(said("its processor time cannot be limited"))?;
    // A crash is told by how the process ends.
    Resource::CORE
        .set(0, 0)
        .map_err(said("its core file cannot be limited"))?;
    // Streams come first. Where that is refused they have to share.
    let _ = rustix::process::nice(10);
    thread::Builder::new()
        .spawn(move || {
            thread::sleep(limits.time * PATIENCE);
            std::process::exit(LATE.into());
        })
        .map_err(said("the thread that looks at the clock cannot be started"))?;
    let mut component = Vec::new();
    io::stdin()
        .take(MAX_COMPONENT_BYTES)
        .read_to_end(&mut component)
        .map_err(said("the component cannot be read"))?;
    let code = compiled(&component, metered)?;
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(&code)
        .and_then(|()| stdout.flush())
        .map_err(said("the code cannot be handed over"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory: 1 << 30,
        time: Duration::from_secs(60),
    };

    fn ended(status: i32, said: &str) -> Result<(), CompileError> {
        judge(ExitStatus::from_raw(status), said.to_owned(), LIMITS)
    }

    #[test]
    fn the_end_of_the_process_says_what_was_too_much() {
        assert!(ended(0, "").is_ok());
        let aborted = ended(
            Signal::ABORT.as_raw(),
            "memory allocation of 8 bytes failed",
        );
        assert!(matches!(aborted, Err(CompileError::Memory(_))));
        let refused = ended(
            i32::from(INVALID) << 8,
            "Cannot allocate memory (os error 12)",
        );
        assert!(matches!(refused, Err(CompileError::Memory(_))));
        let out_of_time = ended(Signal::XCPU.as_raw(), "");
        assert!(matches!(out_of_time, Err(CompileError::Time(_))));
        let late = ended(i32::from(LATE) << 8, "");
        assert!(matches!(late, Err(CompileError::Time(_))));
        let invalid = ended(i32::from(INVALID) << 8, "bad magic number");
        assert!(matches!(invalid, Err(CompileError::Invalid(said)) if said == "bad magic number"));
        let killed = ended(Signal::KILL.as_raw(), "");
        assert!(matches!(killed, Err(CompileError::Died(..))));
    }

    #[test]
    fn what_is_no_component_is_told_in_the_engines_words() {
        let error = Compiler::InProcess
            .compile(b"\0asm\x0d\0\x01\0\xff", false, LIMITS)
            .map(drop)
            .unwrap_err();
        assert!(matches!(error, CompileError::Invalid(_)), "{error}");
    }
}
