//! Whether an object is still allocated: an address in, what the heap's spans say of it out.
//!
//! Sources: `spanOfHeap`, `mspan.isFree` (runtime/mheap.go, mbitmap.go). Non-goals: whether anything
//! still points to the object.

use std::ops::Range;

use super::{MemoryError, Runtime};
use crate::binary::{
    RuntimeVariable,
    layout::heap::{PageHeap, Span as SpanAt},
};

/// Objects in one span at most: the smallest have 8 bytes, and a span of them one page
/// (runtime/sizeclasses.go); in the largest spans of small objects there are fewer.
const OBJECTS_MAX: u64 = 1 << 13;
/// Arenas that an address may lie in: 48 bits of address, 64 MiB each (runtime/malloc.go).
const ARENAS: u64 = 1 << 22;

/// Bytes of the array of all possible arenas, which the runtime maps whole and does not count
/// (runtime/malloc.go `sysAlloc`: "heap index").
pub const ARENA_INDEX_BYTES: u64 = ARENAS * 8;

/// What the heap says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Allocation {
    /// No object lies there: freed, and perhaps the pages given to something else. Final.
    Free,
    /// An object lies there.
    Allocated {
        /// The last collection is taken into account; otherwise it may be garbage already.
        swept: bool,
        /// Bytes that it takes up: those of its size class.
        object_bytes: u64,
        /// Where in the object the address points.
        offset: u64,
    },
    /// The address does not lie in the heap.
    NotHeap,
}

/// An object that is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeapObject {
    pub start: u64,
    /// Of its size class.
    pub bytes: u64,
    pub pointer_free: bool,
}

/// A span in use, as far as it is needed here. Addresses are live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u64,
    pub objects: u64,
    pub object_bytes: u64,
    /// Its objects have no pointers.
    pub pointer_free: bool,
    free_index: u64,
    alloc_bits: u64,
    sweepgen: u32,
}

impl Span {
    /// Whether it has the bits of the same sweep as `other`; slots may have been given out since.
    pub const fn is_swept_as(&self, other: &Self) -> bool {
        self.sweepgen == other.sweepgen
            && self.alloc_bits == other.alloc_bits
            && self.free_index >= other.free_index
    }
}

/// What a span is used for, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SpanUse {
    /// Objects of the program.
    Objects { range: Range<u64>, span: Span, swept: bool },
    /// Stacks of goroutines, used or kept for the next.
    Stacks { range: Range<u64> },
    /// Work of the garbage collector.
    Collector { range: Range<u64> },
}

/// What a slot of a swept span holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// An object that the last collection found live.
    Live,
    /// An object allocated since.
    Fresh,
    /// Nothing.
    Free,
}

impl SpanUse {
    /// The addresses of its pages.
    pub const fn range(&self) -> &Range<u64> {
        match self {
            Self::Objects { range, .. } | Self::Stacks { range } | Self::Collector { range } => {
                range
            }
        }
    }
}

/// The heap's map of spans.
pub struct Spans<'r, 'a> {
    runtime: &'r Runtime<'a>,
    heap: u64,
    arenas: u64,
    arena_base: u64,
    sweepgen: u32,
}

/// Collections that have ended since the process began (`memstats.numgc`).
///
/// # Errors
/// The variable was not located, or its memory can't be read.
pub fn gc_cycles(runtime: &Runtime<'_>) -> Result<u32, MemoryError> {
    let stats = runtime.addresses.of(RuntimeVariable::Statistics)?;
    runtime.view.u32(stats.wrapping_add(runtime.layout.heap.stats.numgc))
}

impl<'r, 'a> Spans<'r, 'a> {
    /// The spans as they are from now on.
    ///
    /// # Errors
    /// The heap was not located, or its memory can't be read.
    pub fn read(runtime: &'r Runtime<'a>) -> Result<Self, MemoryError> {
        let heap = runtime.addresses.of(RuntimeVariable::Heap)?;
        let at = &runtime.layout.heap.page_heap;
        let machine = MemoryError::NotRecognised("the heap of this processor");
        let arenas = at.arenas.on(runtime.machine).ok_or(machine)?;
        let machine = MemoryError::NotRecognised("the heap of this processor");
        let base = runtime.layout.heap.numbers.arena_base_offset.on(runtime.machine);
        Ok(Self {
            runtime,
            heap,
            arenas: runtime.view.u64(heap.wrapping_add(arenas))?,
            arena_base: base.ok_or(machine)?,
            sweepgen: runtime.view.u32(heap.wrapping_add(at.sweepgen))?,
        })
    }

    /// What the heap says of `address`.
    ///
    /// # Errors
    /// The spans can't be read.
    pub fn object(&self, address: u64) -> Result<Allocation, MemoryError> {
        let Some(span) = self.span_address(address)? else { return Ok(Allocation::NotHeap) };
        if span == 0 {
            return Ok(Allocation::Free);
        }
        match self.span(span)? {
            Some(span) => self.object_in(&span, address),
            None => Ok(Allocation::Free),
        }
    }

