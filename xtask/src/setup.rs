//! `cargo xtask setup`: installs what is missing, says what is there. Running it again is free.

use anyhow::Result;

use crate::{go, tools};

/// Arguments of `setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Install every Go version that the tests use, not only the demo's
    #[arg(long)]
    all_go: bool,
}

/// Installs what building, the demo and, if asked, the tests need.
pub fn run(args: &Args) -> Result<()> {
    rust()?;
    let toolchains = if args.all_go { go::all_toolchains()? } else { vec![go::demo_toolchain()?] };
    let versions: Vec<_> = toolchains.into_iter().map(|toolchain| toolchain.version).collect();
    eprintln!("ready: C compiler, rust-src, bpf-linker, Go {}", versions.join(", "));
    Ok(())
}

/// Installs what building leaktrace itself needs.
pub fn rust() -> Result<()> {
    tools::require_cc()?;
    tools::ensure_rust_src()?;
    tools::ensure_bpf_linker()
}
