//! Sites and totals: who did how much of what.
//!
//! Writes: GROWTH_SITES, GROWTH_FRAMES, GROWTH_SUMS, SCRATCH. May lose: SitesFull, and what the
//! walk loses.

use aya_ebpf::bindings::BPF_NOEXIST;
use leaktrace_common::{
    GrowthCounters, GrowthOperation, Lost, growth_overflow_site, growth_total_index,
};

use crate::{
    atomic, lost,
    maps::{GROWTH_FRAMES, GROWTH_SITES, GROWTH_SUMS, SCRATCH},
    stack,
    task::Registers,
};

/// `-EEXIST` as bpf_map_update_elem gives it back.
const EEXIST: i32 = -17;

/// One thing that happened.
#[derive(Clone, Copy)]
pub struct Event {
    pub operation: GrowthOperation,
    /// A `GrowthKind`.
    pub kind: u64,
    /// Bytes; of faults: how many.
    pub amount: u64,
    pub address: u64,
}

/// Counts `event` in the totals and at its site, which it gives. Without registers the site is not
/// known. A function of its own, so that the object has the walk once per program.
#[inline(never)]
pub fn count(event: &Event, registers: Option<&Registers>) -> Result<u64, Lost> {
    let row = growth_total_index(event.operation, event.kind);
    let total = GROWTH_SUMS.get_ptr_mut(row).ok_or(Lost::MapMissing)?;
    // SAFETY: array values live as long as the map.
    unsafe {
        atomic::add(&raw mut (*total).calls, 1);
        atomic::add(&raw mut (*total).amount, event.amount);
    }
    let (site, counters) = find(event, registers)?;
    // SAFETY: a live map value, sites are never deleted. Of CPUs that write the last address at
    // once, either is the last.
    unsafe {
        atomic::add(&raw mut (*counters).calls, 1);
        atomic::add(&raw mut (*counters).amount, event.amount);
        (*counters).last_address = event.address;
    }
    Ok(site)
}

/// Counts bytes that `site` had mapped as unmapped.
#[inline(always)]
pub fn release(site: u64, bytes: u64) {
    if let Some(counters) = GROWTH_SITES.get_ptr_mut(site) {
        // SAFETY: as in `count`.
        unsafe { atomic::add(&raw mut (*counters).released_bytes, bytes) };
    }
}

/// The site of an event with its counters: known, new, or the overflow site.
#[inline(always)]
fn find(event: &Event, registers: Option<&Registers>) -> Result<(u64, *mut GrowthCounters), Lost> {
    let site = match registers {
        Some(registers) => enter(event, registers),
        None => Err(Lost::RegistersUnknown),
    };
    match site {
        Ok(found) => Ok(found),
        Err(reason) => {
            lost::count(reason);
            let site = growth_overflow_site(event.operation);
            let counters = GROWTH_SITES.get_ptr_mut(site).ok_or(Lost::MapMissing)?;
            Ok((site, counters))
        }
    }
}

#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value, a copy of the frames would not fit on the stack"
)]
fn enter(event: &Event, registers: &Registers) -> Result<(u64, *mut GrowthCounters), Lost> {
    let slot = u32::from(event.operation as u64 != GrowthOperation::Fault as u64);
    let frames = SCRATCH.get_ptr_mut(slot).ok_or(Lost::MapMissing)?;
    // SAFETY: this CPU's own value, which nobody else uses until the program ends (see SCRATCH).
    let frames = unsafe { &mut *frames };
    frames.operation = event.operation as u64;
    frames.kind = event.kind;
    let (site, is_complete) = stack::collect(registers, frames);
    if !is_complete {
        lost::count(Lost::FrameUnreadable);
    }
    if let Some(counters) = GROWTH_SITES.get_ptr_mut(site) {
        return Ok((site, counters));
    }
    // Another CPU may have been first; that is as good.
    match GROWTH_SITES.insert(site, GrowthCounters::default(), BPF_NOEXIST.into()) {
        Ok(()) | Err(EEXIST) => {}
        Err(_) => return Err(Lost::SitesFull),
    }
    let _ = GROWTH_FRAMES.insert(site, &*frames, BPF_NOEXIST.into());
    let counters = GROWTH_SITES.get_ptr_mut(site).ok_or(Lost::MapMissing)?;
    Ok((site, counters))
}
