//! Where things lie in this repository.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The root of the workspace.
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The folder for everything that is made.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The source of the Go workloads.
pub fn workload_source() -> PathBuf {
    root().join("tests/workloads/go")
}
