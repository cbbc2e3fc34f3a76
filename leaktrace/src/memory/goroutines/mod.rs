//! All goroutines of a live Go process: its memory in, each with state, creator, labels and stack
//! out.
//!
//! A goroutine counts once it was seen the same before and after its stack was read. Equal stacks
//! and equal labels are kept once, so that memory goes by what differs and not by how many there
//! are. Non-goals: names of functions; which goroutines are the runtime's own, since that goes by
//! names too (both are `symbolize`'s).

mod code;
mod groups;
mod kept;
mod labels;
mod raw;
mod reader;
mod stacks;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

pub use code::{CodeFrames, Unwind};
pub use groups::{
    Creation, Group, by_creation, by_labels, by_profile, by_stack, by_state, group_by,
};
pub use kept::GoroutineReader;
pub use labels::Label;

use kept::Kept;

use super::{MemoryError, Runtime};
use crate::binary::{StackFrame, layout::goroutines::WaitReason};

/// What one reading keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Slots of `runtime.allgs` that are looked at.
    pub slots: usize,
    /// Frames of one stack.
    pub frames: usize,
    /// Words of all different stacks together.
    pub stack_words: usize,
    /// Bytes of all different sets of labels together.
    pub label_bytes: usize,
}

impl Default for Limits {
    /// 36 MiB of goroutines, several times what a busy server has; a stack twice as deep as any
    /// that was seen; 8 MiB of stacks and 4 MiB of labels, of which real programs need a hundredth.
    fn default() -> Self {
        Self { slots: 1 << 19, frames: 512, stack_words: 1 << 20, label_bytes: 4 << 20 }
    }
}

/// How to read, and how much.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Tells the size of frames. Without it frame pointers are followed, which Go 1.21 and 1.22 do
    /// not keep in system calls, and which lack a caller where a goroutine was preempted in the
    /// first instructions of a function.
    pub unwind: Option<&'a dyn Unwind>,
    /// What is kept at most.
    pub limits: Limits,
}

/// What a goroutine does (`runtime._G…`, runtime/runtime2.go).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// In a run queue.
    Runnable,
    /// Runs.
    Running,
    /// In a system call or in C.
    Syscall,
    /// Waits for what its wait reason says.
    Waiting,
    /// Its stack is being moved.
    CopyStack,
    /// Stopped itself to be preempted.
    Preempted,
    /// The runtime found that nothing can ever wake it, from Go 1.26.
    Leaked,
}

impl Status {
    /// As in a goroutine dump.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Runnable => "runnable",
            Self::Running => "running",
            Self::Syscall => "syscall",
            Self::Waiting => "waiting",
            Self::CopyStack => "copystack",
            Self::Preempted => "preempted",
            Self::Leaked => "leaked",
        }
    }
}

/// A goroutine's stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stack {
    /// It is this one, for [`Goroutines::stack`].
    Known(StackId),
    /// Its inner end is this one; the rest could not be read, or is beyond the limit.
    Cut(StackId),
    /// It is not known.
    Unknown(NoStack),
}

impl Stack {
    /// The number of what is known of it.
    const fn id(self) -> Option<StackId> {
        match self {
            Self::Known(id) | Self::Cut(id) => Some(id),
            Self::Unknown(_) => None,
        }
    }

    /// The same by its new number.
    fn renumbered(self, numbers: &HashMap<StackId, StackId>) -> Self {
        let new = |id: &StackId| numbers.get(id).copied();
        match self {
            Self::Known(id) => new(&id).map_or(Self::Unknown(NoStack::BeyondLimit), Self::Known),
            Self::Cut(id) => new(&id).map_or(Self::Unknown(NoStack::BeyondLimit), Self::Cut),
            unknown @ Self::Unknown(_) => unknown,
        }
    }
}

/// Why a stack is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoStack {
    /// The goroutine runs: its stack changes too fast.
    Running,
    /// It ran on each time it was read.
    Torn,
    /// It is in a system call, where this Go version keeps no frame pointer, and the tables of the
    /// executable were not at hand.
    NoFramePointer,
    /// The limit of all stacks together was reached.
    BeyondLimit,
}

impl NoStack {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Running => "it runs",
            Self::Torn => "it ran on while it was read",
            Self::NoFramePointer => "this Go version keeps no frame pointer in system calls",
            Self::BeyondLimit => "too many different stacks",
        }
    }
}

/// Number of a stack in its [`Goroutines`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(u32);

/// Number of a set of labels in its [`Goroutines`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelsId(u32);

