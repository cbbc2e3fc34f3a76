//! Goroutines that have something in common: a list in, groups with counts out, largest first.
//!
//! Non-goals: which goroutines are looked at; the caller leaves out what it does not want.

use std::{collections::HashMap, hash::Hash};

use super::{Goroutine, LabelsId, Stack};

/// Numbers that a group names for a look at single goroutines.
const SAMPLES: usize = 5;

/// Goroutines with the same `key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<K> {
    /// What they have in common.
    pub key: K,
    /// How many they are.
    pub count: u64,
    /// Since when the first of them is known to wait, in nanoseconds of the machine's monotonic
    /// clock; none if nothing is known of any.
    pub oldest_since_ns: Option<u64>,
    /// The numbers of a few of them, lowest first.
    pub sample_ids: Vec<u64>,
}

/// Where goroutines were made, and what they began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Creation {
    /// Return address of the `go` statement.
    pub creator_pc: u64,
    /// Entry of the function, perhaps of a wrapper around it.
    pub start_pc: u64,
}

/// Groups of equal `key`; of groups of the same size, that with the lowest number first.
pub fn group_by<'a, K: Eq + Hash + Copy>(
    goroutines: impl IntoIterator<Item = &'a Goroutine>,
    key: impl Fn(&Goroutine) -> K,
) -> Vec<Group<K>> {
    let mut groups: HashMap<K, Group<K>> = HashMap::new();
    for goroutine in goroutines {
        let key = key(goroutine);
        let empty = || Group { key, count: 0, oldest_since_ns: None, sample_ids: Vec::new() };
        groups.entry(key).or_insert_with(empty).add(goroutine);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_unstable_by(|a, b| {
        b.count.cmp(&a.count).then_with(|| a.sample_ids.cmp(&b.sample_ids))
    });
    groups
}

impl<K> Group<K> {
    fn add(&mut self, goroutine: &Goroutine) {
        self.count += 1;
        let since = Some(goroutine.waiting_since_ns).filter(|since| *since != 0);
        self.oldest_since_ns = [self.oldest_since_ns, since].into_iter().flatten().min();
        let place = self.sample_ids.partition_point(|id| *id < goroutine.id);
        if place < SAMPLES {
            self.sample_ids.insert(place, goroutine.id);
            self.sample_ids.truncate(SAMPLES);
        }
    }
}

/// Groups of equal stacks.
pub fn by_stack<'a>(goroutines: impl IntoIterator<Item = &'a Goroutine>) -> Vec<Group<Stack>> {
    group_by(goroutines, |goroutine| goroutine.stack)
}

/// Groups of equal stacks and labels, as Go's own goroutine profile has them.
pub fn by_profile<'a>(
    goroutines: impl IntoIterator<Item = &'a Goroutine>,
) -> Vec<Group<(Stack, Option<LabelsId>)>> {
    group_by(goroutines, |goroutine| (goroutine.stack, goroutine.labels))
}

/// Groups that were made by the same `go` statement.
pub fn by_creation<'a>(
    goroutines: impl IntoIterator<Item = &'a Goroutine>,
) -> Vec<Group<Creation>> {
    group_by(goroutines, |goroutine| Creation {
        creator_pc: goroutine.creator_pc,
        start_pc: goroutine.start_pc,
    })
}

/// Groups of equal labels.
pub fn by_labels<'a>(
    goroutines: impl IntoIterator<Item = &'a Goroutine>,
) -> Vec<Group<Option<LabelsId>>> {
    group_by(goroutines, |goroutine| goroutine.labels)
}

/// Groups that wait for the same, or do the same.
pub fn by_state<'a>(
    goroutines: impl IntoIterator<Item = &'a Goroutine>,
) -> Vec<Group<&'static str>> {
    group_by(goroutines, Goroutine::state)
}

#[cfg(test)]
mod tests {
    use super::{by_creation, by_labels, by_stack, by_state};
    use crate::memory::goroutines::{Goroutine, NoStack, Stack, StackId, Status};

    fn goroutine(id: u64, status: Status, since: u64, stack: u32) -> Goroutine {
        Goroutine {
            id,
            slot: 0,
            status,
            wait_reason: None,
            waiting_since_ns: since,
            parent_id: 1,
            creator_pc: 0x100 + id % 2,
            start_pc: 0x200,
            locked_to_thread: false,
            stack_bytes: 2048,
            labels: None,
            stack: Stack::Known(StackId(stack)),
        }
    }

    #[test]
    fn groups_have_counts_ages_and_examples_in_a_fixed_order() {
        let mut all: Vec<_> =
            (1..=20).map(|id| goroutine(id, Status::Waiting, 100 - id, 7)).collect();
        all.push(goroutine(40, Status::Runnable, 0, 8));
        all.push(goroutine(30, Status::Syscall, 0, 9));
        all.push(Goroutine { stack: Stack::Unknown(NoStack::Running), ..all[0] });
        all.reverse();
        let stacks = by_stack(&all);
        let counts: Vec<_> = stacks.iter().map(|group| group.count).collect();
        assert_eq!(counts, [20, 1, 1, 1]);
        assert_eq!(stacks[0].sample_ids, [1, 2, 3, 4, 5]);
        assert_eq!(stacks[0].oldest_since_ns, Some(80));
        assert_eq!((stacks[2].sample_ids[0], stacks[2].oldest_since_ns), (30, None));
        let states: Vec<_> = by_state(&all).into_iter().map(|group| group.key).collect();
        assert_eq!(states, ["waiting", "syscall", "runnable"]);
        assert_eq!(by_creation(&all).len(), 2);
        assert_eq!(by_labels(&all)[0].count, 23);
        all.sort_by_key(|goroutine| goroutine.id % 7);
        assert_eq!(by_stack(&all), stacks);
    }
}
