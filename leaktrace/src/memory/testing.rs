//! A Go heap made by hand, for the tests of its readers.

use std::collections::BTreeMap;

use super::{Addresses, ReadMemory, RecordedMemory, Runtime, Types, View};
use crate::binary::{
    Machine, RuntimeVariable,
    layout::{Layout, for_every_version},
};

/// The first object of the heap: the first page of an arena.
pub const HEAP_OBJECT: u64 = 0xc0_0000_0000;
/// Where the heap's own structures lie.
const PAGE_HEAP: u64 = 0x50_0000;
const STATISTICS: u64 = 0x54_0000;
const ARENAS: u64 = 0x7f00_0000_0000;
const ARENA: u64 = 0x7e00_0000_0000;
const SPANS: u64 = 0x7d00_0000_0000;
const BITS: u64 = 0x7c00_0000_0000;
const LIST: u64 = 0x7b00_0000_0000;
const ARENA_LIST: u64 = 0x7a00_0000_0000;
const TYPES: u64 = 0x40_0000;
const PAGE: u64 = 0x2000;
pub const SWEEPGEN: u32 = 10;

/// A heap under construction. Page `n` of it begins at [`HEAP_OBJECT`]` + n * 0x2000`.
pub struct Made {
    pub memory: RecordedMemory,
    pub layout: Layout,
    spans: u64,
    names: BTreeMap<u64, &'static str>,
}

/// A heap that is finished.
pub struct Finished {
    memory: RecordedMemory,
    layout: Layout,
    names: BTreeMap<u64, &'static str>,
}

impl Made {
    pub fn every_version() -> impl Iterator<Item = Self> {
        for_every_version().map(Self::new)
    }

    pub fn new(layout: Layout) -> Self {
        let mut memory = RecordedMemory::default();
        let heap = &layout.heap;
        let at = &heap.page_heap;
        memory.put_words(PAGE_HEAP + at.arenas.amd64, &[ARENAS]);
        memory.put(PAGE_HEAP + at.sweepgen, &SWEEPGEN.to_le_bytes());
        memory.put_words(PAGE_HEAP + at.allspans, &[LIST, 0]);
        memory.put(STATISTICS + heap.stats.numgc, &7u32.to_le_bytes());
        let base = heap.numbers.arena_base_offset.amd64;
        let index = HEAP_OBJECT.wrapping_sub(base) / heap.numbers.heap_arena_bytes;
        // Reserved as a whole: entries of other arenas are 0.
        for page in [0, index * 8] {
            memory.put_words(ARENAS + page, &[0]);
        }
        memory.put_words(ARENAS + index * 8, &[ARENA]);
        memory.put_words(ARENA + heap.arena.spans, &[0; 8192]);
        memory.put_words(ARENA_LIST, &[index]);
        memory.put_words(PAGE_HEAP + at.heap_arenas.amd64, &[ARENA_LIST, 1]);
        Self { memory, layout, spans: 0, names: BTreeMap::new() }
    }

    /// Makes page `page` a span of objects of `bytes`, the first `free_index` and those of
    /// `bits` allocated.
    pub fn span(&mut self, page: u64, bytes: u64, free_index: u64, bits: &[u8]) {
        let (address, at) = (SPANS + page * 0x1000, self.layout.heap.span);
        let objects = PAGE.checked_div(bytes).unwrap_or(1).max(1);
        self.memory.put(address, &vec![0; at.bytes as usize]);
        self.memory.put_words(address + at.start_addr, &[HEAP_OBJECT + page * PAGE, 1]);
        self.memory
            .put(address + at.freeindex, &free_index.to_le_bytes()[..at.freeindex_bytes as usize]);
        self.memory.put(address + at.nelems, &objects.to_le_bytes()[..at.nelems_bytes as usize]);
        let mut all_bits = [0; 1024];
        all_bits[..bits.len()].copy_from_slice(bits);
        self.memory.put(BITS + page * 0x1000, &all_bits);
        self.memory.put_words(address + at.alloc_bits, &[BITS + page * 0x1000]);
        self.memory.put(address + at.sweepgen, &SWEEPGEN.to_le_bytes());
        self.memory.put(address + at.state, &[self.layout.heap.numbers.m_span_in_use as u8]);
        self.memory.put_words(address + at.elemsize, &[bytes]);
        self.word_at_span(page, address);
        self.memory.put_words(LIST + self.spans * 8, &[address]);
        self.spans += 1;
        let list = PAGE_HEAP + self.layout.heap.page_heap.allspans;
        self.memory.put_words(list, &[LIST, self.spans]);
        // The page itself is mapped.
        self.memory.put_words(HEAP_OBJECT + page * PAGE, &[0; 1024]);
    }

