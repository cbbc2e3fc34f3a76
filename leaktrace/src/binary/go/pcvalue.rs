//! pc-value tables: what holds at an address of a function (line, file, inline tree node), as
//! runs of deltas (`runtime.pcvalue`, runtime/symtab.go).

use super::pclntab::PcLnTab;
use crate::binary::{BinaryError, Blocks};

/// Real functions have at most tens of thousands of table entries.
const TABLE_STEPS_MAX: u32 = 1 << 20;

impl PcLnTab {
    /// The value of the pc-value table at `pc`; -1 where it has none.
    pub(super) fn pc_value(
        &self,
        file: &Blocks,
        table: u32,
        entry: u64,
        pc: u64,
    ) -> Result<i32, BinaryError> {
        let mut found = -1;
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
    /// `end`. Stops when it gives `false`. Offset 0 says that there is no table: the linker's own
    /// marks have no lines.
    pub(super) fn pc_values(
        &self,
        file: &Blocks,
        table: u32,
        entry: u64,
        mut visit: impl FnMut(u64, i32) -> bool,
    ) -> Result<(), BinaryError> {
        if table == 0 {
            return Ok(());
        }
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
    use super::PcLnTab;
    use crate::binary::Blocks;

    #[test]
    fn behind_the_end_of_a_table_there_is_no_value() {
        // Padding, 7 for four bytes, then the end.
        let (file, table) = (Blocks::new(vec![0xff, 14 + 2, 4, 0]), PcLnTab::for_test());
        assert_eq!(table.pc_value(&file, 1, 0x1000, 0x1003).unwrap(), 7);
        assert_eq!(table.pc_value(&file, 1, 0x1000, 0x1004).unwrap(), -1);
    }

    #[test]
    fn at_offset_0_there_is_no_table() {
        let (file, table) = (Blocks::new(vec![14 + 2, 4, 0]), PcLnTab::for_test());
        assert_eq!(table.pc_value(&file, 0, 0x1000, 0x1000).unwrap(), -1);
    }
}
