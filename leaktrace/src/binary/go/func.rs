//! The records of single functions: `runtime._func` (runtime/runtime2.go) and the nodes of its
//! inline tree (`runtime.inlinedCall`, runtime/symtabinl.go).

use super::pclntab::PcLnTab;
use crate::binary::{BinaryError, Blocks};

/// `abi.FUNCDATA_InlTree` and `abi.PCDATA_InlTreeIndex` (internal/abi/symtab.go).
const FUNCDATA_INL_TREE: u64 = 3;
const PCDATA_INL_TREE_INDEX: u64 = 2;
/// `runtime.inlinedCall`: funcID 0, nameOff 4, parentPc 8, startLine 12.
const INLINED_CALL_BYTES: usize = 16;
/// Fixed part of `_func` in Go 1.20 to 1.27; npcdata, then nfuncdata words follow.
const FUNC_BYTES: usize = 44;

/// A `runtime._func` record.
pub(super) struct Func {
    /// File offset of the record.
    offset: u64,
    pub entry_offset: u32,
    pub name_offset: u32,
    pub pcfile: u32,
    pub pcln: u32,
    pcdata_count: u32,
    pub unit: u32,
    pub start_line: i32,
    pub id: u8,
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
const fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl PcLnTab {
    /// The record of function number `index`.
    pub(super) fn func(&self, file: &Blocks, index: u64) -> Result<Func, BinaryError> {
        let offset = self.table + u64::from(file.u32(self.table + index * 8 + 4, "a function")?);
        let mut bytes = [0; FUNC_BYTES];
        file.read(&mut bytes, offset, "a function record")?;
        Ok(Func {
            offset,
            entry_offset: word(&bytes, 0),
            name_offset: word(&bytes, 4),
            pcfile: word(&bytes, 20),
            pcln: word(&bytes, 24),
            pcdata_count: word(&bytes, 28),
            unit: word(&bytes, 32),
            start_line: word(&bytes, 36) as i32,
            id: bytes[40],
            funcdata_count: bytes[43],
        })
    }

    pub(super) fn entry(&self, func: &Func) -> u64 {
        self.text + u64::from(func.entry_offset)
    }

    /// Whether the compiler made `func` to adapt one calling convention to another; the runtime
    /// does not show it.
    pub(super) const fn is_wrapper(&self, func: &Func) -> bool {
        func.id == self.layout.func_id_wrapper
    }

    /// File offset of the inline tree of `func`, if anything is inlined into it.
    pub(super) fn inline_tree(
        &self,
        file: &Blocks,
        func: &Func,
    ) -> Result<Option<u64>, BinaryError> {
        if u64::from(func.funcdata_count) <= FUNCDATA_INL_TREE {
            return Ok(None);
        }
        let words = u64::from(func.pcdata_count) + FUNCDATA_INL_TREE;
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
        let (name_offset, parent_pc) = (word(&bytes, 4), word(&bytes, 8));
        Ok(InlinedCall { name_offset, parent_pc, start_line: word(&bytes, 12) as i32 })
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
        if u64::from(func.pcdata_count) <= PCDATA_INL_TREE_INDEX {
            return Ok(0);
        }
        file.u32(func.offset + FUNC_BYTES as u64 + PCDATA_INL_TREE_INDEX * 4, "function data")
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
