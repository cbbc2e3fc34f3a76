//! `cargo xtask test`: all tests of the workspace, with workloads built by every Go version.

use anyhow::Result;

use crate::{
    command::{cargo, run as run_command},
    go, layouts, setup, tools,
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

/// Installs, builds, and runs the tests. They find the workloads by `LEAKTRACE_WORKLOADS`.
pub fn run(args: &Args) -> Result<()> {
    setup::rust()?;
    tools::require_strip()?;
    layouts::check()?;
    for toolchain in go::all_toolchains()? {
        for link in Link::TESTED {
            workloads::build(&toolchain, link)?;
        }
        workloads::link_tools(&toolchain)?;
        if toolchain.version == PGO_VERSION {
            workloads::build(&toolchain, Link::Pgo)?;
        }
    }
    let mut test = cargo();
    test.args(["test", "--workspace", "--exclude", "leaktrace-ebpf"]).args(&args.cargo_args);
    run_command(test.env("LEAKTRACE_WORKLOADS", workloads::folder()))
}
