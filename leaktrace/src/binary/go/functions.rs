//! Functions: by name, by address, and by what was inlined into them.
//! Source: `runtime._func` (runtime/runtime2.go), 44 bytes in Go 1.20 to 1.27.

use std::collections::HashMap;

use super::pclntab::PcLnTab;
use crate::binary::{BinaryError, Blocks};

/// `abi.FUNCDATA_InlTree` and `abi.PCDATA_InlTreeIndex` (internal/abi/symtab.go).
const FUNCDATA_INL_TREE: u64 = 3;
const PCDATA_INL_TREE_INDEX: u64 = 2;
/// `runtime.inlinedCall`: funcID 0, nameOff 4, parentPc 8, startLine 12.
const INLINED_CALL_BYTES: u64 = 16;
/// Fixed part of `_func`; npcdata, then nfuncdata words follow.
const FUNC_BYTES: u64 = 44;
/// Real functions have at most tens of thousands of table entries.
const TABLE_STEPS_MAX: u32 = 1 << 20;
const NAME_BYTES_MAX: usize = 4096;
/// A name stands in the table once; its function may be inlined into hundreds of others.
const FOUND_MAX: usize = 1024;

/// A function found by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuncInfo {
    /// Its full name.
    pub name: String,
    /// Address of its first instruction, without load bias.
    pub entry: u64,
    /// Address behind its last byte.
    pub end: u64,
}

/// A `runtime._func` record.
pub(super) struct Func {
    /// File offset of the record.
    offset: u64,
    entry_offset: u32,
    pub name_offset: u32,
    pub pcfile: u32,
    pub pcln: u32,
    pcdata_count: u32,
    pub unit: u32,
    pub id: u8,
    funcdata_count: u8,
}

/// One node of a function's inline tree.
pub(super) struct InlinedCall {
    pub name_offset: u32,
    /// Offset, from the outer function's entry, of the call that was inlined.
    pub parent_pc: u32,
}

fn within_limit(found: usize) -> Result<(), BinaryError> {
    const REPEATED: BinaryError =
        BinaryError::NotRecognised("a function that the table holds more than a thousand times");
    if found <= FOUND_MAX { Ok(()) } else { Err(REPEATED) }
}

impl PcLnTab {
    /// The functions called `names`, without the ABI wrappers of the same name; missing ones are
    /// left out.
    ///
    /// # Errors
    /// The table is truncated.
    pub fn find(&self, file: &Blocks, names: &[&str]) -> Result<Vec<FuncInfo>, BinaryError> {
        let wanted = self.name_offsets(file, names)?;
        let mut found = Vec::new();
        self.each_function(file, |index, func| {
            if let Some(name) = wanted.get(&func.name_offset)
                && func.id != self.layout.func_id_wrapper
            {
                found.push((index, (*name).to_owned()));
            }
            within_limit(found.len())
        })?;
        found.into_iter().map(|(index, name)| self.info(file, index, name)).collect()
    }

    /// The functions that have `callee` inlined into them.
    ///
    /// # Errors
    /// The table is truncated.
    pub fn find_inlining(&self, file: &Blocks, callee: &str) -> Result<Vec<FuncInfo>, BinaryError> {
        let wanted = self.name_offsets(file, &[callee])?;
        let mut found = Vec::new();
        self.each_function(file, |index, func| {
            let Some(tree) = self.inline_tree(file, func)? else { return Ok(()) };
            for node in 0..self.inline_tree_nodes(file, func)? {
                if wanted.contains_key(&self.inlined_call(file, tree, node)?.name_offset) {
                    found.push((index, func.name_offset));
                    break;
                }
            }
            within_limit(found.len())
        })?;
        let info = |(index, name)| self.info(file, index, self.name(file, name)?);
        found.into_iter().map(info).collect()
    }

