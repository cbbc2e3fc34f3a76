//! The dynamic type behind an interface value: an itab's address in, the type's name out.
//! Source: `runtime.itab` (runtime/runtime2.go, internal/abi/iface.go) and `abi.Type`
//! (internal/abi/type.go); these offsets are the same in Go 1.21 to 1.27.

use super::pclntab::PcLnTab;
use crate::{
    binary::{BinaryError, Blocks, Elf},
    display::printable,
};

const ITAB_TYPE: u64 = 8;
const TYPE_TFLAG: u64 = 20;
const TYPE_STR: u64 = 40;
/// The stored name has a `*` in front that is not part of it (`abi.TFlagExtraStar`).
const TFLAG_EXTRA_STAR: u8 = 2;
const NAME_BYTES_MAX: u32 = 1024;

impl PcLnTab {
    /// The name of the type behind the itab at `itab` (an address of the file, without load
    /// bias); none for an itab that the runtime made, which is not in the file.
    ///
    /// # Errors
    /// The file is truncated, or what is there is no type.
    pub fn itab_type(
        &self,
        file: &Blocks,
        elf: &Elf,
        itab: u64,
    ) -> Result<Option<String>, BinaryError> {
        let field = itab.checked_add(ITAB_TYPE);
        let Some(field) = field.filter(|field| elf.file_offset(*field).is_some()) else {
            return Ok(None);
        };
        let Some(offset) = elf.pointer(file, field)?.and_then(|ty| elf.file_offset(ty)) else {
            return Ok(None);
        };
        let flags = file.vec(offset + TYPE_TFLAG, 1, "a type")?[0];
        let name = u64::from(file.u32(offset + TYPE_STR, "a type")?);
        let name = self.types.checked_add(name).and_then(|name| elf.file_offset(name));
        let name = name.ok_or(BinaryError::NotRecognised("a type without a name"))?;
        let text = type_name(file, name)?;
        let extra_star = flags & TFLAG_EXTRA_STAR != 0;
        let shown = text.strip_prefix('*').filter(|_| extra_star).unwrap_or(&text);
        Ok(Some(shown.to_owned()))
    }
}

/// `abi.Name`: a flag byte, a varint length, the bytes.
fn type_name(file: &Blocks, offset: u64) -> Result<String, BinaryError> {
    let mut cursor = file.cursor(offset + 1);
    let length = cursor.varint("a type name")?;
    if length > NAME_BYTES_MAX {
        return Err(BinaryError::NotRecognised("a type name of more than 1 KiB"));
    }
    let bytes: Vec<u8> =
        (0..length).map(|_| cursor.byte("a type name")).collect::<Result<_, _>>()?;
    Ok(printable(&bytes))
}
