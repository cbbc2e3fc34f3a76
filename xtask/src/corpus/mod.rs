//! `cargo xtask corpus`: leaktrace's readers on Go programs that nobody here wrote.
//!
//! Debian packages in, `tests/corpus.rs` run on every Go executable in them, a table out: on the
//! screen and in docs/CORPUS.md. Downloads lie under `target/corpus`; what is there already is not
//! downloaded again. Remove the folder to get the suites as they are now.

mod apt;
mod packages;
mod table;
mod unpack;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use apt::Apt;
use packages::{SOURCES, Source};
use serde_json::Value;

use crate::{
    command::{cargo, run as run_command},
    go::{self, Toolchain},
    paths, setup,
};

/// Downloads what is missing, checks everything, and shows and writes the table, also when a
/// check failed.
pub fn run() -> Result<()> {
    apt::require_tools()?;
    setup::rust()?;
    let newest = go::all_toolchains()?.pop().context("no Go is pinned")?;
    let mut manifests = Vec::new();
    for source in &SOURCES {
        manifests.extend(fetch(source, &newest)?);
    }
    let manifest = folder().join("manifest.json");
    let text = format!("{:#}\n", Value::from(manifests.clone()));
    fs::write(&manifest, text).with_context(|| format!("can't write {}", manifest.display()))?;
    build_oracle(&newest)?;

    let checked = check();
    let path = results().join("corpus.json");
    let text =
        fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let rows: Vec<Value> = serde_json::from_str(&text)
        .with_context(|| format!("{} is not what the test writes", path.display()))?;
    let table = table::render(&manifests, &rows);
    println!("{table}");
    let document = paths::root().join("docs/CORPUS.md");
    fs::write(&document, table::document(&table))
        .with_context(|| format!("can't write {}", document.display()))?;
    checked
}

fn folder() -> PathBuf {
    paths::target().join("corpus")
}

fn results() -> PathBuf {
    paths::target().join("results")
}

/// Makes sure that the packages of one source are there; gives their manifests.
fn fetch(source: &Source, go: &Toolchain) -> Result<Vec<Value>> {
    let place = folder().join(format!("{}-{}", source.suite, source.arch));
    let mut apt = None;
    let mut manifests = Vec::new();
    for package in source.packages {
        let of_package = place.join(package);
        let manifest = match unpack::manifest(&of_package)? {
            Some(manifest) => manifest,
            None => {
                let apt = match &mut apt {
                    Some(apt) => apt,
                    none => none.insert(start_apt(source, &place)?),
                };
                eprintln!("getting {package} of {} {}", source.suite, source.arch);
                unpack::fetch(apt, source, package, go, &of_package)?;
                unpack::manifest(&of_package)?.context("a package without its manifest")?
            }
        };
        manifests.push(manifest);
    }
    Ok(manifests)
}

fn start_apt(source: &Source, place: &Path) -> Result<Apt> {
    let state = place.with_extension("apt");
    if state.exists() {
        fs::remove_dir_all(&state)
            .with_context(|| format!("can't remove the unfinished {}", state.display()))?;
    }
    Apt::new(state, source.suite, source.arch)
}

/// Builds the program that says what Go's own library reads from an executable.
fn build_oracle(go: &Toolchain) -> Result<()> {
    let source = paths::root().join("tests/corpus");
    let mut build = go.command();
    build.current_dir(&source).args(["build", "-trimpath", "-o"]);
    run_command(build.arg(folder().join("oracle")).arg("oracle.go"))
}

/// Runs the tests, optimised: they look at millions of functions.
fn check() -> Result<()> {
    let path = results().join("corpus.json");
    fs::create_dir_all(results()).with_context(|| format!("can't make {}", results().display()))?;
    if path.exists() {
        fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display()))?;
    }
    let mut test = cargo();
    test.args(["test", "--release", "-p", "leaktrace", "--test", "corpus", "--", "--ignored"]);
    run_command(test.env("LEAKTRACE_CORPUS", folder()).env("LEAKTRACE_RESULTS", results()))
}
