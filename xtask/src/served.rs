//! Builds the program that serves its own profiles while it is inspected: stripped, position
//! independent, and linked by the C compiler.

use std::path::PathBuf;

use anyhow::Result;

use crate::{command::run, go::Toolchain, paths, workloads};

/// The build's name behind the version, whether it has C in it, and the flags of `go build`.
const BUILDS: [(&str, &str, &[&str]); 3] = [
    ("-served", "0", &["-ldflags", "-s -w"]),
    ("-served-pie", "0", &["-buildmode=pie", "-ldflags", "-s -w"]),
    ("-served-cgo", "1", &["-ldflags", "-s -w -linkmode=external"]),
];

/// Builds what is missing or older than its source; gives the plain build.
pub fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    for (suffix, cgo, flags) in BUILDS {
        let name = format!("go{}{suffix}", toolchain.version);
        let program = program(toolchain, suffix);
        if workloads::is_current(&program, &source())? {
            continue;
        }
        eprintln!("building {name}");
        let mut go = toolchain.command();
        go.current_dir(source()).env("CGO_ENABLED", cgo).args(["build", "-trimpath"]);
        run(go.args(flags).arg("-o").arg(&program).arg("."))?;
    }
    Ok(program(toolchain, "-served"))
}

fn program(toolchain: &Toolchain, suffix: &str) -> PathBuf {
    workloads::folder().join(format!("go{}{suffix}", toolchain.version)).join("served")
}

/// The folder of its source.
fn source() -> PathBuf {
    paths::root().join("tests/workloads/served")
}