/// A goroutine (`runtime.g`, runtime/runtime2.go). Addresses are live ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goroutine {
    /// Its number, never given out twice.
    pub id: u64,
    /// Where it is in the list of all (`runtime.allgs`). An ended one leaves its slot to another.
    pub slot: u32,
    /// What it does.
    pub status: Status,
    /// What it waits for; only while it waits.
    pub wait_reason: Option<&'static WaitReason>,
    /// Since when it is known to wait or to be in a system call, in nanoseconds of the machine's
    /// monotonic clock: when the first collection behind the beginning began. 0: none has yet.
    pub waiting_since_ns: u64,
    /// `id` of its creator; 0 for the runtime.
    pub parent_id: u64,
    /// Return address of the `go` statement.
    pub creator_pc: u64,
    /// Entry of its function, perhaps of a wrapper around it.
    pub start_pc: u64,
    /// Only it runs on its thread.
    pub locked_to_thread: bool,
    /// Bytes that its stack takes up.
    pub stack_bytes: u64,
    /// Its profiler labels, if it has any, for [`Goroutines::labels`].
    pub labels: Option<LabelsId>,
    /// Its stack.
    pub stack: Stack,
}

impl Goroutine {
    /// What a goroutine dump says in brackets: the wait reason, or the status.
    pub fn state(&self) -> &'static str {
        let reason = self.wait_reason.map(|reason| reason.text);
        reason.filter(|text| !text.is_empty()).unwrap_or_else(|| self.status.text())
    }

    /// For how long it is known to wait, in seconds, when the machine's monotonic clock says
    /// `now_ns`.
    pub fn waiting_s(&self, now_ns: u64) -> Option<f64> {
        let since = Some(self.waiting_since_ns).filter(|since| *since != 0)?;
        Some(now_ns.saturating_sub(since) as f64 / 1e9)
    }
}

/// What could not be had, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lost {
    /// Slots of the list beyond the limit: not looked at.
    pub slots_beyond_limit: u64,
    /// Slots of the list that lead to no memory.
    pub slots_unreadable: u64,
    /// What is no goroutine by its own fields.
    pub invalid: u64,
    /// Another goroutine each time it was read.
    pub torn: u64,
    /// Goroutines found a second time.
    pub duplicates: u64,
    /// Goroutines that changed each time: known, but without a stack.
    pub stacks_torn: u64,
    /// Stacks without their outer end.
    pub stacks_cut: u64,
    /// Stacks not kept for the limit of all together.
    pub stacks_beyond_limit: u64,
    /// Sets of labels that could not be read, or were not kept for the limit of all together.
    pub labels: u64,
}

impl Lost {
    /// Goroutines that may be alive and are not in the list.
    pub const fn unread(&self) -> u64 {
        let slots = self.slots_beyond_limit.saturating_add(self.slots_unreadable);
        slots.saturating_add(self.invalid).saturating_add(self.torn)
    }
}

/// All goroutines of a process.
#[derive(Debug, Clone, Default)]
pub struct Goroutines {
    /// By their numbers; those of a [`GoroutineReader`] by their slots.
    pub list: Vec<Goroutine>,
    /// What could not be had.
    pub lost: Lost,
    /// Stacks that were walked; those of goroutines that stand where they did before need not be.
    pub walked: u64,
    stacks: Vec<Arc<[u64]>>,
    labels: Vec<Arc<[Label]>>,
}

impl Goroutines {
    /// Reads all that are alive. The longer part of the time goes into stacks.
    ///
    /// # Errors
    /// A variable was not located, the memory is closed, or reading takes too much work.
    pub fn read(runtime: &Runtime<'_>, options: &Options<'_>) -> Result<Self, MemoryError> {
        let mut read = reader::read(runtime, options, &mut Kept::new(&options.limits))?;
        read.list.sort_unstable_by_key(|goroutine| goroutine.id);
        let found = read.list.len();
        read.list.dedup_by_key(|goroutine| goroutine.id);
        read.lost.duplicates = (found - read.list.len()) as u64;
        Ok(read)
    }

    /// Addresses of a stack, innermost first: where the goroutine goes on, then return addresses.
    pub fn stack(&self, id: StackId) -> &[u64] {
        self.stacks.get(id.0 as usize).map_or(&[], |pcs| pcs)
    }

    /// The part of a goroutine's stack that is known.
    pub fn stack_of(&self, stack: Stack) -> &[u64] {
        stack.id().map_or(&[], |id| self.stack(id))
    }

    /// Labels by their keys.
    pub fn labels(&self, id: Option<LabelsId>) -> &[Label] {
        let labels = id.and_then(|id| self.labels.get(id.0 as usize));
        labels.map_or(&[], |labels| labels)
    }

    /// How many different stacks were kept.
    pub const fn stack_count(&self) -> usize {
        self.stacks.len()
    }
}
