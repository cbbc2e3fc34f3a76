//! The heap: its profile, its statistics, and what lies where.

use super::ByMachine;

/// All of it, for one Go version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// An allocation site of the profile.
    pub bucket: Bucket,
    /// What follows the stack of a bucket.
    pub mem_record: MemRecord,
    /// Counts of a bucket.
    pub mem_record_cycle: MemRecordCycle,
    /// `runtime.gcController`.
    pub controller: Controller,
    /// `runtime.memstats`.
    pub stats: Stats,
    /// An element of [`Stats::heap_stats`].
    pub heap_stats: HeapStats,
    /// A run of pages.
    pub span: Span,
    /// `runtime.mheap_`.
    pub page_heap: PageHeap,
    /// Metadata of an arena.
    pub arena: Arena,
    /// A record on one object.
    pub special: Special,
    /// A record on an object that the profile sampled.
    pub special_profile: SpecialProfile,
    /// Numbers that the heap uses.
    pub numbers: Numbers,
}

/// `runtime.bucket` (runtime/mprof.go); the stack follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Size in bytes, without what follows.
    pub bytes: u64,
    /// Address of the next with the same hash.
    pub next: u64,
    /// Address of the next of all.
    pub allnext: u64,
    /// What it counts; see [`Numbers::mem_profile`].
    pub typ: u64,
    /// Hash of stack and size.
    pub hash: u64,
    /// Bytes of one object.
    pub size: u64,
    /// Return addresses in the stack.
    pub nstk: u64,
}

/// `runtime.memRecord` (runtime/mprof.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemRecord {
    /// Size in bytes.
    pub bytes: u64,
    /// The [`MemRecordCycle`] that the profile shows.
    pub active: u64,
    /// Three [`MemRecordCycle`] that are not published yet.
    pub future: u64,
}

/// `runtime.memRecordCycle` (runtime/mprof.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemRecordCycle {
    /// Size in bytes.
    pub bytes: u64,
    /// Number of objects allocated.
    pub allocs: u64,
    /// Number of objects freed.
    pub frees: u64,
    /// Bytes allocated, up to Go 1.26.
    pub alloc_bytes: Option<u64>,
    /// Bytes freed, up to Go 1.26.
    pub free_bytes: Option<u64>,
}

/// `runtime.gcControllerState` (runtime/mgcpacer.go). Members are 8 bytes unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Controller {
    /// GOGC, 4 bytes; negative for off.
    pub gc_percent: u64,
    /// GOMEMLIMIT in bytes; the largest number for off.
    pub memory_limit: u64,
    /// Smallest heap that starts a collection, in bytes.
    pub heap_minimum: u64,
    /// Heap goal from GOGC, in bytes.
    pub gc_percent_heap_goal: u64,
    /// Heap at which the collection under way began, in bytes.
    pub triggered: u64,
    /// Goal of the collection that ended last, in bytes.
    pub last_heap_goal: u64,
    /// Bytes found live by the last collection, and those allocated since.
    pub heap_live: u64,
    /// The part of `heap_live` that can hold pointers.
    pub heap_scan: u64,
    /// Bytes found live by the last collection.
    pub heap_marked: u64,
    /// Bytes of spans in use.
    pub heap_in_use: u64,
    /// Bytes given back to the system.
    pub heap_released: u64,
    /// Bytes of free spans that were not given back.
    pub heap_free: u64,
    /// Bytes allocated ever.
    pub total_alloc: u64,
    /// Bytes freed ever.
    pub total_free: u64,
    /// Bytes of all memory of the runtime that is ready for use.
    pub mapped_ready: u64,
}

/// `runtime.mstats` (runtime/mstats.go). Members are 8 bytes unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Three [`HeapStats`], to be added up.
    pub heap_stats: u64,
    /// Bytes of thread stacks.
    pub stacks_sys: u64,
    /// Bytes for spans.
    pub mspan_sys: u64,
    /// Bytes for allocation caches.
    pub mcache_sys: u64,
    /// Bytes for the profile's buckets.
    pub buckhash_sys: u64,
    /// Bytes for the garbage collector.
    pub gc_misc_sys: u64,
    /// Bytes for anything else.
    pub other_sys: u64,
    /// When the last collection ended, in nanoseconds since 1970.
    pub last_gc_unix: u64,
    /// Length of all pauses, in nanoseconds.
    pub pause_total_ns: u64,
    /// Number of collections, 4 bytes.
    pub numgc: u64,
    /// Number of collections that the program asked for, 4 bytes.
    pub numforcedgc: u64,
    /// `heap_in_use` when the last collection ended.
    pub last_heap_in_use: u64,
    /// Whether there are collections, 1 byte.
    pub enablegc: u64,
}

