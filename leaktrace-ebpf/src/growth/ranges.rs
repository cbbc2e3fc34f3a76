//! What was mapped while tracing, until it is unmapped: so that an unmapping has a kind, and is
//! taken off the site that mapped.
//!
//! Writes: RANGES. May lose: MappingsFull, MappingsUnfollowed.
//! Non-goals: being the kernel's list. A range is known by its first address; what is unmapped out
//! of its middle has no known kind. What mremap leaves behind when it is asked to
//! (`MREMAP_DONTUNMAP`) is taken for moved.

use aya_ebpf::bindings::BPF_ANY;
use leaktrace_common::{GrowthKind, Lost, MappedRange};

use crate::{maps::RANGES, sites};

/// Ranges that one call may unmap at once; each costs the verifier a walk.
const PIECES_MAX: usize = 3;

/// The kind of the range that begins at `address`.
#[inline(always)]
pub fn kind(address: u64) -> u64 {
    match copy(address) {
        Some(range) => range.kind,
        None => GrowthKind::Unknown as u64,
    }
}

#[inline(always)]
fn copy(address: u64) -> Option<MappedRange> {
    let range = RANGES.get_ptr(address)?;
    // SAFETY: the entry is only replaced or removed by code that owns these addresses: the kernel
    // maps nothing twice.
    Some(unsafe { *range })
}

/// Enters what `site` has mapped. What is still known to be there was unmapped unnoticed.
#[inline(always)]
pub fn insert(address: u64, site: u64, bytes: u64, kind: u64) -> Result<(), Lost> {
    if let Some(old) = copy(address) {
        release(&old, old.bytes);
    }
    let range = MappedRange { site, bytes, grown_site: 0, grown_bytes: 0, kind };
    put(address, range)
}

#[inline(always)]
fn put(address: u64, range: MappedRange) -> Result<(), Lost> {
    RANGES.insert(address, range, BPF_ANY.into()).map_err(|_| Lost::MappingsFull)
}

/// Takes `bytes` from `address` on out of what is known, and tells `visit` the kind of each piece.
#[inline(always)]
pub fn remove(
    mut address: u64,
    mut bytes: u64,
    mut visit: impl FnMut(u64, u64) -> Result<(), Lost>,
) -> Result<(), Lost> {
    for _ in 0..PIECES_MAX {
        let Some(range) = copy(address) else {
            return visit(GrowthKind::Unknown as u64, bytes);
        };
        let piece = if range.bytes < bytes { range.bytes } else { bytes };
        let _ = RANGES.remove(address);
        if piece < range.bytes {
            put(address.wrapping_add(piece), shortened(range, piece))?;
        }
        release(&range, piece);
        visit(range.kind, piece)?;
        address = address.wrapping_add(piece);
        bytes -= piece;
        if bytes == 0 {
            return Ok(());
        }
    }
    visit(GrowthKind::Unknown as u64, bytes)?;
    Err(Lost::MappingsUnfollowed)
}

/// The range at `from` is `bytes` long now and begins at `to`; `site` has grown it, or none (0).
#[inline(always)]
pub fn resize(from: u64, to: u64, site: u64, bytes: u64) -> Result<(), Lost> {
    let Some(range) = copy(from) else {
        return Ok(());
    };
    if from != to {
        let _ = RANGES.remove(from);
    }
    if bytes > range.bytes {
        let grown_bytes = range.grown_bytes + (bytes - range.bytes);
        return put(to, MappedRange { bytes, grown_site: site, grown_bytes, ..range });
    }
    let gone = range.bytes - bytes;
    release(&range, gone);
    put(to, shortened(range, gone))
}

/// `range` without `bytes`, of which those go first that came last.
#[inline(always)]
fn shortened(range: MappedRange, bytes: u64) -> MappedRange {
    let grown_bytes = range.grown_bytes.saturating_sub(bytes);
    MappedRange { bytes: range.bytes - bytes, grown_bytes, ..range }
}

/// Takes `bytes` of `range` off the sites that mapped them, in the same order.
#[inline(always)]
fn release(range: &MappedRange, bytes: u64) {
    let grown = if range.grown_bytes < bytes { range.grown_bytes } else { bytes };
    if grown > 0 {
        sites::release(range.grown_site, grown);
    }
    if bytes > grown {
        sites::release(range.site, bytes - grown);
    }
}
