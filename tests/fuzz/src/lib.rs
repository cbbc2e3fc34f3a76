//! What all fuzz targets have in common.

use std::alloc::System;

use cap::Cap;

/// What reading one file may take beyond what was there before. The worst that the readers' own
/// limits allow is about 45 MiB: a thousand functions that inline `cancel`, with a name and a path
/// of 12 KiB each (4 KiB of what is shown as replacement characters), and a sentence about each.
const MEMORY_MAX: usize = 64 << 20;

/// Runs `read`; needing more memory ends the process, which libFuzzer takes for a crash.
pub fn bounded<T>(memory: &Cap<System>, read: impl FnOnce() -> T) {
    // A limit below what is allocated already is refused; this is above it.
    let _ = memory.set_limit(memory.allocated() + MEMORY_MAX);
    drop(read());
    let _ = memory.set_limit(usize::MAX);
}
