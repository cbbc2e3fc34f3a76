//! Every map: key, value, size, and why this type.
//! Together at most 15 MB at their default sizes; the loader may only make them smaller or as
//! large as the user asks. All are preallocated: a probe must never allocate in the target's path.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};
use leaktrace_common::{
    ContextTotals, Eviction, LOST_REASONS, LiveContext, Sampling, SiteCounters, SiteFrames,
};

/// Sites at most; 4096 take 2.8 MB with their frames.
const SITES_MAX: u32 = 4096;

/// Live contexts at most; 88.8 B each (measured), so 11.6 MB.
const LIVE_MAX: u32 = 131_072;

/// Site hash -> what happened there. Read in batches at every interval.
#[map]
pub static SITES: HashMap<u64, SiteCounters> = HashMap::with_max_entries(SITES_MAX, 0);

/// Site hash -> its call chain. Apart from the counters: read once per site, not per interval.
#[map]
pub static SITE_FRAMES: HashMap<u64, SiteFrames> = HashMap::with_max_entries(SITES_MAX, 0);

/// Context address -> its site and birth, while it is neither released nor collected.
#[map]
pub static LIVE: HashMap<u64, LiveContext> = HashMap::with_max_entries(LIVE_MAX, 0);

/// Index 0: sampling state, shared by all CPUs.
#[map]
pub static SAMPLING: Array<Sampling> = Array::with_max_entries(1, 0);

/// Index 0: what userspace has evicted. Apart from SAMPLING, so that each has one writer.
#[map]
pub static EVICTION: Array<Eviction> = Array::with_max_entries(1, 0);

/// Index 0: zeroes to start a site with, since 352 bytes would not fit on the BPF stack
/// beside the frames.
#[map]
pub static ZERO_COUNTERS: Array<SiteCounters> = Array::with_max_entries(1, 0);

/// Index 0: counts that belong to no site. Per CPU, so that CPUs don't contend.
#[map]
pub static TOTALS: PerCpuArray<ContextTotals> = PerCpuArray::with_max_entries(1, 0);

/// Loss reason -> how often. Per CPU as above.
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_REASONS.len() as u32, 0);
