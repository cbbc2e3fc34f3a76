//! What the BPF programs write and userspace reads: keys, values and loss reasons of every map.
//!
//! In: nothing. Out: `#[repr(C)]` types of fixed-width integers with asserted sizes.
//! Non-goals: behaviour beyond the few pure functions both sides must agree on.
#![no_std]

mod chain;
mod contexts;
mod goroutines;
mod growth;
mod lost;
mod sampling;

pub use chain::{begin_chain, extend_chain};
pub use contexts::{
    ContextTotals, FRAMES_MAX, LIFETIME_BUCKETS, LIFETIME_FLOOR_LOG2_NS, LiveContext,
    OVERFLOW_SITE, SiteCounters, SiteFrames, lifetime_bucket,
};
pub use goroutines::{
    EventCount, GOROUTINE_OVERFLOW_SITE, GoroutineCounters, GoroutineGate, GoroutineSite,
    GoroutineStack, GoroutineTotals, WEIGHT_ONE,
};
pub use growth::{
    GROWTH_TOTALS, GrowthCounters, GrowthFrames, GrowthKind, GrowthOperation, GrowthTotal,
    MappedRange, growth_overflow_site, growth_total_index, mmap_kind, page_aligned,
};
pub use lost::{LOST_REASONS, Lost};
pub use sampling::{Eviction, Sampling, is_sampled, must_widen};
