//! What the DWARF of a Go program says of types and constants: bytes of the program in, offsets,
//! sizes and values by Go's names out.
//!
//! Go's linker gives every named type a `DW_TAG_typedef` and, for structs, a
//! `DW_TAG_structure_type` of the same name; its compiler gives every integer constant a
//! `DW_TAG_constant` (cmd/compile/internal/gc/obj.go, `dumpGlobalConst`).

use std::{borrow::Cow, collections::HashMap};

use anyhow::{Context as _, Result, ensure};
use gimli::{AttributeValue, DebuggingInformationEntry, EndianSlice, LittleEndian, Unit};
use object::{Object as _, ObjectSection as _};

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = DebuggingInformationEntry<Slice<'a>>;
type Dwarf<'a> = gimli::Dwarf<Slice<'a>>;

/// Every platform that is read has pointers of this many bytes; Go's DWARF does not say it.
const POINTER_BYTES: u64 = 8;

/// A type, by what is asked of it.
#[derive(Debug)]
enum Type {
    Struct {
        bytes: u64,
        members: Vec<Member>,
    },
    Array {
        bytes: u64,
        element: usize,
    },
    /// A typedef of the type at this offset of `.debug_info`.
    Alias(usize),
    Other {
        bytes: u64,
    },
}

#[derive(Debug)]
struct Member {
    name: String,
    offset: u64,
    ty: usize,
}

/// A member found by its path, relative to the start of the outermost struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub bytes: u64,
}

/// The types and constants of one program.
#[derive(Debug, Default)]
pub struct Description {
    /// By offset in `.debug_info`.
    types: HashMap<usize, Type>,
    structs: HashMap<String, usize>,
    /// By `package.Name`; a negative value as its two's complement.
    constants: HashMap<String, u64>,
}

impl Description {
    /// Reads all types and constants of a program.
    pub fn read(file: &object::File<'_>) -> Result<Self> {
        let load = |id: gimli::SectionId| -> Result<Cow<'_, [u8]>> {
            let Some(section) = file.section_by_name(id.name()) else { return Ok(Cow::default()) };
            Ok(section.uncompressed_data()?)
        };
        let sections = gimli::DwarfSections::load(load)?;
        let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
        let mut description = Self::default();
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            description.read_unit(&dwarf, &dwarf.unit(header)?)?;
        }
        ensure!(!description.structs.is_empty(), "the program has no DWARF");
        Ok(description)
    }

    fn read_unit<'a>(&mut self, dwarf: &Dwarf<'a>, unit: &Unit<Slice<'a>>) -> Result<()> {
        let mut entries = unit.entries();
        let mut current = None;
        while let Some(entry) = entries.next_dfs()? {
            match entry.tag() {
                gimli::DW_TAG_member => {
                    let ty = current.and_then(|at| self.types.get_mut(&at));
                    if let Some(Type::Struct { members, .. }) = ty {
                        members.push(member(dwarf, unit, entry)?);
                    }
                }
                gimli::DW_TAG_constant => self.read_constant(dwarf, unit, entry)?,
                _ => current = self.read_type(dwarf, unit, entry)?.or(current),
            }
        }
        Ok(())
    }

    /// The offset of the struct that `entry` begins, if it does.
    fn read_type<'a>(
        &mut self,
        dwarf: &Dwarf<'a>,
        unit: &Unit<Slice<'a>>,
        entry: &Entry<'a>,
    ) -> Result<Option<usize>> {
        let at = entry.offset().to_unit_section_offset(unit).0;
        let bytes = number(entry, gimli::DW_AT_byte_size);
        let ty = match entry.tag() {
            gimli::DW_TAG_structure_type => {
                if let Some(name) = name(dwarf, unit, entry)? {
                    self.structs.insert(name, at);
                }
                Type::Struct { bytes: bytes.unwrap_or(0), members: Vec::new() }
            }
            gimli::DW_TAG_array_type => {
                Type::Array { bytes: bytes.unwrap_or(0), element: target(unit, entry)? }
            }
            // unsafe.Pointer is a typedef of nothing; a pointer has no size of its own.
            gimli::DW_TAG_typedef if entry.has_attr(gimli::DW_AT_type) => {
                Type::Alias(target(unit, entry)?)
            }
            gimli::DW_TAG_base_type => Type::Other { bytes: bytes.unwrap_or(0) },
            gimli::DW_TAG_pointer_type | gimli::DW_TAG_subroutine_type | gimli::DW_TAG_typedef => {
                Type::Other { bytes: POINTER_BYTES }
            }
            _ => return Ok(None),
        };
        let is_struct = matches!(ty, Type::Struct { .. });
        self.types.insert(at, ty);
        Ok(is_struct.then_some(at))
    }

    fn read_constant<'a>(
        &mut self,
        dwarf: &Dwarf<'a>,
        unit: &Unit<Slice<'a>>,
        entry: &Entry<'a>,
    ) -> Result<()> {
        let attribute = entry.attr(gimli::DW_AT_const_value);
        let value = attribute
            .and_then(|a| a.sdata_value().map(i64::cast_unsigned).or_else(|| a.udata_value()));
        if let (Some(name), Some(value)) = (name(dwarf, unit, entry)?, value) {
            self.constants.insert(name, value);
        }
        Ok(())
    }

    /// Bytes of a struct.
    pub fn size(&self, name: &str) -> Option<u64> {
        Some(self.bytes(*self.structs.get(name)?))
    }

    /// Where the member at `path` (names with dots between, `[]` for an element) lies in a struct.
    pub fn place(&self, name: &str, path: &str) -> Option<Place> {
        let mut ty = *self.structs.get(name)?;
        let mut offset = 0;
        for step in path.split('.') {
            let (within, next) = self.step(ty, step)?;
            offset += within;
            ty = next;
        }
        Some(Place { offset, bytes: self.bytes(ty) })
    }

    fn step(&self, ty: usize, step: &str) -> Option<(u64, usize)> {
        match self.types.get(&ty)? {
            Type::Struct { members, .. } => {
                let member = members.iter().find(|member| member.name == step)?;
                Some((member.offset, member.ty))
            }
            Type::Array { element, .. } => (step == "[]").then_some((0, *element)),
            Type::Alias(target) => self.step(*target, step),
            Type::Other { .. } => None,
        }
    }

    fn bytes(&self, ty: usize) -> u64 {
        match self.types.get(&ty) {
            Some(
                Type::Struct { bytes, .. } | Type::Array { bytes, .. } | Type::Other { bytes },
            ) => *bytes,
            Some(Type::Alias(target)) => self.bytes(*target),
            None => 0,
        }
    }

    /// The value of an integer constant.
    pub fn constant(&self, name: &str) -> Option<u64> {
        self.constants.get(name).copied()
    }

    /// All constants whose names begin with `prefix`, as what follows it and the value.
    pub fn constants<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        self.constants
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, *value)))
    }
}

