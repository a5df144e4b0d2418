//! The Wasm engine that all policies share: how instances are allocated, and
//! the clock that makes a looping guest yield.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::Component;
use wasmtime::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::cache::{Cache, Digest};

/// Policy calls that may be under way at once. A call lasts microseconds when
/// all is well; the number bounds what hostile guests can hold together.
const SLOTS: u32 = 128;
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
/// How often a running guest yields to its neighbours on the same thread. Few
/// calls last that long.
const TICK: Duration = Duration::from_millis(1);
/// The same, while there is a call that was interrupted [`LONG`] times: it loops,
/// or does what no policy should, and a neighbour waits for the rest of a tick. To
/// wake so often for calls that work would cost them more than it gives.
const SHORT_TICK: Duration = Duration::from_micros(100);
const SHORT_TICKS: u64 = 10;
const LONG: u32 = 8;
/// Ticks without a call after which the ticker sleeps until it is woken.
const IDLE_TICKS: u32 = 100;

/// See the module.
pub struct Engine {
    wasm: wasmtime::Engine,
    cache: Option<Cache>,
    slots: Semaphore,
    calls: Arc<Calls>,
    ticker: Thread,
    metered: bool,
}

/// The calls that there are.
#[derive(Default)]
struct Calls {
    running: AtomicUsize,
    /// Those of them that go on and on.
    long: AtomicUsize,
}

/// A free slot of the pool, and the ticker awake, for one call.
pub struct Slot<'a> {
    engine: &'a Engine,
    _permit: SemaphorePermit<'a>,
}

impl Engine {
    /// Reserves the pool (address space, not memory) and starts the ticker.
    ///
    /// # Errors
    /// Where the machine does not give the address space or a thread.
    pub fn new() -> anyhow::Result<Self> {
        Self::with(&config(), false)
    }

    /// An engine that counts what guests execute, which makes them slower: for
    /// their authors.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn metered() -> anyhow::Result<Self> {
        let mut config = config();
        config.consume_fuel(true);
        Self::with(&config, true)
    }

    fn with(config: &wasmtime::Config, metered: bool) -> anyhow::Result<Self> {
        let wasm = wasmtime::Engine::new(config)
            .map_err(|error| anyhow::anyhow!("{error:#}"))
            .context("the Wasm engine could not reserve its instance pool; is address space limited (ulimit -v)?")?;
        let calls = Arc::<Calls>::default();
        let ticker = std::thread::Builder::new()
            .name("epoch-ticker".to_owned())
            .spawn({
                let calls = Arc::clone(&calls);
                let wasm = wasm.weak();
                move || tick(&calls, || wasm.upgrade().map(|wasm| wasm.increment_epoch()))
            })
            .context("the epoch ticker's thread could not be started")?
            .thread()
            .clone();
        Ok(Self {
            wasm,
            cache: None,
            slots: Semaphore::new(SLOTS as usize),
            calls,
            ticker,
            metered,
        })
    }

    /// Whether it counts what guests execute.
    #[must_use]
    pub fn is_metered(&self) -> bool {
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

    /// A component, compiled now or by an earlier start. It takes seconds for
    /// a large one: never on an async thread.
    ///
    /// # Errors
    /// Where it is not a component.
    pub fn compile(&self, bytes: &[u8], digest: &Digest) -> wasmtime::Result<Component> {
        let kept = self
            .cache
            .as_ref()
            .and_then(|cache| cache.load(&self.wasm, digest));
        if let Some(component) = kept {
            return Ok(component);
        }
        let component = Component::from_binary(&self.wasm, bytes)?;
        if let Some(cache) = &self.cache {
            cache.store(digest, &component);
        }
        Ok(component)
    }

    /// The engine itself.
    #[must_use]
    pub fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// Counts a call as long, for as long as it lasts.
    fn long_call(&self) -> LongCall {
        self.calls.long.fetch_add(1, Ordering::Relaxed);
        LongCall(Arc::clone(&self.calls))
    }

    /// Waits for a free slot.
    pub async fn slot(&self) -> Option<Slot<'_>> {
        let permit = self.slots.acquire().await.ok()?;
        if self.calls.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.ticker.unpark();
        }
        Some(Slot {
            engine: self,
            _permit: permit,
        })
    }
}

/// A call that goes on and on.
pub struct LongCall(Arc<Calls>);

/// How often a call was interrupted.
#[derive(Default)]
pub struct Interruptions {
    count: u32,
    /// That there were many.
    long: Option<LongCall>,
}

impl Interruptions {
    /// The call is interrupted; after how many ticks it is again.
    pub fn one_more(&mut self, engine: &Engine) -> u64 {
        self.count += 1;
        if self.count >= LONG {
            self.long.get_or_insert_with(|| engine.long_call());
            return 1;
        }
        // One that works is not interrupted more often because another loops.
        if engine.calls.long.load(Ordering::Relaxed) > 0 {
            SHORT_TICKS
        } else {
            1
        }
    }
}

impl Drop for LongCall {
    fn drop(&mut self) {
        self.0.long.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.engine.calls.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The ticker finds the engine gone and ends.
        self.ticker.unpark();
    }
}

/// Advances the epoch while calls run, and parks when none has for a while, so
/// that an idle gateway does not wake a thousand times a second.
fn tick(calls: &Calls, advance: impl Fn() -> Option<()>) {
    let mut idle = 0;
    loop {
        if calls.running.load(Ordering::Acquire) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle > IDLE_TICKS {
            std::thread::park();
            idle = 0;
        } else {
            let is_long = calls.long.load(Ordering::Relaxed) > 0;
            std::thread::sleep(if is_long { SHORT_TICK } else { TICK });
        }
        if advance().is_none() {
            return;
        }
    }
}

fn config() -> wasmtime::Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS)
        .total_core_instances(SLOTS * CORE_INSTANCES_PER_SLOT)
        .total_memories(SLOTS * MEMORIES_PER_SLOT)
        .total_tables(SLOTS * TABLES_PER_SLOT)
        .total_stacks(SLOTS)
        .max_core_instances_per_component(CORE_INSTANCES_PER_SLOT)
        .max_memories_per_component(MEMORIES_PER_SLOT)
        .max_tables_per_component(TABLES_PER_SLOT)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(1 << 20)
        .max_memory_size(MAX_MEMORY)
        .table_elements(MAX_TABLE_ELEMENTS)
        // Measured: resetting a slot by the kernel's list of touched pages, and
        // keeping small memories mapped, halves the cost of a fresh instance.
        .pagemap_scan(Enabled::Auto)
        // What a guest's calls nested too deep have touched of a stack goes back
        // to the kernel, and costs 3 µs; a call that is as it should be needs less
        // than is kept.
        .async_stack_keep_resident(64 << 10)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10);
    let mut config = wasmtime::Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .async_stack_zeroing(true)
        .concurrency_support(false)
        .wasm_component_model(true)
        // A trap is reported with the names of the guest's functions, and a
        // guest's stack is never so deep that a longer report would help.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));
    config
}
