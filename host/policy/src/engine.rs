//! The Wasm engine that all policies share: how instances are allocated, and
//! the clock that makes a looping guest yield.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Thread, available_parallelism};

use anyhow::Context as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Component;
use wasmtime::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::budget::TICK;
use super::cache::{Cache, Digest};
use super::call_threads::CallThreads;
use super::compile::{self, CompileError, Compiler, Limits, Priority};
use super::swap::{self, Swap};

/// Policy calls that may be under way at once. A call lasts microseconds when
/// all is well; the number bounds what hostile guests can hold together.
const SLOTS: u32 = 128;
/// The same number: the calls that all policies together may have under way.
pub const MAX_CALLS: usize = SLOTS as usize;
/// Core instances, memories and tables for each slot. A component made by
/// componentize-py has 38 core instances when WASI is stubbed inside of it (14
/// when it is not), several tables and one memory.
const CORE_INSTANCES_PER_SLOT: u32 = 48;
const MEMORIES_PER_SLOT: u32 = 2;
const TABLES_PER_SLOT: u32 = 8;
/// The largest memory that any policy can be configured to have.
pub const MAX_MEMORY: usize = 512 << 20;
/// The most table elements that any policy can be configured to have: a single
/// table may have them all.
pub const MAX_TABLE_ELEMENTS: usize = 64 * 1024;
/// The most core instances that any policy can be configured to have.
pub const MAX_INSTANCES: usize = CORE_INSTANCES_PER_SLOT as usize;

/// Wasm engine that all policies share, with its pool of instances and its threads.
pub struct Engine {
    wasm: wasmtime::Engine,
    cache: Option<Cache>,
    compiler: Compiler,
    /// Whether streams run beside whatever is compiled.
    serves: AtomicBool,
    slots: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    ticker: Thread,
    threads: CallThreads,
    metered: bool,
}

/// A free slot of the pool, and the ticker awake, for one call.
pub struct Slot {
    running: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Engine {
    /// Reserves the pool (address space, not memory) and starts the ticker.
    ///
    /// # Errors
    /// Where the machine does not give the address space or a thread.
    pub fn new() -> anyhow::Result<Self> {
        Self::with(&config(pagemap_scan()), false)
    }

    /// An engine that counts what guests execute, which makes them slower: for
    /// their authors.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn metered() -> anyhow::Result<Self> {
        let mut config = config(pagemap_scan());
        config.consume_fuel(true);
        Self::with(&config, true)
    }

    fn with(config: &wasmtime::Config, metered: bool) -> anyhow::Result<Self> {
        let wasm = wasmtime::Engine::new(config)
            .map_err(|error| anyhow::anyhow!("{error:#}"))
            .context("the Wasm engine could not reserve its instance pool; is address space limited (ulimit -v)?")?;
        let running = Arc::<AtomicUsize>::default();
        let ticker = std::thread::Builder::new()
            .name("epoch-ticker".to_owned())
            .spawn({
                let running = Arc::clone(&running);
                let wasm = wasm.weak();
                move || {
                    tick(&running, || {
                        wasm.upgrade().map(|wasm| wasm.increment_epoch())
                    })
                }
            })
            .context("the epoch ticker's thread could not be started")?
            .thread()
            .clone();
        Ok(Self {
            wasm,
            cache: None,
            compiler: Compiler::InProcess,
            serves: AtomicBool::new(false),
            slots: Arc::new(Semaphore::new(SLOTS as usize)),
            running,
            ticker,
            threads: CallThreads::default(),
            metered,
        })
    }

    /// Whether it counts what guests execute.
    #[must_use]
    pub(crate) fn is_metered(&self) -> bool {
        self.metered
    }

    /// The same, with compiled components kept in a folder. Where that is not
    /// possible, that is logged, and every start compiles.
    #[must_use]
    pub fn keeping_compiled(mut self, folder: PathBuf) -> Self {
        self.cache = Cache::open(folder, &self.wasm)
            .inspect_err(|error| {
                tracing::warn!(%error, "compiled components are not kept, so a start takes longer");
            })
            .ok();
        self
    }

    /// The same, with components compiled by a process of their own.
    #[must_use]
    pub fn compiling_apart(mut self) -> Self {
        self.compiler = Compiler::Apart;
        self
    }

    /// The same, with the code of functions kept in the cache's folder too, so that a component which
    /// shares them with an earlier one is compiled in less time: for authors.
    #[must_use]
    pub fn compiling_apart_with_functions(mut self, folder: &Path) -> Self {
        // The process has another working directory.
        self.compiler = match std::path::absolute(folder) {
            Ok(folder) => Compiler::ApartWithFunctions(folder.into()),
            Err(_) => Compiler::Apart,
        };
        self
    }

    /// From now on the gateway serves: what is compiled gets only the processor time that streams
    /// leave over.
    pub fn streams_come_first(&self) {
        self.serves.store(true, Ordering::Relaxed);
    }

