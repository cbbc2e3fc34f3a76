//! Every map of growth: key, value, size, and why this type.
//! Together 3 MB at their default sizes. All are preallocated: a program must never allocate in the
//! target's path.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};
use leaktrace_common::{
    GROWTH_TOTALS, GrowthCounters, GrowthFrames, GrowthTotal, LOST_REASONS, MappedRange,
};

/// Sites at most; 4096 take 1.8 MB with their frames.
const SITES_MAX: u32 = 4096;

/// Mappings at most that are followed until they are unmapped; about 100 B each.
const RANGES_MAX: u32 = 8192;

/// A power of two; 32 KiB.
pub const RETURNS_ROWS: u32 = 4096;

/// Site hash -> what happened there. Read in batches at every interval.
#[map]
pub static GROWTH_SITES: HashMap<u64, GrowthCounters> = HashMap::with_max_entries(SITES_MAX, 0);

/// Site hash -> operation, kind and call chain. Apart from the counters: read once per site.
#[map]
pub static GROWTH_FRAMES: HashMap<u64, GrowthFrames> = HashMap::with_max_entries(SITES_MAX, 0);

/// First address -> the mapping there, while it is mapped.
#[map]
pub static RANGES: HashMap<u64, MappedRange> = HashMap::with_max_entries(RANGES_MAX, 0);

/// Index 0: the end of the heap in whole pages, 0 while it is not known. Userspace writes it once
/// before anything is attached.
#[map]
pub static HEAP_END: Array<u64> = Array::with_max_entries(1, 0);

/// Where a call chain is collected: 280 bytes are too many for the BPF stack. Index 0 for faults,
/// 1 for calls; a program runs to its end before another of its kind begins on a CPU.
#[map]
pub static SCRATCH: PerCpuArray<GrowthFrames> = PerCpuArray::with_max_entries(2, 0);

/// Which addresses lie behind a call and which don't, at an index made of them: asking again costs
/// a tenth of reading the target's code. CPUs may overwrite each other's.
#[map]
pub static RETURNS: Array<u64> = Array::with_max_entries(RETURNS_ROWS, 0);

/// `growth_total_index` -> counts. Per CPU, so that CPUs don't contend.
#[map]
pub static GROWTH_SUMS: PerCpuArray<GrowthTotal> = PerCpuArray::with_max_entries(GROWTH_TOTALS, 0);

/// Loss reason -> how often. Per CPU as above.
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_REASONS.len() as u32, 0);
