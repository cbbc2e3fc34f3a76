//! Context creation and release.
//!
//! Attaches to: `context.(*cancelCtx).propagateCancel` (create) and `context.(*cancelCtx).cancel`
//! or what has it inlined (release), at the `push %rbp` behind the stack check, where the Go
//! register ABI's arguments are intact. Every cancellable context passes both (Go 1.21 to 1.27).
//! Reads: registers, the stack, one word of the context. Writes: SITES, SITE_FRAMES, LIVE,
//! SAMPLING, TOTALS, LOST. May lose: every reason in `Lost`.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{bpf_probe_read_user, generated::bpf_ktime_get_ns},
    programs::ProbeContext,
};
use aya_log_ebpf::debug;
use leaktrace_common::{
    ContextTotals, FRAMES_MAX, LiveContext, Lost, OVERFLOW_SITE, Sampling, SiteCounters,
    SiteFrames, is_sampled, lifetime_bucket, must_widen,
};

use crate::{
    atomic, lost,
    maps::{EVICTION, LIVE, SAMPLING, SITE_FRAMES, SITES, TOTALS, ZERO_COUNTERS},
    stack,
};

/// Offset of `err` in `context.cancelCtx`: its first word is 0 until the first cancel.
/// The same in Go 1.21 to 1.27 (src/context/context.go; checked in DWARF).
const CANCEL_CTX_ERR: u64 = 48;

/// Offset of the first captured variable in a Go closure, behind its code pointer.
const CLOSURE_CAPTURED: u64 = 8;

/// `-EEXIST` as bpf_map_update_elem gives it back.
const EEXIST: i32 = -17;

/// `-ENOENT` as bpf_map_delete_elem gives it back.
const ENOENT: i32 = -2;

/// A context at the address in RAX begins its life, under a parent passed as an interface value
/// in RBX (itab) and RCX (data).
#[inline(always)]
pub fn try_create(ctx: &ProbeContext) -> Result<(), Lost> {
    // SAFETY: the kernel hands a uprobe program a valid pt_regs.
    let address = unsafe { (*ctx.regs).rax };
    let (site, counters) = creating_site(ctx)?;
    // SAFETY: `counters` is a live map value; sites are never deleted.
    unsafe { atomic::add(&raw mut (*counters).created, 1) };
    let sampling = SAMPLING.get_ptr_mut(0).ok_or(Lost::MapMissing)?;
    // SAFETY: array values live as long as the map; a racing change of `shift` is harmless,
    // userspace evicts what was tracked under the old one.
    let shift = unsafe { (*sampling).shift };
    if !is_sampled(address, shift) {
        // SAFETY: as for `created`.
        unsafe { atomic::add(&raw mut (*counters).untracked, 1) };
        return Ok(());
    }
    // SAFETY: a helper without arguments.
    let created_ns = unsafe { bpf_ktime_get_ns() };
    match track(ctx, address, LiveContext { site, created_ns }, sampling) {
        Err(Lost::LiveFull) => {
            // SAFETY: as for `created`.
            unsafe { atomic::add(&raw mut (*counters).untracked, 1) };
            // In a sample, each lost context stood for 2^shift.
            lost::count_many(ctx, Lost::LiveFull, 1 << (shift & 63));
        }
        other => other?,
    }
    // SAFETY: as above.
    if is_sampled(address, unsafe { (*sampling).shift }) {
        return Ok(());
    }
    untrack(address, counters, sampling)
}

/// Takes out what was entered while another CPU widened the sampling: userspace may have looked
/// for what it evicts before.
#[inline(always)]
fn untrack(address: u64, counters: *mut SiteCounters, sampling: *mut Sampling) -> Result<(), Lost> {
    if LIVE.remove(address).is_ok() {
        // SAFETY: live map values; adding 2^64 - 1 takes one away.
        unsafe {
            atomic::add(&raw mut (*sampling).tracked, u64::MAX);
            atomic::add(&raw mut (*counters).untracked, 1);
        }
    }
    Ok(())
}

