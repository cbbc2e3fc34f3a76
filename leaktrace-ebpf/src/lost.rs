//! Loss counting: an early exit is never silent.

use aya_ebpf::programs::ProbeContext;
use aya_log_ebpf::debug;
use leaktrace_common::Lost;

use crate::{atomic, maps::LOST};

/// Counts the error of a program's body; the program's return value is 0 either way.
#[inline(always)]
pub fn count_err(ctx: &ProbeContext, result: Result<(), Lost>) -> u32 {
    if let Err(reason) = result {
        count(ctx, reason);
    }
    0
}

/// Counts one loss, and names it in the log at `-v`.
#[inline(always)]
pub fn count(ctx: &ProbeContext, reason: Lost) {
    count_many(ctx, reason, 1);
}

/// Counts a loss that stands for `n` events.
#[inline(always)]
pub fn count_many(ctx: &ProbeContext, reason: Lost, n: u64) {
    if let Some(counter) = LOST.get_ptr_mut(reason as u32) {
        // SAFETY: `counter` was just looked up in an array map, whose values live as long as it.
        unsafe { atomic::add(counter, n) };
    }
    debug!(ctx, "lost: reason {}", reason as u32);
}
