//! The dynamic type behind an interface value: the address of an itab or of a type in, the type's
//! name out.
//! Source: `abi.ITab` (internal/abi/iface.go) and `abi.Type` (internal/abi/type.go).

use super::pclntab::PcLnTab;
use crate::{
    binary::{BinaryError, Blocks, Elf},
    display::printable,
};

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
        let tables = self.layout.tables;
        let field = itab.checked_add(tables.itab.ty);
        let Some(field) = field.filter(|field| elf.file_offset(*field).is_some()) else {
            return Ok(None);
        };
        let Some(ty) = elf.pointer(file, field)? else { return Ok(None) };
        self.type_name(file, elf, ty)
    }

    /// The name of the type described at `ty` (an address of the file, without load bias); none
    /// for a type that the program made while it ran, which is not in the file.
    ///
    /// # Errors
    /// The file is truncated, or what is there is no type.
    pub fn type_name(
        &self,
        file: &Blocks,
        elf: &Elf,
        ty: u64,
    ) -> Result<Option<String>, BinaryError> {
        let Some(offset) = elf.file_offset(ty) else { return Ok(None) };
        let tables = self.layout.tables;
        let flags = file.vec(offset + tables.abi_type.t_flag, 1, "a type")?[0];
        let name = u64::from(file.u32(offset + tables.abi_type.str, "a type")?);
        let name = self.types.checked_add(name).and_then(|name| elf.file_offset(name));
        let name = name.ok_or(BinaryError::NotRecognised("a type without a name"))?;
        let text = name_at(file, name)?;
        let extra_star = u64::from(flags) & tables.symtab.t_flag_extra_star != 0;
        let shown = text.strip_prefix('*').filter(|_| extra_star).unwrap_or(&text);
        Ok(Some(shown.to_owned()))
    }
}

/// `abi.Name`: a flag byte, a varint length, the bytes.
fn name_at(file: &Blocks, offset: u64) -> Result<String, BinaryError> {
    let mut cursor = file.cursor(offset + 1);
    let length = cursor.varint("a type name")?;
    if length > NAME_BYTES_MAX {
        return Err(BinaryError::NotRecognised("a type name of more than 1 KiB"));
    }
    let bytes: Vec<u8> =
        (0..length).map(|_| cursor.byte("a type name")).collect::<Result<_, _>>()?;
    Ok(printable(&bytes))
}
