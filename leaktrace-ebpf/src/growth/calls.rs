//! Calls that change what is mapped, when they have succeeded.
//!
//! Attaches to: the exits of mmap, munmap, mremap, brk and madvise. At an exit the registers still
//! hold the arguments (the kernel saves them and changes only `rax`), so that no entry needs a
//! tracepoint, which every system call of every process on the node would pay for.
//! Reads: registers, the stack. Writes: RANGES, HEAP_END. May lose: every reason of growth.

use aya_ebpf::bindings::pt_regs;
use leaktrace_common::{GrowthKind, GrowthOperation, Lost, mmap_kind, page_aligned};

use crate::{
    maps::HEAP_END,
    ranges,
    sites::{self, Event},
    task::{Registers, is_target, user_registers},
};

/// Numbers of arch/x86/entry/syscalls/syscall_64.tbl.
const MMAP: u64 = 9;
const MUNMAP: u64 = 11;
const BRK: u64 = 12;
const MREMAP: u64 = 25;
const MADVISE: u64 = 28;
/// include/uapi/asm-generic/mman-common.h, as the next.
const MADV_DONTNEED: u64 = 4;
const MADV_FREE: u64 = 8;
const MAP_FIXED: u64 = 0x10;
/// Results from here on are errors (`MAX_ERRNO` in include/linux/err.h).
const FIRST_ERROR: u64 = u64::MAX - 4094;

/// A call with its arguments and its result.
#[derive(Clone, Copy)]
struct Call {
    number: u64,
    arguments: [u64; 4],
    result: u64,
    registers: Registers,
}

/// A call of some process has ended.
#[inline(always)]
pub fn try_call() -> Result<(), Lost> {
    if !is_target() {
        return Ok(());
    }
    let call = read(user_registers().ok_or(Lost::RegistersUnknown)?);
    if call.result >= FIRST_ERROR {
        return Ok(());
    }
    match call.number {
        MMAP => mmap(&call),
        MUNMAP => munmap(&call),
        BRK => brk(&call),
        MREMAP => mremap(&call),
        MADVISE => madvise(&call),
        _ => Ok(()),
    }
}

#[inline(always)]
fn read(regs: *const pt_regs) -> Call {
    // SAFETY: `user_registers` gives what may be read.
    unsafe {
        Call {
            number: (*regs).orig_rax,
            arguments: [(*regs).rdi, (*regs).rsi, (*regs).rdx, (*regs).r10],
            result: (*regs).rax,
            registers: Registers { ip: (*regs).rip, sp: (*regs).rsp, bp: (*regs).rbp },
        }
    }
}

#[inline(always)]
fn mmap(call: &Call) -> Result<(), Lost> {
    let [_, length, protection, flags] = call.arguments;
    let (kind, bytes) = (mmap_kind(protection, flags) as u64, page_aligned(length));
    let site = count(call, GrowthOperation::Map, kind, bytes, call.result)?;
    if flags & MAP_FIXED != 0 {
        // What lay there is gone, but nobody asked for it to be unmapped: only its makers are told.
        ranges::remove(call.result, bytes, |_kind, _bytes| Ok(()))?;
    }
    ranges::insert(call.result, site, bytes, kind)
}

#[inline(always)]
fn munmap(call: &Call) -> Result<(), Lost> {
    let [address, length, ..] = call.arguments;
    ranges::remove(address, page_aligned(length), |kind, bytes| {
        count(call, GrowthOperation::Unmap, kind, bytes, address).map(|_site| ())
    })
}

/// Counts by how much the end of the heap has moved. Failed calls and questions don't move it.
#[inline(always)]
fn brk(call: &Call) -> Result<(), Lost> {
    let end = HEAP_END.get_ptr_mut(0).ok_or(Lost::MapMissing)?;
    let (kind, after) = (GrowthKind::Heap as u64, page_aligned(call.result));
    // SAFETY: array values live as long as the map. Allocators serialise their calls of brk.
    let before = unsafe { core::ptr::replace(end, after) };
    if before == 0 || before == after {
        return Ok(());
    }
    let (operation, bytes) = match after > before {
        true => (GrowthOperation::Map, after - before),
        false => (GrowthOperation::Unmap, before - after),
    };
    count(call, operation, kind, bytes, call.result).map(|_site| ())
}

#[inline(always)]
fn mremap(call: &Call) -> Result<(), Lost> {
    let [address, before, after, _] = call.arguments;
    let (before, after) = (page_aligned(before), page_aligned(after));
    let kind = ranges::kind(address);
    if after > before {
        let grown = after - before;
        let site = count(call, GrowthOperation::Map, kind, grown, call.result)?;
        return ranges::resize(address, call.result, site, after);
    }
    if after < before {
        count(call, GrowthOperation::Unmap, kind, before - after, call.result)?;
    }
    ranges::resize(address, call.result, 0, after)
}

#[inline(always)]
fn madvise(call: &Call) -> Result<(), Lost> {
    let [address, length, advice, _] = call.arguments;
    if advice != MADV_DONTNEED && advice != MADV_FREE {
        return Ok(());
    }
    let bytes = page_aligned(length);
    count(call, GrowthOperation::Discard, ranges::kind(address), bytes, address).map(|_site| ())
}

#[inline(always)]
fn count(
    call: &Call,
    operation: GrowthOperation,
    kind: u64,
    amount: u64,
    address: u64,
) -> Result<u64, Lost> {
    sites::count(&Event { operation, kind, amount, address }, Some(&call.registers))
}
