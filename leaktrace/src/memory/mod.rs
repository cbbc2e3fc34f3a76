//! What a live Go process remembers of itself: its memory in, plain values out.
//!
//! The Go runtime keeps its heap profile, its goroutines, its contexts and its counters in its own
//! memory, whether or not anything serves them. They are read from outside while the process runs
//! on: nothing is stopped, nothing is written. So whatever is read may be half-way to something
//! else: every walk is bounded, checks what it reads, and counts what it had to drop.
//! Non-goals: names of addresses (`symbolize` has them); judging.

mod arena_use;
mod cancel_funcs;
mod children;
mod contexts;
mod counters;
pub mod goroutines;
mod heap_bucket;
mod heap_changes;
mod heap_profile;
mod heap_sites;
mod holders;
mod malloc;
mod pagemap;
mod process;
mod reach;
mod recorded;
mod runtime;
mod span_walk;
mod spans;
#[cfg(test)]
mod testing;
mod types;
mod view;

pub use arena_use::ArenaUse;
pub use cancel_funcs::{CancelFuncs, ChildFuncs, cancellable_children};
pub use children::{Entry, Walk, child_count, contains_child, visit_children};
pub use contexts::{
    Ancestor, ContextObject, ContextReader, ContextType, Holder, Holding, Interface, Standing,
};
pub use counters::RuntimeCounters;
pub use heap_changes::HeapChange;
pub use heap_profile::{HeapCounts, HeapDropped, HeapProfile, HeapSite};
pub use heap_sites::{HeapEstimate, HeapGroup, HeapReading};
pub use holders::{Holders, find_holders};
pub use malloc::MappedPieces;
pub use pagemap::{Pagemap, ReadPages, Resident};
pub use process::ProcessMemory;
pub use reach::{Reach, reach};
pub use recorded::{RecordedMemory, Recorder};
pub use runtime::{Addresses, Runtime};
pub use spans::{ARENA_INDEX_BYTES, Allocation, Spans, gc_cycles};
pub use types::Types;
pub use view::View;

/// Raw reads of another process's memory.
pub trait ReadMemory {
    /// Reads up to `buffer.len()` bytes at `address`; fewer where the memory behind is not mapped.
    ///
    /// # Errors
    /// The process is gone, or its memory is closed to us.
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> std::io::Result<usize>;
}

/// Why something could not be read out of memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The memory as a whole is closed.
    #[error("can't read the process's memory: {0}")]
    Closed(String),
    /// The process does not have it mapped: a torn or stale pointer, or the process is gone.
    #[error("no memory at {address:#x}")]
    Unmapped {
        /// Where it was looked for.
        address: u64,
    },
    /// It is not what it must be.
    #[error("not recognised in memory: {0}")]
    NotRecognised(&'static str),
    /// More was read than any real process needs: its structures lead in circles, or lie.
    #[error("the process's memory asks for more reading than any known program's")]
    TooMuch,
    /// A variable of the runtime that could not be located.
    #[error("{name} is not located in this executable: {why}")]
    NotLocated {
        /// Its name in the runtime's source.
        name: &'static str,
        /// The reason.
        why: String,
    },
}
