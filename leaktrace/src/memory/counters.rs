//! The runtime's own counters: what `runtime.ReadMemStats` and runtime/metrics would say.

use super::{MemoryError, Runtime};
use crate::binary::RuntimeVariable;

/// `heapStatsDelta`s of `mstats` (runtime/mstats.go, `consistentHeapStats`).
const HEAP_STATS: u64 = 3;

/// Figures of a Go runtime. Bytes unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RuntimeCounters {
    /// GOGC in percent; negative for off.
    pub gc_percent: i32,
    /// GOMEMLIMIT; none for off.
    pub memory_limit_bytes: Option<u64>,
    /// Heap size at which the next collection ends.
    pub next_gc_bytes: u64,
    /// Live objects that the last collection found.
    pub heap_marked_bytes: u64,
    /// The same, and what was allocated since.
    pub heap_live_bytes: u64,
    /// Spans in use.
    pub heap_in_use_bytes: u64,
    /// Free spans that were not given back to the system.
    pub heap_free_bytes: u64,
    /// Free spans that were given back.
    pub heap_released_bytes: u64,
    /// Stacks of goroutines.
    pub stacks_bytes: u64,
    /// Everything that the runtime holds of the system and has not given back.
    pub mapped_ready_bytes: u64,
    /// Of these: what the runtime needs for itself (spans, caches, collector, profile, others).
    pub runtime_bytes: u64,
    /// How many goroutines can run at once: GOMAXPROCS.
    pub processors: u32,
    /// Collections so far.
    pub gc_cycles: u32,
    /// Of these, those that the program asked for.
    pub gc_cycles_forced: u32,
    /// When the last collection ended, nanoseconds since 1970; 0 before the first.
    pub last_gc_unix_ns: u64,
    /// All pauses together, in nanoseconds.
    pub gc_pause_total_ns: u64,
}

impl RuntimeCounters {
    /// Reads the counters.
    ///
    /// # Errors
    /// A variable was not located, or its memory can't be read.
    pub fn read(runtime: &Runtime<'_>) -> Result<Self, MemoryError> {
        let heap = runtime.layout.heap;
        let base = runtime.addresses.of(RuntimeVariable::GcController)?;
        let controller = |offset: u64| runtime.view.u64(base.wrapping_add(offset));
        let at = &heap.controller;
        let stats_base = runtime.addresses.of(RuntimeVariable::Statistics)?;
        let stats = |offset: u64| runtime.view.u64(stats_base.wrapping_add(offset));
        let count = |offset: u64| runtime.view.u32(stats_base.wrapping_add(offset));
        let limit = controller(at.memory_limit)?;
        let [stacks, work_bufs] = heap_stats(runtime, stats_base)?;
        let own = [
            heap.stats.stacks_sys,
            heap.stats.mspan_sys,
            heap.stats.mcache_sys,
            heap.stats.buckhash_sys,
            heap.stats.gc_misc_sys,
            heap.stats.other_sys,
        ];
        let own = own
            .into_iter()
            .try_fold(work_bufs, |sum, at| Ok::<_, MemoryError>(stats(at)?.saturating_add(sum)))?;
        Ok(Self {
            gc_percent: runtime.view.u32(base.wrapping_add(at.gc_percent))? as i32,
            memory_limit_bytes: (limit < i64::MAX as u64).then_some(limit),
            next_gc_bytes: controller(at.gc_percent_heap_goal)?,
            heap_marked_bytes: controller(at.heap_marked)?,
            heap_live_bytes: controller(at.heap_live)?,
            heap_in_use_bytes: controller(at.heap_in_use)?,
            heap_free_bytes: controller(at.heap_free)?,
            heap_released_bytes: controller(at.heap_released)?,
            stacks_bytes: stacks,
            mapped_ready_bytes: controller(at.mapped_ready)?,
            runtime_bytes: own,
            processors: runtime.view.u32(runtime.addresses.of(RuntimeVariable::Processors)?)?,
            gc_cycles: count(heap.stats.numgc)?,
            gc_cycles_forced: count(heap.stats.numforcedgc)?,
            last_gc_unix_ns: stats(heap.stats.last_gc_unix)?,
            gc_pause_total_ns: stats(heap.stats.pause_total_ns)?,
        })
    }
}

/// Bytes of goroutine stacks and of the collector's work: sums over deltas that wrap.
fn heap_stats(runtime: &Runtime<'_>, base: u64) -> Result<[u64; 2], MemoryError> {
    let heap = runtime.layout.heap;
    let sum = |field: u64| {
        (0..HEAP_STATS).try_fold(0u64, |sum, index| {
            let delta = base
                .wrapping_add(heap.stats.heap_stats)
                .wrapping_add(index * heap.heap_stats.bytes);
            Ok(sum.wrapping_add(runtime.view.u64(delta.wrapping_add(field))?))
        })
    };
    Ok([sum(heap.heap_stats.in_stacks)?, sum(heap.heap_stats.in_work_bufs)?])
}
