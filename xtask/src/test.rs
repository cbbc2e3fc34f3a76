//! `cargo xtask test`: all tests of the workspace, with workloads built by every Go version.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    command::{cargo, run as run_command},
    go, kubelet, layouts, native, parts, player, served, setup, support, tools,
    workloads::{self, Link},
};

/// A version whose compiler inlines `cancel` with the profile that the workloads have.
const PGO_VERSION: &str = "1.22.10";

/// Arguments of `test`.
#[derive(clap::Args)]
pub struct Args {
    /// Passed on to `cargo test`
    #[arg(last = true)]
    cargo_args: Vec<String>,
}

/// Installs, builds, and runs the tests. They find the workloads by `LEAKTRACE_WORKLOADS`, and a
/// full run leaves what it proved in `LEAKTRACE_RESULTS`, which README and docs have to say.
pub fn run(args: &Args) -> Result<()> {
    setup::rust()?;
    tools::require_cc()?;
    tools::require_strip()?;
    layouts::check()?;
    build_workloads()?;
    let full = args.cargo_args.is_empty();
    let mut test = cargo();
    if full {
        remove_results()?;
        test.env("LEAKTRACE_RESULTS", support::results_folder());
    }
    test.args(["test", "--workspace", "--exclude", "leaktrace-ebpf"]).args(&args.cargo_args);
    run_command(test.env("LEAKTRACE_WORKLOADS", workloads::folder()))?;
    // Part of the tests proves a part, which the documents must not shrink to.
    if full { support::check() } else { Ok(()) }
}

/// Builds what is missing of the workloads that tests and fuzzing read.
pub fn build_workloads() -> Result<()> {
    native::build()?;
    parts::build()?;
    for toolchain in go::all_toolchains()? {
        for link in Link::TESTED {
            workloads::build(&toolchain, link)?;
        }
        kubelet::build(&toolchain)?;
        served::build(&toolchain)?;
        player::build(&toolchain)?;
        workloads::link_tools(&toolchain)?;
        if toolchain.version == PGO_VERSION {
            workloads::build(&toolchain, Link::Pgo)?;
        }
    }
    Ok(())
}

/// So that nothing counts as proven by a run that is over.
fn remove_results() -> Result<()> {
    let folder = support::results_folder();
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("can't remove {}", folder.display()))?;
    }
    Ok(())
}
