//! Which contexts the live map keeps: consistent sampling by address that widens under pressure.
//!
//! An address is in the sample of `shift` k when the top k bits of its hash are zero, so the
//! sample of k+1 is a subset of that of k, and creation and release of a context always agree.

/// Sampling state and occupancy of the live map: one shared value.
/// BPF adds to `tracked` and raises `shift` and `widen_at`; userspace evicts and resets `widen_at`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Entries in the live map.
    pub tracked: u64,
    /// Occupancy at which BPF widens the sampling by one step.
    pub widen_at: u64,
    /// Capacity of the live map.
    pub capacity: u64,
    /// k: one in 2^k addresses is tracked.
    pub shift: u64,
}
const _: () = assert!(size_of::<Sampling>() == 32);

/// Widest sampling: one in 65,536.
const SHIFT_MAX: u64 = 16;

impl Sampling {
    /// Everything is tracked, in a live map of `capacity` entries.
    pub const fn all(capacity: u64) -> Self {
        Self { tracked: 0, widen_at: capacity - capacity / 4, capacity, shift: 0 }
    }

    /// The next step: half the sample, and the threshold half the remaining way to full, so that
    /// ever fewer entries meet ever less room until userspace has evicted what left the sample.
    #[inline(always)]
    pub fn widened(&self) -> (u64, u64) {
        let shift = if self.shift < SHIFT_MAX { self.shift + 1 } else { SHIFT_MAX };
        (shift, self.widen_at + (self.capacity - self.widen_at) / 2)
    }
}

/// Whether the context at `address` belongs to the sample of `shift`.
/// Fibonacci hashing (Knuth, TAOCP 6.4): the multiplier is 2^64 divided by the golden ratio.
#[inline(always)]
pub fn is_sampled(address: u64, shift: u64) -> bool {
    let hash = (address >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    shift == 0 || hash >> (64 - (shift & 63)) == 0
}

#[cfg(feature = "user")]
// SAFETY: repr(C), only u64 fields, no padding (size asserted above), any bits are valid.
unsafe impl aya::Pod for Sampling {}

#[cfg(test)]
mod tests {
    use super::{Sampling, is_sampled};

    /// Addresses as Go hands them out: 80-byte slots in 8 KiB spans.
    fn addresses() -> impl Iterator<Item = u64> {
        (0..1000u64)
            .flat_map(|span| (0..102).map(move |slot| 0xc000_0000_0000 + span * 8192 + slot * 80))
    }

    #[test]
    fn wider_samples_are_subsets_of_narrower_ones() {
        for address in addresses() {
            for shift in 0..8 {
                assert!(is_sampled(address, shift) || !is_sampled(address, shift + 1));
            }
        }
    }

    #[test]
    fn each_step_halves_the_sample() {
        for shift in [0, 1, 4, 6] {
            let sampled = addresses().filter(|a| is_sampled(*a, shift)).count() as f64;
            let expected = 102_000.0 / (1u64 << shift) as f64;
            assert!((sampled / expected - 1.0).abs() < 0.05, "shift {shift}: {sampled}");
        }
    }

    #[test]
    fn widening_approaches_capacity_without_reaching_it() {
        let mut sampling = Sampling::all(1000);
        assert_eq!(sampling.widen_at, 750);
        let mut last = 0;
        for _ in 0..4 {
            (sampling.shift, sampling.widen_at) = sampling.widened();
            assert!(sampling.widen_at > last && sampling.widen_at < 1000);
            last = sampling.widen_at;
        }
        assert_eq!(sampling.shift, 4);
    }
}
