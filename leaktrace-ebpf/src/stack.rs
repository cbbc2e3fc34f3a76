//! The creator's call chain by frame pointers, hashed while it is walked.
//!
//! Reads: the target's stack. May lose: the caller (CallerUnreadable), outer frames
//! (FrameUnreadable). Our own walk costs a third of `bpf_get_stackid`, needs no stack map, and
//! includes the direct caller, which kernels before 6.12 leave out at a `push %rbp`.

use aya_ebpf::{helpers::bpf_probe_read_user, programs::ProbeContext};
use leaktrace_common::{FRAMES_MAX, Lost, SiteFrames};

use crate::lost;

/// A saved frame pointer and the return address above it, as every Go prologue leaves them.
#[repr(C)]
#[derive(Clone, Copy)]
struct FrameRecord {
    saved_bp: u64,
    return_pc: u64,
}

/// One step of a 64-bit FNV-1a-like mix over whole words, with a rotation so that high bits of
/// one frame reach the low bits of the next.
#[inline(always)]
fn mix(hash: u64, pc: u64) -> u64 {
    (hash ^ pc).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// Runs `$step!(i)` for every index after 0. Spelled out because kernels before 5.12 refuse
/// stores at a variable offset of the BPF stack.
macro_rules! for_each_outer_frame {
    ($step:ident) => {
        $step!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30)
    };
}

/// Walks from the probed `push %rbp`: the return address is at `[rsp]`, the caller's frame in
/// `rbp`. Gives the site hash, never 0, and fills `frames`, which must be zeroed.
#[inline(always)]
pub fn walk(ctx: &ProbeContext, frames: &mut SiteFrames) -> Result<u64, Lost> {
    // SAFETY: the kernel hands a uprobe program a valid pt_regs.
    let (sp, mut bp) = unsafe { ((*ctx.regs).rsp, (*ctx.regs).rbp) };
    // SAFETY: probe_read_user checks the address itself.
    let caller = unsafe { bpf_probe_read_user(sp as *const u64) };
    frames.pcs[0] = caller.map_err(|_| Lost::CallerUnreadable)?;
    let mut hash = mix(FRAMES_MAX as u64, frames.pcs[0]);
    let mut depth = 1;
    let mut below = sp;
    'walk: {
        macro_rules! step {
            ($($index:literal)*) => {$(
                // Stacks grow down: a caller's frame lies above, or the chain has ended.
                if bp <= below {
                    break 'walk;
                }
                // SAFETY: probe_read_user checks the address itself.
                let Ok(record) = (unsafe { bpf_probe_read_user(bp as *const FrameRecord) }) else {
                    lost::count(ctx, Lost::FrameUnreadable);
                    break 'walk;
                };
                if record.return_pc == 0 {
                    break 'walk;
                }
                frames.pcs[$index] = record.return_pc;
                depth = $index + 1;
                hash = mix(hash, record.return_pc);
                below = bp;
                bp = record.saved_bp;
            )*};
        }
        for_each_outer_frame!(step);
    }
    frames.depth = depth;
    Ok(hash | 1)
}
