//! What hangs on some objects of a Go heap and on no other of them: their addresses in, bytes out.
//!
//! From every root at once, level by level, each word that points into an allocated object is
//! followed; what two roots reach belongs to neither. Words are taken for pointers by their values,
//! as the runtime itself does on stacks it can't describe. Non-goals: whether a global, a stack or an
//! object that is no root leads there too.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet, hash_map::Entry},
};

use super::{MemoryError, Runtime, Spans, spans::HeapObject};

/// Objects that are followed at most: 4 MiB of our own memory. Roots that have more to themselves
/// are large subsystems and no forgotten contexts.
const OBJECTS_MAX: usize = 1 << 16;
/// Of a larger object only so much is searched for pointers.
const SCANNED_BYTES_MAX: u64 = 64 << 10;
/// Bytes that are searched for pointers in all: some 50 ms.
const SCANNED_TOTAL_MAX: u64 = 64 << 20;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// Bytes of each root with all that only it reaches, in the order asked for; 0 where there is
    /// no object.
    pub exclusive_bytes: Vec<u64>,
    /// Everything was followed; otherwise more may hang on the roots, and less to themselves.
    pub complete: bool,
}

/// Whose an object is: a root by its number, or more than one's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Root(usize),
    Shared,
}

struct Owned {
    owner: Owner,
    object: HeapObject,
}

/// Follows `roots` until all is seen or `go_on` gives `false`. Nothing behind an object that begins
/// at one of `stops` is looked at.
///
/// # Errors
/// The memory is closed, or too much was read.
pub fn reach(
    runtime: &Runtime<'_>,
    spans: &Spans<'_, '_>,
    roots: &[u64],
    stops: &HashSet<u64>,
    go_on: &dyn Fn() -> bool,
) -> Result<Reach, MemoryError> {
    let mut search =
        Search { runtime, spans, stops, owned: HashMap::new(), left: SCANNED_TOTAL_MAX.into() };
    let mut level = search.begin(roots)?;
    let is_root: HashSet<u64> = level.iter().copied().collect();
    let mut complete = true;
    while !level.is_empty() && complete {
        level = search.next_level(&level, &is_root)?;
        complete = search.owned.len() <= OBJECTS_MAX && search.left.get() > 0 && go_on();
    }
    let mut exclusive_bytes = vec![0u64; roots.len()];
    for owned in search.owned.values() {
        if let Owner::Root(root) = owned.owner {
            exclusive_bytes[root] = exclusive_bytes[root].saturating_add(owned.object.bytes);
        }
    }
    Ok(Reach { exclusive_bytes, complete })
}

struct Search<'s, 'r, 'a> {
    runtime: &'r Runtime<'a>,
    spans: &'s Spans<'r, 'a>,
    stops: &'s HashSet<u64>,
    /// Objects met, by their first address.
    owned: HashMap<u64, Owned>,
    /// Bytes that may still be searched.
    left: Cell<u64>,
}

