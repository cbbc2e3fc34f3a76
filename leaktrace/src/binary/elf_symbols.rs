//! ELF symbol tables: an address in, the function it lies in out.
//!
//! For what has no Go tables: C libraries, the C part of a cgo program, the vDSO's kin. Non-goals:
//! Go functions, DWARF, demangling.

use object::{LittleEndian, elf, pod};

use super::{BinaryError, Blocks, Elf, Section};

type Symbol = elf::Sym64<LittleEndian>;

const LE: LittleEndian = LittleEndian;
/// The largest C++ programs have a few million.
const SYMBOLS_MAX: u64 = 1 << 23;
const NAME_BYTES_MAX: usize = 4096;

/// A function that a symbol table names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolMatch {
    /// The symbol, as it stands.
    pub name: String,
    /// Bytes from its start to the address.
    pub offset: u64,
}

impl Elf {
    /// The function symbol that covers `vaddr`: from `.symtab`, else from `.dynsym`. None where
    /// both say nothing: a stripped file's local functions have no name, and are not guessed.
    ///
    /// # Errors
    /// The file is truncated, or its tables are absurd.
    pub fn symbol(&self, file: &Blocks, vaddr: u64) -> Result<Option<SymbolMatch>, BinaryError> {
        for (table, names) in [(".symtab", ".strtab"), (".dynsym", ".dynstr")] {
            let (Some(table), Some(names)) = (self.section(table), self.section(names)) else {
                continue;
            };
            let found = covering(file, table, vaddr)?;
            if let Some((name, value)) = found {
                let name = names.file_offset.saturating_add(u64::from(name));
                let name = file.c_str(name, NAME_BYTES_MAX)?;
                return Ok(Some(SymbolMatch { name, offset: vaddr - value }));
            }
        }
        Ok(None)
    }
}

/// Name offset and value of the innermost function symbol over `vaddr`.
fn covering(file: &Blocks, table: &Section, vaddr: u64) -> Result<Option<(u32, u64)>, BinaryError> {
    let entry = size_of::<Symbol>();
    let count = (table.bytes / entry as u64).min(SYMBOLS_MAX);
    let mut found: Option<(u32, u64)> = None;
    let mut next = table.file_offset;
    let range = (table.file_offset, count * entry as u64);
    file.scan(range, entry, "a symbol table", |at, piece| {
        let entries = piece.get((next - at) as usize..).unwrap_or_default();
        let whole = entries.len() / entry;
        next += (whole * entry) as u64;
        let Ok((symbols, _)) = pod::slice_from_bytes::<Symbol>(entries, whole) else {
            return false;
        };
        for symbol in symbols.iter().filter(|symbol| covers(symbol, vaddr)) {
            let value = symbol.st_value.get(LE);
            if found.is_none_or(|(_, best)| value > best) {
                found = Some((symbol.st_name.get(LE), value));
            }
        }
        true
    })?;
    Ok(found)
}

fn covers(symbol: &Symbol, vaddr: u64) -> bool {
    let function = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC);
    let within = vaddr.checked_sub(symbol.st_value.get(LE));
    let defined = symbol.st_shndx.get(LE) != elf::SHN_UNDEF;
    function && defined && within.is_some_and(|within| within < symbol.st_size.get(LE))
}

#[cfg(test)]
mod tests {
    use super::{Elf, Section, SymbolMatch};
    use crate::binary::{Blocks, Machine};

    /// A symbol table at 0 and its names behind it.
    fn lookup(symbols: &[(u32, u8, u64, u64)], vaddr: u64) -> Option<SymbolMatch> {
        let symbol = |(name, info, value, size): &(u32, u8, u64, u64)| {
            let head = [&name.to_le_bytes()[..], &[*info, 0, 1, 0]].concat();
            [head, value.to_le_bytes().to_vec(), size.to_le_bytes().to_vec()].concat()
        };
        let table = symbols.iter().flat_map(symbol).collect::<Vec<_>>();
        let names_at = table.len() as u64;
        let bytes = [&table[..], b"\0outer\0inner\0data\0"].concat();
        let section = |name: &str, file_offset, bytes| Section {
            name: name.to_owned(),
            vaddr: 0,
            file_offset,
            bytes,
        };
        let mut elf = Elf::for_test(Machine::Amd64, true, Vec::new());
        elf.sections = vec![section(".symtab", 0, names_at), section(".strtab", names_at, 18)];
        elf.symbol(&Blocks::new(bytes), vaddr).unwrap()
    }

    const FUNCTION: u8 = 2;
    const OBJECT: u8 = 1;

    #[test]
    fn the_innermost_function_is_found() {
        let symbols = [(1, FUNCTION, 0x1000, 0x100), (7, FUNCTION, 0x1010, 0x10)];
        let found = |vaddr| lookup(&symbols, vaddr).map(|found| (found.name, found.offset));
        assert_eq!(found(0x1018), Some(("inner".to_owned(), 8)));
        assert_eq!(found(0x1020), Some(("outer".to_owned(), 0x20)));
        assert_eq!(found(0x1100), None);
    }

    #[test]
    fn only_functions_of_a_size_cover_anything() {
        let symbols = [(13, OBJECT, 0x1000, 0x100), (1, FUNCTION, 0x1000, 0)];
        assert_eq!(lookup(&symbols, 0x1000), None);
    }

    #[test]
    fn a_table_of_many_pieces_is_read_to_its_end() {
        // 24 bytes each: pieces of 1 MiB end within a symbol.
        let mut symbols = vec![(1, FUNCTION, 0x1000, 0x10); 100_000];
        symbols.push((7, FUNCTION, 0x9000, 0x10));
        assert_eq!(lookup(&symbols, 0x9000).unwrap().name, "inner");
    }
}
