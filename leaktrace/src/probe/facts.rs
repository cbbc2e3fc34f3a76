//! What the binary says about the functions every cancellable context passes through.

use crate::binary::{BinaryError, Blocks, Elf, FuncInfo, FunctionCode, GoBinary};

/// Every context that can be cancelled passes it once, at its creation.
pub const CREATE: &str = "context.(*cancelCtx).propagateCancel";
/// Every cancelled context passes it, at least once.
pub const CANCEL: &str = "context.(*cancelCtx).cancel";

/// One function with its code.
#[derive(Debug, Clone)]
pub struct CodeFacts {
    /// Name, addresses and instructions.
    pub code: FunctionCode,
    /// The source file it was written in.
    pub source: String,
}

/// The functions of the context package as this binary has them.
#[derive(Debug, Clone, Default)]
pub struct ContextFacts {
    /// What makes contexts, if linked in.
    pub create: Option<CodeFacts>,
    /// What cancels them, if linked in.
    pub cancel: Option<CodeFacts>,
    /// Functions that have that inlined (builds with profile-guided optimisation).
    pub cancel_inlined_into: Vec<CodeFacts>,
}

impl ContextFacts {
    /// Collects the facts.
    ///
    /// # Errors
    /// The tables are broken.
    pub fn read(file: &Blocks, elf: &Elf, go: &GoBinary) -> Result<Self, BinaryError> {
        let mut facts = Self::default();
        for function in go.table.find(file, &[CREATE, CANCEL])? {
            let found = code_facts(file, elf, go, function)?;
            match found.code.function.name.as_str() {
                CREATE => facts.create = Some(found),
                _ => facts.cancel = Some(found),
            }
        }
        for function in go.table.find_inlining(file, &[CANCEL])? {
            facts.cancel_inlined_into.push(code_facts(file, elf, go, function)?);
        }
        Ok(facts)
    }
}

/// The code of a function, and where it was written.
pub(super) fn code_facts(
    file: &Blocks,
    elf: &Elf,
    go: &GoBinary,
    function: FuncInfo,
) -> Result<CodeFacts, BinaryError> {
    // The outermost frame is the function itself, whatever is inlined at its start.
    let frames = go.table.frames(file, function.entry + 1)?;
    let source = frames
        .into_iter()
        .next_back()
        .map_or_else(String::new, |frame| frame.file.as_ref().to_owned());
    Ok(CodeFacts { code: FunctionCode::read(file, elf, function)?, source })
}
