//! Builds the workloads in C and Rust, with frame pointers: their sources in, programs out.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{command::run, paths, workloads};

/// At a fixed address, so that a symbol's value is where it runs.
const C_FLAGS: [&str; 7] =
    ["-O2", "-g", "-fno-omit-frame-pointer", "-no-pie", "-pthread", "-Wall", "-Werror"];
const RUST_FLAGS: [&str; 6] =
    ["--edition=2024", "-O", "-g", "-Cforce-frame-pointers=yes", "-Crelocation-model=static", "-o"];

/// Builds what is missing or older than its source; gives the C program.
pub fn build() -> Result<PathBuf> {
    let folder = workloads::folder().join("native");
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    let (grow, hoard) = (folder.join("grow"), folder.join("hoard"));
    build_one(&grow, "grow.c", |source| {
        let mut cc = Command::new("cc");
        cc.args(C_FLAGS).arg(source).arg("-o").arg(&grow);
        cc
    })?;
    build_one(&hoard, "hoard.rs", |source| {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.current_dir(paths::root()).args(RUST_FLAGS).arg(&hoard).arg(source);
        rustc
    })?;
    Ok(grow)
}

fn build_one(program: &Path, name: &str, command: impl FnOnce(&Path) -> Command) -> Result<()> {
    let source = paths::root().join("tests/workloads/native").join(name);
    if workloads::is_current(program, &source)? {
        return Ok(());
    }
    eprintln!("building {name}");
    run(&mut command(&source))
}
