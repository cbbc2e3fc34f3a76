//! The program whose DWARF is read: a toolchain and a platform in, what it says out.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::dwarf::Description;
use crate::{command::run, go::Toolchain, paths};

/// The prefix of the constants that number why a goroutine waits.
const WAIT_REASON: &str = "runtime.waitReason";
/// The array of their texts, by number (runtime/runtime2.go).
const WAIT_REASON_TEXTS: &str = "runtime.waitReasonStrings";
/// A Go string: address and length.
const STRING_BYTES: usize = 16;

/// Why a goroutine waits; its number is its place in the list.
#[derive(Debug, PartialEq, Eq)]
pub struct WaitReason {
    /// Go's constant without its prefix.
    pub name: String,
    /// As in a goroutine dump.
    pub text: String,
}

/// What one program says.
#[derive(Debug)]
pub struct Program {
    pub description: Description,
    pub wait_reasons: Vec<WaitReason>,
}

impl Program {
    /// Builds the program for `machine` (a GOARCH) and reads it. Go's cache makes it cheap when
    /// nothing has changed.
    pub fn read(toolchain: &Toolchain, machine: &str) -> Result<Self> {
        let path = build(toolchain, machine)?;
        let bytes = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        let parsed = || -> Result<Self> {
            let file = object::File::parse(&*bytes)?;
            let description = Description::read(&file)?;
            let wait_reasons = wait_reasons(&file, &description)?;
            Ok(Self { description, wait_reasons })
        };
        parsed().with_context(|| format!("can't understand {}", path.display()))
    }
}

/// Sections are left uncompressed, so that nothing here needs to decompress them.
fn build(toolchain: &Toolchain, machine: &str) -> Result<PathBuf> {
    let name = format!("go{}-{machine}", toolchain.version);
    let program = paths::target().join("layouts").join(name);
    let mut go = toolchain.command();
    go.current_dir(paths::root().join("tests/workloads/layouts"))
        .env("GOOS", "linux")
        .env("GOARCH", machine)
        .env_remove("GOEXPERIMENT")
        .args(["build", "-buildmode=exe", "-trimpath", "-ldflags=-compressdwarf=false", "-o"]);
    run(go.arg(&program).arg("."))?;
    Ok(program)
}

/// Names from the constants, texts from the program's data.
fn wait_reasons(file: &object::File<'_>, description: &Description) -> Result<Vec<WaitReason>> {
    let texts = texts(file)?;
    let mut numbered: Vec<_> =
        description.constants(WAIT_REASON).map(|(name, number)| (number, name)).collect();
    numbered.sort_unstable();
    ensure!(
        numbered.iter().map(|(number, _)| *number).eq(0..texts.len() as u64),
        "the wait reasons {numbered:?} do not number {} texts",
        texts.len()
    );
    let named = numbered.into_iter().zip(texts);
    Ok(named.map(|((_, name), text)| WaitReason { name: name.to_owned(), text }).collect())
}

fn texts(file: &object::File<'_>) -> Result<Vec<String>> {
    let symbol = file.symbol_by_name(WAIT_REASON_TEXTS);
    let symbol = symbol.with_context(|| format!("no symbol {WAIT_REASON_TEXTS}"))?;
    let array = data(file, symbol.address(), symbol.size())?;
    let strings = array.chunks_exact(STRING_BYTES).map(|header| {
        let word =
            |at: usize| header[at..at + 8].iter().rev().fold(0, |w, b| w << 8 | u64::from(*b));
        Ok(std::str::from_utf8(data(file, word(0), word(8))?)?.to_owned())
    });
    strings.collect()
}

/// The file's bytes for an address range; the program is linked at a fixed address.
fn data<'a>(file: &object::File<'a>, address: u64, length: u64) -> Result<&'a [u8]> {
    if length == 0 {
        return Ok(&[]);
    }
    for section in file.sections() {
        if let Some(bytes) = section.data_range(address, length)? {
            return Ok(bytes);
        }
    }
    anyhow::bail!("no section holds {length} bytes at {address:#x}")
}
