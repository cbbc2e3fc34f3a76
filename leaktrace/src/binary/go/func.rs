//! The records of single functions: `runtime._func` (runtime/runtime2.go) and the nodes of its
//! inline tree (`runtime.inlinedCall`, runtime/symtabinl.go).

use super::pclntab::PcLnTab;
use crate::binary::{BinaryError, Blocks};

/// Size of an `inlinedCall` and of the fixed part of a `_func`, in every version; npcdata, then
/// nfuncdata words follow the latter.
const INLINED_CALL_BYTES: usize = 16;
const FUNC_BYTES: usize = 44;

/// A `runtime._func` record.
pub(super) struct Func {
    /// File offset of the record.
    offset: u64,
    pub entry_offset: u32,
    pub name_offset: u32,
    pub pcsp: u32,
    pub pcfile: u32,
    pub pcln: u32,
    pcdata_count: u32,
    pub unit: u32,
    pub start_line: i32,
    pub id: u8,
    pub flag: u8,
    funcdata_count: u8,
}

/// One node of a function's inline tree.
pub(super) struct InlinedCall {
    pub name_offset: u32,
    /// Offset, from the outer function's entry, of the call that was inlined.
    pub parent_pc: u32,
    pub start_line: i32,
}

/// The little-endian word at `at`, which lies in the record.
const fn word(bytes: &[u8], at: u64) -> u32 {
    let at = at as usize;
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl PcLnTab {
    /// The record of function number `index`.
    pub(super) fn func(&self, file: &Blocks, index: u64) -> Result<Func, BinaryError> {
        let offset = self.table + u64::from(file.u32(self.table + index * 8 + 4, "a function")?);
        let mut bytes = [0; FUNC_BYTES];
        file.read(&mut bytes, offset, "a function record")?;
        let at = &self.layout.tables.func;
        Ok(Func {
            offset,
            entry_offset: word(&bytes, at.entry_off),
            name_offset: word(&bytes, at.name_off),
            pcsp: word(&bytes, at.pcsp),
            pcfile: word(&bytes, at.pcfile),
            pcln: word(&bytes, at.pcln),
            pcdata_count: word(&bytes, at.npcdata),
            unit: word(&bytes, at.cu_offset),
            start_line: word(&bytes, at.start_line) as i32,
            id: bytes[at.func_id as usize],
            flag: bytes[at.flag as usize],
            funcdata_count: bytes[at.nfuncdata as usize],
        })
    }

    pub(super) fn entry(&self, func: &Func) -> u64 {
        self.text + u64::from(func.entry_offset)
    }

    /// Whether the compiler made `func` to adapt one calling convention to another; the runtime
    /// does not show it.
    pub(super) fn is_wrapper(&self, func: &Func) -> bool {
        u64::from(func.id) == self.layout.tables.symtab.func_id_wrapper
    }

    /// File offset of the inline tree of `func`, if anything is inlined into it.
    pub(super) fn inline_tree(
        &self,
        file: &Blocks,
        func: &Func,
    ) -> Result<Option<u64>, BinaryError> {
        self.funcdata(file, func, self.layout.tables.symtab.funcdata_inl_tree)
    }

    /// File offset of function data number `number` of `func`, if it has them.
    pub(super) fn funcdata(
        &self,
        file: &Blocks,
        func: &Func,
        number: u64,
    ) -> Result<Option<u64>, BinaryError> {
        if u64::from(func.funcdata_count) <= number {
            return Ok(None);
        }
        let words = u64::from(func.pcdata_count) + number;
        let relative = file.u32(func.offset + FUNC_BYTES as u64 + words * 4, "function data")?;
        Ok((relative != u32::MAX).then_some(self.gofunc + u64::from(relative)))
    }

    pub(super) fn inlined_call(
        &self,
        file: &Blocks,
        tree: u64,
        node: u32,
    ) -> Result<InlinedCall, BinaryError> {
        let mut bytes = [0; INLINED_CALL_BYTES];
        file.read(
            &mut bytes,
            tree + u64::from(node) * INLINED_CALL_BYTES as u64,
            "an inline tree",
        )?;
        let at = &self.layout.tables.inlined_call;
        Ok(InlinedCall {
            name_offset: word(&bytes, at.name_off),
            parent_pc: word(&bytes, at.parent_pc),
            start_line: word(&bytes, at.start_line) as i32,
        })
    }

    /// The inline tree node at `pc`, or -1.
    pub(super) fn inline_index(
        &self,
        file: &Blocks,
        func: &Func,
        pc: u64,
    ) -> Result<i32, BinaryError> {
        match self.inline_index_table(file, func)? {
            0 => Ok(-1),
            table => self.pc_value(file, table, self.entry(func), pc),
        }
    }

    fn inline_index_table(&self, file: &Blocks, func: &Func) -> Result<u32, BinaryError> {
        let number = self.layout.tables.symtab.pcdata_inl_tree_index;
        if u64::from(func.pcdata_count) <= number {
            return Ok(0);
        }
        file.u32(func.offset + FUNC_BYTES as u64 + number * 4, "function data")
    }

    /// How many nodes the inline tree of `func` has: one more than its highest index.
    pub(super) fn inline_tree_nodes(&self, file: &Blocks, func: &Func) -> Result<u32, BinaryError> {
        let table = self.inline_index_table(file, func)?;
        let mut highest = -1;
        if table != 0 {
            self.pc_values(file, table, 0, |_, value| {
                highest = highest.max(value);
                true
            })?;
        }
        Ok(highest.saturating_add(1) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::{FUNC_BYTES, INLINED_CALL_BYTES};
    use crate::binary::layout::for_every_version;

    #[test]
    fn the_records_are_as_long_in_every_version() {
        let lengths = |tables: &crate::binary::layout::tables::Tables| {
            (tables.func.bytes as usize, tables.inlined_call.bytes as usize)
        };
        let expected = (FUNC_BYTES, INLINED_CALL_BYTES);
        assert!(for_every_version().all(|layout| lengths(layout.tables) == expected));
    }
}
