//! The pclntab as a whole: header and module data in, where each of its parts lies out.

use std::{cell::OnceCell, ops::Range};

use super::{header::Header, layout::Layout, moduledata::ModuleData, strings::Strings};
use crate::binary::{BinaryError, Blocks, Elf};

/// A located and checked pclntab. Offsets are file offsets, addresses are the file's own
/// (without load bias).
#[derive(Debug)]
pub struct PcLnTab {
    pub(super) layout: Layout,
    /// Smallest instruction in bytes.
    pub(super) quantum: u64,
    /// Functions in the table.
    pub(super) functions: u64,
    /// Address of the first function: every entry is relative to it.
    pub(super) text: u64,
    /// Address behind the last function.
    pub(super) etext: u64,
    /// File offset of `go:func.*`, the function data.
    pub(super) gofunc: u64,
    /// Address that type name offsets are relative to.
    pub(super) types: u64,
    /// Addresses of all Go variables.
    pub(super) data: Range<u64>,
    pub(super) names: u64,
    pub(super) units: u64,
    pub(super) files: u64,
    pub(super) pctab: u64,
    pub(super) table: u64,
    pub(super) strings: Strings,
    pub(super) entries: OnceCell<Box<[u32]>>,
}

impl PcLnTab {
    /// Finds and checks the table of `elf`.
    ///
    /// # Errors
    /// No table, or one whose module data do not confirm it.
    pub fn read(file: &Blocks, elf: &Elf, layout: Layout) -> Result<Self, BinaryError> {
        let header = Header::find(file, elf, layout)?
            .ok_or(BinaryError::NotRecognised("no Go function table (pclntab) was found"))?;
        let module = ModuleData::read(file, elf, &header, layout)?;
        let gofunc = elf
            .file_offset(module.gofunc)
            .ok_or(BinaryError::NotRecognised("Go function data outside the file"))?;
        let [names, units, files, pctab, table] = header.parts.map(|part| header.offset + part);
        Ok(Self {
            layout,
            quantum: header.quantum,
            functions: header.functions,
            text: module.text,
            etext: module.etext,
            gofunc,
            types: module.types,
            data: module.data,
            names,
            units,
            files,
            pctab,
            table,
            strings: Strings::default(),
            entries: OnceCell::new(),
        })
    }

    /// A table of one function, with every part at the start of the file.
    #[cfg(test)]
    pub fn for_test() -> Self {
        Self {
            layout: super::layout::for_version(&"go1.26.3".into()).unwrap(),
            quantum: 1,
            functions: 1,
            text: 0,
            etext: 0,
            gofunc: 0,
            types: 0,
            data: 0..0,
            names: 0,
            units: 0,
            files: 0,
            pctab: 0,
            table: 0,
            strings: Strings::default(),
            entries: OnceCell::new(),
        }
    }

    /// The offsets of its Go version.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Where Go functions lie, without load bias.
    pub const fn code(&self) -> Range<u64> {
        self.text..self.etext
    }

    /// Where Go variables lie, without load bias.
    pub fn data(&self) -> Range<u64> {
        self.data.clone()
    }

    /// How many functions the binary has.
    pub const fn function_count(&self) -> u64 {
        self.functions
    }
}
