//! What the sampled counts of the heap profile stand for: a profile in, estimates by stack out.
//!
//! Non-goals: reading the profile; names of the stacks.

use std::{cmp::Reverse, collections::HashMap};

use super::{HeapCounts, HeapProfile, HeapSite};

/// Objects and bytes, estimated from a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct HeapEstimate {
    /// Number of objects.
    pub objects: u64,
    /// Their bytes, by size class.
    pub bytes: u64,
}

impl HeapEstimate {
    /// What `objects` sampled objects of `object_bytes` each stand for, when one byte in
    /// `rate_bytes` was sampled: an object of size s is sampled with probability
    /// 1 - exp(-s / rate). As `scaleHeapSample` (runtime/pprof/protomem.go) has it, rounding
    /// included.
    pub fn of(objects: u64, object_bytes: u64, rate_bytes: u64) -> Self {
        let bytes = objects.saturating_mul(object_bytes);
        if bytes == 0 {
            return Self::default();
        }
        if rate_bytes <= 1 {
            return Self { objects, bytes };
        }
        let scale = 1.0 / (1.0 - (-(object_bytes as f64) / rate_bytes as f64).exp());
        let scaled = |count: u64| (count as f64 * scale) as u64;
        Self { objects: scaled(objects), bytes: scaled(bytes) }
    }

    /// The sum of two.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// Which of a site's counts are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeapReading {
    /// As the process itself would publish: see [`HeapSite::published`].
    Published,
    /// By now: see [`HeapSite::current`].
    Current,
}

impl HeapReading {
    const fn of(self, site: &HeapSite) -> HeapCounts {
        match self {
            Self::Published => site.published,
            Self::Current => site.current,
        }
    }
}

/// All objects that one call chain allocated, of whatever sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeapGroup<'a> {
    /// The call chain; see [`HeapSite::stack`].
    pub stack: &'a [u64],
    /// Allocated and not freed.
    pub in_use: HeapEstimate,
    /// Allocated ever.
    pub allocated: HeapEstimate,
}

impl HeapSite {
    /// Its objects that are in use, estimated; see [`HeapEstimate::of`].
    pub fn in_use(&self, reading: HeapReading, rate_bytes: u64) -> HeapEstimate {
        HeapEstimate::of(reading.of(self).in_use(), self.object_bytes, rate_bytes)
    }

    /// Its objects that were ever allocated, estimated; see [`HeapEstimate::of`].
    pub fn allocated(&self, reading: HeapReading, rate_bytes: u64) -> HeapEstimate {
        HeapEstimate::of(reading.of(self).alloc_objects, self.object_bytes, rate_bytes)
    }
}

impl HeapProfile {
    /// The sites by their stacks, sizes taken together, those with the most bytes in use first.
    /// Stacks that have never allocated anything, as far as `reading` goes, are left out.
    pub fn groups(&self, reading: HeapReading) -> Vec<HeapGroup<'_>> {
        let mut groups: HashMap<&[u64], HeapGroup<'_>> = HashMap::new();
        for site in self.sites.iter().filter(|site| reading.of(site).alloc_objects > 0) {
            let (stack, zero) = (&*site.stack, HeapEstimate::default());
            let new = HeapGroup { stack, in_use: zero, allocated: zero };
            let group = groups.entry(stack).or_insert(new);
            group.in_use = group.in_use.plus(site.in_use(reading, self.rate_bytes));
            group.allocated = group.allocated.plus(site.allocated(reading, self.rate_bytes));
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_unstable_by_key(|group| {
            (Reverse(group.in_use.bytes), Reverse(group.allocated.bytes), group.stack)
        });
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::{HeapEstimate, HeapReading};
    use crate::memory::{HeapCounts, HeapProfile, HeapSite};

    fn estimate(objects: u64, bytes: u64) -> HeapEstimate {
        HeapEstimate { objects, bytes }
    }

    /// Values of `TestScaleHeapSample` in runtime/pprof/mprof_test.go's manner, computed by Go.
    #[test]
    fn a_sample_stands_for_as_many_as_pprof_says() {
        const RATE: u64 = 512 << 10;
        assert_eq!(HeapEstimate::of(0, 16, RATE), estimate(0, 0));
        assert_eq!(HeapEstimate::of(3, 0, RATE), estimate(0, 0));
        assert_eq!(HeapEstimate::of(1, 1024, RATE), estimate(512, 524_800));
        // As large as the rate: 1 / (1 - 1/e).
        assert_eq!(HeapEstimate::of(10, RATE, RATE), estimate(15, 8_294_114));
        // Large objects are sampled surely.
        assert_eq!(HeapEstimate::of(1, RATE * 1000, RATE), estimate(1, RATE * 1000));
    }

    #[test]
    fn without_sampling_nothing_is_scaled() {
        for rate in [0, 1] {
            assert_eq!(HeapEstimate::of(7, 48, rate), estimate(7, 336));
        }
    }

    #[test]
    fn absurd_counts_have_an_estimate_too() {
        let most = HeapEstimate::of(u64::MAX, u64::MAX, 2);
        assert_eq!(most, estimate(u64::MAX, u64::MAX));
        assert_eq!(HeapEstimate::of(u64::MAX, 1, u64::MAX).objects, u64::MAX);
    }

    #[test]
    fn sizes_of_one_stack_are_one_group() {
        let site = |stack: &[u64], object_bytes, alloc_objects, free_objects| HeapSite {
            stack: stack.to_vec(),
            object_bytes,
            published: HeapCounts::default(),
            current: HeapCounts { alloc_objects, free_objects },
        };
        let sites = vec![
            site(&[1, 2], 16, 4, 1),
            site(&[3], 4096, 1, 0),
            site(&[1, 2], 32, 2, 2),
            site(&[4], 8, 0, 0),
        ];
        let profile = HeapProfile { rate_bytes: 1, sites, ..HeapProfile::default() };
        let groups = profile.groups(HeapReading::Current);
        let found: Vec<_> = groups.iter().map(|g| (g.stack, g.in_use, g.allocated)).collect();
        let large = (&[3][..], estimate(1, 4096), estimate(1, 4096));
        assert_eq!(found, [large, (&[1, 2], estimate(3, 48), estimate(6, 128))]);
        assert!(profile.groups(HeapReading::Published).is_empty());
    }
}
