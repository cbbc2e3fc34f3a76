//! One `runtime.g` as its bytes say: offsets in, checked fields out.

use super::Status;
use crate::binary::layout::{Layout, goroutines::G};

/// A `g` of any known version is half as long.
const G_BYTES_MAX: u64 = 1024;
/// Twice the runtime's own limit (`maxstacksize`, runtime/proc.go).
const STACK_BYTES_MAX: u64 = 2 << 30;

/// Where unwinding begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub pc: u64,
    pub sp: u64,
    /// Frame pointer; 0 at the outer end, none where it was not kept.
    pub bp: Option<u64>,
    /// Return address, if it is still in the link register.
    pub lr: u64,
    /// End of the stack.
    pub hi: u64,
}

/// What a `g` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawG {
    pub id: u64,
    pub status: Status,
    pub reason: u8,
    pub waiting_since_ns: u64,
    pub parent_id: u64,
    pub creator_pc: u64,
    pub start_pc: u64,
    pub locked_to_thread: bool,
    pub labels: u64,
    /// Length of its stack.
    pub stack_bytes: u64,
    /// How often it stopped running: the last byte of a count that begins anywhere.
    pub stops: u8,
    pub start: Start,
}

/// What the bytes of a `g` can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// A goroutine.
    Alive(RawG),
    /// Not begun yet, or over.
    Unused,
    /// No `g`, or one that is half-way to something else.
    Invalid,
}

impl RawG {
    /// Whether the same goroutine stands where it stood: then nothing moved on its stack, unless it
    /// ran and came back to the very same place.
    pub fn stands_as(&self, other: &Self) -> bool {
        let runs = self.status == Status::Running;
        self.id == other.id
            && self.status == other.status
            && (runs || (self.start == other.start && self.labels == other.labels))
    }
}

/// Bytes of a `g` that are needed: up to its last field that is.
pub fn bytes(layout: &Layout) -> usize {
    let g = &layout.goroutines.g;
    let last =
        [g.sched_bp, g.syscallbp.unwrap_or(0), g.tracking_seq, g.startpc, g.labels, g.lockedm];
    let needed = last.into_iter().max().unwrap_or(0) + 8;
    needed.min(g.bytes).min(G_BYTES_MAX) as usize
}

fn word(bytes: &[u8], at: u64) -> u64 {
    let field = bytes.get(at as usize..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

/// What `bytes` are.
#[inline]
pub fn parse(bytes: &[u8], layout: &Layout) -> Slot {
    let g = &layout.goroutines.g;
    let numbers = &layout.goroutines.status;
    let number = word(bytes, g.atomicstatus) & 0xffff_ffff & !numbers.gscan;
    let Some(status) = status(number, layout) else {
        let dead = [Some(numbers.gidle), Some(numbers.gdead), numbers.gdeadextra];
        return if dead.contains(&Some(number)) { Slot::Unused } else { Slot::Invalid };
    };
    let raw = RawG {
        id: word(bytes, g.goid),
        status,
        reason: word(bytes, g.waitreason) as u8,
        waiting_since_ns: word(bytes, g.waitsince),
        parent_id: word(bytes, g.parent_goid),
        creator_pc: word(bytes, g.gopc),
        start_pc: word(bytes, g.startpc),
        locked_to_thread: word(bytes, g.lockedm) != 0,
        labels: word(bytes, g.labels),
        stack_bytes: word(bytes, g.stack_hi).wrapping_sub(word(bytes, g.stack_lo)),
        stops: word(bytes, g.tracking_seq) as u8,
        start: start(bytes, g),
    };
    if raw.id != 0 && stack_is_sane(bytes, g, &raw) { Slot::Alive(raw) } else { Slot::Invalid }
}

fn status(number: u64, layout: &Layout) -> Option<Status> {
    let numbers = &layout.goroutines.status;
    match number {
        // Nearly all.
        _ if number == numbers.gwaiting => Some(Status::Waiting),
        _ if number == numbers.grunnable => Some(Status::Runnable),
        _ if number == numbers.grunning => Some(Status::Running),
        _ if number == numbers.gsyscall => Some(Status::Syscall),
        _ if number == numbers.gcopystack => Some(Status::CopyStack),
        _ if number == numbers.gpreempted => Some(Status::Preempted),
        _ if Some(number) == numbers.gleaked => Some(Status::Leaked),
        _ => None,
    }
}

/// As `runtime.(*unwinder).initAt` (runtime/traceback.go) chooses.
fn start(bytes: &[u8], g: &G) -> Start {
    let hi = word(bytes, g.stack_hi);
    match word(bytes, g.syscallsp) {
        0 => Start {
            pc: word(bytes, g.sched_pc),
            sp: word(bytes, g.sched_sp),
            bp: Some(word(bytes, g.sched_bp)),
            lr: word(bytes, g.sched_lr),
            hi,
        },
        sp => Start {
            pc: word(bytes, g.syscallpc),
            sp,
            bp: g.syscallbp.map(|at| word(bytes, at)),
            lr: 0,
            hi,
        },
    }
}

/// While it runs, only the stack as a whole is true.
fn stack_is_sane(bytes: &[u8], g: &G, raw: &RawG) -> bool {
    let (lo, Start { sp, hi, .. }) = (word(bytes, g.stack_lo), raw.start);
    let sized = lo != 0 && hi > lo && hi - lo <= STACK_BYTES_MAX && lo % 8 == 0 && hi % 8 == 0;
    let stands = raw.status == Status::Running || (sp % 8 == 0 && lo <= sp && sp <= hi);
    sized && stands
}
