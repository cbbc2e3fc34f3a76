//! Context life: creation sites, their counters and the contexts alive at this moment.

/// Return addresses kept per site, innermost first; deeper callers are cut off.
pub const FRAMES_MAX: usize = 31;

/// Buckets of the lifetime histogram of a site.
pub const LIFETIME_BUCKETS: usize = 40;

/// log2 of the upper bound, in nanoseconds, of lifetime bucket 0 (about 1 µs).
pub const LIFETIME_FLOOR_LOG2_NS: u32 = 10;

/// The site that takes creations whose own site found no room in the map.
pub const OVERFLOW_SITE: u64 = 0;

/// What identifies a site: the call chain and the parent's type. Written once by BPF when its
/// hash is first seen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SiteFrames {
    /// Return addresses in the target's address space, innermost caller first; 0 beyond `depth`.
    pub pcs: [u64; FRAMES_MAX],
    /// How many entries of `pcs` are set.
    pub depth: u64,
    /// Address of the `runtime.itab` through which the parent was passed; it tells its type.
    pub parent_itab: u64,
}
const _: () = assert!(size_of::<SiteFrames>() == 264);

/// What happened at one site. Written by BPF with atomic adds, read by userspace.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SiteCounters {
    /// Every creation, exact at any sampling.
    pub created: u64,
    /// Of these, not entered into the live map: left out by sampling, or it was full. The others
    /// are *tracked*.
    pub untracked: u64,
    /// Tracked contexts whose first cancel was seen.
    pub released: u64,
    /// Tracked contexts proven dead by a second creation at their address.
    pub collected: u64,
    /// Released contexts by lifetime; see [`lifetime_bucket`].
    pub lifetimes: [u64; LIFETIME_BUCKETS],
}
const _: () = assert!(size_of::<SiteCounters>() == 352);

impl SiteCounters {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        created: 0,
        untracked: 0,
        released: 0,
        collected: 0,
        lifetimes: [0; LIFETIME_BUCKETS],
    };
}

/// A tracked context that has been neither released nor collected; keyed by its address.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LiveContext {
    /// The creating site's hash.
    pub site: u64,
    /// `CLOCK_MONOTONIC` at creation.
    pub created_ns: u64,
}
const _: () = assert!(size_of::<LiveContext>() == 16);

/// Counts of one CPU that belong to no site. Written by BPF with atomic adds, read by userspace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ContextTotals {
    /// First cancels of contexts that are not tracked though they belong to the sample: made before
    /// tracing began, or without room in the live map.
    pub released_untracked: u64,
    /// The same, each counted as the 2^shift that it stood for when it was seen.
    pub released_untracked_scaled: u64,
    /// First cancels of contexts left out by address sampling.
    pub released_sampled_out: u64,
    /// Cancels of contexts that were cancelled already.
    pub repeated_cancels: u64,
}
const _: () = assert!(size_of::<ContextTotals>() == 32);

/// The histogram bucket of a lifetime: bucket b holds `[2^(b+9), 2^(b+10))` ns, the first and
/// the last are open (below 1 µs; above 2^49 ns, about 6.5 days).
#[inline(always)]
pub fn lifetime_bucket(lifetime_ns: u64) -> usize {
    let bits = u64::BITS - lifetime_ns.leading_zeros();
    let bucket = bits.saturating_sub(LIFETIME_FLOOR_LOG2_NS) as usize;
    if bucket < LIFETIME_BUCKETS { bucket } else { LIFETIME_BUCKETS - 1 }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), only u64 fields, no padding (sizes asserted above), any bits are valid.
    unsafe impl aya::Pod for super::SiteFrames {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SiteCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::LiveContext {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ContextTotals {}
}

#[cfg(test)]
mod tests {
    use super::{LIFETIME_BUCKETS, lifetime_bucket};

    #[test]
    fn buckets_are_powers_of_two_and_clamped() {
        assert_eq!(lifetime_bucket(0), 0);
        assert_eq!(lifetime_bucket(1023), 0);
        assert_eq!(lifetime_bucket(1024), 1);
        assert_eq!(lifetime_bucket(2047), 1);
        assert_eq!(lifetime_bucket(2048), 2);
        assert_eq!(lifetime_bucket(1 << 48), 39);
        assert_eq!(lifetime_bucket(u64::MAX), LIFETIME_BUCKETS - 1);
    }
}
