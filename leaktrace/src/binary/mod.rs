//! What the target is: one ELF file in, facts about it out (build ids, Go version, functions,
//! probe-able instructions, source lines).
//!
//! The file is untrusted input: every read is bounds-checked, every count capped, nothing is
//! mapped (a file truncated under a mapping would kill us), and what is not positively
//! recognised is an error that names it. Non-goals: DWARF; live memory.

mod code;
mod elf;
mod elf_symbols;
mod go;
mod reader;

pub use code::{CodeError, Execution, FunctionCode, Spot};
pub use elf::{Elf, Machine, Section, Segment};
pub use elf_symbols::SymbolMatch;
pub use go::{
    BuildInfo, Frame, FuncInfo, GoBinary, GoVersion, LocateError, Located, PcLnTab, ProgramVersion,
    RuntimeVariable, StackFrame, Witnesses, layout,
};
pub use reader::{Blocks, ReadAt};

/// Why a file, or a part of it, could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// The file could not be read.
    #[error("can't read the executable: {0}")]
    Io(#[from] std::io::Error),
    /// Something points beyond the end of the file.
    #[error("the executable is truncated: {what} lies beyond its end")]
    Truncated {
        /// The part that was looked for.
        what: &'static str,
    },
    /// Not an ELF file, or not one this tool reads.
    #[error("not a 64-bit little-endian ELF executable ({0})")]
    NotElf(&'static str),
    /// No Go build information: not a Go program, or an obfuscated one.
    #[error("no Go build information: not a Go binary")]
    NotGo,
    /// A Go version whose data layout is not known.
    #[error("Go version {0} is not known to this leaktrace (it knows {known})", known = layout::known())]
    UnknownGoVersion(String),
    /// A structure was found that is not what its version says it must be.
    #[error("not recognised: {0}")]
    NotRecognised(&'static str),
}
