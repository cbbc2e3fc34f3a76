//! Builds the program that carries out the schedules of the accuracy benchmark: a toolchain in,
//! programs out. Non-goals: versions that the benchmark does not use.

use std::path::PathBuf;

use anyhow::Result;

use crate::{command::run, go::Toolchain, paths, workloads};

/// The versions of the benchmark's live scenarios.
const VERSIONS: [&str; 4] = ["1.21.13", "1.24.11", "1.26.3", "1.27.3"];
/// The build's name behind the version, whether it has C in it, and the flags of `go build`.
const BUILDS: [(&str, &str, &[&str]); 4] = [
    ("-player", "0", &["-ldflags", "-s -w"]),
    ("-player-symbols", "0", &[]),
    ("-player-pie", "0", &["-buildmode=pie", "-ldflags", "-s -w"]),
    ("-player-cgo", "1", &["-ldflags", "-s -w -linkmode=external"]),
];

/// Builds what is missing or older than its source, if the version is one of the benchmark's.
pub fn build(toolchain: &Toolchain) -> Result<()> {
    if !VERSIONS.contains(&toolchain.version.as_str()) {
        return Ok(());
    }
    for (suffix, cgo, flags) in BUILDS {
        let name = format!("go{}{suffix}", toolchain.version);
        let program = workloads::folder().join(&name).join("player");
        if workloads::is_current(&program, &source())? {
            continue;
        }
        eprintln!("building {name}");
        let mut go = toolchain.command();
        go.current_dir(source()).env("CGO_ENABLED", cgo).args(["build", "-trimpath"]);
        run(go.args(flags).arg("-o").arg(&program).arg("."))?;
    }
    Ok(())
}

/// The folder of its source.
fn source() -> PathBuf {
    paths::root().join("tests/workloads/player")
}
