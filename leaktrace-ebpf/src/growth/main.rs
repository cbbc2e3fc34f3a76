//! The BPF programs that trace growth of memory: entry points only.
#![no_std]
#![no_main]
#![expect(internal_features, reason = "BPF's atomic add has no stable spelling")]
#![expect(missing_docs, reason = "the macros drop the documentation of their functions")]
#![feature(core_intrinsics)]

#[path = "../atomic.rs"]
mod atomic;
mod calls;
mod faults;
mod lost;
mod maps;
mod ranges;
mod sites;
mod stack;
mod task;

use aya_ebpf::{
    macros::{perf_event, tracepoint},
    programs::{PerfEventContext, TracePointContext},
};

/// Attached to a software event of page faults of each of the target's threads.
#[perf_event]
pub fn page_fault(ctx: PerfEventContext) -> u32 {
    lost::count_err(faults::try_fault(&ctx))
}

/// Attached to the exits of mmap, munmap, mremap, brk and madvise.
#[tracepoint]
pub fn mapping_call(_ctx: TracePointContext) -> u32 {
    lost::count_err(calls::try_call())
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel offers its GPL-only helpers (user memory reads) to this licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
