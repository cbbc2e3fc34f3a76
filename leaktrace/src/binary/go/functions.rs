//! Functions: all of them, by name, by address, and by what was inlined into them.

use std::collections::HashSet;

use super::{func::Func, pclntab::PcLnTab, strings::NAME_BYTES_MAX};
use crate::binary::{BinaryError, Blocks};

/// A name stands in the table once; its function may be inlined into hundreds of others.
const FOUND_MAX: usize = 1024;
/// An entry of the function table: where the function begins, where its record lies.
const PAIR_BYTES: usize = 8;

/// A function as its table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuncInfo {
    /// Its full name.
    pub name: String,
    /// Address of its first instruction, without load bias.
    pub entry: u64,
    /// Address behind its last byte; padding up to the next function counts as its own.
    pub end: u64,
    /// Made by the compiler to adapt one calling convention to another: it has the name of the
    /// real function, and the runtime does not show it.
    pub wrapper: bool,
}

fn within_limit(found: usize) -> Result<(), BinaryError> {
    const REPEATED: BinaryError =
        BinaryError::NotRecognised("a function that the table holds more than a thousand times");
    if found <= FOUND_MAX { Ok(()) } else { Err(REPEATED) }
}

impl PcLnTab {
    /// Every function, by address.
    ///
    /// # Errors
    /// Each item: the table is truncated or broken there.
    pub fn functions(&self, file: &Blocks) -> impl Iterator<Item = Result<FuncInfo, BinaryError>> {
        (0..self.functions).map(|index| {
            let func = self.func(file, index)?;
            self.info(file, index, &func)
        })
    }

    /// Whether the call that returns to `return_pc` is in a Go function.
    ///
    /// # Errors
    /// The table is truncated.
    pub fn covers(&self, file: &Blocks, return_pc: u64) -> Result<bool, BinaryError> {
        Ok(self.index_of(file, return_pc.wrapping_sub(1))?.is_some())
    }

    /// The functions called `names`, without the ABI wrappers of the same name; missing ones are
    /// left out.
    ///
    /// # Errors
    /// The table is truncated.
    pub fn find(&self, file: &Blocks, names: &[&str]) -> Result<Vec<FuncInfo>, BinaryError> {
        let wanted = self.name_offsets(file, names)?;
        let mut found = Vec::new();
        self.each_function(file, |index, func| {
            if wanted.contains(&func.name_offset) && !self.is_wrapper(func) {
                found.push(self.info(file, index, func)?);
            }
            within_limit(found.len())
        })?;
        Ok(found)
    }

    /// The functions that have one of `callees` inlined into them.
    ///
    /// # Errors
    /// The table is truncated.
    pub fn find_inlining(
        &self,
        file: &Blocks,
        callees: &[&str],
    ) -> Result<Vec<FuncInfo>, BinaryError> {
        let wanted = self.name_offsets(file, callees)?;
        let mut found = Vec::new();
        self.each_function(file, |index, func| {
            let Some(tree) = self.inline_tree(file, func)? else { return Ok(()) };
            for node in 0..self.inline_tree_nodes(file, func)? {
                if wanted.contains(&self.inlined_call(file, tree, node)?.name_offset) {
                    found.push(self.info(file, index, func)?);
                    break;
                }
            }
            within_limit(found.len())
        })?;
        Ok(found)
    }

    /// File offsets of `names` in the name table, relative to its start.
    fn name_offsets(&self, file: &Blocks, names: &[&str]) -> Result<HashSet<u32>, BinaryError> {
        let mut found = HashSet::new();
        let needles: Vec<_> =
            names.iter().map(|name| [b"\0", name.as_bytes(), b"\0"].concat()).collect();
        // The first name follows the padding of the header, which is zero.
        let start = self.names.saturating_sub(1);
        let range = (start, self.units.saturating_sub(start));
        file.scan(range, NAME_BYTES_MAX, "the function names", |at, piece| {
            for needle in &needles {
                let hits = memchr::memmem::find_iter(piece, needle);
                found.extend(hits.map_while(|hit| u32::try_from(at - start + hit as u64).ok()));
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
        let entries = self.entries(file)?;
        // The last entry is the end of the last function.
        let behind = entries.partition_point(|entry| *entry <= target);
        let inside = behind > 0 && behind < entries.len();
        Ok(inside.then(|| behind as u64 - 1))
    }

    /// Where every function begins, relative to the text, and where the last one ends; read at the
    /// first question, 4 bytes a function.
    fn entries(&self, file: &Blocks) -> Result<&[u32], BinaryError> {
        if let Some(known) = self.entries.get() {
            return Ok(known);
        }
        let mut entries = Vec::new();
        let (mut next, pairs) = (self.table, self.functions + 1);
        // The last pair has no second half.
        let range = (self.table, pairs * PAIR_BYTES as u64 - 4);
        file.scan(range, PAIR_BYTES, "the function table", |at, piece| {
            let whole = piece.get((next - at) as usize..).unwrap_or_default();
            let before = entries.len();
            entries.extend(
                whole
                    .chunks(PAIR_BYTES)
                    .filter_map(|pair| Some(u32::from_le_bytes(pair.get(..4)?.try_into().ok()?))),
            );
            next += ((entries.len() - before) * PAIR_BYTES) as u64;
            true
        })?;
        if !entries.is_sorted() {
            return Err(BinaryError::NotRecognised("a function table that is not in order"));
        }
        Ok(self.entries.get_or_init(|| entries.into()))
    }

    fn entry_offset(&self, file: &Blocks, index: u64) -> Result<u32, BinaryError> {
        file.u32(self.table + index * 8, "the function table")
    }

    fn info(&self, file: &Blocks, index: u64, func: &Func) -> Result<FuncInfo, BinaryError> {
        Ok(FuncInfo {
            name: file.c_str(self.names + u64::from(func.name_offset), NAME_BYTES_MAX)?,
            entry: self.text + u64::from(self.entry_offset(file, index)?),
            end: self.text + u64::from(self.entry_offset(file, index + 1)?),
            wrapper: self.is_wrapper(func),
        })
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
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [0]);
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
}
