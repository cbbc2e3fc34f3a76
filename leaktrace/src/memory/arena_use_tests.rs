//! Heaps of one arena, made by hand.

use super::ArenaUse;
use crate::memory::{
    pagemap::{Resident, testing::MadePages},
    testing::{HEAP_OBJECT, Made},
};

const PAGE: u64 = 0x2000;

fn exclusive(exclusive_bytes: u64) -> Resident {
    Resident { exclusive_bytes, shared_bytes: 0 }
}

#[test]
fn each_resident_byte_has_one_use() {
    for mut made in Made::every_version() {
        // 8 objects of 1 KiB: the first three slots were given out, 0 and 7 survived.
        made.span(0, 1024, 3, &[0b1000_0001]);
        // One of 8 KiB that survived, one that is new; the last is not in memory.
        made.span(1, PAGE, 0, &[1]);
        made.span(2, PAGE, 1, &[0]);
        made.span(3, PAGE, 1, &[0]);
        made.manual_span(4, 2048);
        made.manual_span(5, 0);
        // Page 6 ended as part of the span of page 0.
        made.word_at_span(6, Made::span_address(0));
        let (memory, addresses) = made.finish();
        let runtime = memory.runtime(&addresses);
        let mut pages = MadePages::default();
        pages.put(HEAP_OBJECT, 6, true);
        pages.put(HEAP_OBJECT + 4 * PAGE, 8, true);
        let found = ArenaUse::read(&runtime, &pages).unwrap();
        let arena = HEAP_OBJECT..HEAP_OBJECT + (64 << 20);
        assert_eq!(found.arenas, std::slice::from_ref(&arena));
        assert_eq!(found.live, exclusive(2048 + PAGE));
        assert_eq!(found.fresh, exclusive(2048 + PAGE));
        assert_eq!(found.gaps, exclusive(4096));
        assert_eq!((found.stacks, found.collector), (exclusive(PAGE), exclusive(PAGE)));
        assert_eq!(found.idle, exclusive(2 * PAGE));
        assert_eq!(found.live_object_bytes, 2048 + PAGE);
        assert_eq!(found.resident(), exclusive(14 * 4096));
    }
}

#[test]
fn slots_of_pages_that_are_not_in_memory_do_not_count() {
    for mut made in Made::every_version() {
        made.span(0, 1024, 3, &[0b1000_0001]);
        let (memory, addresses) = made.finish();
        let mut pages = MadePages::default();
        pages.put(HEAP_OBJECT, 1, true);
        let found = ArenaUse::read(&memory.runtime(&addresses), &pages).unwrap();
        assert_eq!((found.live, found.fresh), (exclusive(1024), exclusive(2048)));
        assert_eq!((found.gaps, found.live_object_bytes), (exclusive(1024), 2048));
    }
}

#[test]
fn a_heap_that_lies_is_survived() {
    for mut made in Made::every_version() {
        made.span(0, u64::MAX, u64::MAX, &[0xff]);
        made.span(1, 0, 3, &[0xff]);
        made.manual_span_of(2, u64::MAX, 1);
        made.word_at_span(3, u64::MAX - 3);
        made.arena_count(u64::MAX);
        let (memory, addresses) = made.finish();
        assert!(ArenaUse::read(&memory.runtime(&addresses), &MadePages::default()).is_err());
    }
    for mut made in Made::every_version() {
        made.span(0, u64::MAX, u64::MAX, &[0xff]);
        made.span(1, 0, 3, &[0xff]);
        made.manual_span_of(2, u64::MAX, 1);
        made.word_at_span(3, u64::MAX - 3);
        let (memory, addresses) = made.finish();
        let mut pages = MadePages::default();
        pages.put(HEAP_OBJECT, 8, true);
        let found = ArenaUse::read(&memory.runtime(&addresses), &pages).unwrap();
        assert_eq!(found.resident(), exclusive(8 * 4096), "{found:?}");
    }
}