    /// Notes that the objects of page `page` have no pointers (runtime/mheap.go `makeSpanClass`).
    pub fn without_pointers(&mut self, page: u64) {
        self.memory.put(Self::span_address(page) + self.layout.heap.span.spanclass, &[1]);
    }

    /// Sets the collection after which page `page` was swept.
    pub fn sweepgen(&mut self, page: u64, sweepgen: u32) {
        let field = Self::span_address(page) + self.layout.heap.span.sweepgen;
        self.memory.put(field, &sweepgen.to_le_bytes());
    }

    /// Sets the collection that ended last.
    pub fn collected(&mut self, sweepgen: u32) {
        let field = PAGE_HEAP + self.layout.heap.page_heap.sweepgen;
        self.memory.put(field, &sweepgen.to_le_bytes());
    }

    /// Makes page `page` a span of stacks, or of the collector's work, which has size 0.
    pub fn manual_span(&mut self, page: u64, bytes: u64) {
        self.manual_span_of(page, 1, bytes);
    }

    /// The same, of so many pages.
    pub fn manual_span_of(&mut self, page: u64, pages: u64, bytes: u64) {
        let (address, at) = (Self::span_address(page), self.layout.heap.span);
        self.memory.put(address, &vec![0; at.bytes as usize]);
        self.memory.put_words(address + at.start_addr, &[HEAP_OBJECT + page * PAGE, pages]);
        self.memory.put(address + at.state, &[self.layout.heap.numbers.m_span_manual as u8]);
        self.memory.put_words(address + at.elemsize, &[bytes]);
        self.word_at_span(page, address);
    }

    /// Where the span that began as page `page` is described.
    pub const fn span_address(page: u64) -> u64 {
        SPANS + page * 0x1000
    }

    /// Sets how many arenas there are said to be.
    pub fn arena_count(&mut self, count: u64) {
        let list = PAGE_HEAP + self.layout.heap.page_heap.heap_arenas.amd64;
        self.memory.put_words(list + 8, &[count]);
    }

    /// Sets the address of the span of page `page`.
    pub fn word_at_span(&mut self, page: u64, span: u64) {
        self.memory.put_words(ARENA + self.layout.heap.arena.spans + page * 8, &[span]);
    }

    /// Makes an itab of a type of that name, and gives its address.
    pub fn itab(&mut self, name: &'static str) -> u64 {
        let ty = TYPES + 0x1000 + self.names.len() as u64 * 64;
        let itab = TYPES + self.names.len() as u64 * 32;
        self.names.insert(ty, name);
        self.memory.put_words(itab + self.layout.tables.itab.ty, &[ty]);
        itab
    }

    pub fn finish(self) -> (Finished, Addresses) {
        let located =
            [(RuntimeVariable::Heap, Ok(PAGE_HEAP)), (RuntimeVariable::Statistics, Ok(STATISTICS))];
        let Self { memory, layout, names, .. } = self;
        (Finished { memory, layout, names }, Addresses::new(located, 0))
    }
}

impl Finished {
    pub fn runtime<'a>(&'a self, addresses: &'a Addresses) -> Runtime<'a> {
        self.runtime_over(&self.memory, addresses)
    }

    /// The same, read from another memory.
    pub fn runtime_over<'a>(
        &'a self,
        memory: &'a dyn ReadMemory,
        addresses: &'a Addresses,
    ) -> Runtime<'a> {
        let view = View::new(memory);
        Runtime { view, layout: self.layout, machine: Machine::Amd64, addresses }
    }

    pub const fn memory(&self) -> &RecordedMemory {
        &self.memory
    }

    pub fn types(&self) -> Types<'_> {
        Types::new(|ty| self.names.get(&ty).map(|name| (*name).to_owned()))
    }
}
