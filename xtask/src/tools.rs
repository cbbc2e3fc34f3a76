//! The Rust side of the tool chain: is it there, and if not, install it at its pinned version.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::{
    command::{ask, capture, cargo, require, run},
    paths,
};

/// Links the LLVM of the rustc in rust-toolchain.toml.
const BPF_LINKER_VERSION: &str = "0.10.3";

/// Builds fuzz targets with the flags that libFuzzer needs.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// Fails unless there is a C compiler, which links Rust.
pub fn require_cc() -> Result<()> {
    require(
        Command::new("cc").arg("--version"),
        "install a C compiler, e.g. with: apt-get install build-essential",
    )
}

/// Fails unless there is a `strip`, which one kind of workload is made with.
pub fn require_strip() -> Result<()> {
    require(
        Command::new("strip").arg("--version"),
        "install binutils, e.g. with: apt-get install binutils",
    )
}

/// Makes sure that the standard library's source is there; the BPF programs are built with it.
pub fn ensure_rust_src() -> Result<()> {
    if has_rust_src()? {
        return Ok(());
    }
    require(
        Command::new("rustup").arg("--version"),
        "install it from https://rustup.rs, or add the source of the standard library (rust-src) \
         to your toolchain",
    )?;
    let mut rustup = Command::new("rustup");
    run(rustup.args(["component", "add", "rust-src"]).current_dir(paths::root()))?;
    ensure!(has_rust_src()?, "rust-src is still missing after `rustup component add rust-src`");
    Ok(())
}

/// Makes sure that bpf-linker is there at its pinned version.
pub fn ensure_bpf_linker() -> Result<()> {
    if has_bpf_linker() {
        return Ok(());
    }
    eprintln!("installing bpf-linker {BPF_LINKER_VERSION}");
    run(cargo().args(["install", "--locked", "bpf-linker", "--version", BPF_LINKER_VERSION]))?;
    ensure!(
        has_bpf_linker(),
        "bpf-linker {BPF_LINKER_VERSION} was installed but is not the one in PATH; \
         put cargo's bin folder (usually ~/.cargo/bin) first in PATH"
    );
    Ok(())
}

/// Makes sure that there is a C++ compiler, which builds libFuzzer, and cargo-fuzz.
pub fn ensure_cargo_fuzz() -> Result<()> {
    require(
        Command::new("c++").arg("--version"),
        "install a C++ compiler, e.g. with: apt-get install build-essential",
    )?;
    let there = || says(cargo().args(["fuzz", "--version"]), CARGO_FUZZ_VERSION);
    if there() {
        return Ok(());
    }
    eprintln!("installing cargo-fuzz {CARGO_FUZZ_VERSION}");
    run(cargo().args(["install", "--locked", "cargo-fuzz", "--version", CARGO_FUZZ_VERSION]))?;
    ensure!(there(), "cargo-fuzz {CARGO_FUZZ_VERSION} was installed but is not the one in PATH");
    Ok(())
}

fn has_bpf_linker() -> bool {
    says(Command::new("bpf-linker").arg("--version"), BPF_LINKER_VERSION)
}

/// Whether a program gives `version` as its own.
fn says(command: &mut Command, version: &str) -> bool {
    ask(command).is_some_and(|answer| answer.split_whitespace().any(|word| word == version))
}

fn has_rust_src() -> Result<bool> {
    let mut rustc = Command::new("rustc");
    let sysroot = capture(rustc.args(["--print", "sysroot"]).current_dir(paths::root()))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir())
}
