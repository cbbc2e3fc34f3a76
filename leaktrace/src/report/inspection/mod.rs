//! What a look into a live process found: plain values in a versioned schema, the page for a
//! terminal, and what changed since an earlier one.

mod diff;
mod sections;
mod text;

pub use diff::{Change, Changes, changes};
pub use sections::{goroutine_section, heap_section, incomplete};
pub use text::{render_changes, render_inspection};

use serde::{Deserialize, Serialize};

use crate::{
    binary::Frame,
    ledger::Ledger,
    memory::{
        HeapDropped, HeapEstimate, RuntimeCounters,
        goroutines::{Label, Lost},
    },
    probe::Unavailable,
    signatures::Advice,
};

/// One look.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inspection {
    /// `SCHEMA_VERSION`.
    pub schema_version: u32,
    /// When it began, RFC 3339.
    pub taken: String,
    /// How long it took.
    pub took_s: f64,
    /// The process.
    pub target: Inspected,
    /// Resident memory, from `/proc/PID/status`.
    pub rss_bytes: Option<u64>,
    /// The part of it that no file backs.
    pub rss_anon_bytes: Option<u64>,
    /// The runtime's own counters, read from its memory.
    pub runtime: Option<RuntimeCounters>,
    /// What is resident, as lines that add up.
    #[serde(default)]
    pub ledger: Option<Ledger>,
    /// The heap profile, read from memory.
    pub heap: Option<HeapSection>,
    /// All goroutines, read from memory.
    pub goroutines: Option<GoroutineSection>,
    /// Contexts with children, found in the heap.
    pub holders: Option<HoldersSection>,
    /// Resident memory of leaktrace itself at its highest.
    pub own_rss_peak_bytes: Option<u64>,
    /// What could not be had, and why.
    pub unavailable: Vec<Unavailable>,
}

/// The process that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// Process id.
    pub pid: i32,
    /// Command name.
    pub comm: String,
    /// Executable.
    pub exe: String,
    /// GNU build id in hex, else Go's.
    pub build_id: Option<String>,
    /// Go version.
    pub go_version: Option<String>,
    /// The version that the program's makers gave it.
    pub version: Option<String>,
    /// Start time, RFC 3339.
    pub start_time: Option<String>,
    /// Seconds since then.
    pub uptime_s: Option<u64>,
}

/// The heap profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapSection {
    /// One byte in so many is sampled; 0: the program keeps no profile.
    pub rate_bytes: u64,
    /// In use, estimated from the sample.
    pub in_use: HeapEstimate,
    /// Allocated ever, estimated from the sample.
    pub allocated: HeapEstimate,
    /// How many call chains there are.
    pub sites_total: u64,
    /// Those with most bytes in use.
    pub sites: Vec<HeapRow>,
    /// Buckets that could not be read.
    pub dropped: HeapDropped,
}

/// A call chain that allocated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapRow {
    /// In use, estimated from the sample.
    pub in_use: HeapEstimate,
    /// Allocated ever, estimated from the sample.
    pub allocated: HeapEstimate,
    /// The chain, innermost first, inlined calls too.
    pub frames: Vec<Frame>,
}

/// All goroutines but the runtime's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoroutineSection {
    /// How many there are, exactly.
    pub total: u64,
    /// How many groups there are.
    pub groups_total: u64,
    /// The largest groups.
    pub groups: Vec<GoroutineRow>,
    /// How many do or wait for what.
    pub states: Vec<StateRow>,
    /// How many have which profiler labels; those without any are left out.
    pub labels: Vec<LabelRow>,
    /// What could not be read.
    pub lost: Lost,
}

/// Goroutines that do the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRow {
    /// In the words of a goroutine dump.
    pub state: String,
    /// How many.
    pub count: u64,
}

/// Goroutines with the same profiler labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelRow {
    /// The labels, by key.
    pub labels: Vec<Label>,
    /// How many.
    pub count: u64,
}

/// Goroutines with the same stack, made at the same place, that wait for the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoroutineRow {
    /// How many.
    pub count: u64,
    /// What they do, in the words of a goroutine dump.
    pub state: String,
    /// The longest that one of them is known to wait, in seconds; the collector notes it.
    pub longest_wait_s: Option<u64>,
    /// The `go` statement that made them; none for the first.
    pub creator: Option<Frame>,
    /// The function they began with.
    pub start: Frame,
    /// Their stack, innermost first.
    pub frames: Vec<Frame>,
    /// Why the stack is missing or ends early.
    pub incomplete: Option<String>,
    /// The numbers of a few of them.
    pub sample_ids: Vec<u64>,
    /// What such stacks are known for, the most specific first: advice, not evidence.
    #[serde(default)]
    pub advice: Vec<Advice>,
}

/// Contexts that hold others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HoldersSection {
    /// Those with most children.
    pub top: Vec<HolderRow>,
    /// Contexts with children that were found.
    pub found: u64,
    /// The share of the heap's spans that was looked at.
    pub seen_ratio: f64,
    /// Spans and objects that could not be read.
    pub dropped: u64,
}

/// A context that holds others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderRow {
    /// Where it lies.
    pub address: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// How many it holds, exactly.
    pub children: u64,
    /// Some of these, of `WithCancel` and its like, that were looked at; null where it can't be told
    /// what became of their cancel functions.
    #[serde(default)]
    pub looked_at: Option<u64>,
    /// Of those looked at, the ones whose cancel functions the program has lost: only the end of the
    /// holder can end them.
    #[serde(default)]
    pub cancel_func_lost: Option<u64>,
}

impl HolderRow {
    /// Some of its children can't be released by anybody any more.
    pub fn forgets(&self) -> bool {
        self.cancel_func_lost.is_some_and(|lost| lost >= FORGOTTEN_MIN)
    }
}

/// Fewer children without a cancel function are nothing to speak of: some are only just being made.
const FORGOTTEN_MIN: u64 = 8;
