//! What the binary says about the functions every cancellable context passes through.

use crate::binary::{BinaryError, Blocks, Elf, FuncInfo, GoBinary, Machine};

/// Enough for the longest prologue.
const PROLOGUE_BYTES: u64 = 64;
/// Every context that can be cancelled passes it once, at its creation.
pub const CREATE: &str = "context.(*cancelCtx).propagateCancel";
/// Every cancelled context passes it, at least once.
pub const CANCEL: &str = "context.(*cancelCtx).cancel";

/// Why no facts could be had.
#[derive(Debug, thiserror::Error)]
pub enum FactError {
    /// The tables could not be read.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The code is for a processor whose prologues are not decoded here.
    #[error("the executable is not for amd64")]
    Machine,
}

/// One function with the start of its code.
#[derive(Debug, Clone)]
pub struct CodeFacts {
    /// Name and addresses.
    pub function: FuncInfo,
    /// File offset of its first instruction.
    pub file_offset: u64,
    /// Its first bytes.
    pub code: Vec<u8>,
    /// The source file it was written in.
    pub source: String,
}

/// The functions of the context package as this binary has them.
#[derive(Debug, Clone, Default)]
pub struct ContextFacts {
    /// [`CREATE`], if linked in.
    pub create: Option<CodeFacts>,
    /// [`CANCEL`], if linked in.
    pub cancel: Option<CodeFacts>,
    /// Functions that have [`CANCEL`] inlined (builds with profile-guided optimisation).
    pub cancel_inlined_into: Vec<CodeFacts>,
}

impl ContextFacts {
    /// Collects the facts.
    ///
    /// # Errors
    /// The tables are broken, or the code is for another processor.
    pub fn read(file: &Blocks, elf: &Elf, go: &GoBinary) -> Result<Self, FactError> {
        if elf.machine != Machine::Amd64 {
            return Err(FactError::Machine);
        }
        let mut facts = Self::default();
        for function in go.table.find(file, &[CREATE, CANCEL])? {
            let found = code_facts(file, elf, go, function)?;
            match found.function.name.as_str() {
                CREATE => facts.create = Some(found),
                _ => facts.cancel = Some(found),
            }
        }
        for function in go.table.find_inlining(file, CANCEL)? {
            facts.cancel_inlined_into.push(code_facts(file, elf, go, function)?);
        }
        Ok(facts)
    }
}

fn code_facts(
    file: &Blocks,
    elf: &Elf,
    go: &GoBinary,
    function: FuncInfo,
) -> Result<CodeFacts, BinaryError> {
    let (file_offset, bytes) =
        elf.code(function.entry).ok_or(BinaryError::Truncated { what: "a function's code" })?;
    let length = function.end.saturating_sub(function.entry).min(bytes).min(PROLOGUE_BYTES);
    let code = file.vec(file_offset, length as usize, "a function's code")?;
    // The outermost frame is the function itself, whatever is inlined at its start.
    let frames = go.table.frames(file, function.entry + 1)?;
    let source = frames.into_iter().next_back().map_or_else(String::new, |frame| frame.file);
    Ok(CodeFacts { function, file_offset, code, source })
}