fn member<'a>(dwarf: &Dwarf<'a>, unit: &Unit<Slice<'a>>, entry: &Entry<'a>) -> Result<Member> {
    let name = name(dwarf, unit, entry)?.unwrap_or_default();
    let offset = number(entry, gimli::DW_AT_data_member_location)
        .with_context(|| format!("the member {name} has no offset"))?;
    Ok(Member { name, offset, ty: target(unit, entry)? })
}

fn name<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<Slice<'a>>,
    entry: &Entry<'a>,
) -> Result<Option<String>> {
    let Some(value) = entry.attr_value(gimli::DW_AT_name) else { return Ok(None) };
    Ok(Some(dwarf.attr_string(unit, value)?.to_string()?.to_owned()))
}

fn number(entry: &Entry<'_>, attribute: gimli::DwAt) -> Option<u64> {
    entry.attr(attribute)?.udata_value()
}

/// The offset in `.debug_info` of the type of `entry`.
fn target<'a>(unit: &Unit<Slice<'a>>, entry: &Entry<'a>) -> Result<usize> {
    match entry.attr_value(gimli::DW_AT_type) {
        Some(AttributeValue::UnitRef(at)) => Ok(at.to_unit_section_offset(unit).0),
        Some(AttributeValue::DebugInfoRef(at)) => Ok(at.0),
        other => anyhow::bail!("a reference to a type is {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Description, Member, Place, Type};

    fn member(name: &str, offset: u64, ty: usize) -> Member {
        Member { name: name.to_owned(), offset, ty }
    }

    /// `type record struct { next *record; future [3]cycle }` with
    /// `type cycle struct { allocs, frees uint64 }`, each behind its typedef.
    fn description() -> Description {
        let cycle = vec![member("allocs", 0, 40), member("frees", 8, 40)];
        let record = vec![member("next", 0, 50), member("future", 8, 30)];
        let types = HashMap::from([
            (10, Type::Struct { bytes: 16, members: cycle }),
            (11, Type::Alias(10)),
            (20, Type::Struct { bytes: 56, members: record }),
            (30, Type::Array { bytes: 48, element: 11 }),
            (40, Type::Other { bytes: 8 }),
            (50, Type::Other { bytes: 8 }),
        ]);
        let structs = HashMap::from([("cycle".to_owned(), 10), ("record".to_owned(), 20)]);
        Description { types, structs, ..Description::default() }
    }

    #[test]
    fn a_path_leads_through_typedefs_arrays_and_structs() {
        let description = description();
        let place = |path| description.place("record", path);
        assert_eq!(place("future"), Some(Place { offset: 8, bytes: 48 }));
        assert_eq!(place("future.[]"), Some(Place { offset: 8, bytes: 16 }));
        assert_eq!(place("future.[].frees"), Some(Place { offset: 16, bytes: 8 }));
        assert_eq!(description.size("record"), Some(56));
    }

    #[test]
    fn what_is_not_there_has_no_place() {
        let description = description();
        for path in ["past", "future.frees", "next.future", "next.[]", ""] {
            assert_eq!(description.place("record", path), None, "{path}");
        }
        assert_eq!(description.place("other", "future"), None);
        assert_eq!(description.size("other"), None);
    }
}
