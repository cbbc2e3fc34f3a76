//! Recorded memory of Go processes with a few places overwritten, also while it is read.

#![no_main]

#[path = "../../support/moving.rs"]
mod moving;
#[path = "../../support/recording.rs"]
mod recording;

use std::alloc::System;

use cap::Cap;
use leaktrace_fuzz::bounded;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

libfuzzer_sys::fuzz_target!(
    // The recordings are read once, and are no input's memory.
    init: drop(moving::read_moving(&[0; 4], false)),
    |bytes: &[u8]| bounded(&MEMORY, || moving::read_moving(bytes, true))
);
