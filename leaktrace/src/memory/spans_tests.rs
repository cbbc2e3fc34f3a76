//! A heap of one arena with one span, made by hand.

use super::{Allocation, Spans, gc_cycles};
use crate::memory::testing::{HEAP_OBJECT, Made};

const FREE: Allocation = Allocation::Free;

fn allocated(object_bytes: u64, offset: u64) -> Allocation {
    Allocation::Allocated { swept: true, object_bytes, offset }
}

#[test]
fn objects_are_told_from_free_slots() {
    for made in Made::every_version() {
        let mut made = made;
        made.span(0, 80, 3, &[0b100_1000]);
        let (memory, addresses) = made.finish();
        let runtime = memory.runtime(&addresses);
        let spans = Spans::read(&runtime).unwrap();
        let at = |index: u64, offset| spans.object(HEAP_OBJECT + index * 80 + offset).unwrap();
        assert_eq!(at(0, 0), allocated(80, 0));
        assert_eq!((at(2, 79), at(3, 0)), (allocated(80, 79), allocated(80, 0)));
        assert_eq!((at(4, 0), at(6, 8)), (FREE, allocated(80, 8)));
        // Behind the last object, in a page without a span, and outside all arenas.
        assert_eq!(at(102, 0), FREE);
        assert_eq!(spans.object(HEAP_OBJECT + 0x10_0000).unwrap(), FREE);
        for address in [0, 8, 0x7f00_0000_0000, u64::MAX] {
            assert_eq!(spans.object(address).unwrap(), Allocation::NotHeap, "{address:#x}");
        }
        assert_eq!(gc_cycles(&runtime).unwrap(), 7);
    }
}

#[test]
fn a_span_that_lies_is_no_span() {
    for made in Made::every_version() {
        let mut made = made;
        made.span(0, 0, 3, &[0xff]);
        made.span(1, u64::MAX, u64::MAX, &[0xff]);
        made.word_at_span(2, u64::MAX - 3);
        let (memory, addresses) = made.finish();
        let runtime = memory.runtime(&addresses);
        let spans = Spans::read(&runtime).unwrap();
        assert_eq!(spans.object(HEAP_OBJECT).unwrap(), FREE);
        let huge = spans.object(HEAP_OBJECT + 0x2000 + 8).unwrap();
        assert!(matches!(huge, Allocation::Allocated { .. } | Allocation::Free), "{huge:?}");
        assert!(spans.object(HEAP_OBJECT + 0x4000).is_err());
    }
}
