//! Maps made by hand, honest ones and others.

use super::{Entry, contains_child, visit_children};
use crate::memory::testing::Made;

const MAP: u64 = 0x10_0000;
const TABLES: u64 = 0x20_0000;
const GROUPS: u64 = 0x30_0000;

/// A map with these children in one bucket or group.
fn small(made: &mut Made, children: &[u64]) {
    let at = made.layout.contexts;
    if let (Some(map), Some(bucket)) = (at.hmap, at.hmap_bucket) {
        made.memory.put(MAP, &vec![0; map.bytes as usize]);
        made.memory.put_words(MAP + map.count, &[children.len() as u64]);
        made.memory.put_words(MAP + map.buckets, &[GROUPS]);
        made.memory.put(GROUPS, &vec![0; bucket.bytes as usize]);
        for (slot, child) in (0..).zip(children) {
            made.memory.put(GROUPS + slot, &[200]);
            made.memory.put_words(GROUPS + bucket.keys + slot * 16, &[1, *child]);
        }
    }
    if let (Some(map), Some(group)) = (at.swiss_map, at.swiss_group) {
        made.memory.put(MAP, &vec![0; map.bytes as usize]);
        made.memory.put_words(MAP + map.used, &[children.len() as u64]);
        made.memory.put_words(MAP + map.dir_ptr, &[GROUPS]);
        made.memory.put(GROUPS, &vec![0x80; group.bytes as usize]);
        for (slot, child) in (0..).zip(children) {
            made.memory.put(GROUPS + group.ctrl + slot, &[1]);
            let key = GROUPS + group.slots + slot * group.slot_bytes;
            made.memory.put_words(key, &[1, *child]);
        }
    }
}

#[test]
fn a_small_map_gives_its_children() {
    for mut made in Made::every_version() {
        small(&mut made, &[0x100, 0x200, 0x300]);
        let (memory, addresses) = made.finish();
        let runtime = memory.runtime(&addresses);
        let mut entries = Vec::new();
        let walk = visit_children(&runtime, MAP, &mut |entry| {
            entries.push(entry);
            true
        });
        let walk = walk.unwrap();
        assert_eq!(entries, [0x100, 0x200, 0x300].map(|data| Entry { itab: 1, data }));
        assert_eq!((walk.visited, walk.count, walk.complete), (3, 3, true));
        assert_eq!(contains_child(&runtime, MAP, 0x200).unwrap(), Some(true));
        assert_eq!(contains_child(&runtime, MAP, 0x400).unwrap(), Some(false));
        assert_eq!(contains_child(&runtime, 0, 0x400).unwrap(), Some(false));
        assert!(contains_child(&runtime, 0x9999_0000, 0x400).is_err());
    }
}

#[test]
fn what_can_not_be_read_is_counted_and_leaves_doubt() {
    for mut made in Made::every_version() {
        small(&mut made, &[0x100]);
        let at = made.layout.contexts;
        if let Some(map) = at.hmap {
            made.memory.put_words(MAP + map.buckets, &[0x9999_0000]);
        }
        if let Some(map) = at.swiss_map {
            made.memory.put_words(MAP + map.dir_ptr, &[0x9999_0000]);
        }
        let (memory, addresses) = made.finish();
        let runtime = memory.runtime(&addresses);
        let walk = visit_children(&runtime, MAP, &mut |_| true).unwrap();
        assert!(walk.dropped == 1 && !walk.complete && walk.visited == 0, "{walk:?}");
        assert_eq!(contains_child(&runtime, MAP, 0x100).unwrap(), None);
    }
}

#[test]
fn a_circle_of_overflow_buckets_ends() {
    for mut made in Made::every_version() {
        let at = made.layout.contexts;
        let Some(bucket) = at.hmap_bucket else { continue };
        small(&mut made, &[0x100]);
        made.memory.put_words(GROUPS + bucket.overflow, &[GROUPS]);
        let (memory, addresses) = made.finish();
        let walk = visit_children(&memory.runtime(&addresses), MAP, &mut |_| true).unwrap();
        assert!(walk.visited < 100 && walk.dropped == 1 && !walk.complete, "{walk:?}");
    }
}

#[test]
fn absurd_sizes_are_refused() {
    for mut made in Made::every_version() {
        small(&mut made, &[0x100]);
        let at = made.layout.contexts;
        if let Some(map) = at.hmap {
            made.memory.put(MAP + map.b, &[0xff]);
        }
        if let Some(map) = at.swiss_map {
            made.memory.put_words(MAP + map.dir_len, &[u64::MAX]);
        }
        let (memory, addresses) = made.finish();
        assert!(visit_children(&memory.runtime(&addresses), MAP, &mut |_| true).is_err());
    }
}

#[test]
fn a_table_is_walked_once_and_absurd_ones_are_dropped() {
    for mut made in Made::every_version() {
        let at = made.layout.contexts;
        let (Some(map), Some(table)) = (at.swiss_map, at.swiss_table) else { continue };
        small(&mut made, &[0x100, 0x200]);
        made.memory.put_words(MAP + map.dir_ptr, &[TABLES]);
        made.memory.put_words(MAP + map.dir_len, &[4]);
        let [good, absurd] = [TABLES + 0x100, TABLES + 0x200];
        made.memory.put_words(TABLES, &[good, good, absurd, 0]);
        for (address, mask) in [(good, 0), (absurd, u64::MAX)] {
            made.memory.put_words(address + table.groups_data, &[GROUPS]);
            made.memory.put_words(address + table.groups_length_mask, &[mask]);
        }
        let (memory, addresses) = made.finish();
        let walk = visit_children(&memory.runtime(&addresses), MAP, &mut |_| true).unwrap();
        assert_eq!((walk.visited, walk.dropped, walk.complete), (2, 2, false));
    }
}
