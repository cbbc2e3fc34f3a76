//! The BPF programs: entry points only, each a wrapper around `try_*` in its family's module.
#![no_std]
#![no_main]
#![expect(internal_features, reason = "BPF's atomic add has no stable spelling")]
#![expect(missing_docs, reason = "#[uprobe] drops the documentation of its function")]
#![feature(core_intrinsics)]

mod atomic;
mod context;
mod lost;
mod maps;
mod stack;

use aya_ebpf::{macros::uprobe, programs::ProbeContext};

/// Attached to the first `push` of `context.(*cancelCtx).propagateCancel`.
#[uprobe]
pub fn context_create(ctx: ProbeContext) -> u32 {
    lost::count_err(&ctx, context::try_create(&ctx))
}

/// Attached to the first `push` of `context.(*cancelCtx).cancel` and of the methods that have it
/// inlined: the receiver is the first argument.
#[uprobe]
pub fn context_release(ctx: ProbeContext) -> u32 {
    lost::count_err(&ctx, context::try_release(&ctx))
}

/// Attached to the first `push` of a cancel closure that has `cancel` inlined: the context is the
/// closure's captured variable.
#[uprobe]
pub fn context_release_closure(ctx: ProbeContext) -> u32 {
    lost::count_err(&ctx, context::try_release_closure(&ctx))
}

/// Attached by the benchmark only: what a probe costs that does nothing.
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
