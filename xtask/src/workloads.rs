//! Builds the Go workloads: a toolchain in, the path of a program out, stripped unless asked.
//!
//! A program is built again only when a source is newer or when it is missing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result};

use crate::{
    bare::without_section_headers,
    command::{capture, run},
    go::Toolchain,
    paths,
};

/// How a workload is built. [`Link::row`] says what each means.
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
    /// With C in it, linked by the C compiler.
    Cgo,
    /// The same, position independent: up to Go 1.25 its pclntab has no section of its own.
    CgoPie,
    /// Stripped by binutils and not by Go's linker, as Linux distributions do.
    Stripped,
    /// Position independent, without any section header.
    Bare,
    /// For arm64, at a fixed address.
    Arm64,
    /// For arm64, position independent.
    Arm64Pie,
    /// For arm64, not stripped: what Go's tools say about it is the truth about [`Self::Arm64`].
    Arm64WithSymbols,
}

/// What sets one kind of build apart from the others.
struct Row {
    suffix: &'static str,
    made: Made,
}

/// Where a build comes from.
enum Made {
    ByGo {
        arch: &'static str,
        mode: &'static str,
        cgo: &'static str,
        flags: &'static str,
    },
    /// Another build, changed.
    From(Link, fn(&Path, &Path) -> Result<()>),
}

/// Leaves out the symbol table and DWARF.
const STRIP: &str = "-s -w";
/// The same, linked by the C compiler as programs with C libraries are.
const STRIP_EXTERNAL: &str = "-s -w -linkmode=external";

impl Link {
    /// What is built with every Go version for the tests.
    pub const TESTED: [Self; 10] = [
        Self::Fixed,
        Self::Pie,
        Self::WithSymbols,
        Self::Cgo,
        Self::CgoPie,
        Self::Stripped,
        Self::Bare,
        Self::Arm64,
        Self::Arm64Pie,
        Self::Arm64WithSymbols,
    ];

    /// Behind the version in the name of the build's folder.
    pub const fn suffix(self) -> &'static str {
        self.row().suffix
    }

    const fn row(self) -> Row {
        match self {
            Self::Fixed => by_go("", "amd64", "exe", "0", STRIP),
            Self::Pie => by_go("-pie", "amd64", "pie", "0", STRIP),
            Self::Pgo => by_go("-pgo", "amd64", "exe", "0", STRIP),
            Self::WithSymbols => by_go("-symbols", "amd64", "exe", "0", ""),
            Self::Cgo => by_go("-cgo", "amd64", "exe", "1", STRIP_EXTERNAL),
            Self::CgoPie => by_go("-cgo-pie", "amd64", "pie", "1", STRIP_EXTERNAL),
            Self::Stripped => from("-stripped", Self::WithSymbols, strip),
            Self::Bare => from("-bare", Self::Pie, remove_section_headers),
            Self::Arm64 => by_go("-arm64", "arm64", "exe", "0", STRIP),
            Self::Arm64Pie => by_go("-arm64-pie", "arm64", "pie", "0", STRIP),
            Self::Arm64WithSymbols => by_go("-arm64-symbols", "arm64", "exe", "0", ""),
        }
    }

    /// The profile is a CPU profile of `churn`, made once with Go 1.26.3.
    const fn profile(self) -> &'static str {
        match self {
            Self::Pgo => "-pgo=context.pgo",
            _ => "-pgo=off",
        }
    }
}

const fn by_go(
    suffix: &'static str,
    arch: &'static str,
    mode: &'static str,
    cgo: &'static str,
    flags: &'static str,
) -> Row {
    Row { suffix, made: Made::ByGo { arch, mode, cgo, flags } }
}

const fn from(suffix: &'static str, link: Link, change: fn(&Path, &Path) -> Result<()>) -> Row {
    Row { suffix, made: Made::From(link, change) }
}

/// The folder that holds one folder per version and kind of link.
pub fn folder() -> PathBuf {
    paths::target().join("workloads")
}

/// Builds the workloads with one toolchain, if need be.
pub fn build(toolchain: &Toolchain, link: Link) -> Result<PathBuf> {
    let Row { suffix, made } = link.row();
    let name = format!("go{}{suffix}", toolchain.version);
    let program = folder().join(&name).join("workload");
    if is_current(&program, &paths::workload_source())? {
        return Ok(program);
    }
    match made {
        Made::ByGo { arch, mode, cgo, flags } => {
            eprintln!("building the workloads for {name}");
            let mut go = toolchain.command();
            go.env("GOARCH", arch).env("CGO_ENABLED", cgo);
            go.args(["build", "-buildmode", mode, link.profile(), "-trimpath"]);
            run(go.args(["-ldflags", flags, "-o"]).arg(&program).arg("."))?;
        }
        Made::From(other, change) => {
            let original = build(toolchain, other)?;
            make_parent(&program)?;
            change(&original, &program)?;
        }
    }
    Ok(program)
}

/// Lays links to Go's own `nm` and `addr2line` beside the workloads, for tests to ask.
pub fn link_tools(toolchain: &Toolchain) -> Result<()> {
    for tool in ["nm", "addr2line"] {
        let link = folder().join(format!("go{}-tools", toolchain.version)).join(tool);
        make_parent(&link)?;
        // From Go 1.25 this builds the tool, into a cache that forgets it after some days.
        let path = capture(toolchain.command().args(["tool", "-n", tool]))?;
        if link.is_symlink() {
            fs::remove_file(&link).with_context(|| format!("can't remove {}", link.display()))?;
        }
        symlink(path.trim(), &link).with_context(|| format!("can't make {}", link.display()))?;
    }
    Ok(())
}

/// Makes the folder that `path` is to lie in.
pub fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))
}

/// As Debian's dh_strip does.
fn strip(original: &Path, stripped: &Path) -> Result<()> {
    let mut strip = Command::new("strip");
    strip.args(["--strip-unneeded", "--remove-section=.comment", "--remove-section=.note", "-o"]);
    run(strip.arg(stripped).arg(original))
}

fn remove_section_headers(original: &Path, bare: &Path) -> Result<()> {
    let bytes = fs::read(original).with_context(|| format!("can't read {}", original.display()))?;
    let bytes = without_section_headers(bytes)
        .with_context(|| format!("can't remove the sections of {}", original.display()))?;
    fs::write(bare, bytes)
        .and_then(|()| fs::set_permissions(bare, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("can't write {}", bare.display()))
}

/// Whether `program` is there, and newer than everything in the folder `source`.
pub fn is_current(program: &Path, source: &Path) -> Result<bool> {
    let Ok(built) = fs::metadata(program).and_then(|metadata| metadata.modified()) else {
        return Ok(false);
    };
    Ok(newest_source(source)? < built)
}

/// The newest change of a file, or of a folder: one that lost a file is newer too.
fn newest_source(source: &Path) -> Result<SystemTime> {
    let failed = || format!("can't read the workloads' source in {}", source.display());
    let metadata = fs::metadata(source).with_context(failed)?;
    let mut newest = metadata.modified().with_context(failed)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(source).with_context(failed)? {
            newest = newest.max(newest_source(&entry.with_context(failed)?.path())?);
        }
    }
    Ok(newest)
}
