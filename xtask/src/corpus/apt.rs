//! Downloads Debian packages of any suite and architecture: names in, `.deb` files out.
//!
//! apt works on a state of its own, so that the machine's packages and lists stay as they are.
//! The mirror is the one that the machine uses, the signatures are checked with Debian's keyring.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::command::{ask, capture, require};

/// Where the package debian-archive-keyring has its keys, by its age.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// An apt that knows one suite for one architecture. Its folder is removed when it is dropped.
pub struct Apt {
    folder: PathBuf,
    arch: &'static str,
}

impl Drop for Apt {
    fn drop(&mut self) {
        // What is left behind costs space only, and is removed by the next run.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Apt {
    /// Makes the state in `folder` and downloads the suite's list of packages.
    ///
    /// # Errors
    /// Not on a Debian with apt, or no network.
    pub fn new(folder: PathBuf, suite: &str, arch: &'static str) -> Result<Self> {
        let source = format!("deb [signed-by={}] {} {suite} main\n", keyring()?, mirror()?);
        let this = Self { folder, arch };
        let made = fs::create_dir_all(this.folder.join("lists/partial"))
            .and_then(|()| fs::create_dir_all(this.folder.join("cache/archives/partial")))
            .and_then(|()| fs::write(this.folder.join("sources.list"), source));
        made.with_context(|| format!("can't write into {}", this.folder.display()))?;
        let mut update = this.command("apt-get");
        let status = update.args(["-qq", "--error-on=any", "update"]).status();
        ensure!(
            status.context("can't run apt-get")?.success(),
            "apt can't get the list of packages of {suite} {arch} (see above): is there a network?"
        );
        Ok(this)
    }

    /// Whether the suite has `package` for this architecture.
    pub fn has(&self, package: &str) -> bool {
        ask(self.command("apt-cache").args(["show", package])).is_some_and(|text| !text.is_empty())
    }

    /// Downloads `package`; gives the file, which is gone when `self` is.
    ///
    /// # Errors
    /// It can't be downloaded, or its hash is not the list's.
    pub fn download(&self, package: &str) -> Result<PathBuf> {
        let folder = self.folder.join(format!("{package}.download"));
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let mut download = self.command("apt-get");
        download.args(["-qq", "download", package]).current_dir(&folder);
        let status = download.status().context("can't run apt-get")?;
        ensure!(status.success(), "apt can't download {package} (see above): is there a network?");
        let mut entries =
            fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))?;
        let entry = entries.next().with_context(|| format!("apt left no file for {package}"))?;
        Ok(entry.with_context(|| format!("can't read {}", folder.display()))?.path())
    }

    fn command(&self, program: &str) -> Command {
        let option = |name: &str, value: &Path| format!("-o{name}={}", value.display());
        let nothing = Path::new("/dev/null");
        let mut apt = Command::new(program);
        apt.env("LC_ALL", "C")
            .arg(format!("-oAPT::Architecture={}", self.arch))
            .arg(format!("-oAPT::Architectures={}", self.arch))
            .arg(option("Dir::State", &self.folder))
            .arg(option("Dir::State::status", nothing))
            .arg(option("Dir::Cache", &self.folder.join("cache")))
            .arg(option("Dir::Etc::sourcelist", &self.folder.join("sources.list")))
            .arg(option("Dir::Etc::sourceparts", nothing))
            .arg(option("Dir::Etc::preferences", nothing))
            .arg(option("Dir::Etc::preferencesparts", nothing))
            // Descriptions in other languages and icons: as big as the list itself.
            .arg("-oAcquire::IndexTargets::deb::Translations::DefaultEnabled=false")
            .arg("-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false");
        apt
    }
}

/// Fails unless the tools of Debian are there.
pub fn require_tools() -> Result<()> {
    let way_out = "the corpus is made on Debian, or on a system with Debian's apt and dpkg";
    require(Command::new("apt-get").arg("--version"), way_out)?;
    require(Command::new("dpkg-deb").arg("--version"), way_out)
}

fn keyring() -> Result<&'static str> {
    KEYRINGS
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .context("Debian's keys are missing; install them: apt-get install debian-archive-keyring")
}

/// The mirror of Debian's archive that this machine's apt uses.
fn mirror() -> Result<String> {
    // Security updates have a label of their own: not every suite has them.
    let filters = ["Created-By: Packages", "Origin: Debian", "Label: Debian"];
    let mut targets = Command::new("apt-get");
    let sites = capture(targets.args(["indextargets", "--format", "$(SITE)"]).args(filters))?;
    let site = sites.lines().next().unwrap_or_default().to_owned();
    ensure!(!site.is_empty(), "this machine's apt has no mirror of Debian; run: apt-get update");
    Ok(site)
}