    /// File offsets of `names` in the name table, relative to its start.
    fn name_offsets<'a>(
        &self,
        file: &Blocks,
        names: &[&'a str],
    ) -> Result<HashMap<u32, &'a str>, BinaryError> {
        let mut found = HashMap::new();
        let finders: Vec<_> =
            names.iter().map(|name| (*name, [b"\0", name.as_bytes(), b"\0"].concat())).collect();
        // The first name follows the padding of the header, which is zero.
        let start = self.names.saturating_sub(1);
        let range = (start, self.units.saturating_sub(start));
        file.scan(range, NAME_BYTES_MAX, "the function names", |at, piece| {
            for (name, needle) in &finders {
                let hits = memchr::memmem::find_iter(piece, needle);
                let offsets = hits.map_while(|hit| u32::try_from(at - start + hit as u64).ok());
                found.extend(offsets.map(|offset| (offset, *name)));
            }
            found.len() <= FOUND_MAX
        })?;
        within_limit(found.len())?;
        Ok(found)
    }

    fn each_function(
        &self,
        file: &Blocks,
        mut visit: impl FnMut(u64, &Func) -> Result<(), BinaryError>,
    ) -> Result<(), BinaryError> {
        (0..self.functions).try_for_each(|index| visit(index, &self.func(file, index)?))
    }

    /// The function covering `pc`, or none outside the table.
    pub(super) fn index_of(&self, file: &Blocks, pc: u64) -> Result<Option<u64>, BinaryError> {
        let Some(Ok(target)) = pc.checked_sub(self.text).map(u32::try_from) else {
            return Ok(None);
        };
        let (mut low, mut high) = (0, self.functions);
        // Entry `functions` is the end of the last function.
        if target >= self.entry_offset(file, high)? || target < self.entry_offset(file, 0)? {
            return Ok(None);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.entry_offset(file, middle)? <= target { low = middle } else { high = middle }
        }
        Ok(Some(low))
    }

    fn entry_offset(&self, file: &Blocks, index: u64) -> Result<u32, BinaryError> {
        file.u32(self.table + index * 8, "the function table")
    }

    pub(super) fn func(&self, file: &Blocks, index: u64) -> Result<Func, BinaryError> {
        let offset = self.table + u64::from(file.u32(self.table + index * 8 + 4, "a function")?);
        let mut bytes = [0; FUNC_BYTES as usize];
        file.read(&mut bytes, offset, "a function record")?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Ok(Func {
            offset,
            entry_offset: word(0),
            name_offset: word(4),
            pcfile: word(20),
            pcln: word(24),
            pcdata_count: word(28),
            unit: word(32),
            id: bytes[40],
            funcdata_count: bytes[43],
        })
    }

    fn info(&self, file: &Blocks, index: u64, name: String) -> Result<FuncInfo, BinaryError> {
        let entry = self.text + u64::from(self.entry_offset(file, index)?);
        let end = self.text + u64::from(self.entry_offset(file, index + 1)?);
        Ok(FuncInfo { name, entry, end })
    }

    pub(super) fn entry(&self, func: &Func) -> u64 {
        self.text + u64::from(func.entry_offset)
    }

    pub(super) fn name(&self, file: &Blocks, name_offset: u32) -> Result<String, BinaryError> {
        file.c_str(self.names + u64::from(name_offset), NAME_BYTES_MAX)
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
        let relative = file.u32(func.offset + FUNC_BYTES + words * 4, "function data")?;
        Ok((relative != u32::MAX).then_some(self.gofunc + u64::from(relative)))
    }

    pub(super) fn inlined_call(
        &self,
        file: &Blocks,
        tree: u64,
        node: u32,
    ) -> Result<InlinedCall, BinaryError> {
        let at = tree + u64::from(node) * INLINED_CALL_BYTES;
        let name_offset = file.u32(at + 4, "an inline tree")?;
        Ok(InlinedCall { name_offset, parent_pc: file.u32(at + 8, "an inline tree")? })
    }

    /// The inline tree node at `pc`, or -1.
    pub(super) fn inline_index(
        &self,
        file: &Blocks,
        func: &Func,
        pc: u64,
    ) -> Result<i32, BinaryError> {
        let table = self.inline_index_table(file, func)?;
        self.pc_value(file, table, self.entry(func), pc)
    }

    fn inline_index_table(&self, file: &Blocks, func: &Func) -> Result<u32, BinaryError> {
        if u64::from(func.pcdata_count) <= PCDATA_INL_TREE_INDEX {
            return Ok(0);
        }
        file.u32(func.offset + FUNC_BYTES + PCDATA_INL_TREE_INDEX * 4, "function data")
    }

    /// How many nodes the inline tree of `func` has: one more than its highest index.
    fn inline_tree_nodes(&self, file: &Blocks, func: &Func) -> Result<u32, BinaryError> {
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

    /// The value of the pc-value table at `pc`; -1 where it has none. Table 0 is no table: the
    /// linker's own functions (`go:textfipsstart`) have neither files nor lines.
    pub(super) fn pc_value(
        &self,
        file: &Blocks,
        table: u32,
        entry: u64,
        pc: u64,
    ) -> Result<i32, BinaryError> {
        let mut found = -1;
        if table == 0 {
            return Ok(found);
        }
        self.pc_values(file, table, entry, |end, value| {
            let covers = pc < end;
            if covers {
                found = value;
            }
            !covers
        })?;
        Ok(found)
    }

    /// Calls `visit(end, value)` for each step of a pc-value table: `value` holds for pcs below
    /// `end`. Stops when it gives `false` (`runtime.pcvalue`, runtime/symtab.go).
    fn pc_values(
        &self,
        file: &Blocks,
        table: u32,
        entry: u64,
        mut visit: impl FnMut(u64, i32) -> bool,
    ) -> Result<(), BinaryError> {
        let mut cursor = file.cursor(self.pctab + u64::from(table));
        let (mut value, mut pc) = (-1i32, entry);
        for step in 0..TABLE_STEPS_MAX {
            let zigzag = cursor.varint("a pc-value table")?;
            if zigzag == 0 && step > 0 {
                return Ok(());
            }
            let delta = (zigzag >> 1) as i32 ^ -((zigzag & 1) as i32);
            value = value.wrapping_add(delta);
            pc += u64::from(cursor.varint("a pc-value table")?) * self.quantum;
            if !visit(pc, value) {
                return Ok(());
            }
        }
        Err(BinaryError::NotRecognised("a pc-value table without an end"))
    }
}

