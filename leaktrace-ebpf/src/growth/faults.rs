//! Page faults of the target, one in as many as the event's period says.
//!
//! Attaches to: the software event PERF_COUNT_SW_PAGE_FAULTS of each thread; the kernel filters.
//! Reads: registers, the stack. May lose: RegistersUnknown, and what sites lose.

use aya_ebpf::{helpers::bpf_probe_read_kernel, programs::PerfEventContext};
use leaktrace_common::{GrowthKind, GrowthOperation, Lost};

use crate::{
    sites::{self, Event},
    task::{Registers, is_target, user_registers},
};

/// Privilege level 3 of the code segment: user mode (Intel SDM, volume 3, 5.5).
const USER_MODE: u64 = 3;

/// A page was touched for the first time.
#[inline(always)]
pub fn try_fault(ctx: &PerfEventContext) -> Result<(), Lost> {
    // Where the kernel can't keep an event from being inherited by children, they have it too.
    if !is_target() {
        return Ok(());
    }
    // SAFETY: the kernel hands a perf_event program a valid context.
    let (address, amount) = unsafe { ((*ctx.ctx).addr, (*ctx.ctx).sample_period) };
    let event = Event {
        operation: GrowthOperation::Fault,
        kind: GrowthKind::Unknown as u64,
        amount,
        address,
    };
    sites::count(&event, registers(ctx).as_ref()).map(|_site| ())
}

/// Where the target was: in its own code, or in a system call that touched its memory.
#[inline(always)]
fn registers(ctx: &PerfEventContext) -> Option<Registers> {
    // SAFETY: the kernel hands a perf_event program a valid context.
    let (cs, ip, sp, bp) = unsafe {
        let regs = &(*ctx.ctx).regs;
        (regs.cs, regs.rip, regs.rsp, regs.rbp)
    };
    if cs & USER_MODE == USER_MODE {
        return Some(Registers { ip, sp, bp });
    }
    let regs = user_registers()?;
    // By a helper: LLVM would make one load of this and of that from the context above, and the
    // verifier wants to know which it is.
    // SAFETY: probe_read_kernel checks the address itself.
    unsafe {
        Some(Registers {
            ip: bpf_probe_read_kernel(&raw const (*regs).rip).ok()?,
            sp: bpf_probe_read_kernel(&raw const (*regs).rsp).ok()?,
            bp: bpf_probe_read_kernel(&raw const (*regs).rbp).ok()?,
        })
    }
}