impl Search<'_, '_, '_> {
    /// The roots themselves, each its own.
    fn begin(&mut self, roots: &[u64]) -> Result<Vec<u64>, MemoryError> {
        let mut level = Vec::new();
        for (root, address) in roots.iter().enumerate() {
            let Some(object) = self.object(*address)? else { continue };
            if let Entry::Vacant(entry) = self.owned.entry(object.start) {
                level.push(object.start);
                entry.insert(Owned { owner: Owner::Root(root), object });
            }
        }
        Ok(level)
    }

    /// What the objects of `level` lead to. All of a level is met before any of it is followed, so
    /// that what several roots have near is not followed at all.
    fn next_level(
        &mut self,
        level: &[u64],
        is_root: &HashSet<u64>,
    ) -> Result<Vec<u64>, MemoryError> {
        let mut met = Vec::new();
        for from in level {
            if let Some(Owned { owner: Owner::Root(_), object }) = self.owned.get(from) {
                let targets = self.targets(*object)?;
                met.extend(targets.into_iter().map(|target| (*from, target)));
            }
        }
        let mut next = Vec::new();
        for (from, object) in met {
            let Some(owner) = self.owned.get(&from).map(|owned| owned.owner) else { continue };
            if owner == Owner::Shared || is_root.contains(&object.start) {
                continue;
            }
            match self.owned.get(&object.start).map(|owned| owned.owner) {
                None => {
                    self.owned.insert(object.start, Owned { owner, object });
                    next.push(object.start);
                }
                Some(known) if known == owner || known == Owner::Shared => {}
                Some(_) => self.share(object.start, is_root)?,
            }
        }
        Ok(next)
    }

    /// Notes that several roots lead to the object at `start`, and so to all behind it.
    fn share(&mut self, start: u64, is_root: &HashSet<u64>) -> Result<(), MemoryError> {
        let mut left = vec![start];
        while let Some(start) = left.pop() {
            let Some(owned) = self.owned.get_mut(&start) else { continue };
            if owned.owner == Owner::Shared || is_root.contains(&start) {
                continue;
            }
            owned.owner = Owner::Shared;
            let object = owned.object;
            left.extend(self.targets(object)?.into_iter().map(|target| target.start));
        }
        Ok(())
    }

    /// The objects that `object` points to. What can't be read any more points nowhere.
    fn targets(&self, object: HeapObject) -> Result<Vec<HeapObject>, MemoryError> {
        let bytes = object.bytes.min(SCANNED_BYTES_MAX).min(self.left.get());
        if object.pointer_free || bytes == 0 {
            return Ok(Vec::new());
        }
        self.left.set(self.left.get() - bytes);
        let words = match self.runtime.view.words(object.start, bytes as usize / 8) {
            Err(MemoryError::Unmapped { .. }) => Vec::new(),
            other => other?,
        };
        let mut targets: Vec<HeapObject> = Vec::new();
        for word in words {
            let target = self.object(word)?;
            targets.extend(target.filter(|target| target.start != object.start));
        }
        Ok(targets)
    }

    /// The object around `address`, if it is one to follow.
    fn object(&self, address: u64) -> Result<Option<HeapObject>, MemoryError> {
        match self.spans.object_around(address) {
            Ok(object) => Ok(object.filter(|object| !self.stops.contains(&object.start))),
            Err(MemoryError::Unmapped { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Reach, reach};
    use crate::memory::{
        Spans,
        testing::{HEAP_OBJECT, Made},
    };

    /// Page 0 has objects of 64 bytes, page 1 of 512, all allocated.
    fn small(index: u64) -> u64 {
        HEAP_OBJECT + index * 64
    }

    fn large(index: u64) -> u64 {
        HEAP_OBJECT + 0x2000 + index * 512
    }

    fn found(links: &[(u64, &[u64])], roots: &[u64], stops: &[u64]) -> Vec<Reach> {
        let of = |mut made: Made| {
            made.span(0, 64, 128, &[]);
            made.span(1, 512, 16, &[]);
            links.iter().for_each(|(from, to)| made.memory.put_words(*from, to));
            let (memory, addresses) = made.finish();
            let runtime = memory.runtime(&addresses);
            let spans = Spans::read(&runtime).unwrap();
            let stops: HashSet<u64> = stops.iter().copied().collect();
            reach(&runtime, &spans, roots, &stops, &|| true).unwrap()
        };
        Made::every_version().map(of).collect()
    }

    fn exclusive(links: &[(u64, &[u64])], roots: &[u64], stops: &[u64]) -> Vec<u64> {
        let mut all = found(links, roots, stops);
        let first = all.pop().unwrap();
        assert!(first.complete && all.iter().all(|other| *other == first), "{all:?} {first:?}");
        first.exclusive_bytes
    }

    #[test]
    fn what_only_one_root_reaches_is_its_own() {
        // 0 -> 2 -> large 0; 1 -> 3 -> large 1, into its middle. Both -> 4 -> large 2.
        let links: [(u64, &[u64]); 5] = [
            (small(0), &[small(2), small(4)]),
            (small(1), &[small(4), small(3), 0, 7, u64::MAX]),
            (small(2), &[large(0)]),
            (small(3), &[large(1) + 100]),
            (small(4), &[large(2)]),
        ];
        let roots = [small(0), small(1), 0x1234];
        assert_eq!(exclusive(&links, &roots, &[]), [64 + 64 + 512, 64 + 64 + 512, 0]);
        assert_eq!(exclusive(&links, &roots, &[small(2)]), [64, 64 + 64 + 512, 0]);
    }

    /// One root reaches it early, the other late, behind what the first had for itself by then.
    #[test]
    fn what_is_shared_late_takes_all_behind_it_along() {
        let links: [(u64, &[u64]); 6] = [
            (small(0), &[small(2)]),
            (small(2), &[small(3)]),
            (small(3), &[large(0)]),
            (small(1), &[small(5)]),
            (small(5), &[small(6)]),
            (small(6), &[small(2)]),
        ];
        assert_eq!(exclusive(&links, &[small(0), small(1)], &[]), [64, 64 * 3]);
    }

    #[test]
    fn circles_and_roots_that_know_each_other_come_to_an_end() {
        let links: [(u64, &[u64]); 3] = [
            (small(0), &[small(1), small(0), small(2)]),
            (small(1), &[small(0)]),
            (small(2), &[small(0), small(2)]),
        ];
        assert_eq!(exclusive(&links, &[small(0), small(1)], &[]), [128, 64]);
        assert_eq!(exclusive(&links, &[small(0), small(0)], &[]), [128 + 64, 0]);
    }
}