/// The context in RAX is cancelled.
#[inline(always)]
pub fn try_release(ctx: &ProbeContext) -> Result<(), Lost> {
    // SAFETY: the kernel hands a uprobe program a valid pt_regs.
    release(unsafe { (*ctx.regs).rax })
}

/// The context captured by the closure in RDX is cancelled.
#[inline(always)]
pub fn try_release_closure(ctx: &ProbeContext) -> Result<(), Lost> {
    // SAFETY: the kernel hands a uprobe program a valid pt_regs.
    let closure = unsafe { (*ctx.regs).rdx };
    // SAFETY: probe_read_user checks the address itself.
    let captured = unsafe { bpf_probe_read_user((closure + CLOSURE_CAPTURED) as *const u64) };
    release(captured.map_err(|_| Lost::ContextUnreadable)?)
}

/// The site of this creation with its counters: known, new, or the overflow site.
#[inline(always)]
fn creating_site(ctx: &ProbeContext) -> Result<(u64, *mut SiteCounters), Lost> {
    // SAFETY: the kernel hands a uprobe program a valid pt_regs.
    let parent_itab = unsafe { (*ctx.regs).rbx };
    let site = match stack::hash(ctx, parent_itab) {
        Ok((site, Ok(()))) => site,
        Ok((site, Err(cut_short))) => {
            lost::count(ctx, cut_short);
            site
        }
        Err(reason) => {
            lost::count(ctx, reason);
            OVERFLOW_SITE
        }
    };
    if let Some(counters) = SITES.get_ptr_mut(site) {
        return Ok((site, counters));
    }
    if let Err(reason) = enter_site(ctx, site, parent_itab) {
        lost::count(ctx, reason);
    } else if let Some(counters) = SITES.get_ptr_mut(site) {
        return Ok((site, counters));
    }
    let counters = SITES.get_ptr_mut(OVERFLOW_SITE).ok_or(Lost::MapMissing)?;
    Ok((OVERFLOW_SITE, counters))
}

/// Enters a site that is seen for the first time. A function of its own, since its frames take
/// half of the BPF stack.
#[inline(never)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value, a second copy of the frames would not fit on the stack"
)]
fn enter_site(ctx: &ProbeContext, site: u64, parent_itab: u64) -> Result<(), Lost> {
    let mut frames = SiteFrames { pcs: [0; FRAMES_MAX], depth: 0, parent_itab };
    frames.depth = stack::collect(ctx, &mut frames.pcs)?;
    let zero = ZERO_COUNTERS.get(0).ok_or(Lost::MapMissing)?;
    // Another CPU may have been first; that is as good.
    match SITES.insert(site, zero, BPF_NOEXIST.into()) {
        Ok(()) | Err(EEXIST) => {}
        Err(_) => return Err(Lost::SitesFull),
    }
    let _ = SITE_FRAMES.insert(site, &frames, BPF_NOEXIST.into());
    debug!(ctx, "new site {:x}, {} frames", site, frames.depth);
    Ok(())
}

/// Enters a new context. An entry already there is of a context whose memory the garbage
/// collector has given out again: it was collected without a release.
#[inline(always)]
fn track(
    ctx: &ProbeContext,
    address: u64,
    context: LiveContext,
    sampling: *mut Sampling,
) -> Result<(), Lost> {
    match LIVE.insert(address, context, BPF_NOEXIST.into()) {
        Ok(()) => {
            // SAFETY: array values live as long as the map.
            unsafe { atomic::add(&raw mut (*sampling).tracked, 1) };
            widen_if_full(ctx, sampling)
        }
        Err(EEXIST) => replace_collected(address, context),
        Err(_) => Err(Lost::LiveFull),
    }
}

/// CPUs that widen at once write the same next step: no step is taken twice for one need.
#[inline(always)]
fn widen_if_full(ctx: &ProbeContext, sampling: *mut Sampling) -> Result<(), Lost> {
    let eviction = EVICTION.get(0).ok_or(Lost::MapMissing)?;
    // SAFETY: array values live as long as the map.
    let state = unsafe { *sampling };
    if must_widen(&state, eviction) {
        // SAFETY: as above.
        unsafe { (*sampling).shift = state.shift + 1 };
        debug!(ctx, "live map filling: sampling 1 in 2^{}", state.shift + 1);
    }
    Ok(())
}

