//! What came and went between two looks into a heap profile: two profiles in, counts by site out.
//!
//! Non-goals: estimates, which `sampled_growth` makes of them.

use std::collections::HashMap;

use super::SampledChange;
use crate::memory::{HeapCounts, HeapDropped, HeapProfile, HeapReading, HeapSite};

/// The sampled objects of each site at two looks into one process, the earlier first. None when
/// the profile is off, or its rate was changed in between: then they cannot be compared.
///
/// A site that only the later look has is new, unless the earlier one dropped some: then it may be
/// old, and is left out. The runtime never frees a site: one that only the earlier look has was
/// dropped from the later, and is left out too.
pub fn heap_changes(
    first: &HeapProfile,
    last: &HeapProfile,
    reading: HeapReading,
) -> Option<Vec<SampledChange>> {
    if first.rate_bytes == 0 || first.rate_bytes != last.rate_bytes {
        return None;
    }
    let counts = |site: &HeapSite| match reading {
        HeapReading::Published => site.published,
        HeapReading::Current => site.current,
    };
    let complete = first.dropped == HeapDropped::default();
    let before: HashMap<_, _> =
        first.sites.iter().map(|site| ((&*site.stack, site.object_bytes), counts(site))).collect();
    let mut changes = Vec::with_capacity(last.sites.len());
    for site in &last.sites {
        let old = before.get(&(&*site.stack, site.object_bytes)).copied();
        let Some(old) = old.or_else(|| complete.then(HeapCounts::default)) else { continue };
        let new = counts(site);
        changes.push(SampledChange {
            object_bytes: site.object_bytes,
            first_in_use: old.in_use(),
            last_in_use: new.in_use(),
            allocated: new.alloc_objects.saturating_sub(old.alloc_objects),
        });
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::heap_changes;
    use crate::{
        memory::{HeapCounts, HeapDropped, HeapProfile, HeapReading, HeapSite},
        model::SampledChange,
    };

    fn site(pc: u64, object_bytes: u64, alloc_objects: u64, free_objects: u64) -> HeapSite {
        let published = HeapCounts { alloc_objects, free_objects };
        let current = HeapCounts { alloc_objects: alloc_objects + 1, free_objects };
        HeapSite { stack: vec![pc], object_bytes, published, current }
    }

    fn profile(rate_bytes: u64, sites: Vec<HeapSite>) -> HeapProfile {
        HeapProfile { rate_bytes, sites, ..HeapProfile::default() }
    }

    #[test]
    fn sites_are_matched_by_stack_and_size() {
        let first = profile(512, vec![site(1, 48, 10, 4), site(1, 96, 5, 0), site(2, 48, 9, 9)]);
        let last = profile(512, vec![site(3, 48, 2, 1), site(1, 96, 5, 2), site(1, 48, 30, 14)]);
        let found = heap_changes(&first, &last, HeapReading::Published).unwrap();
        let change = |object_bytes, first_in_use, last_in_use, allocated| SampledChange {
            object_bytes,
            first_in_use,
            last_in_use,
            allocated,
        };
        assert_eq!(found, [change(48, 0, 1, 2), change(96, 5, 3, 0), change(48, 6, 16, 20)]);
        let found = heap_changes(&first, &last, HeapReading::Current).unwrap();
        assert_eq!(found[2], change(48, 7, 17, 20));
    }

    /// What had no room at the first look did not grow from nothing.
    #[test]
    fn a_site_that_may_have_been_dropped_is_not_new() {
        let dropped = HeapDropped { small: 1, ..HeapDropped::default() };
        let first = HeapProfile { dropped, ..profile(512, vec![site(1, 48, 10, 4)]) };
        let last = profile(512, vec![site(2, 48, 90, 0), site(1, 48, 11, 4)]);
        let found = heap_changes(&first, &last, HeapReading::Published).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].last_in_use, 7);
    }

    #[test]
    fn rates_that_differ_are_not_compared() {
        let one = profile(512, vec![site(1, 48, 10, 4)]);
        assert_eq!(heap_changes(&one, &profile(1, Vec::new()), HeapReading::Current), None);
        let off = HeapProfile::default();
        assert_eq!(heap_changes(&off, &off, HeapReading::Current), None);
    }
}
