//! What grew between two ledgers: two ledgers in, growth by line and by group out, and one word for
//! where most of it went.

use serde::Serialize;

use super::{Ledger, Part, signed};

/// What a line may be wrong by: less than this much growth, or this share of RSS, is none.
const NOISE_BYTES: i64 = 1 << 20;
const NOISE_RATIO: f64 = 0.02;

/// One word for where memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Objects on the Go heap, live or not, and the gaps between them.
    GoHeap,
    /// Free pages of the Go heap: not a leak.
    GoIdle,
    /// Stacks of goroutines.
    GoroutineStacks,
    /// The Go runtime's own structures.
    GoRuntime,
    /// malloc, brk, mmap, variables.
    Native,
    /// Stacks of threads.
    ThreadStacks,
    /// Page cache of mapped files: not a leak.
    Files,
    /// Shared memory.
    SharedMemory,
    /// Outside RSS: what the kernel keeps.
    Kernel,
    /// What has no name.
    Unexplained,
    /// Nothing grew beyond what a ledger may be wrong by.
    None,
}

/// How much a line has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LineGrowth {
    /// What the memory is used for.
    pub what: Part,
    /// Before.
    pub first_bytes: i64,
    /// Now.
    pub last_bytes: i64,
    /// The difference.
    pub grew_bytes: i64,
}

/// How much a group of lines has grown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GroupGrowth {
    /// Which.
    pub group: Group,
    /// By how much.
    pub grew_bytes: i64,
    /// Its share of all that grew, between 0 and 1; 0 if it did not grow.
    pub ratio: f64,
}

/// What has grown between two ledgers of one process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LedgerGrowth {
    /// What has grown most first, what the kernel keeps among them.
    pub lines: Vec<LineGrowth>,
    /// The same by group.
    pub groups: Vec<GroupGrowth>,
    /// By how much RSS has grown.
    pub rss_grew_bytes: i64,
    /// Where most of the growth went; [`Group::None`] if nothing grew to speak of.
    pub answer: Group,
    /// Its share of all that grew; absent for [`Group::None`].
    pub answer_ratio: Option<f64>,
}

impl Part {
    /// Where it belongs.
    pub const fn group(self) -> Group {
        match self {
            Self::GoLive | Self::GoGarbage | Self::GoGaps => Group::GoHeap,
            Self::GoIdle => Group::GoIdle,
            Self::GoStacks => Group::GoroutineStacks,
            Self::GoRuntime => Group::GoRuntime,
            Self::Brk
            | Self::MallocHeaps
            | Self::MallocPieces
            | Self::Anonymous
            | Self::ExecutableData
            | Self::LibraryData => Group::Native,
            Self::ThreadStacks => Group::ThreadStacks,
            Self::Files => Group::Files,
            Self::SharedMemory => Group::SharedMemory,
            Self::PageTables | Self::CgroupKernel | Self::CgroupSockets => Group::Kernel,
            Self::Other | Self::Unexplained => Group::Unexplained,
        }
    }
}

impl Group {
    /// In a few words, for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::GoHeap => "Go heap",
            Self::GoIdle => "Go idle",
            Self::GoroutineStacks => "goroutine stacks",
            Self::GoRuntime => "Go runtime",
            Self::Native => "native",
            Self::ThreadStacks => "thread stacks",
            Self::Files => "files",
            Self::SharedMemory => "shared memory",
            Self::Kernel => "kernel",
            Self::Unexplained => "unexplained",
            Self::None => "none",
        }
    }
}

impl LedgerGrowth {
    /// From `first` to `last`.
    pub fn between(first: &Ledger, last: &Ledger) -> Self {
        let mut lines = line_growth(first, last);
        lines.sort_by(|one, other| {
            other.grew_bytes.cmp(&one.grew_bytes).then(one.what.cmp(&other.what))
        });
        let groups = group_growth(&lines);
        let noise = NOISE_BYTES.max((last.rss_bytes as f64 * NOISE_RATIO) as i64);
        let main = groups.first().filter(|group| group.grew_bytes > noise);
        Self {
            rss_grew_bytes: signed(last.rss_bytes).saturating_sub(signed(first.rss_bytes)),
            answer: main.map_or(Group::None, |group| group.group),
            answer_ratio: main.map(|group| group.ratio),
            lines,
            groups,
        }
    }
}

/// Growth of every line that either has.
fn line_growth(first: &Ledger, last: &Ledger) -> Vec<LineGrowth> {
    let mut parts: Vec<Part> = [first, last]
        .iter()
        .flat_map(|ledger| ledger.lines.iter().chain(&ledger.kernel))
        .map(|line| line.what)
        .collect();
    parts.sort_unstable();
    parts.dedup();
    let growth = |what| {
        let (first_bytes, last_bytes) = (first.bytes(what), last.bytes(what));
        let grew_bytes = last_bytes.saturating_sub(first_bytes);
        LineGrowth { what, first_bytes, last_bytes, grew_bytes }
    };
    parts.into_iter().map(growth).collect()
}

/// Right after a collection the room for new objects is free pages, right before it is objects. As
/// much of it as the live heap grew belongs to the live heap, not to a spike that is over: GOGC=100
/// leaves a free byte for each live one.
fn give_room_to_the_heap(groups: &mut [GroupGrowth], lines: &[LineGrowth]) {
    let live = lines.iter().find(|line| line.what == Part::GoLive);
    let live_grew = live.map_or(0, |live| live.grew_bytes.max(0));
    let idle = groups.iter_mut().find(|group| group.group == Group::GoIdle);
    let Some(idle) = idle else { return };
    let room = idle.grew_bytes.clamp(0, live_grew);
    idle.grew_bytes -= room;
    if let Some(heap) = groups.iter_mut().find(|group| group.group == Group::GoHeap) {
        heap.grew_bytes = heap.grew_bytes.saturating_add(room);
    }
}

/// Those that grew most first.
fn group_growth(lines: &[LineGrowth]) -> Vec<GroupGrowth> {
    let mut groups: Vec<GroupGrowth> = Vec::new();
    // A cgroup's figures are those of all its processes.
    let counted =
        |line: &&LineGrowth| !matches!(line.what, Part::CgroupKernel | Part::CgroupSockets);
    for line in lines.iter().filter(counted) {
        let group = line.what.group();
        match groups.iter_mut().find(|known| known.group == group) {
            Some(known) => known.grew_bytes = known.grew_bytes.saturating_add(line.grew_bytes),
            None => groups.push(GroupGrowth { group, grew_bytes: line.grew_bytes, ratio: 0.0 }),
        }
    }
    give_room_to_the_heap(&mut groups, lines);
    groups.sort_by(|one, other| {
        other.grew_bytes.cmp(&one.grew_bytes).then(one.group.cmp(&other.group))
    });
    let grew = |group: &GroupGrowth| group.grew_bytes.max(0) as f64;
    let all: f64 = groups.iter().map(grew).sum();
    if all > 0.0 {
        groups.iter_mut().for_each(|group| group.ratio = grew(group) / all);
    }
    groups
}
