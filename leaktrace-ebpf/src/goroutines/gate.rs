//! Whether an event is counted, and with what weight.
//!
//! Reads: GATE. Writes: GOROUTINE_SUMS. May lose: nothing; what falls outside an open gate is not
//! lost but sampled out, and userspace knows when the gate was open.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use leaktrace_common::{EventCount, GoroutineTotals, Lost, WEIGHT_ONE};

use crate::{
    atomic,
    maps::{GATE, GOROUTINE_SUMS},
};

/// Counts the event in `field` if the gate is open; gives its weight, 0 if it is not.
#[inline(always)]
pub fn pass(field: impl FnOnce(&mut GoroutineTotals) -> *mut u64) -> Result<u64, Lost> {
    let gate = GATE.get(0).ok_or(Lost::MapMissing)?;
    let totals = GOROUTINE_SUMS.get_ptr_mut(0).ok_or(Lost::MapMissing)?;
    // SAFETY: array values live as long as the map; a preempting probe on this CPU may add to the
    // same field, hence the atomic adds. The clock is a helper without arguments.
    unsafe {
        if gate.weight == 0 || (gate.until_ns != 0 && bpf_ktime_get_ns() >= gate.until_ns) {
            atomic::add(&raw mut (*totals).ignored, 1);
            return Ok(0);
        }
        atomic::add(field(&mut *totals), 1);
    }
    Ok(gate.weight)
}

/// Counts one event of this weight.
///
/// # Safety
/// `count` must point into a live map value.
#[inline(always)]
pub unsafe fn add(count: *mut EventCount, weight: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        atomic::add(&raw mut (*count).seen, 1);
        if weight > WEIGHT_ONE {
            atomic::add(&raw mut (*count).unseen_weight, weight - WEIGHT_ONE);
        }
    }
}
