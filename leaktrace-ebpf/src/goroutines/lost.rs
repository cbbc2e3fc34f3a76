//! Loss counting: an early exit is never silent.

use leaktrace_common::Lost;

use crate::{atomic, maps::LOST};

/// Counts the error of a program's body; the program's return value is 0 either way.
#[inline(always)]
pub fn count_err(result: Result<(), Lost>) -> u32 {
    if let Err(reason) = result {
        count(reason);
    }
    0
}

/// Counts one loss.
#[inline(always)]
pub fn count(reason: Lost) {
    if let Some(counter) = LOST.get_ptr_mut(reason as u32) {
        // SAFETY: `counter` was just looked up in an array map, whose values live as long as it.
        unsafe { atomic::add(counter, 1) };
    }
}
