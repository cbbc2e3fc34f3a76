//! The creator's call chain by frame pointers.
//!
//! Reads: the target's stack. May lose: the caller (CallerUnreadable), outer frames
//! (FrameUnreadable). Our own walk costs a third of `bpf_get_stackid`, needs no stack map, and
//! includes the direct caller, which kernels before 6.12 leave out at a `push %rbp`.
//!
//! The chain ends where it leaves the Go code: C may have anything in the frame pointer.
//!
//! A known site only needs its hash, so that is all the hot walk makes; the frames of a new site
//! are collected by a second walk over the same, unchanged stack. A read of user memory is most of
//! what a hit costs, however little is read, so the hot walk begins with a few words at once.

use aya_ebpf::{helpers::bpf_probe_read_user, programs::ProbeContext};
use leaktrace_common::{FRAMES_MAX, Lost, begin_chain, extend_chain};

/// A saved frame pointer and the return address above it, as every Go prologue leaves them.
#[repr(C)]
#[derive(Clone, Copy)]
struct FrameRecord {
    saved_bp: u64,
    return_pc: u64,
}

/// The first address of the target's Go code, and its length; userspace sets both before loading.
/// All addresses are code until then.
#[unsafe(no_mangle)]
static CODE_START: u64 = 0;
#[unsafe(no_mangle)]
static CODE_BYTES: u64 = u64::MAX;

/// Words that the hot walk reads at the stack pointer: the return address, and above it the first
/// frame record too if the caller has up to 40 bytes of locals, as most with a `go` statement have.
const WINDOW_WORDS: usize = 8;

#[inline(always)]
fn is_go(pc: u64) -> bool {
    // SAFETY: both are valid for as long as the program is; volatile, because what they hold here
    // is not what they hold in the kernel.
    let (start, bytes) =
        unsafe { (core::ptr::read_volatile(&CODE_START), core::ptr::read_volatile(&CODE_BYTES)) };
    pc.wrapping_sub(start) < bytes
}

/// Where a walk has got to.
struct Walk {
    /// Frame pointer of the next frame.
    bp: u64,
    /// The stack below this address has been walked.
    below: u64,
}

impl Walk {
    /// From the probed `push %rbp`: the return address is at `[rsp]`, the caller's frame in
    /// `rbp`. Gives the direct caller too.
    #[inline(always)]
    fn begin(ctx: &ProbeContext) -> Result<(Self, u64), Lost> {
        // SAFETY: the kernel hands a uprobe program a valid pt_regs.
        let (sp, bp) = unsafe { ((*ctx.regs).rsp, (*ctx.regs).rbp) };
        // SAFETY: probe_read_user checks the address itself.
        let caller = unsafe { bpf_probe_read_user(sp as *const u64) };
        Ok((Self { bp, below: sp }, caller.map_err(|_| Lost::CallerUnreadable)?))
    }

    /// The same with the first frame record, if it lies close enough.
    #[inline(always)]
    fn begin_near(ctx: &ProbeContext) -> Result<(Self, u64, Option<FrameRecord>), Lost> {
        // SAFETY: the kernel hands a uprobe program a valid pt_regs.
        let (sp, bp) = unsafe { ((*ctx.regs).rsp, (*ctx.regs).rbp) };
        // SAFETY: probe_read_user checks the address itself.
        match unsafe { bpf_probe_read_user(sp as *const [u64; WINDOW_WORDS]) } {
            Ok(words) => {
                let record = record_at(&words, bp.wrapping_sub(sp));
                Ok((Self { bp, below: sp }, words[0], record))
            }
            // Less is there than was asked for.
            Err(_) => Self::begin(ctx).map(|(walk, caller)| (walk, caller, None)),
        }
    }

    /// The return address of the next frame outwards; 0 at the end of the chain.
    #[inline(always)]
    fn next(&mut self) -> Result<u64, Lost> {
        // Stacks grow down: a caller's frame lies above, or the chain has ended.
        if self.bp <= self.below {
            return Ok(0);
        }
        // SAFETY: probe_read_user checks the address itself.
        let record = unsafe { bpf_probe_read_user(self.bp as *const FrameRecord) };
        Ok(self.step(record.map_err(|_| Lost::FrameUnreadable)?))
    }

    /// Goes to the frame that `record` tells of; gives its return address, or 0 as above.
    #[inline(always)]
    fn step(&mut self, record: FrameRecord) -> u64 {
        if !is_go(record.return_pc) {
            return 0;
        }
        self.below = self.bp;
        self.bp = record.saved_bp;
        record.return_pc
    }
}

/// The record that begins `offset` bytes into `words`, if it is among them. Spelled out, since kernels
/// before 5.12 refuse a variable offset of the BPF stack.
#[inline(always)]
fn record_at(words: &[u64; WINDOW_WORDS], offset: u64) -> Option<FrameRecord> {
    let at =
        |index: usize| Some(FrameRecord { saved_bp: words[index], return_pc: words[index + 1] });
    match offset {
        8 => at(1),
        16 => at(2),
        24 => at(3),
        32 => at(4),
        40 => at(5),
        48 => at(6),
        _ => None,
    }
}

/// The hash of `seed` and the call chain, never 0, and what kept it from being complete.
#[inline(always)]
pub fn hash(ctx: &ProbeContext, seed: u64) -> Result<(u64, Result<(), Lost>), Lost> {
    let (mut walk, caller, record) = Walk::begin_near(ctx)?;
    let mut hash = extend_chain(begin_chain(seed), caller);
    let mut walked = 1;
    if let Some(record) = record {
        match walk.step(record) {
            0 => return Ok((hash | 1, Ok(()))),
            return_pc => hash = extend_chain(hash, return_pc),
        }
        walked = 2;
    }
    for _ in walked..FRAMES_MAX {
        match walk.next() {
            Ok(0) => break,
            Ok(return_pc) => hash = extend_chain(hash, return_pc),
            Err(reason) => return Ok((hash | 1, Err(reason))),
        }
    }
    Ok((hash | 1, Ok(())))
}

/// Runs `$step!(i)` for every index after 0. Spelled out because kernels before 5.12 refuse
/// stores at a variable offset of the BPF stack.
macro_rules! for_each_outer_frame {
    ($step:ident) => {
        $step!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30)
    };
}

/// Fills zeroed `pcs` with the call chain, and gives its length.
#[inline(always)]
pub fn collect(ctx: &ProbeContext, pcs: &mut [u64; FRAMES_MAX]) -> Result<u64, Lost> {
    let (mut walk, caller) = Walk::begin(ctx)?;
    pcs[0] = caller;
    let mut depth = 1;
    'walk: {
        macro_rules! step {
            ($($index:literal)*) => {$(
                let Ok(return_pc @ 1..) = walk.next() else { break 'walk };
                pcs[$index] = return_pc;
                depth = $index + 1;
            )*};
        }
        for_each_outer_frame!(step);
    }
    Ok(depth)
}
