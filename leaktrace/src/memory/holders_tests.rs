//! A heap made by hand in which one holder is to be found.

use super::find_holders;
use crate::memory::testing::{HEAP_OBJECT, Made};

const CONTEXTS: u64 = HEAP_OBJECT;
const MAPS: u64 = HEAP_OBJECT + 0x2000;
const GROUP: u64 = 0x30_0000;

/// A cancelled root with a map of `count` children, the first of which is `child`.
fn tree(made: &mut Made, child: u64, count: u64) {
    let at = made.layout.contexts;
    let background = made.itab("context.backgroundCtx");
    let cancel = made.itab("*context.cancelCtx");
    made.span(0, 80, 4, &[]);
    made.span(1, 48, 2, &[]);
    made.memory.put_words(CONTEXTS, &[background, 0]);
    made.memory.put_words(CONTEXTS + at.cancel_ctx.children, &[MAPS]);
    made.memory.put_words(CONTEXTS + 80, &[cancel, CONTEXTS]);
    made.memory.put_words(MAPS, &[count]);
    let (place, keys) = match (at.hmap, at.hmap_bucket, at.swiss_map, at.swiss_group) {
        (Some(map), Some(bucket), ..) => (map.buckets, bucket.keys),
        (.., Some(map), Some(group)) => (map.dir_ptr, group.slots),
        _ => panic!("no map"),
    };
    made.memory.put_words(MAPS + place, &[GROUP]);
    made.memory.put(GROUP, &[0; 256]);
    // In use for both kinds of map.
    made.memory.put(GROUP, &[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]);
    if at.hmap.is_some() {
        made.memory.put(GROUP, &[0x7f, 0, 0, 0, 0, 0, 0, 0]);
    }
    made.memory.put_words(GROUP + keys, &[cancel, child]);
}

#[test]
fn a_holder_is_found_with_its_count() {
    for mut made in Made::every_version() {
        tree(&mut made, CONTEXTS + 80, 42);
        let (memory, addresses) = made.finish();
        let (runtime, types) = (memory.runtime(&addresses), memory.types());
        let found = find_holders(&runtime, &types, &|| true).unwrap();
        assert!(found.complete, "{found:?}");
        assert_eq!((found.spans, found.spans_seen, found.spans_read), (2, 2, 1));
        let [holder] = &found.top[..] else { panic!("{found:?}") };
        assert_eq!((holder.address, holder.children), (CONTEXTS, 42));
        assert_eq!(holder.type_name, "*context.cancelCtx");
    }
}

#[test]
fn children_that_are_no_contexts_of_it_prove_it_wrong() {
    for child in [0, CONTEXTS + 160, CONTEXTS + 81, 0x9999_0000] {
        for mut made in Made::every_version() {
            tree(&mut made, child, 42);
            let (memory, addresses) = made.finish();
            let (runtime, types) = (memory.runtime(&addresses), memory.types());
            let found = find_holders(&runtime, &types, &|| true).unwrap();
            assert!(found.top.is_empty(), "{child:#x}: {found:?}");
        }
    }
}

/// Other structs begin with an interface too, and point to something as large as a map.
#[test]
fn what_is_no_map_keeps_nobody_from_being_found() {
    for mut made in Made::every_version() {
        tree(&mut made, CONTEXTS + 80, 42);
        let at = made.layout.contexts;
        let background = made.itab("context.todoCtx");
        let (context, map) = (CONTEXTS + 2 * 80, MAPS + 48);
        made.memory.put_words(context, &[background, 0]);
        made.memory.put_words(context + at.cancel_ctx.children, &[map]);
        made.memory.put_words(map, &[43]);
        match (at.hmap, at.swiss_map) {
            (Some(hmap), _) => made.memory.put(map + hmap.b, &[60]),
            (_, Some(swiss)) => made.memory.put_words(map + swiss.dir_len, &[1 << 40]),
            _ => panic!("no map"),
        }
        let (memory, addresses) = made.finish();
        let (runtime, types) = (memory.runtime(&addresses), memory.types());
        let found = find_holders(&runtime, &types, &|| true).unwrap();
        let [holder] = &found.top[..] else { panic!("{found:?}") };
        assert_eq!((holder.address, found.dropped), (CONTEXTS, 1));
    }
}
