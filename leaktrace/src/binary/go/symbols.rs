//! pc -> source frames, inlined ones first, as `runtime.CallersFrames` would give them.

use std::sync::Arc;

use super::{
    func::{Func, InlinedCall},
    pclntab::PcLnTab,
};
use crate::binary::{BinaryError, Blocks};

/// Deeper inlining than this has not been seen; a longer chain is a broken table.
const INLINE_DEPTH_MAX: usize = 256;

/// One source-level frame.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Frame {
    /// Full function name; type arguments are left out, as the runtime does in stacks.
    pub function: Arc<str>,
    /// Source file as the compiler wrote it; `-trimpath` shortens it. Unknown: `?`.
    pub file: Arc<str>,
    /// Line in `file`; 0 when unknown.
    pub line: u32,
    /// Line on which the function begins; 0 when unknown.
    pub start_line: u32,
    /// This call was inlined into the next frame.
    pub inlined: bool,
}

impl PcLnTab {
    /// The frames of the call that returns to `return_pc` (an address of the file, without load
    /// bias), innermost first. Empty: not a Go function, or a compiler-made wrapper, which the
    /// Go runtime hides too.
    ///
    /// # Errors
    /// A table is truncated or broken.
    pub fn frames(&self, file: &Blocks, return_pc: u64) -> Result<Vec<Frame>, BinaryError> {
        let mut frames = Vec::new();
        self.each_call(file, return_pc, |func, call| {
            frames.push(self.frame(file, func, call)?);
            Ok(())
        })?;
        Ok(frames)
    }

    /// One address for each of the frames of `return_pc`, innermost first: `runtime.CallersFrames`
    /// gives these frames when it is asked for these addresses one by one.
    ///
    /// # Errors
    /// As [`PcLnTab::frames`].
    pub fn logical_pcs(&self, file: &Blocks, return_pc: u64) -> Result<Vec<u64>, BinaryError> {
        let mut pcs = Vec::new();
        self.each_call(file, return_pc, |_, call| {
            pcs.push(call.pc + 1);
            Ok(())
        })?;
        Ok(pcs)
    }

    /// Calls `visit` for the calls inlined at the call that returns to `return_pc`, innermost
    /// first, and for the function that holds them (`runtime.inlineUnwinder`).
    fn each_call(
        &self,
        file: &Blocks,
        return_pc: u64,
        mut visit: impl FnMut(&Func, &Call) -> Result<(), BinaryError>,
    ) -> Result<(), BinaryError> {
        // The call lies before the address it returns to, perhaps on another line.
        let mut pc = return_pc.wrapping_sub(1);
        let Some(index) = self.index_of(file, pc)? else { return Ok(()) };
        let func = self.func(file, index)?;
        if let Some(tree) = self.inline_tree(file, &func)? {
            let mut depth = 0;
            while let Ok(node) = u32::try_from(self.inline_index(file, &func, pc)?) {
                if depth == INLINE_DEPTH_MAX {
                    return Err(BinaryError::NotRecognised("an inline tree without a root"));
                }
                let inlined = self.inlined_call(file, tree, node)?;
                visit(&func, &Call::inlined(pc, &inlined))?;
                pc = self.entry(&func) + u64::from(inlined.parent_pc);
                depth += 1;
            }
        }
        if self.is_wrapper(&func) { Ok(()) } else { visit(&func, &Call::outermost(pc, &func)) }
    }

    fn frame(&self, file: &Blocks, func: &Func, call: &Call) -> Result<Frame, BinaryError> {
        let line = self.pc_value(file, func.pcln, self.entry(func), call.pc)?;
        Ok(Frame {
            function: self.strings.function(file, self.names + u64::from(call.name_offset))?,
            file: self.file_name(file, func, call.pc)?,
            line: u32::try_from(line).unwrap_or(0),
            start_line: u32::try_from(call.start_line).unwrap_or(0),
            inlined: call.inlined,
        })
    }

    /// `filetab[cutab[unit + pcfile(pc)]]`.
    fn file_name(&self, file: &Blocks, func: &Func, pc: u64) -> Result<Arc<str>, BinaryError> {
        let unknown = || Ok("?".into());
        let number = self.pc_value(file, func.pcfile, self.entry(func), pc)?;
        let Ok(number) = u64::try_from(number) else { return unknown() };
        let at = self.units + (u64::from(func.unit) + number) * 4;
        match file.u32(at, "the file table")? {
            u32::MAX => unknown(),
            offset => self.strings.path(file, self.files + u64::from(offset)),
        }
    }
}

/// One source-level call: where it stands, and in what function.
struct Call {
    /// An address within the call instruction.
    pc: u64,
    name_offset: u32,
    start_line: i32,
    inlined: bool,
}

impl Call {
    const fn inlined(pc: u64, node: &InlinedCall) -> Self {
        Self { pc, name_offset: node.name_offset, start_line: node.start_line, inlined: true }
    }

    const fn outermost(pc: u64, func: &Func) -> Self {
        Self { pc, name_offset: func.name_offset, start_line: func.start_line, inlined: false }
    }
}
