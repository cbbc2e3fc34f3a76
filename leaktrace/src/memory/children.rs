//! The children of a context: the address of its `children` map in, count and entries out.
//!
//! A `map[context.canceler]struct{}` of both implementations: runtime/map.go up to Go 1.23,
//! internal/runtime/maps from Go 1.24. It may grow while it is walked: where entries move from old
//! places to new ones, the old ones are read first, and a walk during which the map was replaced
//! says so. Non-goals: maps of other types.

use super::{MemoryError, Runtime};
use crate::binary::layout::contexts::{Hmap, HmapBucket, SwissGroup, SwissMap, SwissTable};

/// Entries of a bucket or a group, and control bytes before them (both implementations).
const SLOTS: usize = 8;
/// Top hashes below this mark empty and moved slots (runtime/map.go `minTopHash`).
const MIN_TOP_HASH: u8 = 5;
/// The map grows without doubling (runtime/map.go `sameSizeGrow`).
const SAME_SIZE_GROW: u8 = 8;
/// 2^this buckets at most: 16 million contexts with a load of 6.5 are in 2^22, larger maps would
/// take too long to walk.
const BUCKETS_LOG2_MAX: u8 = 22;
/// The same for tables: a table has 1024 slots at most (internal/runtime/maps/table.go
/// `maxTableCapacity`), so these hold as many.
const TABLES_MAX: u64 = 1 << 15;
const GROUPS_PER_TABLE_MAX: u64 = 1024 / SLOTS as u64;
/// Overflow buckets beside 2^B buckets: at as many the runtime rebuilds the map
/// (runtime/map.go `tooManyOverflowBuckets`); twice as many, and some for small maps.
const OVERFLOW_EXTRA: u64 = 64;
/// Readings of a table that is replaced meanwhile.
const READS_MAX: usize = 4;
/// Buckets that are read at once.
const BUCKETS_PER_READ: u64 = 256;

/// A key of the map: a child as the interface `canceler`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its itab.
    pub itab: u64,
    /// Its address.
    pub data: u64,
}

/// What became of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walk {
    /// Entries visited; one that moved meanwhile may be among them twice.
    pub visited: u64,
    /// The map's own count, when the walk began.
    pub count: u64,
    /// Parts that could not be read.
    pub dropped: u64,
    /// Bytes of the map's memory that the walk has passed through.
    pub bytes: u64,
    /// The map was not replaced meanwhile, all of it was read, and the visitor did not stop it:
    /// what was not visited is not in it.
    pub complete: bool,
}

/// A walk that is under way.
struct Walker<'w> {
    runtime: &'w Runtime<'w>,
    visit: &'w mut dyn FnMut(Entry) -> bool,
    walk: Walk,
    /// The visitor has seen enough.
    stopped: bool,
}

/// How many children the map at `map` has; 0 for no map.
///
/// # Errors
/// Its memory can't be read.
pub fn child_count(runtime: &Runtime<'_>, map: u64) -> Result<u64, MemoryError> {
    let layout = runtime.layout.contexts;
    let offset = match (layout.hmap, layout.swiss_map) {
        (Some(hmap), _) => hmap.count,
        (_, Some(swiss)) => swiss.used,
        (None, None) => return Err(MemoryError::NotRecognised("the maps of this Go version")),
    };
    if map == 0 { Ok(0) } else { runtime.view.u64(map.wrapping_add(offset)) }
}

/// Calls `visit` with the entries of the map at `map` until it gives `false`.
///
/// # Errors
/// The header can't be read, the map is beyond all bounds, or too much was read.
pub fn visit_children(
    runtime: &Runtime<'_>,
    map: u64,
    visit: &mut dyn FnMut(Entry) -> bool,
) -> Result<Walk, MemoryError> {
    runtime.view.refresh();
    let layout = runtime.layout.contexts;
    let walk = Walk { count: child_count(runtime, map)?, ..Walk::default() };
    if map == 0 {
        return Ok(Walk { complete: true, ..walk });
    }
    let mut walker = Walker { runtime, visit, walk, stopped: false };
    let replaced = match (&layout.hmap, &layout.hmap_bucket) {
        (Some(at), Some(bucket)) => walker.hmap(map, at, bucket)?,
        _ => match (&layout.swiss_map, &layout.swiss_table, &layout.swiss_group) {
            (Some(at), Some(table), Some(group)) => walker.swiss(map, at, table, group)?,
            _ => return Err(MemoryError::NotRecognised("the maps of this Go version")),
        },
    };
    let Walker { mut walk, stopped, .. } = walker;
    walk.complete = !replaced && !stopped && walk.dropped == 0;
    Ok(walk)
}

