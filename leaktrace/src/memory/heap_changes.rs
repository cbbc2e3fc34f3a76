//! What changed between two looks into one heap profile: profiles in, counts by stack and size out.
//!
//! Non-goals: estimates of what was not sampled (`model` has them); names of the stacks.

use std::collections::HashMap;

use super::{HeapCounts, HeapProfile, HeapSite};

/// One stack and size at two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeapChange<'a> {
    /// By the later look.
    pub site: &'a HeapSite,
    /// What the process would have published by the earlier look.
    pub published_before: HeapCounts,
    /// All that had been counted by then.
    pub current_before: HeapCounts,
}

impl HeapChange<'_> {
    /// Sampled allocations between the looks.
    pub const fn allocated(&self) -> u64 {
        self.site.current.alloc_objects.saturating_sub(self.current_before.alloc_objects)
    }

    /// The same of what was published.
    pub const fn published_allocated(&self) -> u64 {
        self.site.published.alloc_objects.saturating_sub(self.published_before.alloc_objects)
    }
}

impl HeapProfile {
    /// This look's sites beside what they were at `earlier`, of the same process. A site that has
    /// come since was nothing then; sites never go.
    pub fn changes_since(&self, earlier: &Self) -> Vec<HeapChange<'_>> {
        let key = |site: &HeapSite| (site.stack.clone(), site.object_bytes);
        let before: HashMap<_, _> = earlier.sites.iter().map(|site| (key(site), site)).collect();
        let change = |site| {
            let known = before.get(&key(site)).copied();
            HeapChange {
                site,
                published_before: known.map(|known| known.published).unwrap_or_default(),
                current_before: known.map(|known| known.current).unwrap_or_default(),
            }
        };
        self.sites.iter().map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::memory::{HeapCounts, HeapProfile, HeapSite};

    fn site(stack: &[u64], published: [u64; 2], current: [u64; 2]) -> HeapSite {
        let counts =
            |[alloc_objects, free_objects]: [u64; 2]| HeapCounts { alloc_objects, free_objects };
        let (published, current) = (counts(published), counts(current));
        HeapSite { stack: stack.to_vec(), object_bytes: 64, published, current }
    }

    #[test]
    fn sites_are_matched_and_new_ones_begin_at_nothing() {
        let profile =
            |sites| HeapProfile { rate_bytes: 512 << 10, sites, ..HeapProfile::default() };
        let earlier = profile(vec![site(&[1, 2], [10, 4], [15, 4]), site(&[3], [1, 0], [1, 0])]);
        let later = profile(vec![
            site(&[4], [2, 1], [3, 1]),
            site(&[1, 2], [30, 5], [40, 5]),
            site(&[3], [0, 0], [0, 0]),
        ]);
        let changes = later.changes_since(&earlier);
        let counts: Vec<_> = changes
            .iter()
            .map(|c| (c.allocated(), c.published_allocated(), c.published_before.in_use()))
            .collect();
        assert_eq!(counts, [(3, 2, 0), (25, 20, 6), (0, 0, 1)]);
    }
}
