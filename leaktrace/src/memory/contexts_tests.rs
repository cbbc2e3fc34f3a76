//! Contexts made by hand: chains that end, that lead in circles, and objects that are no contexts.

use super::{Ancestor, ContextReader, Holding, Interface, unix_ns};
use crate::memory::testing::{HEAP_OBJECT, Made};

/// The slot `index` of the first span.
const fn slot(index: u64) -> u64 {
    HEAP_OBJECT + index * 80
}

/// A heap with ten slots for `cancelCtx` in use, and the context at slot 0 under `parent`.
fn with_parent(made: &mut Made, parent: [u64; 2]) {
    made.span(0, 80, 10, &[]);
    made.memory.put_words(slot(0), &parent);
}

fn holding(made: Made) -> Holding {
    let (memory, addresses) = made.finish();
    let (runtime, types) = (memory.runtime(&addresses), memory.types());
    let reader = ContextReader::new(&runtime, &types).unwrap();
    let mut standings = reader.standings(&[(slot(0), None)]).unwrap();
    standings.remove(0).holding
}

#[test]
fn a_root_holds_nobody() {
    for name in ["context.backgroundCtx", "context.todoCtx", "context.withoutCancelCtx"] {
        for mut made in Made::every_version() {
            let itab = made.itab(name);
            with_parent(&mut made, [itab, slot(5)]);
            assert_eq!(holding(made), Holding::Nobody);
        }
    }
}

#[test]
fn what_its_holder_does_not_have_is_held_by_nobody() {
    for mut made in Made::every_version() {
        let background = made.itab("context.backgroundCtx");
        let itab = made.itab("*context.cancelCtx");
        with_parent(&mut made, [itab, slot(1)]);
        made.memory.put_words(slot(1), &[background, 0]);
        assert_eq!(holding(made), Holding::Nobody);
    }
}

#[test]
fn parents_in_a_circle_come_to_an_end() {
    for mut made in Made::every_version() {
        let itab = made.itab("*context.valueCtx");
        with_parent(&mut made, [itab, slot(2)]);
        made.memory.put_words(slot(2), &[itab, slot(2)]);
        let Holding::Unknown { why } = holding(made) else { panic!() };
        assert!(why.contains("parents without a holder"), "{why}");
    }
}

#[test]
fn a_torn_parent_is_not_known() {
    for mut made in Made::every_version() {
        let itab = made.itab("*context.valueCtx");
        with_parent(&mut made, [itab, 0x9999_0001]);
        let Holding::Unknown { why } = holding(made) else { panic!() };
        assert!(why.contains("no memory"), "{why}");
    }
}

#[test]
fn an_object_without_a_parent_is_no_context_any_more() {
    for mut made in Made::every_version() {
        with_parent(&mut made, [0x1234_5678, 1]);
        assert_eq!(holding(made), Holding::Freed);
    }
    for mut made in Made::every_version() {
        let itab = made.itab("context.backgroundCtx");
        with_parent(&mut made, [itab, 0]);
        made.span(0, 96, 10, &[]);
        assert_eq!(holding(made), Holding::Freed);
    }
}

#[test]
fn a_parent_of_the_programs_own_is_not_known() {
    for mut made in Made::every_version() {
        let (stop, own) = (made.itab("context.stopCtx"), made.itab("*main.own"));
        with_parent(&mut made, [stop, slot(3)]);
        made.memory.put_words(slot(3), &[own, slot(4), 0]);
        let (memory, addresses) = made.finish();
        let (runtime, types) = (memory.runtime(&addresses), memory.types());
        let reader = ContextReader::new(&runtime, &types).unwrap();
        let parent = Interface { itab: stop, data: slot(3) };
        let Ancestor::Unknown { why } = reader.ancestor(parent).unwrap() else { panic!() };
        assert!(why.contains("*main.own"), "{why}");
    }
}

#[test]
fn a_deadline_is_read_in_both_forms() {
    // 2026-01-02T03:04:05.000000006Z
    let unix = 1_767_323_045;
    let with_monotonic = 1 << 63 | (unix + 2_682_288_000) << 30 | 6;
    assert_eq!(unix_ns(with_monotonic, 77), unix as i64 * 1_000_000_000 + 6);
    assert_eq!(unix_ns(6, unix + 62_135_596_800), unix as i64 * 1_000_000_000 + 6);
    // Anything else is a number too.
    unix_ns(u64::MAX, u64::MAX);
    unix_ns(0, i64::MIN as u64);
}
