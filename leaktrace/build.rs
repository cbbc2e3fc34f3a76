//! Builds the BPF object with the toolchain that builds leaktrace itself, or says in one sentence
//! which tool is missing and which command installs it.

use std::{
    env,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya_build::{Package, Toolchain};

/// Links rustc 1.95's LLVM 22; see rust-toolchain.toml.
const BPF_LINKER_VERSION: &str = "0.10.3";

fn main() -> ExitCode {
    match build() {
        Ok(code) => code,
        Err(error) => {
            // The sentence alone: returned from main, it would drag a backtrace along.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<ExitCode> {
    if env::var_os("RUSTC_BOOTSTRAP").is_none_or(|value| value != "1") {
        return run_again_with_bootstrap();
    }
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "1.95.0".to_owned());
    require_rust_src()?;
    require_bpf_linker()?;
    let package = Package {
        name: "leaktrace-ebpf",
        root_dir: leaktrace_ebpf::MANIFEST_DIR,
        ..Package::default()
    };
    env::set_current_dir(leaktrace_ebpf::MANIFEST_DIR)
        .context("can't enter the folder of leaktrace-ebpf")?;
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))?;
    Ok(ExitCode::SUCCESS)
}

/// The BPF build needs `-Z build-std=core` from a stable cargo. Only this process and its
/// children get the switch; setting it for the whole build would change other crates.
fn run_again_with_bootstrap() -> Result<ExitCode> {
    let status = Command::new(env::current_exe()?).env("RUSTC_BOOTSTRAP", "1").status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn require_rust_src() -> Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output()?;
    let sysroot = String::from_utf8(output.stdout)?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    ensure!(core.is_dir(), "rust-src is missing; install it with: rustup component add rust-src");
    Ok(())
}

fn require_bpf_linker() -> Result<()> {
    println!("cargo:rerun-if-env-changed=PATH");
    let found = match Command::new("bpf-linker").arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(_) => "nothing".to_owned(),
    };
    if !found.contains(BPF_LINKER_VERSION) {
        bail!(
            "bpf-linker {BPF_LINKER_VERSION} is needed, found {}; install it with: \
             cargo install --locked bpf-linker --version {BPF_LINKER_VERSION}",
            found.trim()
        );
    }
    Ok(())
}