/// Whether `child` is among the children in `map`; none if the map changed too much to tell.
///
/// # Errors
/// As [`visit_children`].
pub fn contains_child(
    runtime: &Runtime<'_>,
    map: u64,
    child: u64,
) -> Result<Option<bool>, MemoryError> {
    let mut found = false;
    let walk = visit_children(runtime, map, &mut |entry| {
        found |= entry.data == child;
        !found
    })?;
    Ok(if found { Some(true) } else { walk.complete.then_some(false) })
}

impl Walker<'_> {
    /// Gives whether the map was replaced meanwhile.
    fn hmap(&mut self, map: u64, at: &Hmap, bucket: &HmapBucket) -> Result<bool, MemoryError> {
        let header = |view: &super::View<'_>| -> Result<[u64; 4], MemoryError> {
            let field = |offset: u64| map.wrapping_add(offset);
            let (flags, b) = (view.u8(field(at.flags))?, view.u8(field(at.b))?);
            let places = [view.u64(field(at.buckets))?, view.u64(field(at.oldbuckets))?];
            Ok([(flags & SAME_SIZE_GROW).into(), b.into(), places[0], places[1]])
        };
        let view = &self.runtime.view;
        let before = header(view)?;
        let [same_size, b, buckets, old] = before;
        if b > BUCKETS_LOG2_MAX.into() {
            return Err(MemoryError::NotRecognised("a map of so many children"));
        }
        self.walk.bytes = self.walk.bytes.saturating_add(at.bytes);
        // What moves, moves from the old buckets to the new ones: read in this order it is met.
        if old != 0 {
            let halved = u64::from(same_size == 0);
            self.buckets(old, 1 << b.saturating_sub(halved), bucket)?;
        }
        if buckets != 0 {
            self.buckets(buckets, 1 << b, bucket)?;
        }
        view.refresh();
        Ok(header(view)? != before)
    }

    fn buckets(&mut self, start: u64, count: u64, at: &HmapBucket) -> Result<(), MemoryError> {
        let mut overflow_left = count.saturating_mul(2).saturating_add(OVERFLOW_EXTRA);
        let mut bytes = vec![0; (count.min(BUCKETS_PER_READ) * at.bytes) as usize];
        let mut done = 0;
        while done < count && !self.stopped {
            let wanted = (count - done).min(BUCKETS_PER_READ);
            let length = (wanted * at.bytes) as usize;
            let address = start.wrapping_add(done.wrapping_mul(at.bytes));
            let read = self.runtime.view.read_once(address, &mut bytes[..length])?;
            self.walk.bytes = self.walk.bytes.saturating_add(length as u64);
            self.walk.dropped += u64::from(read < length);
            for bucket in bytes[..read].chunks_exact(at.bytes as usize) {
                let overflow = self.bucket(bucket, at);
                self.chain(overflow, &mut overflow_left, at)?;
            }
            done += wanted;
        }
        Ok(())
    }

    /// Follows the overflow buckets from `address` on.
    fn chain(
        &mut self,
        mut address: u64,
        left: &mut u64,
        at: &HmapBucket,
    ) -> Result<(), MemoryError> {
        let mut bucket = vec![0; at.bytes as usize];
        while address != 0 && !self.stopped {
            if *left == 0 {
                self.walk.dropped += 1;
                return Ok(());
            }
            *left -= 1;
            match self.runtime.view.read(address, &mut bucket) {
                Err(MemoryError::Unmapped { .. }) => {
                    self.walk.dropped += 1;
                    return Ok(());
                }
                other => other?,
            }
            self.walk.bytes = self.walk.bytes.saturating_add(at.bytes);
            address = self.bucket(&bucket, at);
        }
        Ok(())
    }

    /// Visits a bucket's entries; gives the address of its overflow bucket.
    fn bucket(&mut self, bytes: &[u8], at: &HmapBucket) -> u64 {
        for slot in 0..SLOTS {
            if bytes.get(slot).is_some_and(|top| *top >= MIN_TOP_HASH) {
                self.entry(bytes, at.keys as usize + slot * 16);
            }
        }
        word(bytes, at.overflow as usize).unwrap_or(0)
    }

    fn entry(&mut self, bytes: &[u8], key: usize) {
        let (Some(itab), Some(data)) = (word(bytes, key), word(bytes, key + 8)) else { return };
        if !self.stopped {
            self.walk.visited += 1;
            self.stopped = !(self.visit)(Entry { itab, data });
        }
    }

    /// Gives whether the map was replaced meanwhile.
    fn swiss(
        &mut self,
        map: u64,
        at: &SwissMap,
        table: &SwissTable,
        group: &SwissGroup,
    ) -> Result<bool, MemoryError> {
        let view = &self.runtime.view;
        let header = |view: &super::View<'_>| -> Result<[u64; 2], MemoryError> {
            let place = view.u64(map.wrapping_add(at.dir_ptr))?;
            Ok([place, view.u64(map.wrapping_add(at.dir_len))?])
        };
        let before = header(view)?;
        let [place, tables] = before;
        self.walk.bytes = self.walk.bytes.saturating_add(at.bytes);
        match tables {
            _ if tables > TABLES_MAX => {
                return Err(MemoryError::NotRecognised("a map of so many children"));
            }
            0 if place == 0 => {}
            0 => {
                let mut bytes = vec![0; group.bytes as usize];
                let read = view.read_once(place, &mut bytes)?;
                self.groups(&bytes, read, group);
            }
            _ => self.tables(place, tables, table, group)?,
        }
        view.refresh();
        Ok(header(view)? != before)
    }

    fn tables(
        &mut self,
        directory: u64,
        count: u64,
        at: &SwissTable,
        group: &SwissGroup,
    ) -> Result<(), MemoryError> {
        self.walk.bytes = self.walk.bytes.saturating_add(count * 8);
        let mut last = 0;
        for index in 0..count {
            let entry = directory.wrapping_add(index * 8);
            // A table that was not split as often as others is there several times in a row.
            match self.fresh(entry) {
                Ok(table) if table == last => continue,
                _ if self.stopped => return Ok(()),
                _ => {}
            }
            match self.table(entry, at, group) {
                Ok(Some(table)) => last = table,
                Ok(None) | Err(MemoryError::Unmapped { .. }) => self.walk.dropped += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Visits the table that `entry` of the directory points to, and gives its address. A table
    /// that is split or rebuilt is replaced, and its memory is given to others: what was read
    /// counts if it still was the map's afterwards.
    fn table(
        &mut self,
        entry: u64,
        at: &SwissTable,
        group: &SwissGroup,
    ) -> Result<Option<u64>, MemoryError> {
        for _ in 0..READS_MAX {
            let table = self.fresh(entry)?;
            let groups = self.fresh(table.wrapping_add(at.groups_data))?;
            let mask = self.fresh(table.wrapping_add(at.groups_length_mask))?;
            if mask >= GROUPS_PER_TABLE_MAX {
                continue;
            }
            let mut bytes = vec![0; ((mask + 1) * group.bytes) as usize];
            let read = self.runtime.view.read_once(groups, &mut bytes)?;
            let still = (self.fresh(entry)?, self.fresh(table.wrapping_add(at.groups_data))?);
            if still == (table, groups) {
                self.walk.bytes = self.walk.bytes.saturating_add(at.bytes);
                self.groups(&bytes, read, group);
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    /// The word at `address` as it is now.
    fn fresh(&self, address: u64) -> Result<u64, MemoryError> {
        let mut bytes = [0; 8];
        match self.runtime.view.read_once(address, &mut bytes)? {
            8 => Ok(u64::from_le_bytes(bytes)),
            _ => Err(MemoryError::Unmapped { address }),
        }
    }

    /// Visits groups, of whose `bytes` the first `read` could be read.
    fn groups(&mut self, bytes: &[u8], read: usize, at: &SwissGroup) {
        self.walk.bytes = self.walk.bytes.saturating_add(bytes.len() as u64);
        self.walk.dropped += u64::from(read < bytes.len());
        for group in bytes[..read].chunks_exact(at.bytes as usize) {
            for slot in 0..SLOTS {
                if group.get(at.ctrl as usize + slot).is_some_and(|control| control & 0x80 == 0) {
                    self.entry(group, at.slots as usize + slot * at.slot_bytes as usize);
                }
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "children_tests.rs"]
mod tests;
