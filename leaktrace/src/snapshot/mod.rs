//! One instant of the target and its node: procfs and map values in, plain values out.
//!
//! A value that could not be read is absent, never zero. Non-goals: anything derived over time.

mod cgroup;
mod contexts;
mod goroutine_rates;
mod goroutines;
mod growth;
mod holding;
mod kernel;
mod mappings;
mod node;
mod oom;
mod own;
mod pods;
mod pressure;
mod process;
mod reconciled;
mod resident;
mod survey;
mod threads;

pub use cgroup::{
    CgroupLevel, CgroupLimit, CgroupPlace, CgroupSample, CgroupStat, CgroupVersion, Hierarchies,
};
pub use contexts::{ContextKind, ContextNature, ContextParent, ContextSample, SiteSample};
pub use goroutine_rates::{CreatorStack, GoroutineRates, Rate, SiteRates};
pub use goroutines::{GoroutineSample, GoroutineSiteSample, GoroutineTracker, OTHER_SITES};
pub use growth::{FaultSite, FaultsHow, GrowthSample, MappingSite, MappingTotal, kind_at};
pub use holding::{HolderSample, HoldingSample, Seen};
pub use kernel::KernelSample;
pub use mappings::{
    Figures, Known, Mapping, MappingGrowth, MappingKind, MappingRow, MappingsSample, Rights,
    visit_mappings,
};
pub use node::{NodeSample, RootSample};
pub use oom::{OomCandidate, OomSample};
pub use own::OwnSample;
pub use pods::{PodCount, PodPlaces, PodSample, PodsUnknown, is_kubelet};
pub use pressure::{PressureSample, Stall};
pub use process::{ProcessSample, RollupSample};
pub use reconciled::{Comparison, Living, Reconciled, SiteChange, reconcile};
pub use resident::{GoSample, ResidentSample};
pub use survey::{AGES_S, GoroutinePlace, GoroutineSurvey, survey};
pub use threads::{FilesSample, StackPointers};

use std::time::SystemTime;

use crate::memory::RuntimeCounters;

/// A point in time on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    /// `CLOCK_MONOTONIC`, as `bpf_ktime_get_ns` has it.
    pub monotonic_ns: u64,
    /// Wall clock, for people.
    pub wall: SystemTime,
}

impl Instant {
    /// Now.
    pub fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic_ns = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        Self { monotonic_ns, wall: SystemTime::now() }
    }

    /// Seconds from `start` to this instant.
    pub fn seconds_since(&self, start: &Self) -> f64 {
        self.monotonic_ns.saturating_sub(start.monotonic_ns) as f64 / 1e9
    }
}

/// Everything read at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When.
    pub at: Instant,
    /// The target.
    pub process: ProcessSample,
    /// The node.
    pub node: NodeSample,
    /// The target's memory cgroups, where they can be seen.
    pub cgroup: Option<CgroupSample>,
    /// The contexts, when they are counted.
    pub contexts: Option<ContextSample>,
    /// The Go runtime's counters, read from its memory.
    pub runtime: Option<RuntimeCounters>,
}