    /// Bytes of the object at `address`; 0 if there is none.
    ///
    /// # Errors
    /// The spans can't be read.
    pub fn object_bytes(&self, address: u64) -> Result<u64, MemoryError> {
        Ok(match self.object(address)? {
            Allocation::Allocated { object_bytes, .. } => object_bytes,
            Allocation::Free | Allocation::NotHeap => 0,
        })
    }

    /// The object that `address` points into; none if nothing is allocated there.
    pub(super) fn object_around(&self, address: u64) -> Result<Option<HeapObject>, MemoryError> {
        let Some(span) = self.span_address(address)?.filter(|span| *span != 0) else {
            return Ok(None);
        };
        let Some(span) = self.span(span)? else { return Ok(None) };
        Ok(match self.object_in(&span, address)? {
            Allocation::Allocated { object_bytes: bytes, offset, .. } => {
                let start = address.wrapping_sub(offset);
                Some(HeapObject { start, bytes, pointer_free: span.pointer_free })
            }
            Allocation::Free | Allocation::NotHeap => None,
        })
    }

    /// The address of the span of `address`, 0 for none; nothing outside all arenas.
    fn span_address(&self, address: u64) -> Result<Option<u64>, MemoryError> {
        let (view, heap) = (&self.runtime.view, self.runtime.layout.heap);
        let arena_bytes = heap.numbers.heap_arena_bytes.max(1);
        // Addresses are subtracted in 64 bits that wrap: see `arenaBaseOffset`.
        let index = address.wrapping_sub(self.arena_base) / arena_bytes;
        if index >= ARENAS || self.arenas == 0 {
            return Ok(None);
        }
        let arena = match view.u64(self.arenas.wrapping_add(index * 8)) {
            Ok(0) | Err(MemoryError::Unmapped { .. }) => return Ok(None),
            other => other?,
        };
        let page = (address % arena_bytes) >> heap.numbers.page_shift;
        let spans = arena.wrapping_add(heap.arena.spans);
        view.u64(spans.wrapping_add(page.wrapping_mul(8))).map(Some)
    }

    /// The span described at `address`; none if it has no objects.
    pub(super) fn span(&self, address: u64) -> Result<Option<Span>, MemoryError> {
        let (view, heap) = (&self.runtime.view, self.runtime.layout.heap);
        let at: &SpanAt = &heap.span;
        let field = |offset: u64| address.wrapping_add(offset);
        if u64::from(view.u8(field(at.state))?) != heap.numbers.m_span_in_use {
            return Ok(None);
        }
        let span = Span {
            start: view.u64(field(at.start_addr))?,
            objects: view.uint(field(at.nelems), at.nelems_bytes)?,
            object_bytes: view.u64(field(at.elemsize))?,
            pointer_free: view.u8(field(at.spanclass))? & 1 != 0,
            free_index: view.uint(field(at.freeindex), at.freeindex_bytes)?,
            alloc_bits: view.u64(field(at.alloc_bits))?,
            sweepgen: view.u32(field(at.sweepgen))?,
        };
        let sane = span.object_bytes > 0 && (1..=OBJECTS_MAX).contains(&span.objects);
        Ok(sane.then_some(span))
    }

    fn object_in(&self, span: &Span, address: u64) -> Result<Allocation, MemoryError> {
        let Some(within) = address.checked_sub(span.start) else { return Ok(Allocation::Free) };
        let (index, offset) = (within / span.object_bytes, within % span.object_bytes);
        if index >= span.objects {
            return Ok(Allocation::Free);
        }
        let allocated = index < span.free_index || {
            let byte = self.runtime.view.u8(span.alloc_bits.wrapping_add(index / 8))?;
            byte >> (index % 8) & 1 != 0
        };
        let swept = self.is_swept(span);
        let object_bytes = span.object_bytes;
        Ok(match allocated {
            true => Allocation::Allocated { swept, object_bytes, offset },
            false => Allocation::Free,
        })
    }

    /// Whether the bits of allocated objects are those of the last collection (see `mspan.sweepgen`).
    pub(super) const fn is_swept(&self, span: &Span) -> bool {
        matches!(span.sweepgen.wrapping_sub(self.sweepgen), 0 | 3)
    }

    /// Whether no collection has ended since [`Self::read`].
    pub(super) fn are_current(&self) -> Result<bool, MemoryError> {
        let field = self.heap.wrapping_add(self.runtime.layout.heap.page_heap.sweepgen);
        let mut now = [0; 4];
        let read = self.runtime.view.read_once(field, &mut now)?;
        Ok(read == now.len() && u32::from_le_bytes(now) == self.sweepgen)
    }

    /// Which objects of `span` are allocated.
    pub(super) fn allocated(&self, span: &Span) -> Result<Vec<bool>, MemoryError> {
        let mut bits = vec![0; span.objects.div_ceil(8) as usize];
        self.runtime.view.read(span.alloc_bits, &mut bits)?;
        let is_allocated = |index: u64| {
            index < span.free_index || bits[(index / 8) as usize] >> (index % 8) & 1 != 0
        };
        Ok((0..span.objects).map(is_allocated).collect())
    }

