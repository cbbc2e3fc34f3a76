//! `cargo xtask lint`: every check that needs no running target.

use std::{env::consts, process::Command};

use anyhow::{Result, ensure};

use crate::{
    command::{capture, cargo, run as run_command},
    go, layers, paths, setup,
};

/// Runs all checks; the first that fails ends it.
pub fn run() -> Result<()> {
    run_command(cargo().args(["fmt", "--all", "--check"]))?;
    layers::run()?;
    setup::rust()?;
    run_command(&mut clippy_host())?;
    run_command(&mut clippy_bpf())?;
    workloads()
}

fn clippy_host() -> Command {
    let mut clippy = cargo();
    clippy.args(["clippy", "--workspace", "--exclude", "leaktrace-ebpf", "--all-targets"]);
    clippy.args(["--", "-D", "warnings"]);
    clippy
}

/// As aya-build does it for the real build, in a target folder of its own.
fn clippy_bpf() -> Command {
    let mut clippy = cargo();
    clippy
        .current_dir(paths::root().join("leaktrace-ebpf"))
        .args(["clippy", "--bins", "--target", "bpfel-unknown-none", "-Z", "build-std=core"])
        .arg("--release")
        .arg("--target-dir")
        .arg(paths::target().join("ebpf-lint"))
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", consts::ARCH))
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    clippy
}

fn workloads() -> Result<()> {
    let Some(toolchain) = go::installed_or_in_path() else {
        eprintln!(
            "no Go toolchain: the workloads were not checked (cargo xtask setup installs one)"
        );
        return Ok(());
    };
    let tests = paths::root().join("tests");
    let unformatted = capture(toolchain.gofmt().arg("-l").arg(&tests))?;
    ensure!(unformatted.is_empty(), "not formatted with gofmt: {}", unformatted.trim());
    for program in ["go", "kubelet", "layouts", "player", "served"] {
        let mut vet = toolchain.command();
        run_command(vet.current_dir(tests.join("workloads").join(program)).args(["vet", "./..."]))?;
    }
    Ok(())
}
