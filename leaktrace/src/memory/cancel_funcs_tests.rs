use std::{cell::Cell, collections::HashSet, io};

use super::CancelFuncs;
use crate::memory::{
    ContextReader, ReadMemory, RecordedMemory,
    testing::{HEAP_OBJECT, Made, SWEEPGEN},
};

const CODE: u64 = 0x40_1000;
const CONTEXTS: [u64; 5] = [0x1000, 0x2000, 0x3000, 0x4000, 0x5000];

/// Page 0 has closures, of which the first four slots are taken; page 1 objects without pointers
/// of the same size, page 2 larger ones.
fn made(mut made: Made) -> Made {
    made.span(0, 16, 4, &[]);
    made.span(1, 16, 4, &[]);
    made.without_pointers(1);
    made.span(2, 32, 4, &[]);
    let closure = |slot: u64| HEAP_OBJECT + slot * 16;
    made.memory.put_words(closure(1), &[CODE, CONTEXTS[0]]);
    // An interface in a variable of its own.
    made.memory.put_words(closure(2), &[0x50_0000, CONTEXTS[4]]);
    // Freed, but not given out again.
    made.memory.put_words(closure(6), &[CODE, CONTEXTS[1]]);
    made.memory.put_words(HEAP_OBJECT + 0x2000, &[CODE, CONTEXTS[2]]);
    made.memory.put_words(HEAP_OBJECT + 0x4000, &[CODE, CONTEXTS[3]]);
    made
}

fn found(made: Made, go_on: bool) -> Option<Vec<Option<bool>>> {
    let (memory, addresses) = made.finish();
    let (runtime, types) = (memory.runtime(&addresses), memory.types());
    let reader = ContextReader::new(&runtime, &types).unwrap();
    let contexts = HashSet::from(CONTEXTS);
    let found = CancelFuncs::search(&reader, &HashSet::from([CODE]), &contexts, &|| go_on).unwrap();
    found.map(|found| CONTEXTS.iter().map(|context| found.has(*context)).collect())
}

const LOST: Option<bool> = Some(false);
const LEFT: Option<bool> = Some(true);

#[test]
fn a_function_is_left_as_long_as_its_closure_is_allocated() {
    for heap in Made::every_version() {
        assert_eq!(found(made(heap), true).unwrap(), [LEFT, LOST, LOST, LOST, None]);
    }
}

#[test]
fn half_a_search_tells_nothing() {
    for heap in Made::every_version() {
        assert_eq!(found(made(heap), false), None);
    }
    for heap in Made::every_version() {
        let mut heap = made(heap);
        let start = Made::span_address(0) + heap.layout.heap.span.start_addr;
        heap.memory.put_words(start, &[0x1234_0000]);
        assert_eq!(found(heap, true), None);
    }
}

/// A sanitizer puts them among larger objects.
#[test]
fn where_no_closure_is_seen_at_all_they_lie_elsewhere() {
    for heap in Made::every_version() {
        let mut heap = made(heap);
        for slot in [1, 6] {
            heap.memory.put_words(HEAP_OBJECT + slot * 16, &[0, 0]);
        }
        assert_eq!(found(heap, true), None);
    }
}

#[test]
fn in_a_span_that_is_not_swept_everything_may_be_allocated() {
    for behind in [2, 1, u32::MAX] {
        for heap in Made::every_version() {
            let mut heap = made(heap);
            heap.sweepgen(0, SWEEPGEN.wrapping_sub(behind));
            assert_eq!(found(heap, true).unwrap(), [None, None, LOST, LOST, None], "{behind}");
        }
    }
    // Swept, and taken by a processor since.
    for heap in Made::every_version() {
        let mut heap = made(heap);
        heap.sweepgen(0, SWEEPGEN + 3);
        assert_eq!(found(heap, true).unwrap()[..2], [LEFT, LOST]);
    }
}

/// Memory that becomes another after so many reads.
struct Then<'m> {
    first: &'m RecordedMemory,
    then: &'m RecordedMemory,
    after: u32,
    reads: Cell<u32>,
}

impl ReadMemory for Then<'_> {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        let is_first = self.reads.get() <= self.after;
        (if is_first { self.first } else { self.then }).read_at(address, buffer)
    }
}

/// The closure was there when the contexts were listed, and is given back by a collection while it is
/// searched for: whenever that is, it is never called lost.
#[test]
fn what_a_collection_frees_during_the_search_is_not_lost() {
    for (before, after) in Made::every_version().zip(Made::every_version()) {
        let before = made(before);
        let mut after = made(after);
        after.memory.put_words(HEAP_OBJECT + 16, &[0, 0]);
        for page in 0..3 {
            after.sweepgen(page, SWEEPGEN + 2);
        }
        after.collected(SWEEPGEN + 2);
        let ((before, addresses), (after, _)) = (before.finish(), after.finish());
        let mut told = 0;
        for reads in 0..40 {
            let (first, then) = (before.memory(), after.memory());
            let memory = Then { first, then, after: reads, reads: Cell::new(0) };
            let (runtime, types) = (before.runtime_over(&memory, &addresses), before.types());
            let reader = ContextReader::new(&runtime, &types).unwrap();
            if memory.reads.get() > reads {
                continue;
            }
            let (entries, contexts) = (HashSet::from([CODE]), HashSet::from(CONTEXTS));
            let found = CancelFuncs::search(&reader, &entries, &contexts, &|| true).unwrap();
            let has = found.map(|found| found.has(CONTEXTS[0]));
            assert_ne!(has, Some(LOST), "after {reads} reads");
            told += u32::from(has.is_some());
        }
        assert!(told > 0);
    }
}