/// `runtime.heapStatsDelta` (runtime/mstats.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeapStats {
    /// Size in bytes.
    pub bytes: u64,
    /// Bytes of memory in use or free.
    pub committed: u64,
    /// Bytes given back to the system.
    pub released: u64,
    /// Bytes of spans for objects.
    pub in_heap: u64,
    /// Bytes of spans for stacks.
    pub in_stacks: u64,
    /// Bytes of spans for work of the garbage collector.
    pub in_work_bufs: u64,
}

/// `runtime.mspan` (runtime/mheap.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Size in bytes.
    pub bytes: u64,
    /// Address of its first byte.
    pub start_addr: u64,
    /// Number of pages.
    pub npages: u64,
    /// Objects below this index are allocated.
    pub freeindex: u64,
    /// Bytes of `freeindex` itself.
    pub freeindex_bytes: u64,
    /// Number of objects.
    pub nelems: u64,
    /// Bytes of `nelems` itself.
    pub nelems_bytes: u64,
    /// Address of the bits of allocated objects.
    pub alloc_bits: u64,
    /// Address of the bits of marked objects.
    pub gcmark_bits: u64,
    /// Sweep generation, 4 bytes; see [`PageHeap::sweepgen`].
    pub sweepgen: u64,
    /// Number of allocated objects, 2 bytes.
    pub alloc_count: u64,
    /// Size class and whether objects have no pointers, 1 byte.
    pub spanclass: u64,
    /// What it is used for, 1 byte; see [`Numbers::m_span_in_use`].
    pub state: u64,
    /// Bytes of an object.
    pub elemsize: u64,
    /// End of the objects.
    pub limit: u64,
    /// Address of the first [`Special`]; they are sorted by object.
    pub specials: u64,
}

/// `runtime.mheap` (runtime/mheap.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeap {
    /// Sweep generation, 4 bytes: a span with the same is swept.
    pub sweepgen: u64,
    /// Slice of the addresses of all spans.
    pub allspans: u64,
    /// Number of pages in spans in use.
    pub pages_in_use: u64,
    /// Address of the array of addresses of [`Arena`].
    pub arenas: ByMachine,
    /// Slice of the numbers of the arenas; `allArenas` up to Go 1.24.
    pub heap_arenas: ByMachine,
}

/// `runtime.heapArena` (runtime/mheap.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arena {
    /// Addresses of the spans, one per page.
    pub spans: u64,
}

/// `runtime.special` (runtime/mheap.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    /// Size in bytes.
    pub bytes: u64,
    /// Address of the next of the span.
    pub next: u64,
    /// The object, from the start of the span.
    pub offset: u64,
    /// Bytes of `offset` itself.
    pub offset_bytes: u64,
    /// What it says, 1 byte; see [`Numbers::kind_special_profile`].
    pub kind: u64,
}

/// `runtime.specialprofile` (runtime/mheap.go), with a [`Special`] at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialProfile {
    /// Size in bytes.
    pub bytes: u64,
    /// Address of the [`Bucket`] (`b` in Go).
    pub bucket: u64,
}

/// Values of constants of the runtime (runtime/malloc.go, mheap.go, mprof.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Kind of a special: the object has a finalizer.
    pub kind_special_finalizer: u64,
    /// Kind of a special: the profile sampled the object.
    pub kind_special_profile: u64,
    /// Type of a bucket: it counts objects.
    pub mem_profile: u64,
    /// State of a span: it has objects.
    pub m_span_in_use: u64,
    /// State of a span: it is a stack, or belongs to the runtime.
    pub m_span_manual: u64,
    /// Bytes of an arena.
    pub heap_arena_bytes: u64,
    /// Address of the arena with number 0, to be subtracted in 64 bits that wrap.
    pub arena_base_offset: ByMachine,
    /// Binary logarithm of the bytes of a page.
    pub page_shift: u64,
}
