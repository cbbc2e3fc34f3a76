//! Every map of goroutines: key, value, size, and why this type.
//! Together 2 MB at their default sizes. All are preallocated: a probe must never allocate in the
//! target's path.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};
use leaktrace_common::{
    GoroutineCounters, GoroutineGate, GoroutineSite, GoroutineStack, GoroutineTotals, LOST_REASONS,
};

/// Sites at most; kubelet has some 600 `go` statements. 4096 take 0.5 MB.
const SITES_MAX: u32 = 4096;

/// Call chains that start goroutines at most; 4096 take 1.4 MB.
const STACKS_MAX: u32 = 4096;

/// Site -> its ends, and those starts that found no room among the stacks.
#[map]
pub static GOROUTINE_SITES: HashMap<GoroutineSite, GoroutineCounters> =
    HashMap::with_max_entries(SITES_MAX, 0);

/// Hash of a call chain and what it starts -> both, and how often. One map, since a start then
/// looks up once; the site is the chain's first address with what it starts.
#[map]
pub static GOROUTINE_STACKS: HashMap<u64, GoroutineStack> =
    HashMap::with_max_entries(STACKS_MAX, 0);

/// Index 0: whether events are counted.
#[map]
pub static GATE: Array<GoroutineGate> = Array::with_max_entries(1, 0);

/// Index 0: counts over all sites. Per CPU, so that CPUs don't contend.
#[map]
pub static GOROUTINE_SUMS: PerCpuArray<GoroutineTotals> = PerCpuArray::with_max_entries(1, 0);

/// Loss reason -> how often. Per CPU as above.
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_REASONS.len() as u32, 0);
