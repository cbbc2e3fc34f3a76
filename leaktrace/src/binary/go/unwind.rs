//! From one frame of a stack to the next: an address of code in, where its caller's frame begins
//! out, and what a goroutine's first function stands for.
//!
//! Non-goals: the stacks themselves, which are in live memory.

use super::pclntab::PcLnTab;
use crate::binary::{BinaryError, Blocks};

/// What the runtime's tables say of a function's frame at one of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackFrame {
    /// Bytes from the stack pointer to the frame's end; on amd64 the return address is there.
    pub depth: u64,
    /// Nothing called this function (`TOPFRAME` in Go's assembly).
    pub outermost: bool,
}

impl PcLnTab {
    /// The frame of the function that runs at `pc`, without load bias; none where no Go function
    /// is, or the table has no depth (`runtime.funcspdelta`, runtime/symtab.go).
    ///
    /// # Errors
    /// A table is truncated or broken.
    pub fn stack_frame(&self, file: &Blocks, pc: u64) -> Result<Option<StackFrame>, BinaryError> {
        let Some(index) = self.index_of(file, pc)? else { return Ok(None) };
        let func = self.func(file, index)?;
        let top = self.layout.tables.symtab.func_flag_top_frame;
        let outermost = u64::from(func.flag) & top != 0;
        let depth = self.pc_value(file, func.pcsp, self.entry(&func), pc)?;
        let depth = u64::try_from(depth).ok().filter(|depth| depth.is_multiple_of(8));
        Ok(depth.map(|depth| StackFrame { depth, outermost }))
    }

    /// Where the function that covers `pc` begins, both without load bias; none if none does.
    ///
    /// # Errors
    /// The table is truncated.
    pub fn entry_of(&self, file: &Blocks, pc: u64) -> Result<Option<u64>, BinaryError> {
        let Some(index) = self.index_of(file, pc)? else { return Ok(None) };
        Ok(Some(self.entry(&self.func(file, index)?)))
    }

    /// The entry of what the program started where a goroutine began at `entry`: `go f(x)` begins
    /// in a wrapper made by the compiler (`runtime.startPCForTrace`, runtime/tracestack.go).
    ///
    /// # Errors
    /// A table is truncated.
    pub fn unwrapped(&self, file: &Blocks, entry: u64) -> Result<u64, BinaryError> {
        let Some(index) = self.index_of(file, entry)? else { return Ok(entry) };
        let func = self.func(file, index)?;
        let number = self.layout.tables.symtab.funcdata_wrap_info;
        let Some(at) = self.funcdata(file, &func, number)? else { return Ok(entry) };
        Ok(self.text + u64::from(file.u32(at, "what a wrapper calls")?))
    }
}

#[cfg(test)]
mod tests {
    use super::StackFrame;
    use crate::binary::{Blocks, PcLnTab};

    /// One function of 16 bytes: 0 deep for one byte, then 24.
    fn one_function(flag: u8) -> (Blocks, PcLnTab) {
        let table = PcLnTab::for_test();
        let at = table.layout.tables.func;
        let mut bytes = vec![0; 256];
        // The function table: entry 0, record at 32; end 16.
        bytes[4] = 32;
        bytes[8] = 16;
        bytes[32 + at.pcsp as usize] = 200;
        bytes[32 + at.flag as usize] = flag;
        bytes[200..205].copy_from_slice(&[2, 1, 48, 15, 0]);
        (Blocks::new(bytes), table)
    }

    #[test]
    fn the_depth_is_that_at_the_address() {
        let (file, table) = one_function(0);
        let frame = |pc| table.stack_frame(&file, pc).unwrap();
        assert_eq!(frame(0), Some(StackFrame { depth: 0, outermost: false }));
        assert_eq!(frame(1), Some(StackFrame { depth: 24, outermost: false }));
        assert_eq!(frame(16), None);
        assert_eq!(table.entry_of(&file, 5).unwrap(), Some(0));
        assert_eq!(table.entry_of(&file, 16).unwrap(), None);
        let (file, table) = one_function(1);
        assert!(table.stack_frame(&file, 0).unwrap().unwrap().outermost);
    }

    #[test]
    fn what_wraps_nothing_stands_for_itself() {
        let (file, table) = one_function(0);
        assert_eq!(table.unwrapped(&file, 0).unwrap(), 0);
        assert_eq!(table.unwrapped(&file, 0x1234).unwrap(), 0x1234);
    }
}