    /// What each slot of the swept `span` holds. What the last collection found live has its bit,
    /// and slots are given out in order up to `freeindex` (`mspan.nextFreeIndex`).
    pub(super) fn slots(&self, span: &Span) -> Result<Vec<Slot>, MemoryError> {
        let mut bits = vec![0; span.objects.div_ceil(8) as usize];
        self.runtime.view.read(span.alloc_bits, &mut bits)?;
        let slot = |index: u64| match bits[(index / 8) as usize] >> (index % 8) & 1 {
            0 if index < span.free_index => Slot::Fresh,
            0 => Slot::Free,
            _ => Slot::Live,
        };
        Ok((0..span.objects).map(slot).collect())
    }

    /// What the span described at `address` is used for; none if it is free or makes no sense.
    pub(super) fn span_use(&self, address: u64) -> Result<Option<SpanUse>, MemoryError> {
        let (view, heap) = (&self.runtime.view, self.runtime.layout.heap);
        let at: &SpanAt = &heap.span;
        let field = |offset: u64| address.wrapping_add(offset);
        let start = view.u64(field(at.start_addr))?;
        let bytes = view.u64(field(at.npages))?.checked_shl(heap.numbers.page_shift as u32);
        let Some(end) = bytes.and_then(|bytes| start.checked_add(bytes)) else { return Ok(None) };
        let range = start..end;
        let state = u64::from(view.u8(field(at.state))?);
        if state == heap.numbers.m_span_in_use {
            let of_objects = |span| SpanUse::Objects { range, span, swept: self.is_swept(&span) };
            return Ok(self.span(address)?.map(of_objects));
        }
        if state != heap.numbers.m_span_manual {
            return Ok(None);
        }
        // Only stacks have a size (runtime/stack.go `stackpoolalloc`, `stackalloc`); others keep
        // the 0 of `mspan.init`.
        let is_stack = view.u64(field(at.elemsize))? != 0;
        Ok(Some(if is_stack { SpanUse::Stacks { range } } else { SpanUse::Collector { range } }))
    }

    /// Bytes of a page of the heap.
    pub(super) const fn page_bytes(&self) -> u64 {
        1 << (self.runtime.layout.heap.numbers.page_shift & 31)
    }

    /// Where all arenas lie, by address. Refuses more than `most`.
    pub(super) fn arena_ranges(&self, most: u64) -> Result<Vec<Range<u64>>, MemoryError> {
        let (view, heap) = (&self.runtime.view, self.runtime.layout.heap);
        let machine = MemoryError::NotRecognised("the heap of this processor");
        let slice = heap.page_heap.heap_arenas.on(self.runtime.machine).ok_or(machine)?;
        let slice = self.heap.wrapping_add(slice);
        let (list, count) = (view.u64(slice)?, view.u64(slice.wrapping_add(8))?);
        if count > most {
            return Err(MemoryError::NotRecognised("a heap of so many arenas"));
        }
        let bytes = heap.numbers.heap_arena_bytes;
        let mut numbers = view.words(list, count as usize)?;
        numbers.sort_unstable();
        numbers.dedup();
        let start = |number: u64| number.wrapping_mul(bytes).wrapping_add(self.arena_base);
        let range = |number| Some(start(number)..start(number).checked_add(bytes)?);
        Ok(numbers.into_iter().filter(|number| *number < ARENAS).filter_map(range).collect())
    }

    /// The span of each page of the arena at `start`, as the heap's map has it: those of free pages
    /// may be anything.
    pub(super) fn owners(&self, start: u64) -> Result<Vec<u64>, MemoryError> {
        let (view, heap) = (&self.runtime.view, self.runtime.layout.heap);
        let arena_bytes = heap.numbers.heap_arena_bytes.max(1);
        let index = start.wrapping_sub(self.arena_base) / arena_bytes;
        let arena = view.u64(self.arenas.wrapping_add(index.wrapping_mul(8)))?;
        let pages = (arena_bytes >> heap.numbers.page_shift).min(1 << 16);
        view.words(arena.wrapping_add(heap.arena.spans), pages as usize)
    }

    /// The list of all spans, as it is now: its address and length. It moves when it grows
    /// (runtime/mheap.go `recordspan`); its entries stay in order.
    pub(super) fn list(&self) -> Result<(u64, u64), MemoryError> {
        let at: &PageHeap = &self.runtime.layout.heap.page_heap;
        let slice = self.heap.wrapping_add(at.allspans);
        let mut words = [0; 16];
        if self.runtime.view.read_once(slice, &mut words)? < words.len() {
            return Err(MemoryError::Unmapped { address: slice });
        }
        let [list, count] =
            [0, 8].map(|at| words[at..].first_chunk().map_or(0, |w| u64::from_le_bytes(*w)));
        Ok((list, count))
    }
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
