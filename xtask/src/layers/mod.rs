//! `cargo xtask layers`: the rules on modules that the compiler does not know.
//!
//! Source text in, violations as `file:line: what, and why` out. Rules are in `rules`; `tokens`
//! and `imports` read just enough Rust for them. Non-goals: macros that make paths, and names
//! re-exported under another module.

mod imports;
mod rules;
mod tokens;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rules::Source;

use crate::paths;

/// The folders with our Rust code, and whether the order of modules is checked there.
const FOLDERS: [(&str, bool); 4] = [
    ("leaktrace/src", true),
    ("leaktrace-common/src", false),
    ("leaktrace-ebpf/src", false),
    ("xtask/src", false),
];

/// Checks every file, prints the violations, and fails if there is any.
pub fn run() -> Result<()> {
    let mut violations = 0;
    for (folder, ordered) in FOLDERS {
        for file in rust_files(&paths::root().join(folder))? {
            violations += check_file(folder, &file, ordered)?;
        }
    }
    ensure!(violations == 0, "{violations} violations of the rules in xtask/src/layers/rules.rs");
    Ok(())
}

fn check_file(folder: &str, file: &Path, ordered: bool) -> Result<usize> {
    let text =
        fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let shown = file.strip_prefix(paths::root()).unwrap_or(file);
    let within = file.strip_prefix(paths::root().join(folder)).unwrap_or(file);
    let found = rules::check(&Source { folder, within, text: &text, ordered });
    for violation in &found {
        println!("{}:{}: {}", shown.display(), violation.line, violation.message);
    }
    Ok(found.len())
}

/// All Rust files under a folder, in the order of their names.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}
