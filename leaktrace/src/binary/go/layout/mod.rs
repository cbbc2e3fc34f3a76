//! Layout facts that differ between Go versions, one row each.
//! Source: DWARF of Go 1.21.13, 1.22.10, 1.23.9, 1.24.11, 1.25.5, 1.26.3 and 1.27.3.

use super::GoVersion;
use crate::binary::BinaryError;

/// What differs between Go versions in the tables read here.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Minor version N of Go 1.N.
    pub minor: u32,
    /// Offset of `gofunc` in `runtime.moduledata` (runtime/symtab.go).
    pub moduledata_gofunc: u64,
    /// `abi.FuncIDWrapper` (internal/abi/symtab.go).
    pub func_id_wrapper: u8,
}

const fn row(minor: u32, moduledata_gofunc: u64, func_id_wrapper: u8) -> Layout {
    Layout { minor, moduledata_gofunc, func_id_wrapper }
}

const LAYOUTS: [Layout; 7] = [
    row(21, 320, 21),
    row(22, 320, 22),
    row(23, 320, 22),
    row(24, 320, 22),
    row(25, 320, 23),
    row(26, 320, 23),
    row(27, 344, 23),
];

/// The row of `version`.
///
/// # Errors
/// [`BinaryError::UnknownGoVersion`] when there is none: a layout is never guessed.
pub fn for_version(version: &GoVersion) -> Result<Layout, BinaryError> {
    LAYOUTS
        .into_iter()
        .find(|layout| Some(layout.minor) == version.minor())
        .ok_or_else(|| BinaryError::UnknownGoVersion(version.to_string()))
}
