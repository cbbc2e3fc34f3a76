//! Goroutine starts and ends: sites, the call chains that start there, and the gate that says
//! whether, until when and with what weight they are counted.

use crate::FRAMES_MAX;

/// What an event weighs that stands for itself alone: weights are in 1/1024.
pub const WEIGHT_ONE: u64 = 1024;

/// Where goroutines are started and with what, as the goroutine itself remembers it
/// (`gopc` and `startpc` of `runtime.g`, runtime/runtime2.go), so that both ends of its life agree
/// on it without anything being kept per goroutine. Live addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GoroutineSite {
    /// Return address of the `go` statement.
    pub creator_pc: u64,
    /// Entry of the function, perhaps of a wrapper around it.
    pub start_pc: u64,
}
const _: () = assert!(size_of::<GoroutineSite>() == 16);

/// The site that takes what found no room, or could not be read.
pub const GOROUTINE_OVERFLOW_SITE: GoroutineSite = GoroutineSite { creator_pc: 0, start_pc: 0 };

/// How often something happened. Written by BPF with atomic adds, read by userspace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCount {
    /// As often as it was seen.
    pub seen: u64,
    /// What the seen ones stand for besides themselves, in 1/1024, each by the gate of its moment
    /// ([`GoroutineGate`]); 0 as long as nothing is sampled, and then it costs nothing.
    pub unseen_weight: u64,
}
const _: () = assert!(size_of::<EventCount>() == 16);

/// What happened to goroutines of one site; keyed by the site.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoroutineCounters {
    /// Starts that found no room in the map of stacks; the others are counted there.
    pub started_elsewhere: EventCount,
    /// Ends.
    pub ended: EventCount,
}
const _: () = assert!(size_of::<GoroutineCounters>() == 32);

/// A call chain that starts goroutines; keyed by its hash. All but the count is written once by BPF
/// when the hash is first seen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GoroutineStack {
    /// Starts.
    pub started: EventCount,
    /// Entry of the started function.
    pub start_pc: u64,
    /// How many entries of `pcs` are set.
    pub depth: u64,
    /// Return addresses in the target's address space, that of the `go` statement first; 0 beyond
    /// `depth`.
    pub pcs: [u64; FRAMES_MAX],
}
const _: () = assert!(size_of::<GoroutineStack>() == 280);

/// Whether events are counted. Written by userspace only, read at every event.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoroutineGate {
    /// What an event stands for, in 1/1024; 0: none is counted.
    pub weight: u64,
    /// `CLOCK_MONOTONIC` at which counting ends; 0: never.
    pub until_ns: u64,
}
const _: () = assert!(size_of::<GoroutineGate>() == 16);

/// Counts of one CPU over all sites. Written by BPF with atomic adds, read by userspace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoroutineTotals {
    /// Starts that were counted.
    pub started: u64,
    /// Ends that were counted.
    pub ended: u64,
    /// Runs of programs while the gate was closed.
    pub ignored: u64,
}
const _: () = assert!(size_of::<GoroutineTotals>() == 24);

impl GoroutineTotals {
    /// Runs of all programs: what the target pays for.
    pub const fn hits(&self) -> u64 {
        self.started + self.ended + self.ignored
    }
}

impl core::ops::Add for GoroutineTotals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            started: self.started + other.started,
            ended: self.ended + other.ended,
            ignored: self.ignored + other.ignored,
        }
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), only u64 fields, no padding (sizes asserted above), any bits are valid.
    unsafe impl aya::Pod for super::GoroutineSite {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::GoroutineCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::GoroutineStack {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::GoroutineGate {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::GoroutineTotals {}
}
