//! The contexts with most children, found by looking at the heap: what leaked before anybody
//! traced is still in the map of its holder.
//!
//! Spans of the two sizes that contexts have are read whole, and each allocated object is asked
//! whether it is one: its parent has a type, it is not cancelled, and its `children` is a map whose
//! first key is a context too. Non-goals: contexts without children.

use serde::Serialize;

use super::{
    Allocation, MemoryError, Runtime, Types,
    contexts::{Ancestor, ContextReader, ContextType, Holder},
    span_walk::{SpanWalk, visit_spans},
    spans::Span,
    visit_children,
};

/// Holders that are kept: those that matter are few.
const TOP: usize = 20;
/// Bytes of a span of small objects (runtime/sizeclasses.go has at most 10 pages of 8 KiB; those
/// of contexts have one).
const SPAN_BYTES_MAX: u64 = 80 << 10;

/// What was found, and how far it was looked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Holders {
    /// Those with most children first.
    pub top: Vec<Holder>,
    /// Objects that look like contexts with children.
    pub with_children: u64,
    /// Spans of the heap.
    pub spans: u64,
    /// Of these, those that were looked at.
    pub spans_seen: u64,
    /// Of these, those that have objects of the right sizes and were read.
    pub spans_read: u64,
    /// Objects that were looked at.
    pub objects: u64,
    /// Spans and objects that could not be read.
    pub dropped: u64,
    /// All spans were seen.
    pub complete: bool,
}

/// Looks through the heap until all is seen or `go_on` gives `false`, which is asked from time to
/// time.
///
/// # Errors
/// The heap was not located, or the memory is closed.
pub fn find_holders(
    runtime: &Runtime<'_>,
    types: &Types<'_>,
    go_on: &dyn Fn() -> bool,
) -> Result<Holders, MemoryError> {
    let reader = ContextReader::new(runtime, types)?;
    let mut search = Search { reader: &reader, found: Holders::default() };
    let walk = visit_spans(&runtime.view, &reader.spans, go_on, |_, span| {
        if search.may_have_contexts(span) { search.objects(span) } else { Ok(()) }
    })?;
    let SpanWalk { spans, seen: spans_seen, dropped, complete } = walk;
    let dropped = search.found.dropped + dropped;
    Ok(Holders { spans, spans_seen, dropped, complete, ..search.found })
}

struct Search<'s> {
    reader: &'s ContextReader<'s, 's>,
    found: Holders,
}

impl Search<'_> {
    fn may_have_contexts(&self, span: &Span) -> bool {
        let sizes = [self.reader.at.cancel_ctx.bytes, self.reader.at.timer_ctx.bytes];
        sizes.contains(&span.object_bytes) && !span.pointer_free
    }

    fn objects(&mut self, span: &Span) -> Result<(), MemoryError> {
        let allocated = self.reader.spans.allocated(span)?;
        let length = span.objects.wrapping_mul(span.object_bytes).min(SPAN_BYTES_MAX);
        let mut bytes = vec![0; length as usize];
        let read = self.reader.runtime.view.read_once(span.start, &mut bytes)?;
        self.found.spans_read += 1;
        let objects = bytes[..read].chunks_exact(span.object_bytes as usize);
        let starts =
            (0..).map(|index: u64| span.start.wrapping_add(index.wrapping_mul(span.object_bytes)));
        for ((object, address), _) in
            objects.zip(starts).zip(allocated).filter(|(_, allocated)| *allocated)
        {
            self.found.objects += 1;
            if !self.may_be_holder(object) {
                continue;
            }
            match self.holder(address) {
                // It only looked like a context, or its map like one.
                Err(MemoryError::Unmapped { .. } | MemoryError::NotRecognised(_)) => {
                    self.found.dropped += 1;
                }
                other => self.keep(other?),
            }
        }
        Ok(())
    }

    /// By its own words alone: a parent, no `err`, and a map.
    fn may_be_holder(&self, object: &[u8]) -> bool {
        let at = &self.reader.at.cancel_ctx;
        let word = |offset: u64| {
            let bytes = object.get(offset as usize..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let is_pointer = |offset| word(offset).is_some_and(|word| word != 0 && word % 8 == 0);
        is_pointer(at.context) && is_pointer(at.children) && word(at.err) == Some(0)
    }

    /// The context at `address`, if it is one and has more children than others that are kept.
    fn holder(&mut self, address: u64) -> Result<Option<Holder>, MemoryError> {
        let reader = self.reader;
        let map_field = address.wrapping_add(reader.at.cancel_ctx.children);
        let map = reader.runtime.view.u64(map_field)?;
        if !self.is_map(map)? {
            return Ok(None);
        }
        let Some(object) = reader.object(address, None)?.filter(|object| object.children > 0)
        else {
            return Ok(None);
        };
        if reader.types.of_itab(reader.runtime, object.parent.itab)?.is_none() {
            return Ok(None);
        }
        self.found.with_children += 1;
        let worst = self.found.top.get(TOP - 1).map_or(0, |holder| holder.children);
        if object.children <= worst || !self.holds_contexts(address, map)? {
            return Ok(None);
        }
        let type_name = object.kind.name();
        Ok(Some(Holder { address, type_name, children: object.children }))
    }

    fn is_map(&self, map: u64) -> Result<bool, MemoryError> {
        let at = self.reader.at;
        let bytes = at.hmap.map(|at| at.bytes).or(at.swiss_map.map(|at| at.bytes));
        Ok(match self.reader.spans.object(map)? {
            Allocation::Allocated { object_bytes, offset: 0, .. } => Some(object_bytes) == bytes,
            _ => false,
        })
    }

    /// Whether the first child is a context of package context whose nearest holder is `address`.
    fn holds_contexts(&self, address: u64, map: u64) -> Result<bool, MemoryError> {
        let (reader, mut first) = (self.reader, None);
        visit_children(reader.runtime, map, &mut |entry| {
            first = Some(entry);
            false
        })?;
        let Some(first) = first else { return Ok(false) };
        let name = reader.types.of_itab(reader.runtime, first.itab)?;
        let Some(kind) = name.and_then(|name| ContextType::named(&name)) else {
            return Ok(false);
        };
        let Some(child) = reader.object(first.data, Some(kind))? else { return Ok(false) };
        Ok(match reader.ancestor(child.parent)? {
            Ancestor::Holder(holder) => holder.address == address,
            // A type of the program's own, with a context of package context within.
            Ancestor::Unknown { .. } => true,
            Ancestor::Root { .. } => false,
        })
    }

    fn keep(&mut self, holder: Option<Holder>) {
        let Some(holder) = holder else { return };
        let top = &mut self.found.top;
        let place = top.partition_point(|other| other.children >= holder.children);
        top.insert(place, holder);
        top.truncate(TOP);
    }
}

#[cfg(test)]
#[path = "holders_tests.rs"]
mod tests;
