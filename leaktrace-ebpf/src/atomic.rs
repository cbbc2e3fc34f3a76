//! Atomic adds. The BPF target of rustc has no compare-and-swap, hence no `AtomicU64::fetch_add`.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

/// Adds `n` to the map value's field at `counter`; the old value is not used, so that LLVM emits
/// the plain `XADD` which kernels before 5.12 know.
///
/// # Safety
/// `counter` must point into a live map value.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, n: u64) {
    // SAFETY: the caller's promise; map values are 8-byte aligned.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, n) };
}
