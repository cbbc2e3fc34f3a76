//! One instant of the target and its node: procfs and map values in, plain values out.
//!
//! A value that could not be read is absent, never zero. Non-goals: anything derived over time.

mod contexts;
mod growth;
mod holding;
mod host;
mod own;
mod process;

pub use contexts::{ContextKind, ContextNature, ContextParent, ContextSample, SiteSample};
pub use growth::{FaultSite, FaultsHow, GrowthSample, MappingSite, MappingTotal, kind_at};
pub use holding::{HolderSample, HoldingSample};
pub use host::HostSample;
pub use own::OwnSample;
pub use process::{ProcessSample, RollupSample};

use std::time::SystemTime;

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
    pub host: HostSample,
    /// The contexts, when they are counted.
    pub contexts: Option<ContextSample>,
}
