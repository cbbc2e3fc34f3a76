//! What the resident pages of the Go heap's arenas are used for: spans and the page map in, bytes
//! by use out.
//!
//! The runtime's counters say what is mapped, not what is in memory: a large object that was never
//! touched is counted whole. So each page is asked what it is (runtime/mheap.go `heapArena.spans`:
//! page -> span) and whether it is resident. In a span that is swept, the bits of the last
//! collection tell what survived it from what was allocated since (runtime/mbitmap.go
//! `mspan.isFree`, mgcsweep.go). Non-goals: what the runtime keeps outside its arenas.

use std::ops::Range;

use super::{
    MemoryError, Runtime, Spans,
    pagemap::{Pages, ReadPages, Resident},
    spans::{Slot, Span, SpanUse},
};

/// Arenas at most: 256 GiB of heap, whose page map is 512 MiB to read.
const ARENAS_MAX: u64 = 4096;

/// Bytes of the arenas by what they are used for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArenaUse {
    /// Where the arenas lie, by address; only parts of them are mapped.
    pub arenas: Vec<Range<u64>>,
    /// Objects that the last collection found live.
    pub live: Resident,
    /// Objects allocated since the last collection.
    pub fresh: Resident,
    /// Spans that are not swept yet: live or dead, slot by slot, is not known.
    pub unswept: Resident,
    /// Free slots of spans in use, and what no slot covers.
    pub gaps: Resident,
    /// Spans of goroutine stacks, free stacks that the runtime keeps included.
    pub stacks: Resident,
    /// Spans that the garbage collector works in.
    pub collector: Resident,
    /// Free pages that were not given back.
    pub idle: Resident,
    /// Pages of spans that could not be read or are none.
    pub dropped: Resident,
    /// Bytes of the objects behind `live`, resident or not.
    pub live_object_bytes: u64,
}

impl ArenaUse {
    /// Looks at all arenas.
    ///
    /// # Errors
    /// The heap was not located, memory or page map are closed, or there are too many arenas.
    pub fn read(runtime: &Runtime<'_>, source: &dyn ReadPages) -> Result<Self, MemoryError> {
        let spans = Spans::read(runtime)?;
        let mut found = Self { arenas: spans.arena_ranges(ARENAS_MAX)?, ..Self::default() };
        for arena in found.arenas.clone() {
            let pages = Pages::read(source, arena.clone())?;
            let mut walk = Walk { spans: &spans, pages, found: &mut found };
            walk.arena(arena)?;
        }
        Ok(found)
    }

    /// Where the arenas lie, by address.
    ///
    /// # Errors
    /// The heap was not located, memory is closed, or there are too many arenas.
    pub fn places(runtime: &Runtime<'_>) -> Result<Vec<Range<u64>>, MemoryError> {
        Spans::read(runtime)?.arena_ranges(ARENAS_MAX)
    }

    /// All resident bytes.
    pub fn resident(&self) -> Resident {
        let mut all = self.live;
        let others = [self.fresh, self.unswept, self.gaps, self.stacks, self.collector];
        others.into_iter().chain([self.idle, self.dropped]).for_each(|part| all.add(part));
        all
    }
}

/// One arena that is looked at.
struct Walk<'w, 'r, 'a> {
    spans: &'w Spans<'r, 'a>,
    pages: Pages,
    found: &'w mut ArenaUse,
}