#[inline(always)]
fn replace_collected(address: u64, context: LiveContext) -> Result<(), Lost> {
    if let Some(dead) = LIVE.get_ptr(address) {
        // SAFETY: the entry is only replaced or removed by code that owns this address, and two
        // contexts can't be created at one address at once.
        let site = unsafe { (*dead).site };
        if let Some(counters) = SITES.get_ptr_mut(site) {
            // SAFETY: a live map value; sites are never deleted.
            unsafe { atomic::add(&raw mut (*counters).collected, 1) };
        }
    }
    LIVE.insert(address, context, BPF_ANY.into()).map_err(|_| Lost::LiveFull)
}

/// Counts the release of the context at `address`, if this cancel is its first.
#[inline(always)]
fn release(address: u64) -> Result<(), Lost> {
    let sampling = SAMPLING.get_ptr_mut(0).ok_or(Lost::MapMissing)?;
    // SAFETY: array values live as long as the map.
    let shift = unsafe { (*sampling).shift };
    if !is_sampled(address, shift) {
        return match is_first_cancel(address)? {
            true => add_total(|totals| &raw mut totals.released_sampled_out, 1),
            false => add_total(|totals| &raw mut totals.repeated_cancels, 1),
        };
    }
    let Some(live) = LIVE.get_ptr(address) else {
        return release_untracked(address, shift);
    };
    // SAFETY: copied before the removal that could let another CPU reuse the entry.
    let context = unsafe { *live };
    match LIVE.remove(address) {
        Ok(()) => {}
        // Another thread cancels the same context at the same moment; it has counted it.
        Err(ENOENT) => return add_total(|totals| &raw mut totals.repeated_cancels, 1),
        Err(_) => return Err(Lost::MapMissing),
    }
    // SAFETY: array values live as long as the map; adding 2^64 - 1 takes one away.
    unsafe { atomic::add(&raw mut (*sampling).tracked, u64::MAX) };
    count_release(&context)
}

#[inline(always)]
fn count_release(context: &LiveContext) -> Result<(), Lost> {
    let counters = SITES.get_ptr_mut(context.site).ok_or(Lost::MapMissing)?;
    // SAFETY: a helper without arguments.
    let lifetime_ns = unsafe { bpf_ktime_get_ns() }.saturating_sub(context.created_ns);
    // SAFETY: a live map value, sites are never deleted; the bucket is below the array's length.
    unsafe {
        atomic::add(&raw mut (*counters).released, 1);
        atomic::add(&raw mut (*counters).lifetimes[lifetime_bucket(lifetime_ns)], 1);
    }
    Ok(())
}

/// A cancel of a context that should be in the live map and is not.
#[inline(always)]
fn release_untracked(address: u64, shift: u64) -> Result<(), Lost> {
    if !is_first_cancel(address)? {
        return add_total(|totals| &raw mut totals.repeated_cancels, 1);
    }
    add_total(|totals| &raw mut totals.released_untracked, 1)?;
    add_total(|totals| &raw mut totals.released_untracked_scaled, 1 << (shift & 63))
}

/// Whether the context's `err` is still empty.
#[inline(always)]
fn is_first_cancel(address: u64) -> Result<bool, Lost> {
    // SAFETY: probe_read_user checks the address itself.
    let err = unsafe { bpf_probe_read_user((address + CANCEL_CTX_ERR) as *const u64) };
    Ok(err.map_err(|_| Lost::ContextUnreadable)? == 0)
}

#[inline(always)]
fn add_total(field: impl FnOnce(&mut ContextTotals) -> *mut u64, n: u64) -> Result<(), Lost> {
    let totals = TOTALS.get_ptr_mut(0).ok_or(Lost::MapMissing)?;
    // SAFETY: array values live as long as the map; a preempting probe on this CPU may add to
    // the same field, hence the atomic add.
    unsafe { atomic::add(field(&mut *totals), n) };
    Ok(())
}
