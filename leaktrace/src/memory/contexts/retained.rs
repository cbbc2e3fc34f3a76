//! Heap bytes that one context keeps: a context in, a sum of objects out.
//!
//! Its struct, the channel of `Done`, its own children map, and its timer, each by its size class.
//! The share in its holder's map is known to who walks that. Non-goals: values, functions, and
//! whatever else the program hangs on it.

use super::{ContextObject, ContextReader};
use crate::{
    binary::layout::contexts::{Hmap, SwissMap},
    memory::MemoryError,
};

/// The data word of an `atomic.Value` behind its type (sync/atomic/value.go).
const VALUE_DATA: u64 = 8;
/// Tables whose size is added up; all have about the same. Holders of so many contexts are
/// reported by themselves.
const TABLES_MAX: u64 = 1024;

impl ContextReader<'_, '_> {
    /// Without its share in the holder's map. What can't be read any more counts as nothing.
    pub(super) fn retained_bytes(&self, object: &ContextObject) -> Result<u64, MemoryError> {
        let mut sum = object.object_bytes;
        for part in [self.channel(object), self.timer(object), self.map_bytes(object.children_map)]
        {
            match part {
                Ok(bytes) => sum = sum.saturating_add(bytes),
                Err(MemoryError::Unmapped { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }

    /// The channel of `Done`; that of contexts cancelled early is one for all, outside the heap.
    fn channel(&self, object: &ContextObject) -> Result<u64, MemoryError> {
        if !object.done_made {
            return Ok(0);
        }
        let field = object.address.wrapping_add(self.at.cancel_ctx.done).wrapping_add(VALUE_DATA);
        self.spans.object_bytes(self.runtime.view.u64(field)?)
    }

    fn timer(&self, object: &ContextObject) -> Result<u64, MemoryError> {
        if object.deadline_unix_ns.is_none() {
            return Ok(0);
        }
        let field = object.address.wrapping_add(self.at.timer_ctx.timer);
        self.spans.object_bytes(self.runtime.view.u64(field)?)
    }

    fn map_bytes(&self, map: u64) -> Result<u64, MemoryError> {
        if map == 0 {
            return Ok(0);
        }
        let parts = match (&self.at.hmap, &self.at.swiss_map) {
            (Some(at), _) => self.buckets_bytes(map, at)?,
            (None, Some(at)) => self.groups_bytes(map, at)?,
            (None, None) => 0,
        };
        Ok(self.spans.object_bytes(map)?.saturating_add(parts))
    }

    fn buckets_bytes(&self, map: u64, at: &Hmap) -> Result<u64, MemoryError> {
        let bytes =
            |offset: u64| self.spans.object_bytes(self.runtime.view.u64(map.wrapping_add(offset))?);
        Ok(bytes(at.buckets)?.saturating_add(bytes(at.oldbuckets)?))
    }

    fn groups_bytes(&self, map: u64, at: &SwissMap) -> Result<u64, MemoryError> {
        let view = &self.runtime.view;
        let directory = view.u64(map.wrapping_add(at.dir_ptr))?;
        let mut sum = self.spans.object_bytes(directory)?;
        let tables = view.u64(map.wrapping_add(at.dir_len))?.min(TABLES_MAX);
        let Some(at) = self.at.swiss_table else { return Ok(sum) };
        let mut last = 0;
        for table in view.words(directory, tables as usize)? {
            if table == last {
                continue;
            }
            last = table;
            let groups = view.u64(table.wrapping_add(at.groups_data))?;
            sum = sum.saturating_add(self.spans.object_bytes(table)?);
            sum = sum.saturating_add(self.spans.object_bytes(groups)?);
        }
        Ok(sum)
    }
}