    /// A component, compiled now or by an earlier start; here, where it is
    /// trusted. It takes seconds for a large one: never on an async thread.
    ///
    /// # Errors
    /// Where it is not a component, or cannot be compiled within the limits.
    pub fn compile(
        &self,
        bytes: &[u8],
        digest: &Digest,
        trusted: bool,
        limits: Limits,
    ) -> Result<Component, CompileError> {
        let kept = self
            .cache
            .as_ref()
            .and_then(|cache| cache.load(&self.wasm, digest));
        if let Some(component) = kept {
            return Ok(component);
        }
        let compiler = if trusted {
            &Compiler::InProcess
        } else {
            &self.compiler
        };
        let priority = if self.serves.load(Ordering::Relaxed) {
            Priority::BelowStreams
        } else {
            Priority::Usual
        };
        let code = compiler.compile(bytes, self.metered, limits, priority)?;
        let component = code.load(&self.wasm)?;
        if let Some(cache) = &self.cache {
            cache.store(digest, code.bytes());
        }
        Ok(component)
    }

    /// The engine itself.
    #[must_use]
    pub fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// Worker threads for calls that take long.
    #[must_use]
    pub(crate) fn threads(&self) -> &CallThreads {
        &self.threads
    }

    /// Waits for a free slot.
    pub async fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        if self.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.ticker.unpark();
        }
        Some(Slot {
            running: Arc::clone(&self.running),
            _permit: permit,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The ticker finds the engine gone and ends.
        self.ticker.unpark();
    }
}

/// Advances the epoch while calls run, and parks when none does, so that an idle gateway does not
/// wake a thousand times a second, and one with few clients hardly more often than they come.
///
/// It is woken once a tick at the most, however many calls begin: one that begins and ends between
/// two ticks leaves a token, with which `park` returns at once.
fn tick(running: &AtomicUsize, advance: impl Fn() -> Option<()>) {
    loop {
        if running.load(Ordering::Acquire) == 0 {
            std::thread::park();
        }
        std::thread::sleep(TICK);
        if advance().is_none() {
            return;
        }
    }
}

/// Instances that the engine's pool has room for: one for each slot, and one for each worker
/// thread.
///
/// A worker thread may still be polling a call that nobody waits for any more, and whose slot is
/// free again.
fn instances() -> u32 {
    let cores = available_parallelism().map_or(1, usize::from);
    SLOTS + 2 * u32::try_from(cores).unwrap_or(SLOTS).min(SLOTS)
}

/// Whether slots are reset by the kernel's list of the pages that a guest has written.
fn pagemap_scan() -> Enabled {
    let swap = swap::here();
    if let Swap::On(why) = swap {
        tracing::warn!(
            why,
            "instances of policies are reset the slow way, so that pages which were swapped out do not \
             survive into the next instance; memory.swap.max = 0 for the gateway's control group makes \
             decisions cheaper"
        );
    }
    scan_where(swap)
}

fn scan_where(swap: Swap) -> Enabled {
    match swap {
        Swap::Off => Enabled::Auto,
        Swap::On(_) => Enabled::No,
    }
}

fn config(pagemap_scan: Enabled) -> wasmtime::Config {
    let instances = instances();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES_PER_SLOT)
        .total_memories(instances * MEMORIES_PER_SLOT)
        .total_tables(instances * TABLES_PER_SLOT)
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES_PER_SLOT)
        .max_memories_per_component(MEMORIES_PER_SLOT)
        .max_tables_per_component(TABLES_PER_SLOT)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(1 << 20)
        .max_memory_size(MAX_MEMORY)
        .table_elements(MAX_TABLE_ELEMENTS)
        // Measured: resetting a slot by the kernel's list of touched pages, and
        // keeping small memories mapped, halves the cost of a fresh instance.
        .pagemap_scan(pagemap_scan)
        // This much of a stack is overwritten after each call, whether it was touched or
        // not, and displaces what was in the caches. What deeper calls have touched goes
        // back to the kernel, which costs them 3 µs. Measured: with 64 KiB an admission
        // costs 4 % more.
        .async_stack_keep_resident(16 << 10)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(64 << 10);
    let mut config = compile::code_config();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .async_stack_zeroing(true)
        // A trap is reported with the names of the guest's functions, and a
        // guest's stack is never so deep that a longer report would help.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_not_reset_by_what_is_present_where_pages_can_be_swapped_out() {
        assert_eq!(scan_where(Swap::Off), Enabled::Auto);
        assert_eq!(scan_where(Swap::On("swap is on")), Enabled::No);
    }

    #[test]
    fn code_for_the_pool_is_what_the_compiler_makes() {
        let component = wat::parse_str("(component)").unwrap();
        for (engine, metered) in [(Engine::new(), false), (Engine::metered(), true)] {
            let engine = engine.unwrap();
            let compiler = compile::compiler(metered).unwrap();
            let code = compiler.precompile_component(&component).unwrap();
            let loaded = super::super::compile::load(engine.wasm(), &code);
            assert!(loaded.is_ok(), "{metered}");
        }
    }
}
