//! The call chain of whoever grew, by frame pointers.
//!
//! Reads: the target's stack and code. May lose: outer frames (FrameUnreadable).
//!
//! Nothing is known about the target: C without frame pointers has anything in `rbp`. So an address
//! only counts as a return address if a call instruction lies before it, and the chain ends at
//! the first that does not. Thus a site is not split by whatever data a register held.
//!
//! The stubs of system calls and `memset` have no frame, so that the chain lacks their caller: it
//! is the word at the top of the stack.

use aya_ebpf::helpers::bpf_probe_read_user;
use leaktrace_common::{FRAMES_MAX, GrowthFrames, begin_chain, extend_chain};

use crate::{
    maps::{RETURNS, RETURNS_ROWS},
    task::Registers,
};

/// A saved frame pointer and the return address above it.
#[repr(C)]
#[derive(Clone, Copy)]
struct FrameRecord {
    saved_bp: u64,
    return_pc: u64,
}

/// No return address, but the end of the chain. Numbers and no `Result`: for what an error leaves
/// unset, LLVM emits reads that the verifier refuses.
const END: u64 = 0;
/// No return address: the next frame could not be read.
const UNREADABLE: u64 = 1;

/// Bytes of code that are looked at: the longest call is `call [reg+index*scale+disp32]` of 7.
const CALL_BYTES_MAX: u64 = 8;

/// User addresses: above what may never be mapped (`vm.mmap_min_addr` as distributions set it), in
/// the half of four-level page tables. Reading elsewhere would cost the target a trap.
const ADDRESS_MIN: u64 = 0x1_0000;
const ADDRESS_END: u64 = 1 << 47;

/// Whether a call lies before `pc`, as it did when that was asked first. What RETURNS has is `pc`
/// twice and the answer in the lowest bit; the answer about what can't be read is not kept.
#[inline(always)]
fn is_return_address(pc: u64) -> bool {
    if !(ADDRESS_MIN..ADDRESS_END).contains(&pc) {
        return false;
    }
    let row = (pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 & (RETURNS_ROWS - 1);
    let Some(known) = RETURNS.get_ptr_mut(row) else {
        return false;
    };
    // SAFETY: array values live as long as the map; whole words are read and written.
    let answer = unsafe { *known };
    if answer >> 1 == pc {
        return answer & 1 == 1;
    }
    // SAFETY: probe_read_user checks the address itself.
    let Ok(code) = (unsafe { bpf_probe_read_user((pc - CALL_BYTES_MAX) as *const u64) }) else {
        return false;
    };
    let found = ends_in_call(code);
    // SAFETY: as above.
    unsafe { *known = pc << 1 | u64::from(found) };
    found
}

/// Whether 8 bytes of code end in a call (Intel SDM, volume 2, CALL): `e8 rel32`, or `ff /2` with a
/// register, memory, or memory with displacement.
#[inline(always)]
fn ends_in_call(code: u64) -> bool {
    let is_ff2 = |at: u32| (code >> (at * 8)) & 0x38ff == 0x10ff;
    let is_near = (code >> 24) & 0xff == 0xe8;
    is_near || is_ff2(6) || is_ff2(5) || is_ff2(4) || is_ff2(2) || is_ff2(1)
}

/// Fills the call chain of `frames`, whose other fields are set, and gives its hash, which is odd, and
/// whether nothing kept it from being complete.
#[inline(always)]
pub fn collect(registers: &Registers, frames: &mut GrowthFrames) -> (u64, bool) {
    let mut hash = extend_chain(begin_chain(frames.operation << 8 | frames.kind), registers.ip);
    frames.pcs[0] = registers.ip;
    let mut depth = 1;
    // SAFETY: probe_read_user checks the address itself.
    let top = unsafe { bpf_probe_read_user(registers.sp as *const u64) }.unwrap_or(0);
    let mut walk = Walk { bp: registers.bp, below: registers.sp };
    let mut next = walk.next();
    frames.caller_from_top = u64::from(next != top && is_return_address(top));
    if frames.caller_from_top == 1 {
        hash = extend_chain(hash, top);
        frames.pcs[1] = top;
        depth = 2;
    }
    for _ in 1..FRAMES_MAX {
        if next == END || next == UNREADABLE || depth >= FRAMES_MAX {
            break;
        }
        hash = extend_chain(hash, next);
        frames.pcs[depth] = next;
        depth += 1;
        next = walk.next();
    }
    frames.depth = depth as u64;
    (hash | 1, next != UNREADABLE)
}

/// Where a walk has got to.
struct Walk {
    /// Frame pointer of the next frame.
    bp: u64,
    /// The stack below this address has been walked.
    below: u64,
}

impl Walk {
    /// The return address of the next frame outwards, or [`END`], or [`UNREADABLE`].
    #[inline(always)]
    fn next(&mut self) -> u64 {
        // Stacks grow down: a caller's frame lies above, or the chain has ended.
        if self.bp <= self.below || !self.bp.is_multiple_of(8) {
            return END;
        }
        // SAFETY: probe_read_user checks the address itself.
        let record = unsafe { bpf_probe_read_user(self.bp as *const FrameRecord) };
        let Ok(record) = record else {
            return UNREADABLE;
        };
        if !is_return_address(record.return_pc) {
            return END;
        }
        self.below = self.bp;
        self.bp = record.saved_bp;
        record.return_pc
    }
}