impl Walk<'_, '_, '_> {
    fn arena(&mut self, arena: Range<u64>) -> Result<(), MemoryError> {
        let page_bytes = self.spans.page_bytes();
        let owners = match self.spans.owners(arena.start) {
            Err(MemoryError::Unmapped { .. }) => Vec::new(),
            other => other?,
        };
        let mut at = arena.start;
        // Spans that ended leave their pages pointing to them: most lookups repeat.
        let mut last: Option<(u64, Option<SpanUse>)> = None;
        while at < arena.end {
            let owner = owners.get(((at - arena.start) / page_bytes) as usize).copied();
            let page = at..(at + page_bytes).min(arena.end);
            let Some(owner) = owner else {
                self.found.dropped.add(self.pages.resident(at..arena.end));
                return Ok(());
            };
            if last.as_ref().is_none_or(|(address, _)| *address != owner) {
                last = Some((owner, self.span(owner)?));
            }
            let span = last.as_ref().and_then(|(_, span)| span.as_ref());
            at = self.page(span, page, arena.end)?;
        }
        Ok(())
    }

    /// Takes the rest of the span that `page` is of, or the page alone if it is of none. Gives where
    /// to go on.
    fn page(
        &mut self,
        span: Option<&SpanUse>,
        page: Range<u64>,
        arena_end: u64,
    ) -> Result<u64, MemoryError> {
        let Some(span) = span.filter(|span| span.range().contains(&page.start)) else {
            self.found.idle.add(self.pages.resident(page.clone()));
            return Ok(page.end);
        };
        let part = page.start..span.range().end.min(arena_end);
        self.take(span, part.clone())?;
        Ok(part.end)
    }

    /// The span at `address`; none if it is free, or no span at all.
    fn span(&self, address: u64) -> Result<Option<SpanUse>, MemoryError> {
        if address == 0 {
            return Ok(None);
        }
        match self.spans.span_use(address) {
            Err(MemoryError::Unmapped { .. }) => Ok(None),
            other => other,
        }
    }

    fn take(&mut self, span: &SpanUse, part: Range<u64>) -> Result<(), MemoryError> {
        let resident = self.pages.resident(part.clone());
        match span {
            SpanUse::Stacks { .. } => self.found.stacks.add(resident),
            SpanUse::Collector { .. } => self.found.collector.add(resident),
            SpanUse::Objects { swept: false, .. } => self.found.unswept.add(resident),
            SpanUse::Objects { span, range, .. } => match self.objects(span, range, part, resident)
            {
                Err(MemoryError::Unmapped { .. }) => self.found.dropped.add(resident),
                other => return other,
            },
        }
        Ok(())
    }

    fn objects(
        &mut self,
        span: &Span,
        range: &Range<u64>,
        part: Range<u64>,
        resident: Resident,
    ) -> Result<(), MemoryError> {
        let slots = self.spans.slots(span)?;
        let bytes = |wanted: Slot| {
            let count = slots.iter().filter(|slot| **slot == wanted).count() as u64;
            count.saturating_mul(span.object_bytes)
        };
        let (live, fresh) = (bytes(Slot::Live), bytes(Slot::Fresh));
        if part.start == range.start {
            self.found.live_object_bytes = self.found.live_object_bytes.saturating_add(live);
        }
        let gaps = resident.exclusive_bytes.checked_sub(live.saturating_add(fresh));
        let all_resident = resident.exclusive_bytes == range.end - range.start;
        if let (true, Some(gaps)) = (all_resident, gaps) {
            let exclusive = |exclusive_bytes| Resident { exclusive_bytes, shared_bytes: 0 };
            self.found.live.add(exclusive(live));
            self.found.fresh.add(exclusive(fresh));
            self.found.gaps.add(exclusive(gaps));
        } else if resident.bytes() > 0 {
            self.slot_by_slot(range.start, span.object_bytes, &slots, part);
        }
        Ok(())
    }

    /// For spans of which only some pages are in memory.
    fn slot_by_slot(&mut self, start: u64, object_bytes: u64, slots: &[Slot], part: Range<u64>) {
        let mut at = start;
        for run in slots.chunk_by(|one, next| one == next) {
            let end = at.saturating_add((run.len() as u64).saturating_mul(object_bytes));
            let resident = self.pages.resident(at.max(part.start)..end.min(part.end));
            match run.first() {
                Some(Slot::Live) => self.found.live.add(resident),
                Some(Slot::Fresh) => self.found.fresh.add(resident),
                _ => self.found.gaps.add(resident),
            }
            at = end;
        }
        self.found.gaps.add(self.pages.resident(at.max(part.start)..part.end));
    }
}

#[cfg(test)]
#[path = "arena_use_tests.rs"]
mod tests;
