//! Schema 1 of the report. It grows; nothing is renamed. Units are in the names, base units only.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    goroutine_sites::GoroutineSites, growth::GrowthSection, heap::HeapTraffic,
    memory::MemorySection, pods::PodsSection,
};
use crate::{
    binary::Frame,
    forecast::Forecast,
    model::Explained,
    overhead::Overhead,
    probe::Unavailable,
    signatures::Advice,
    snapshot::{CgroupSample, NodeSample, OomSample},
    verdict::{Foresight, State},
};

/// The version in every report.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything a trace found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// leaktrace's version.
    pub leaktrace_version: String,
    /// Who was traced.
    pub target: Target,
    /// When.
    pub window: Window,
    /// The answer.
    pub verdict: VerdictSection,
    /// The target's memory.
    pub rss: Rss,
    /// The node's memory.
    pub node: Node,
    /// Contexts; absent when they could not be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contexts: Option<Contexts>,
    /// Goroutines by `go` statement; absent when they could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goroutines: Option<GoroutineSites>,
    /// What the target's memory is used for, and what of it grew; absent when it could not be read
    /// twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySection>,
    /// Growth by call chain; absent when it was not traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<GrowthSection>,
    /// When the memory runs out.
    pub forecast: Forecast,
    /// The pods of the node, when the target is a kubelet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsSection>,
    /// The Go heap by call chain; absent when it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap: Option<HeapTraffic>,
    /// What the trace cost.
    pub overhead: Overhead,
    /// Losses by reason; empty when nothing was lost.
    pub lost: BTreeMap<String, u64>,
    /// Evidence that could not be had.
    pub unavailable: Vec<Unavailable>,
}

/// What became of the target by the end of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// It still runs.
    Running,
    /// It ended.
    Ended,
    /// It executed another file.
    Replaced,
}

/// The process.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    /// Process id.
    pub pid: i32,
    /// Start time, RFC 3339.
    pub start_time: Option<String>,
    /// Seconds since its start, at the end of the trace.
    pub uptime_s: Option<f64>,
    /// Command name.
    pub comm: String,
    /// Executable.
    pub exe: String,
    /// Build id: GNU in hex, else Go's.
    pub build_id: Option<String>,
    /// Go version from the build information.
    pub go_version: Option<String>,
    /// Main module and version.
    pub module: Option<String>,
    /// The version that the program's makers gave it.
    pub version: Option<String>,
    /// Where that version stands.
    pub version_from: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// cgroup path.
    pub cgroup: Option<String>,
    /// At the end of the trace.
    pub state: TargetState,
}

/// The time traced.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// Length.
    pub duration_s: f64,
    /// Snapshots taken.
    pub samples: u64,
    /// What ended it.
    pub ended_by: Ending,
}

/// What ended a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It was as long as it was to be.
    TimeUp,
    /// Its verdict needed no longer trace.
    Settled,
    /// Somebody.
    Interrupted,
    /// The target's end.
    TargetEnded,
    /// The target became another program.
    TargetReplaced,
}

impl Ending {
    /// What became of the target.
    pub const fn target_state(self) -> TargetState {
        match self {
            Self::TimeUp | Self::Settled | Self::Interrupted => TargetState::Running,
            Self::TargetEnded => TargetState::Ended,
            Self::TargetReplaced => TargetState::Replaced,
        }
    }
}

/// The answer with its reasons.
#[derive(Debug, Clone, Serialize)]
pub struct VerdictSection {
    /// leak, suspect, no_leak, inconclusive.
    pub state: State,
    /// See `verdict::Verdict`.
    pub confidence_ratio: f64,
    /// One sentence.
    pub summary: String,
    /// Growth of the live Go heap or of memory beside it (of the RSS where these are not known) that the
    /// window could tell from its noise.
    pub floor_bytes_per_s: Option<f64>,
    /// Growth of one site that would have been seen with 95 % probability.
    pub floor_contexts_per_s: Option<f64>,
    /// The same for the goroutines of one `go` statement.
    pub floor_goroutines_per_s: Option<f64>,
    /// Why.
    pub reasons: Vec<String>,
    /// Windows that would show leaks which this one was too short for.
    pub ahead: Vec<Foresight>,
}

/// The target's memory, read from procfs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rss {
    /// Where the figures come from.
    pub how: &'static str,
    /// VmRSS at the first snapshot.
    pub first_bytes: Option<u64>,
    /// VmRSS at the last.
    pub last_bytes: Option<u64>,
    /// RssAnon at the first snapshot.
    pub anon_first_bytes: Option<u64>,
    /// RssAnon at the last.
    pub anon_last_bytes: Option<u64>,
    /// Theil-Sen slope of RssAnon.
    pub anon_slope_bytes_per_s: Option<f64>,
    /// Its 95 % interval.
    pub anon_slope_interval: Option<[f64; 2]>,
    /// flat, warm_up, growing.
    pub anon_shape: Option<&'static str>,
    /// RssFile at the last snapshot.
    pub file_last_bytes: Option<u64>,
    /// VmData at the first snapshot.
    pub vm_data_first_bytes: Option<u64>,
    /// VmData at the last.
    pub vm_data_last_bytes: Option<u64>,
    /// The share of the slope that the leaking sites explain: by the heap of contexts, with the room
    /// that the collector leaves for garbage, and by the stacks of goroutines; null when none leaks
    /// or the slope is not surely above 0.
    pub explained_by_sites: Option<Explained>,
    /// The same of the heap profile's growth.
    pub explained_by_heap: Option<Explained>,
    /// Resident bytes for each live byte that the collector's pacing allows, (lowest, highest).
    pub heap_headroom: Option<[f64; 2]>,
    /// Exact anonymous memory from smaps_rollup at the start.
    pub rollup_anon_first_bytes: Option<u64>,
    /// The same at the end.
    pub rollup_anon_last_bytes: Option<u64>,
    /// Proportional set size from smaps_rollup at the end.
    pub pss_last_bytes: Option<u64>,
    /// Swapped out, from smaps_rollup at the end.
    pub swap_last_bytes: Option<u64>,
    /// Threads at the first snapshot.
    pub threads_first: Option<u64>,
    /// Threads at the last.
    pub threads_last: Option<u64>,
    /// Minor page faults in the window.
    pub minor_faults: Option<u64>,
    /// Major page faults in the window.
    pub major_faults: Option<u64>,
    /// The target's CPU time per wall time; 1 is one CPU.
    pub cpu_ratio: Option<f64>,
}

