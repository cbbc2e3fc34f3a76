//! The machine code of one function: bytes in, where to probe it and what data it uses out.
//!
//! A probe goes to the first instruction behind Go's stack check: there a growing stack does not
//! run it twice, and the argument registers are intact. What is not positively recognised is an
//! error. Non-goals: control flow.

mod amd64;
mod arm64;

use super::{BinaryError, Blocks, Elf, FuncInfo, Machine};

/// The largest functions known (generated parsers) have some hundred KiB.
const CODE_BYTES_MAX: u64 = 4 << 20;

/// Code that is not what is looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// An instruction that no Go stack check contains.
    #[error("unknown instruction `{0}` in the function's prologue")]
    Prologue(String),
    /// No frame is set up where it should be.
    #[error("no frame set-up in the function's prologue")]
    NoFrame,
    /// Bytes that are no instruction.
    #[error("no instruction at offset {0:#x} of the function")]
    Undecodable(u64),
    /// A processor whose code is not decoded here.
    #[error("code for amd64 and arm64 is understood, not for this processor")]
    Machine,
}

/// How a kernel runs an instruction on which a probe lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Execution {
    /// In the kernel itself: cheap.
    Emulated,
    /// Out of line, with a trap behind it: some twenty times as dear.
    SingleStepped,
}

/// A place in a function where a probe may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Bytes from the function's entry.
    pub offset: u64,
    /// How the instruction runs when it is probed.
    pub execution: Execution,
}

/// A function with its code.
#[derive(Debug, Clone)]
pub struct FunctionCode {
    /// Name and addresses.
    pub function: FuncInfo,
    /// The processor it is for.
    pub machine: Machine,
    /// File offset of its first instruction.
    pub file_offset: u64,
    /// The code, with the padding behind it.
    pub bytes: Vec<u8>,
}

impl FunctionCode {
    /// Reads the code of `function`.
    ///
    /// # Errors
    /// It lies outside the file, or is larger than any function known.
    pub fn read(file: &Blocks, elf: &Elf, function: FuncInfo) -> Result<Self, BinaryError> {
        let (file_offset, available) =
            elf.code(function.entry).ok_or(BinaryError::Truncated { what: "a function's code" })?;
        let length = function.end.saturating_sub(function.entry).min(available);
        if length > CODE_BYTES_MAX {
            return Err(BinaryError::NotRecognised("a function of more than 4 MiB of code"));
        }
        let bytes = file.vec(file_offset, length as usize, "a function's code")?;
        Ok(Self { function, machine: elf.machine, file_offset, bytes })
    }

    /// Where a probe sees each call once, with all arguments in their registers.
    ///
    /// # Errors
    /// The prologue is none of those that Go's assembler emits.
    pub fn behind_stack_check(&self) -> Result<Spot, CodeError> {
        match self.machine {
            Machine::Amd64 => amd64::behind_stack_check(&self.bytes),
            Machine::Arm64 => arm64::behind_stack_check(&self.bytes),
            Machine::Other(_) => Err(CodeError::Machine),
        }
    }

    /// All instructions by which it returns; the results are in their registers there.
    ///
    /// # Errors
    /// Its code can't be decoded as a whole.
    pub fn returns(&self) -> Result<Vec<Spot>, CodeError> {
        match self.machine {
            Machine::Amd64 => amd64::returns(&self.bytes),
            Machine::Arm64 => arm64::returns(&self.bytes),
            Machine::Other(_) => Err(CodeError::Machine),
        }
    }

    /// Virtual addresses that its instructions refer to, in the order of the code.
    ///
    /// # Errors
    /// As [`FunctionCode::returns`].
    pub fn data_references(&self) -> Result<Vec<u64>, CodeError> {
        let vaddr = self.function.entry;
        match self.machine {
            Machine::Amd64 => amd64::data_references(&self.bytes, vaddr),
            Machine::Arm64 => arm64::data_references(&self.bytes, vaddr),
            Machine::Other(_) => Err(CodeError::Machine),
        }
    }
}
