//! Where the bytes are: what is in a process's memory in, lines that add up to its RSS out, and
//! which of them grew.
//!
//! RSS is what `/proc/PID/smaps` adds up to. Each line says how it was had; what no line explains is
//! a line too, below zero where counters say more than is in memory. Non-goals: whether it leaks.

mod go;
mod growth;

pub use growth::{Group, GroupGrowth, LedgerGrowth, LineGrowth};
use serde::{Deserialize, Serialize};

use crate::snapshot::{MappingKind, ResidentSample};

/// What memory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Objects that the last collection of the Go heap found live.
    GoLive,
    /// Objects allocated since, live or garbage, and dead ones whose spans are not swept yet.
    GoGarbage,
    /// Free slots and other gaps between Go objects.
    GoGaps,
    /// Free pages of the Go heap that were not given back to the system.
    GoIdle,
    /// Stacks of goroutines, free ones that are kept included.
    GoStacks,
    /// What the Go runtime needs for itself.
    GoRuntime,
    /// Code and other pages of files, as they are on disk: page cache.
    Files,
    /// The executable's variables.
    ExecutableData,
    /// Libraries' variables.
    LibraryData,
    /// malloc's main heap (`brk`).
    Brk,
    /// malloc's heaps for further threads.
    MallocHeaps,
    /// Large pieces that malloc has mapped one by one; told apart beside a Go runtime only.
    MallocPieces,
    /// Other anonymous memory.
    Anonymous,
    /// Stacks of threads.
    ThreadStacks,
    /// Shared memory and memfd.
    SharedMemory,
    /// Mappings of other kinds.
    Other,
    /// What no line explains.
    Unexplained,
    /// Not in RSS: page tables of the process.
    PageTables,
    /// Not in RSS: what the kernel keeps for the process's cgroup, page tables included.
    CgroupKernel,
    /// Not in RSS: socket buffers of the process's cgroup.
    CgroupSockets,
}

/// How a figure was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Read from memory: the heap's spans, page by page, and which pages are resident.
    Pages,
    /// Counters of the Go runtime, which count what is mapped, resident or not.
    Counters,
    /// From `/proc/PID/smaps`, exact.
    Smaps,
    /// From `/proc/PID/smaps`: what more is mapped than the Go runtime's counters admit is anonymous
    /// memory of others, exact unless they set memory aside without touching it.
    SmapsAndCounters,
    /// From `/proc/PID/status` or the cgroup.
    Kernel,
    /// What is left of the sum.
    Computed,
}

/// A line of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What the memory is used for.
    pub what: Part,
    /// How much of it is resident. Below zero only in [`Part::Unexplained`].
    pub bytes: i64,
    /// How that was had.
    pub how: How,
}

/// What a process's memory is used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// They add up to `rss_bytes`. Those without bytes are left out, but for the unexplained one.
    pub lines: Vec<Line>,
    /// Resident, by `/proc/PID/smaps`.
    pub rss_bytes: u64,
    /// RSS less all other lines.
    pub unexplained_bytes: i64,
    /// Not in RSS: what the kernel keeps for the process.
    pub kernel: Vec<Line>,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

impl Part {
    /// In a few words, for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::GoLive => "Go live heap",
            Self::GoGarbage => "Go new or garbage",
            Self::GoGaps => "Go gaps",
            Self::GoIdle => "Go idle",
            Self::GoStacks => "goroutine stacks",
            Self::GoRuntime => "Go runtime",
            Self::Files => "files",
            Self::ExecutableData => "executable's data",
            Self::LibraryData => "libraries' data",
            Self::Brk => "brk heap",
            Self::MallocHeaps => "malloc heaps",
            Self::MallocPieces => "malloc pieces",
            Self::Anonymous => "anonymous",
            Self::ThreadStacks => "thread stacks",
            Self::SharedMemory => "shared memory",
            Self::Other => "other",
            Self::Unexplained => "unexplained",
            Self::PageTables => "page tables",
            Self::CgroupKernel => "kernel, of the cgroup",
            Self::CgroupSockets => "sockets, of the cgroup",
        }
    }
}

