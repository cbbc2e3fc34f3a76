//! Where the BPF crate lies, so that leaktrace's build script finds it from any checkout or
//! package. The programs themselves are the binary target of this crate.
#![no_std]

/// This crate's folder.
pub const MANIFEST_DIR: &str = env!("CARGO_MANIFEST_DIR");
