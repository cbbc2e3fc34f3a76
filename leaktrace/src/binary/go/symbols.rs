//! pc -> source frames, inlined ones first, as `runtime.CallersFrames` would give them.

use super::{functions::Func, pclntab::PcLnTab};
use crate::binary::{BinaryError, Blocks};

/// Deeper inlining than this has not been seen; a longer chain is a broken table.
const INLINE_DEPTH_MAX: usize = 256;
const PATH_BYTES_MAX: usize = 4096;

/// One source-level frame.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Frame {
    /// Full function name.
    pub function: String,
    /// Source file as the compiler wrote it; `-trimpath` shortens it. Unknown: `?`.
    pub file: String,
    /// Line in `file`; 0 when unknown.
    pub line: u32,
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
        // The call lies before the address it returns to, perhaps on another line.
        let mut pc = return_pc.wrapping_sub(1);
        let Some(index) = self.index_of(file, pc)? else { return Ok(Vec::new()) };
        let func = self.func(file, index)?;
        let mut frames = Vec::new();
        if let Some(tree) = self.inline_tree(file, &func)? {
            let mut node = self.inline_index(file, &func, pc)?;
            while let Ok(index) = u32::try_from(node) {
                if frames.len() == INLINE_DEPTH_MAX {
                    return Err(BinaryError::NotRecognised("an inline tree without a root"));
                }
                let call = self.inlined_call(file, tree, index)?;
                frames.push(self.frame(file, &func, call.name_offset, pc, true)?);
                pc = self.entry(&func) + u64::from(call.parent_pc);
                node = self.inline_index(file, &func, pc)?;
            }
        }
        if u64::from(func.id) != self.layout.tables.symtab.func_id_wrapper {
            frames.push(self.frame(file, &func, func.name_offset, pc, false)?);
        }
        Ok(frames)
    }

    fn frame(
        &self,
        file: &Blocks,
        func: &Func,
        name_offset: u32,
        pc: u64,
        inlined: bool,
    ) -> Result<Frame, BinaryError> {
        let entry = self.entry(func);
        let line = self.pc_value(file, func.pcln, entry, pc)?;
        Ok(Frame {
            function: printed_name(self.name(file, name_offset)?),
            file: self.file_name(file, func, pc)?,
            line: u32::try_from(line).unwrap_or(0),
            inlined,
        })
    }

    /// `filetab[cutab[unit + pcfile(pc)]]`.
    fn file_name(&self, file: &Blocks, func: &Func, pc: u64) -> Result<String, BinaryError> {
        let unknown = || "?".to_owned();
        let number = self.pc_value(file, func.pcfile, self.entry(func), pc)?;
        let Ok(number) = u64::try_from(number) else { return Ok(unknown()) };
        let at = self.units + (u64::from(func.unit) + number) * 4;
        match file.u32(at, "the file table")? {
            u32::MAX => Ok(unknown()),
            offset => file.c_str(self.files + u64::from(offset), PATH_BYTES_MAX),
        }
    }
}

/// Type arguments are printed as `[...]`, as `funcNameForPrint` in runtime/symtab.go does.
fn printed_name(name: String) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}[...]{}", &name[..open], &name[close + 1..])
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::printed_name;

    #[test]
    fn type_arguments_are_left_out() {
        for (name, printed) in [
            ("main.f[go.shape.int]", "main.f[...]"),
            ("main.f[go.shape.[]uint8].func1", "main.f[...].func1"),
            ("main.f", "main.f"),
            ("main.f]odd[", "main.f]odd["),
        ] {
            assert_eq!(printed_name(name.to_owned()), printed);
        }
    }
}
