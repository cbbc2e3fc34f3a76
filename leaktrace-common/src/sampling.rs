//! Which contexts the live map keeps: consistent sampling by address that widens under pressure.
//!
//! An address is in the sample of `shift` k when the top k bits of its hash are zero, so the
//! sample of k+1 is a subset of that of k, and creation and release of a context always agree.

/// Sampling state, written by BPF only: occupancy with atomic adds, the rest plainly.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampling {
    /// Entries put into the live map less those that BPF took out; a count modulo 2^64.
    pub tracked: u64,
    /// k: one in 2^k addresses is tracked.
    pub shift: u64,
}
const _: () = assert!(size_of::<Sampling>() == 16);

/// What userspace has done about it, written by userspace only.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Eviction {
    /// Capacity of the live map.
    pub capacity: u64,
    /// Entries taken out because they left the sample.
    pub evicted: u64,
    /// The shift up to which that is done.
    pub shift: u64,
}
const _: () = assert!(size_of::<Eviction>() == 24);

/// Widest sampling: one in 65,536.
const SHIFT_MAX: u64 = 16;

/// Steps that are taken before userspace must have evicted.
const STEPS_MAX: u64 = 4;

/// Whether the sampling must widen by one step. At first that is so when the live map is three
/// quarters full; each further step before userspace has evicted takes half of what room is left,
/// so that ever fewer entries meet ever less room. After four steps it waits for the eviction:
/// a sample that shrinks on would soon tell nothing, a full map is a counted loss.
#[inline(always)]
pub fn must_widen(sampling: &Sampling, eviction: &Eviction) -> bool {
    let occupied = sampling.tracked.wrapping_sub(eviction.evicted);
    let steps = sampling.shift.wrapping_sub(eviction.shift) & 31;
    let room = (eviction.capacity / 4) >> steps;
    // Signed: the two counts are read at different moments and may cross.
    occupied as i64 >= eviction.capacity.wrapping_sub(room) as i64
        && steps < STEPS_MAX
        && sampling.shift < SHIFT_MAX
}

/// Whether the context at `address` belongs to the sample of `shift`.
/// Fibonacci hashing (Knuth, TAOCP 6.4): the multiplier is 2^64 divided by the golden ratio.
#[inline(always)]
pub fn is_sampled(address: u64, shift: u64) -> bool {
    let hash = (address >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    shift == 0 || hash >> (64 - (shift & 63)) == 0
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), only u64 fields, no padding (sizes asserted above), any bits are valid.
    unsafe impl aya::Pod for super::Sampling {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Eviction {}
}

#[cfg(test)]
mod tests {
    use super::{Eviction, Sampling, is_sampled, must_widen};

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

    /// How many entries fit before each step, when userspace never evicts.
    #[test]
    fn each_step_takes_half_of_the_room_that_is_left() {
        let eviction = Eviction { capacity: 1024, ..Eviction::default() };
        let mut sampling = Sampling::default();
        let mut steps = [0; 4];
        for tracked in 0..1024 {
            sampling.tracked = tracked;
            if must_widen(&sampling, &eviction) {
                steps[sampling.shift as usize] = tracked;
                sampling.shift += 1;
            }
        }
        assert_eq!(steps, [768, 896, 960, 992]);
    }

    #[test]
    fn eviction_gives_the_room_back() {
        let mut eviction = Eviction { capacity: 1024, ..Eviction::default() };
        let sampling = Sampling { tracked: 900, shift: 2 };
        assert!(!must_widen(&sampling, &eviction), "two steps were taken already");
        eviction = Eviction { evicted: 600, shift: 2, ..eviction };
        assert!(!must_widen(&sampling, &eviction));
        assert!(must_widen(&Sampling { tracked: 600 + 768, shift: 2 }, &eviction));
    }

    #[test]
    fn counts_that_cross_do_not_widen() {
        let eviction = Eviction { capacity: 1024, evicted: 10, shift: 1 };
        assert!(!must_widen(&Sampling { tracked: 5, shift: 1 }, &eviction));
        assert!(!must_widen(&Sampling { tracked: u64::MAX, shift: 1 }, &eviction));
    }
}
