//! Takes the Go executables out of a Debian package: a `.deb` in, files and a manifest out.
//!
//! A package is unpacked beside its final place and moved there when it is complete, so a folder
//! with the final name is always a whole package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{apt::Apt, packages::Source};
use crate::{
    command::{capture, run},
    go::Toolchain,
};

const MANIFEST: &str = "package.json";

/// What the folder of a package says about it; none if it is not there.
pub fn manifest(folder: &Path) -> Result<Option<Value>> {
    let path = folder.join(MANIFEST);
    if !path.is_file() {
        return Ok(None);
    }
    let text =
        fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let manifest = serde_json::from_str(&text);
    manifest.map(Some).with_context(|| format!("{} is damaged; remove it", path.display()))
}

/// Fills `folder` with the Go executables of `package`, or with a note that the suite has no
/// such package.
pub fn fetch(
    apt: &Apt,
    source: &Source,
    package: &str,
    go: &Toolchain,
    folder: &Path,
) -> Result<()> {
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)
            .with_context(|| format!("can't remove the unfinished {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("can't make {}", partial.display()))?;
    let mut manifest = json!({ "suite": source.suite, "arch": source.arch, "package": package });
    if apt.has(package) {
        let deb = apt.download(package)?;
        let version = capture(Command::new("dpkg-deb").arg("-f").arg(&deb).arg("Version"))?;
        manifest["version"] = version.trim().into();
        manifest["files"] = keep_go(go, &deb, &partial)?.into();
    }
    let path = partial.join(MANIFEST);
    fs::write(&path, format!("{manifest:#}\n"))
        .with_context(|| format!("can't write {}", path.display()))?;
    fs::rename(&partial, folder)
        .with_context(|| format!("can't move {} to its final name", partial.display()))
}

/// Unpacks `deb` and moves its Go executables to `folder`, under the paths that they had.
fn keep_go(go: &Toolchain, deb: &Path, folder: &Path) -> Result<Vec<String>> {
    let all = folder.join("all");
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&all))?;
    let mut kept = Vec::new();
    for file in go_executables(go, &all)? {
        let within = file.strip_prefix(&all).unwrap_or(&file);
        let to = folder.join(within);
        let parent = to.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::rename(&file, &to))
            .with_context(|| format!("can't move {} to {}", file.display(), to.display()))?;
        kept.push(within.display().to_string());
    }
    fs::remove_dir_all(&all).with_context(|| format!("can't remove {}", all.display()))?;
    Ok(kept)
}

/// The Go executables below a folder, by Go's own judgement.
fn go_executables(go: &Toolchain, folder: &Path) -> Result<Vec<PathBuf>> {
    let answer = capture(go.command().arg("version").arg(folder))?;
    // `/path/of/file: go1.26.3`
    let paths = answer.lines().filter_map(|line| line.rsplit_once(": ")).map(|(path, _)| path);
    Ok(paths.map(PathBuf::from).filter(|path| !path.is_symlink()).collect())
}
