//! A goroutine starts, or ends.
//!
//! Attaches to: `runtime.newproc(fn *funcval)`, which every `go` statement calls on the stack of
//! whoever starts the goroutine; `runtime.newcoro`, the same for `iter.Pull`; `runtime.gdestroy(gp)`
//! or `runtime.goexit0(gp)`, which every end passes (Go 1.21 to 1.27); at the `push %rbp` behind the
//! stack check. Reads: registers, the stack, one word of the function value, two of the goroutine.
//! Writes: what `gate` and `sites` write. May lose: GoroutineUnreadable, and what `sites` loses.

use aya_ebpf::{helpers::bpf_probe_read_user, programs::ProbeContext};
use leaktrace_common::{GOROUTINE_OVERFLOW_SITE, GoroutineSite, Lost};

use crate::{gate, lost, sites};

/// The offset of `gopc` in `runtime.g` (runtime/runtime2.go), and the address of
/// `runtime.corostart`; userspace sets them before loading.
#[unsafe(no_mangle)]
static GOPC_OFFSET: u64 = 0;
#[unsafe(no_mangle)]
static COROUTINE_START: u64 = 0;

/// What userspace has set.
#[inline(always)]
fn constant(value: &'static u64) -> u64 {
    // SAFETY: valid for as long as the program is; volatile, because what it holds here is not what
    // it holds in the kernel.
    unsafe { core::ptr::read_volatile(value) }
}

/// The function value in RAX is started as a goroutine; its first word is the function's entry.
#[inline(always)]
pub fn try_start(ctx: &ProbeContext) -> Result<(), Lost> {
    let weight = gate::pass(|totals| &raw mut totals.started)?;
    if weight == 0 {
        return Ok(());
    }
    // SAFETY: the kernel hands a uprobe program a valid pt_regs; probe_read_user checks the address
    // itself.
    match unsafe { bpf_probe_read_user((*ctx.regs).rax as *const u64) } {
        Ok(start_pc) => sites::start(ctx, start_pc, weight),
        Err(_) => {
            sites::start_elsewhere(GOROUTINE_OVERFLOW_SITE, Lost::GoroutineUnreadable, weight)
        }
    }
}

/// A coroutine is made: a goroutine that always begins with `runtime.corostart`.
#[inline(always)]
pub fn try_start_coroutine(ctx: &ProbeContext) -> Result<(), Lost> {
    let weight = gate::pass(|totals| &raw mut totals.started)?;
    if weight == 0 {
        return Ok(());
    }
    sites::start(ctx, constant(&COROUTINE_START), weight)
}

/// The goroutine in RAX ends.
#[inline(always)]
pub fn try_end(ctx: &ProbeContext) -> Result<(), Lost> {
    let weight = gate::pass(|totals| &raw mut totals.ended)?;
    if weight == 0 {
        return Ok(());
    }
    // SAFETY: the kernel hands a uprobe program a valid pt_regs.
    let goroutine = unsafe { (*ctx.regs).rax };
    let site = remembered_site(goroutine).unwrap_or_else(|reason| {
        lost::count(reason);
        GOROUTINE_OVERFLOW_SITE
    });
    sites::end(site, weight)
}

/// What a goroutine remembers of its start, as it lies in `runtime.g`: one read, since a second
/// would cost as much as a look into a map. That `startpc` lies there is checked when it is planned.
#[repr(C)]
#[derive(Clone, Copy)]
struct Remembered {
    gopc: u64,
    _ancestors: u64,
    startpc: u64,
}

/// Where the goroutine at `address` was started, as it remembers itself.
#[inline(always)]
fn remembered_site(address: u64) -> Result<GoroutineSite, Lost> {
    let gopc = address.wrapping_add(constant(&GOPC_OFFSET));
    // SAFETY: probe_read_user checks the address itself.
    match unsafe { bpf_probe_read_user(gopc as *const Remembered) } {
        Ok(known) => Ok(GoroutineSite { creator_pc: known.gopc, start_pc: known.startpc }),
        Err(_) => Err(Lost::GoroutineUnreadable),
    }
}
