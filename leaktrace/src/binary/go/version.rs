//! The program's own version: a Go executable in, the version its makers gave it out.
//!
//! `go build` in a checkout leaves `(devel)` as the module's version; releases are stamped by the
//! linker (`-X k8s.io/component-base/version.gitVersion=v1.36.2`). Builds with `-trimpath` do not
//! record the linker's flags, but the stamped variable is there, and so is the function that
//! reads it. Non-goals: other variables than Kubernetes' `gitVersion`.

use super::{BuildInfo, GoBinary};
use crate::binary::{BinaryError, Blocks, Elf, FunctionCode};

/// Functions that read `gitVersion`, in the order of preference: what a kubelet reports, and what
/// its client library reports.
const READERS: [&str; 3] = [
    "k8s.io/component-base/version.init.0",
    "k8s.io/component-base/version.Get",
    "k8s.io/client-go/pkg/version.Get",
];
/// `v1.36.2-rc.1+0123456789abcdef` has 29 characters.
const VERSION_BYTES_MAX: u64 = 64;
/// Their code refers to some ten variables.
const REFERENCES_MAX: usize = 64;
/// What stands there when nothing was stamped.
const UNSTAMPED: &str = "v0.0.0-master";

/// A version, and how it was had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramVersion {
    /// As the makers wrote it.
    pub version: String,
    /// Where it stands.
    pub proof: String,
}

impl ProgramVersion {
    /// The version of a program; none when its makers left none.
    ///
    /// # Errors
    /// The tables are broken.
    pub fn read(
        file: &Blocks,
        elf: &Elf,
        build: &BuildInfo,
        go: &GoBinary,
    ) -> Result<Option<Self>, BinaryError> {
        if let Some(version) = build.stamped_version() {
            let proof = "the linker flags in the build information".to_owned();
            return Ok(Some(Self { version, proof }));
        }
        if let Some(stamped) = stamped(file, elf, go)? {
            return Ok(Some(stamped));
        }
        let version = build.module_version().map(str::to_owned);
        let proof = || "the main module's version in the build information".to_owned();
        Ok(version.map(|version| Self { version, proof: proof() }))
    }
}

/// The stamped variable, by the functions that read it.
fn stamped(file: &Blocks, elf: &Elf, go: &GoBinary) -> Result<Option<ProgramVersion>, BinaryError> {
    let found = go.table.find(file, &READERS)?;
    for reader in READERS {
        let Some(function) = found.iter().find(|function| function.name == reader) else {
            continue;
        };
        let code = FunctionCode::read(file, elf, function.clone())?;
        let references = code.data_references().unwrap_or_default();
        let data = go.table.data();
        let variables = references.into_iter().filter(|address| data.contains(address));
        for variable in variables.take(REFERENCES_MAX) {
            if let Some(version) = string_at(file, elf, variable)?.filter(|s| is_version(s)) {
                let proof = format!("the string variable that {reader} reads");
                return Ok(Some(ProgramVersion { version, proof }));
            }
        }
    }
    Ok(None)
}

/// The value that the string variable at `vaddr` starts with.
fn string_at(file: &Blocks, elf: &Elf, vaddr: u64) -> Result<Option<String>, BinaryError> {
    let (Some(header), Some(length_at)) = (elf.file_offset(vaddr), vaddr.checked_add(8)) else {
        return Ok(None);
    };
    let Some(length_offset) = elf.file_offset(length_at).filter(|at| *at == header + 8) else {
        return Ok(None);
    };
    let length = file.u64(length_offset, "a string variable")?;
    if !(2..=VERSION_BYTES_MAX).contains(&length) {
        return Ok(None);
    }
    let Some(text) = elf.pointer(file, vaddr)?.and_then(|text| elf.file_offset(text)) else {
        return Ok(None);
    };
    let bytes = file.vec(text, length as usize, "a string")?;
    Ok(String::from_utf8(bytes).ok())
}

/// `v1.36.2`, perhaps with a suffix.
pub(super) fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let rest = text.strip_prefix('v').unwrap_or_default();
    let plain = rest.split(['-', '+']).next().unwrap_or_default();
    !text.starts_with(UNSTAMPED)
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && plain.split('.').count() == 3
        && plain.split('.').all(number)
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn only_a_stamped_version_is_one() {
        for good in ["v1.36.2", "v1.30.0-rc.1+k3s1", "v1.27.3-gke.100"] {
            assert!(is_version(good), "{good}");
        }
        let unstamped = "v0.0.0-master+$Format:%H$";
        for bad in ["", "v", "1.2.3", "v1.2", "v1..2", "v1.2.x", "v1.2.3 \u{1b}", unstamped] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