impl How {
    /// In a few words, for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pages => "read from memory, page by page",
            Self::Counters => "the runtime's counters",
            Self::Smaps => "smaps",
            Self::SmapsAndCounters => "smaps against the runtime's counters",
            Self::Kernel => "the kernel's counters",
            Self::Computed => "computed",
        }
    }
}

impl Ledger {
    /// Splits what is in memory.
    pub fn new(sample: &ResidentSample) -> Self {
        let mut lines = go::lines(sample);
        lines.extend(other_lines(sample));
        let mut lines = joined(&lines);
        lines.retain(|line| line.bytes != 0);
        let rss_bytes = sample.mappings.total.rss_bytes;
        let explained = lines.iter().fold(0_i64, |sum, line| sum.saturating_add(line.bytes));
        let unexplained_bytes = signed(rss_bytes).saturating_sub(explained);
        lines.push(Line { what: Part::Unexplained, bytes: unexplained_bytes, how: How::Computed });
        let kernel = kernel_lines(sample);
        let unavailable = sample.unavailable.clone();
        Self { lines, rss_bytes, unexplained_bytes, kernel, unavailable }
    }

    /// The bytes of a line; 0 for a line that is left out.
    pub fn bytes(&self, what: Part) -> i64 {
        let mut lines = self.lines.iter().chain(&self.kernel);
        lines.find(|line| line.what == what).map_or(0, |line| line.bytes)
    }
}

/// The lines that any process has.
fn other_lines(sample: &ResidentSample) -> Vec<Line> {
    use MappingKind as Kind;
    let rss = |kinds: &[Kind]| sample.mappings.of(kinds).rss_bytes;
    let anonymous = |kinds: &[Kind]| sample.mappings.of(kinds).anonymous_bytes;
    let files = [Kind::Executable, Kind::Library, Kind::File];
    let code = [Kind::Executable, Kind::Library];
    let data = anonymous(&[Kind::Executable]).saturating_add(rss(&[Kind::ExecutableBss]));
    let figures = [
        (Part::Files, rss(&files).saturating_sub(anonymous(&files))),
        (Part::ExecutableData, data),
        (Part::LibraryData, anonymous(&[Kind::Library])),
        (Part::Brk, rss(&[Kind::Brk])),
        (Part::MallocHeaps, rss(&[Kind::MallocHeap])),
        // What was changed in a private mapping of a file is the process's own.
        (Part::Anonymous, anonymous(&files).saturating_sub(anonymous(&code))),
        (Part::ThreadStacks, rss(&[Kind::MainStack, Kind::ThreadStack])),
        (Part::SharedMemory, rss(&[Kind::SharedMemory, Kind::Memfd])),
        (Part::Other, rss(&[Kind::Kernel, Kind::Device, Kind::Other])),
    ];
    let line = |(what, bytes)| Line { what, bytes: signed(bytes), how: How::Smaps };
    figures.into_iter().map(line).collect()
}

fn kernel_lines(sample: &ResidentSample) -> Vec<Line> {
    let kernel = &sample.kernel;
    let figures = [
        (Part::PageTables, kernel.page_tables_bytes),
        (Part::CgroupKernel, kernel.cgroup_kernel_bytes),
        (Part::CgroupSockets, kernel.cgroup_socket_bytes),
    ];
    let line = |(what, bytes): (_, Option<u64>)| {
        Some(Line { what, bytes: signed(bytes?), how: How::Kernel })
    };
    figures.into_iter().filter_map(line).collect()
}

/// One line for each part; the larger figure's way is told.
fn joined(lines: &[Line]) -> Vec<Line> {
    let mut joined: Vec<Line> = Vec::new();
    for line in lines {
        match joined.iter_mut().find(|known| known.what == line.what) {
            Some(known) => {
                known.how = if line.bytes > known.bytes { line.how } else { known.how };
                known.bytes = known.bytes.saturating_add(line.bytes);
            }
            None => joined.push(*line),
        }
    }
    joined
}

/// No process has more than 2^63 bytes; a text that says so is cut.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
