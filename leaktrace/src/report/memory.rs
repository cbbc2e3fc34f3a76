//! Where the bytes are and which of them grew: readings of the target's memory in, a section of the
//! report out.
//!
//! Non-goals: reading; whether it leaks.

use serde::Serialize;

use crate::{
    ledger::{Ledger, LedgerGrowth},
    snapshot::{FilesSample, MappingGrowth, ResidentSample},
};

/// Mappings in the report: those that grew or shrank most.
const MAPPINGS_MAX: usize = 20;

/// What the target's memory is used for, at the end of the trace, and what of it grew.
#[derive(Debug, Clone, Serialize)]
pub struct MemorySection {
    /// At the last reading: lines that add up to RSS.
    pub ledger: Ledger,
    /// Since the first reading.
    pub growth: LedgerGrowth,
    /// Seconds between the two.
    pub seconds: f64,
    /// Mappings of one kind and name whose bytes in memory changed, what grew most first.
    pub mappings: Vec<MappingGrowth>,
    /// How many mappings there are.
    pub mappings_total: u64,
    /// Threads at the first and the last reading whose stacks were told from other memory, and
    /// threads whose were not.
    pub thread_stacks: [ThreadStacks; 2],
    /// Open files at the first and the last reading.
    pub files: [Option<FilesSample>; 2],
}

/// Threads by whether their stacks are known.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ThreadStacks {
    /// A stack pointer told where the stack is.
    pub known: u64,
    /// It ran whenever it was asked.
    pub unknown: u64,
}

/// Compares two readings `seconds` apart.
pub fn memory_section(
    first: &ResidentSample,
    last: &ResidentSample,
    seconds: f64,
) -> MemorySection {
    let (before, ledger) = (Ledger::new(first), Ledger::new(last));
    let stacks = |sample: &ResidentSample| ThreadStacks {
        known: sample.threads.0,
        unknown: sample.threads.1,
    };
    let mut mappings = last.mappings.growth_since(&first.mappings);
    // What grew most is at the beginning, what shrank most at the end.
    if mappings.len() > MAPPINGS_MAX {
        let shrunk = mappings.split_off(mappings.len() - MAPPINGS_MAX / 4);
        mappings.truncate(MAPPINGS_MAX - shrunk.len());
        mappings.extend(shrunk);
    }
    MemorySection {
        growth: LedgerGrowth::between(&before, &ledger),
        ledger,
        seconds,
        mappings,
        mappings_total: last.mappings.mappings,
        thread_stacks: [stacks(first), stacks(last)],
        files: [first.files.clone(), last.files.clone()],
    }
}
