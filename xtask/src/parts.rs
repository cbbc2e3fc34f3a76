//! Builds the C program that takes memory of one kind at a time, for the tests of the ledger.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{command::run, paths, workloads};

/// Builds it if it is missing or older than its source.
pub fn build() -> Result<()> {
    let program = workloads::folder().join("ledger").join("parts");
    if workloads::is_current(&program, &source())? {
        return Ok(());
    }
    eprintln!("building the parts of memory");
    workloads::make_parent(&program)?;
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Wextra", "-pthread", "-o"]).arg(&program);
    run(cc.arg(source().join("parts.c")))
}

/// The folder of its source.
fn source() -> PathBuf {
    paths::root().join("tests/workloads/ledger")
}
