//! `runtime.firstmoduledata`: the text start and function data that the pclntab header does not
//! carry (from Go 1.26 its text start is 0).
//!
//! Found by its first word, the pclntab's address, and proven by five neighbours that must point
//! into the same table. In a position-independent file these words are relocations.

use super::{layout::Layout, pclntab::Header};
use crate::binary::{BinaryError, Blocks, Elf};

/// Offsets in `runtime.moduledata` (runtime/symtab.go), the same in Go 1.21 to 1.27.
const TEXT: u64 = 176;
const ETEXT: u64 = 184;
/// Where the addresses of the header's five parts stand.
const PARTS: [u64; 5] = [8, 32, 56, 80, 104];

/// What the symbol tables need of the module data; addresses are the file's own.
pub(super) struct ModuleData {
    /// Address of the first function.
    pub text: u64,
    /// Address of `go:func.*`.
    pub gofunc: u64,
}

impl ModuleData {
    pub fn read(
        file: &Blocks,
        elf: &Elf,
        header: &Header,
        layout: Layout,
    ) -> Result<Self, BinaryError> {
        const NOT_FOUND: BinaryError =
            BinaryError::NotRecognised("no Go module data confirm the function table");
        let candidates = match relocated_pointers(file, elf, header.vaddr)? {
            relocated if relocated.is_empty() => plain_pointers(file, elf, header.vaddr)?,
            relocated => relocated,
        };
        let mut confirmed = None;
        for at in candidates {
            let words = Words::read(file, elf, at)?;
            let neighbours = PARTS.iter().zip(header.parts);
            let is_module = neighbours
                .map(|(offset, part)| words.get(*offset) == Some(header.vaddr + part))
                .all(|equal| equal);
            if is_module && confirmed.replace(words).is_some() {
                return Err(BinaryError::NotRecognised("more than one Go module data"));
            }
        }
        let words = confirmed.ok_or(NOT_FOUND)?;
        let word = |offset| words.get(offset).ok_or(NOT_FOUND);
        let (text, etext) = (word(TEXT)?, word(ETEXT)?);
        let in_code = elf.segments.iter().any(|s| {
            s.executable && text >= s.vaddr && text < etext && etext <= s.vaddr + s.file_bytes
        });
        if !in_code {
            return Err(BinaryError::NotRecognised("the Go text lies outside the code segment"));
        }
        Ok(Self { text, gofunc: word(layout.moduledata_gofunc)? })
    }
}

/// The words of one candidate: file contents, overlaid by relocations.
struct Words {
    base: u64,
    bytes: Vec<u8>,
    relocated: Vec<(u64, u64)>,
}

impl Words {
    /// Enough for every offset used, in every version.
    const BYTES: u64 = 384;

    fn read(file: &Blocks, elf: &Elf, base: u64) -> Result<Self, BinaryError> {
        let bytes = match elf.file_offset(base) {
            Some(offset) => file.vec(offset, Self::BYTES as usize, "the module data")?,
            None => Vec::new(),
        };
        let mut relocated = Vec::new();
        elf.relative_relocations(file, |address, value| {
            if (base..base + Self::BYTES).contains(&address) {
                relocated.push((address - base, value));
            }
            true
        })?;
        Ok(Self { base, bytes, relocated })
    }

    fn get(&self, offset: u64) -> Option<u64> {
        debug_assert!(self.base.checked_add(offset).is_some());
        let relocated = self.relocated.iter().find(|(at, _)| *at == offset);
        relocated.map(|(_, value)| *value).or_else(|| {
            let word = self.bytes.get(offset as usize..offset as usize + 8)?;
            Some(u64::from_le_bytes(word.try_into().ok()?))
        })
    }
}

/// Addresses of words that become `value` by relocation.
fn relocated_pointers(file: &Blocks, elf: &Elf, value: u64) -> Result<Vec<u64>, BinaryError> {
    let mut found = Vec::new();
    elf.relative_relocations(file, |address, addend| {
        if addend == value {
            found.push(address);
        }
        found.len() < 64
    })?;
    Ok(found)
}

/// Addresses of aligned words in writable segments that hold `value`.
fn plain_pointers(file: &Blocks, elf: &Elf, value: u64) -> Result<Vec<u64>, BinaryError> {
    let mut found = Vec::new();
    let needle = value.to_le_bytes();
    for segment in elf.segments.iter().filter(|segment| segment.writable) {
        let range = (segment.file_offset, segment.file_bytes);
        file.scan(range, needle.len(), "a data segment", |at, piece| {
            let hits = memchr::memmem::find_iter(piece, &needle);
            let vaddrs = hits.map(|hit| segment.vaddr + (at - segment.file_offset) + hit as u64);
            found.extend(vaddrs.filter(|vaddr| vaddr.is_multiple_of(8)));
            found.len() < 64
        })?;
    }
    found.dedup();
    Ok(found)
}