#[cfg(test)]
mod tests {
    use super::{FOUND_MAX, PcLnTab};
    use crate::binary::{BinaryError, Blocks};

    fn names(count: usize) -> (Blocks, PcLnTab) {
        // The byte before the names belongs to the header.
        let bytes = [&b"\0"[..], &b"main.f\0".repeat(count)].concat();
        let table = PcLnTab { names: 1, units: bytes.len() as u64, ..PcLnTab::for_test() };
        (Blocks::new(bytes), table)
    }

    #[test]
    fn the_first_name_is_found() {
        let (file, table) = names(1);
        let found = table.name_offsets(&file, &["main.f"]).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(0, "main.f")]);
    }

    #[test]
    fn a_table_full_of_one_name_is_refused() {
        let (file, table) = names(3 * FOUND_MAX);
        let error = table.name_offsets(&file, &["main.f"]).unwrap_err();
        assert!(matches!(error, BinaryError::NotRecognised(_)), "{error}");
    }

    #[test]
    fn a_table_full_of_one_function_is_refused() {
        // All entries lead to the same record, of zeros: its name is the first one.
        let (name, functions) = (&b"\0main.f\0"[..], FOUND_MAX + 1);
        let bytes = [name, &vec![0; 8 * functions + 100]].concat();
        let (units, functions) = (name.len() as u64, functions as u64);
        let table = PcLnTab { names: 1, units, functions, table: units, ..PcLnTab::for_test() };
        let error = table.find(&Blocks::new(bytes), &["main.f"]).unwrap_err();
        assert!(matches!(error, BinaryError::NotRecognised(_)), "{error}");
    }

    /// The table at 1 says 7 for four bytes; the byte before it belongs to no table.
    fn value_at(table: u32, pc: u64) -> i32 {
        let file = Blocks::new(vec![0, 16, 4, 0]);
        PcLnTab::for_test().pc_value(&file, table, 0x1000, pc).unwrap()
    }

    #[test]
    fn behind_the_end_of_a_table_there_is_no_value() {
        assert_eq!((value_at(1, 0x1003), value_at(1, 0x1004)), (7, -1));
    }

    #[test]
    fn without_a_table_there_is_no_value() {
        // Read as one, it would run past the end of the file.
        assert_eq!((value_at(0, 0x1000), value_at(0, 0x1011)), (-1, -1));
    }
}
