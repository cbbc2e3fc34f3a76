//! The kernel side of a trace: the only user of aya, and the only unsafe code of this crate.
//!
//! In: probe points of one process. Out: counters, survivors and losses read from the maps.
//! Closing the [`Tracer`] (or dying) detaches everything: the kernel owns no pin of ours.
//! Non-goals: deciding where to probe; knowing what the numbers mean.

mod attach;
mod batch;
mod features;
mod goroutines;
mod growth;
mod maps;
mod perf;
mod read;

pub use attach::{BpfError, Limits, Target, Tracer};
pub use features::{Requirement, check as check_features, requirements};
pub use goroutines::{
    GoroutineLimits, GoroutineProbes, GoroutineReadout, GoroutineSampling, GoroutineSiteReadout,
    GoroutineStackReadout, GoroutineTracer,
};
pub use growth::{
    FaultPeriod, GrowthLimits, GrowthOrigin, GrowthReadout, GrowthSiteReadout, GrowthTracer,
    PageFaults, mapping_calls_available, page_faults_available,
};
pub use read::{ContextReadout, LiveEntry, SiteOrigin, SiteReadout};

#[cfg(test)]
mod object_tests;
