//! Builds the stand-in for a kubelet, whose version the linker stamps: with the linker's flags in
//! the build information, without them, and not stamped at all.

use std::path::PathBuf;

use anyhow::Result;

use crate::{command::run, go::Toolchain, paths, workloads};

/// The build's name behind the version, and the flags of `go build`.
const BUILDS: [(&str, &[&str]); 4] = [
    (
        "-kubelet",
        &["-trimpath", "-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.2"],
    ),
    (
        "-kubelet-pie",
        &[
            "-trimpath",
            "-buildmode=pie",
            "-ldflags",
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.2",
        ],
    ),
    ("-kubelet-flags", &["-ldflags", "-X k8s.io/component-base/version.gitVersion=v1.36.3"]),
    ("-kubelet-unstamped", &["-trimpath"]),
];

/// Builds what is missing or older than its source.
pub fn build(toolchain: &Toolchain) -> Result<()> {
    for (suffix, flags) in BUILDS {
        let name = format!("go{}{suffix}", toolchain.version);
        let program = workloads::folder().join(&name).join("kubelet");
        if workloads::is_current(&program, &source())? {
            continue;
        }
        let mut go = toolchain.command();
        go.current_dir(source()).arg("build").args(flags).args(["-buildvcs=false", "-o"]);
        run(go.arg(&program).arg("."))?;
    }
    Ok(())
}

/// The folder of its source.
fn source() -> PathBuf {
    paths::root().join("tests/workloads/kubelet")
}
