//! The process that compiles, from both ends: how the gateway starts it and what its end says, and
//! what it does.

use std::ffi::OsStr;
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;

use rlimit::Resource;
use rustix::process::Signal;

use super::{CompileError, Limits, Priority, compiled, compiled_with_functions};
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

/// Has a component compiled by a process of its own.
pub(super) fn apart(
    component: &[u8],
    metered: bool,
    limits: Limits,
    priority: Priority,
    functions: Option<&Path>,
) -> Result<Vec<u8>, CompileError> {
    let mut command = Command::new(PROGRAM);
    command
        .arg(COMMAND)
        .arg(format!("--memory={}", limits.memory))
        .arg(format!("--time-ms={}", limits.time.as_millis()))
        .args(metered.then_some("--metered"))
        .args((priority == Priority::BelowStreams).then_some("--below-streams"))
        .args(
            functions
                .map(|folder| [OsStr::new("--functions"), folder.as_os_str()])
                .into_iter()
                .flatten(),
        )
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

/// The process that compiles: limits itself, reads a component, and writes its code. With a folder it
/// uses the functions there, and adds to them.
#[must_use]
pub fn run(
    limits: Limits,
    metered: bool,
    priority: Priority,
    functions: Option<&Path>,
) -> ExitCode {
    match limited(limits, metered, priority, functions) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            // Whoever started it is gone if it cannot be told.
            drop(io::stderr().write_all(complaint.as_bytes()));
            ExitCode::from(INVALID)
        }
    }
}

fn limited(
    limits: Limits,
    metered: bool,
    priority: Priority,
    functions: Option<&Path>,
) -> Result<(), String> {
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
    if priority == Priority::BelowStreams {
        // If the system refuses, streams have to share.
        let _ = rustix::process::nice(5);
    }
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
    let code = match functions {
        Some(folder) => compiled_with_functions(&component, metered, folder),
        None => compiled(&component, metered),
    }?;
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(&code)
        .and_then(|()| stdout.flush())
        .map_err(said("the code cannot be handed over"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
