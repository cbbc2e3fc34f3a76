//! Small files as they are, beginning with hand-made Go executables.

#![no_main]

#[path = "../../support/readers.rs"]
mod readers;
#[path = "../../support/tiny.rs"]
mod tiny;

use std::alloc::System;

use cap::Cap;
use leaktrace::binary::Blocks;
use leaktrace_fuzz::bounded;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    bounded(&MEMORY, || {
        readers::read_all(&Blocks::new(bytes.to_vec()), &tiny::pcs(), &tiny::ITABS)
    });
});
