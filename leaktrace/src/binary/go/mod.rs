//! A Go executable's own tables: build information, functions, lines, inlining.
//!
//! In: the ELF frame and its bytes. Out: functions by name and pc, source frames, type names. Everything
//! comes from what the Go runtime itself needs at run time, so it survives stripping.

mod buildinfo;
mod data;
mod func;
mod functions;
mod header;
pub mod layout;
mod moduledata;
mod pclntab;
mod pcvalue;
mod strings;
mod symbols;
mod types;
mod unwind;
mod version;

pub use buildinfo::{BuildInfo, GoVersion};
pub use data::{LocateError, Located, RuntimeVariable, Witnesses};
pub use functions::FuncInfo;
pub use pclntab::PcLnTab;
pub use symbols::Frame;
pub use unwind::StackFrame;
pub use version::ProgramVersion;

use super::{BinaryError, Blocks, Elf};

/// A recognised Go executable.
#[derive(Debug)]
pub struct GoBinary {
    /// Functions and lines.
    pub table: PcLnTab,
}

impl GoBinary {
    /// Recognises the Go tables of `elf`.
    ///
    /// # Errors
    /// [`BinaryError::NotGo`], an unknown Go version, or a table that is not what the version
    /// says it must be.
    pub fn read(file: &Blocks, elf: &Elf, build: &BuildInfo) -> Result<Self, BinaryError> {
        let layout = layout::for_version(&build.version)?;
        let table = PcLnTab::read(file, elf, layout)?;
        Ok(Self { table })
    }
}
