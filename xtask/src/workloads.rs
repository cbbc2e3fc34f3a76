//! Builds the Go workloads: a toolchain in, the path of a program out, stripped unless asked.
//!
//! A program is built again only when a source is newer or when it is missing.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};

use crate::{command::run, go::Toolchain, paths};

/// How a workload is linked.
#[derive(Clone, Copy)]
pub enum Link {
    /// At a fixed address, Go's default.
    Fixed,
    /// Position independent.
    Pie,
    /// At a fixed address, optimised by a profile in which contexts are hot: `cancel` is inlined.
    Pgo,
    /// At a fixed address, not stripped: other tools find nothing to probe otherwise.
    WithSymbols,
}

impl Link {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Fixed => "",
            Self::Pie => "-pie",
            Self::Pgo => "-pgo",
            Self::WithSymbols => "-symbols",
        }
    }

    const fn build_mode(self) -> &'static str {
        match self {
            Self::Fixed | Self::Pgo | Self::WithSymbols => "-buildmode=exe",
            Self::Pie => "-buildmode=pie",
        }
    }

    /// The profile is a CPU profile of `churn`, made once with Go 1.26.3.
    const fn profile(self) -> &'static str {
        match self {
            Self::Pgo => "-pgo=context.pgo",
            Self::Fixed | Self::Pie | Self::WithSymbols => "-pgo=off",
        }
    }

    const fn linker_flags(self) -> &'static str {
        match self {
            Self::Fixed | Self::Pie | Self::Pgo => "-s -w",
            Self::WithSymbols => "",
        }
    }
}

/// The folder that holds one folder per version and kind of link.
pub fn folder() -> PathBuf {
    paths::target().join("workloads")
}

/// Builds the workloads with one toolchain, if need be.
pub fn build(toolchain: &Toolchain, link: Link) -> Result<PathBuf> {
    let name = format!("go{}{}", toolchain.version, link.suffix());
    let program = folder().join(&name).join("workload");
    if is_current(&program)? {
        return Ok(program);
    }
    eprintln!("building the workloads for {name}");
    let mut go = toolchain.command();
    go.args([
        "build",
        link.build_mode(),
        link.profile(),
        "-trimpath",
        "-ldflags",
        link.linker_flags(),
        "-o",
    ]);
    run(go.arg(&program).arg("."))?;
    Ok(program)
}

fn is_current(program: &Path) -> Result<bool> {
    let Ok(built) = fs::metadata(program).and_then(|metadata| metadata.modified()) else {
        return Ok(false);
    };
    Ok(newest_source()? < built)
}

fn newest_source() -> Result<SystemTime> {
    let source = paths::workload_source();
    let failed = || format!("can't read the workloads' source in {}", source.display());
    let mut newest = SystemTime::UNIX_EPOCH;
    // The folder's own time tells that a file was removed.
    newest = newest.max(fs::metadata(&source).and_then(|m| m.modified()).with_context(failed)?);
    for entry in fs::read_dir(&source).with_context(failed)? {
        let modified = entry.and_then(|e| e.metadata()).and_then(|m| m.modified());
        newest = newest.max(modified.with_context(failed)?);
    }
    Ok(newest)
}
