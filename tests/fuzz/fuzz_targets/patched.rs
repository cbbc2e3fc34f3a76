//! Real Go executables with a few places overwritten, and cut off.

#![no_main]

#[path = "../../support/readers.rs"]
mod readers;
#[path = "../../support/script.rs"]
mod script;
#[path = "../../support/specimen.rs"]
mod specimen;

use std::alloc::System;

use cap::Cap;
use leaktrace_fuzz::bounded;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

libfuzzer_sys::fuzz_target!(
    // The honest executables are read once, and are no input's memory.
    init: drop(script::read_patched(&[0; 4])),
    |bytes: &[u8]| bounded(&MEMORY, || script::read_patched(bytes))
);