/// The node's memory, read from `/proc/meminfo`, the cgroups and `/proc/pressure`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Node {
    /// All of it at the last snapshot, and the root cgroup.
    pub last: Option<NodeSample>,
    /// The target's memory cgroups at the last snapshot, its own first.
    pub cgroup: Option<CgroupSample>,
    /// Who would be killed first, at the end.
    pub oom: OomSample,
    /// MemTotal.
    pub mem_total_bytes: Option<u64>,
    /// MemAvailable at the first snapshot.
    pub mem_available_first_bytes: Option<u64>,
    /// MemAvailable at the last.
    pub mem_available_last_bytes: Option<u64>,
}

/// Context counts of the window.
#[derive(Debug, Clone, Serialize)]
pub struct Contexts {
    /// counted, or sampled with the ratio.
    pub how: String,
    /// Creations, exact.
    pub created: u64,
    /// Of these, cancelled.
    pub released: u64,
    /// Of these, proven collected without a cancel (a lower bound).
    pub collected: u64,
    /// Of these, neither. May contain contexts that the collector has freed.
    pub outstanding: u64,
    /// Cancelled contexts that were made before tracing began.
    pub released_untracked: u64,
    /// Cancels of cancelled contexts: harmless.
    pub repeated_cancels: u64,
    /// Share of the contexts that was tracked.
    pub sample_ratio: f64,
    /// Sites, the most interesting first.
    pub sites: Vec<Site>,
    /// Contexts that hold others, from before the trace too, the most children first.
    pub holders: Vec<HolderSection>,
}

/// A context that keeps others alive until it is cancelled.
#[derive(Debug, Clone, Serialize)]
pub struct HolderSection {
    /// Where it lies.
    pub address: String,
    /// Its type in Go.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// How many children it has, also from before the trace.
    pub children: u64,
    /// Growth of that over the trace; null when it was not found at its beginning.
    pub growth_per_s: Option<f64>,
    /// Sites of which it holds most contexts that were looked at.
    pub sites: Vec<String>,
}

/// What keeps a sample of a site's outstanding contexts; read from memory.
#[derive(Debug, Clone, Serialize)]
pub struct SiteHolding {
    /// Contexts looked at.
    pub sampled: u64,
    /// In the children map of an ancestor.
    pub held: u64,
    /// By a timer, until the deadline.
    pub until_deadline: u64,
    /// By the program's own data: two collections left them.
    pub kept: u64,
    /// By nothing in package context, as far as known: garbage, unless the program keeps them.
    pub unheld: u64,
    /// Freed already.
    pub freed: u64,
    /// It can't be told.
    pub unknown: u64,
    /// Of those that the holder of most holds: the program has lost their cancel functions, so that only
    /// the end of the holder can end them. Neither this nor the next where it can't be told: too few
    /// collections, an inlined constructor, too large a heap.
    pub cancel_func_lost: u64,
    /// Held, and their cancel functions are still in the program's memory.
    pub cancel_func_left: u64,
}

/// One site.
#[derive(Debug, Clone, Serialize)]
pub struct Site {
    /// Hash of the call chain.
    pub id: String,
    /// Call chain, innermost first.
    pub frames: Vec<Frame>,
    /// Creations.
    pub created: u64,
    /// Cancelled.
    pub released: u64,
    /// Proven collected.
    pub collected: u64,
    /// Neither.
    pub outstanding: u64,
    /// Held by a cancellable ancestor or by a timer, decided on a sample; null when memory could not
    /// be read, or does not tell.
    pub pinned: Option<bool>,
    /// The sample that this was decided on.
    pub holding: Option<SiteHolding>,
    /// What such a call chain is known for: advice, not evidence.
    pub advice: Vec<Advice>,
    /// Type of the parent that the contexts hang under; null when it is not in the executable.
    pub parent_type: Option<String>,
    /// Theil-Sen slope of outstanding.
    pub growth_per_s: Option<f64>,
    /// Its 95 % interval.
    pub growth_interval: Option<[f64; 2]>,
    /// Heap bytes each keeps, at least.
    pub retained_bytes_each: u64,
    /// Heap bytes that hang on the average context of a sample and on no other of it, itself included;
    /// read from memory. Something else that was not looked at may lead there too.
    pub reached_bytes_each: Option<u64>,
    /// growth_per_s x reached_bytes_each, without it x retained_bytes_each: live heap.
    pub estimated_bytes_per_s: Option<f64>,
    /// How the last two were had.
    pub retained_how: &'static str,
    /// 99 % of the released ones lived at most this long.
    pub usual_lifetime_s: Option<f64>,
    /// Age from which a context here counts as old.
    pub horizon_s: f64,
    /// Contexts older than that.
    pub old: u64,
    /// clean, recent, stopped, unresolved, collectable, held_by_others, bounded_by_deadline, released_late,
    /// balanced, never_released, leak, unknown_site.
    pub verdict: &'static str,
}
