//! The BPF programs that trace starts and ends of goroutines: entry points only.
#![no_std]
#![no_main]
#![expect(internal_features, reason = "BPF's atomic add has no stable spelling")]
#![expect(missing_docs, reason = "#[uprobe] drops the documentation of its function")]
#![feature(core_intrinsics)]

#[path = "../atomic.rs"]
mod atomic;
mod events;
mod gate;
mod lost;
mod maps;
mod sites;
#[path = "../stack.rs"]
mod stack;

use aya_ebpf::{macros::uprobe, programs::ProbeContext};

/// Attached to the first `push` of `runtime.newproc`.
#[uprobe]
pub fn goroutine_start(ctx: ProbeContext) -> u32 {
    lost::count_err(events::try_start(&ctx))
}

/// Attached to the first `push` of `runtime.newcoro`.
#[uprobe]
pub fn coroutine_start(ctx: ProbeContext) -> u32 {
    lost::count_err(events::try_start_coroutine(&ctx))
}

/// Attached to the first `push` of `runtime.gdestroy`, or of `runtime.goexit0` that has it inlined:
/// the goroutine is the first argument.
#[uprobe]
pub fn goroutine_end(ctx: ProbeContext) -> u32 {
    lost::count_err(events::try_end(&ctx))
}

/// Attached by the benchmark and the calibration only: what a probe costs that does nothing.
#[uprobe]
pub fn empty(_ctx: ProbeContext) -> u32 {
    0
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel offers its GPL-only helpers (user memory reads) to this licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
