//! Counts by site and by call chain.
//!
//! Writes: GOROUTINE_STACKS, GOROUTINE_SITES. May lose: StacksFull, SitesFull, and what the walk
//! loses; every event is counted all the same, if need be under the overflow site.

use aya_ebpf::{bindings::BPF_NOEXIST, programs::ProbeContext};
use leaktrace_common::{
    EventCount, FRAMES_MAX, GOROUTINE_OVERFLOW_SITE, GoroutineCounters, GoroutineSite,
    GoroutineStack, Lost,
};

use crate::{
    gate, lost,
    maps::{GOROUTINE_SITES, GOROUTINE_STACKS},
    stack,
};

/// `-EEXIST` as bpf_map_update_elem gives it back.
const EEXIST: i32 = -17;

/// Counts the start of a goroutine with `start_pc` by whoever runs.
#[inline(always)]
pub fn start(ctx: &ProbeContext, start_pc: u64, weight: u64) -> Result<(), Lost> {
    let hash = match stack::hash(ctx, start_pc) {
        Ok((hash, Ok(()))) => hash,
        Ok((hash, Err(cut_short))) => {
            lost::count(cut_short);
            hash
        }
        Err(reason) => return start_elsewhere(GOROUTINE_OVERFLOW_SITE, reason, weight),
    };
    if let Some(known) = GOROUTINE_STACKS.get_ptr_mut(hash) {
        // SAFETY: a live map value; stacks are never deleted.
        unsafe { gate::add(&raw mut (*known).started, weight) };
        return Ok(());
    }
    start_new(ctx, hash, start_pc, weight)
}

/// Enters a call chain that is seen for the first time. A function of its own, since its frames
/// take half of the BPF stack.
#[inline(never)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value, a second copy of the frames would not fit on the stack"
)]
fn start_new(ctx: &ProbeContext, hash: u64, start_pc: u64, weight: u64) -> Result<(), Lost> {
    let started = EventCount { seen: 0, unseen_weight: 0 };
    let mut new = GoroutineStack { started, start_pc, depth: 0, pcs: [0; FRAMES_MAX] };
    new.depth = stack::collect(ctx, &mut new.pcs)?;
    // Another CPU may have been first; that is as good.
    match GOROUTINE_STACKS.insert(hash, &new, BPF_NOEXIST.into()) {
        Ok(()) | Err(EEXIST) => {}
        Err(_) => {
            let site = GoroutineSite { creator_pc: new.pcs[0], start_pc };
            return start_elsewhere(site, Lost::StacksFull, weight);
        }
    }
    let entered = GOROUTINE_STACKS.get_ptr_mut(hash).ok_or(Lost::MapMissing)?;
    // SAFETY: as in `start`.
    unsafe { gate::add(&raw mut (*entered).started, weight) };
    Ok(())
}

/// Counts a start by its site alone, because of `reason`.
#[inline(always)]
pub fn start_elsewhere(site: GoroutineSite, reason: Lost, weight: u64) -> Result<(), Lost> {
    lost::count(reason);
    let counters = find(site)?;
    // SAFETY: a live map value; sites are never deleted.
    unsafe { gate::add(&raw mut (*counters).started_elsewhere, weight) };
    Ok(())
}

/// Counts the end of a goroutine.
#[inline(always)]
pub fn end(site: GoroutineSite, weight: u64) -> Result<(), Lost> {
    let counters = find(site)?;
    // SAFETY: as in `start_elsewhere`.
    unsafe { gate::add(&raw mut (*counters).ended, weight) };
    Ok(())
}

/// The counters of a site: known, new, or of the overflow site.
#[inline(always)]
fn find(site: GoroutineSite) -> Result<*mut GoroutineCounters, Lost> {
    if let Some(counters) = GOROUTINE_SITES.get_ptr_mut(site) {
        return Ok(counters);
    }
    match GOROUTINE_SITES.insert(site, GoroutineCounters::default(), BPF_NOEXIST.into()) {
        Ok(()) | Err(EEXIST) => {}
        Err(_) => {
            lost::count(Lost::SitesFull);
            return GOROUTINE_SITES.get_ptr_mut(GOROUTINE_OVERFLOW_SITE).ok_or(Lost::MapMissing);
        }
    }
    GOROUTINE_SITES.get_ptr_mut(site).ok_or(Lost::MapMissing)
}
