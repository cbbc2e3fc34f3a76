//! `runtime.firstmoduledata`: the text start and function data that the pclntab header does not
//! carry (from Go 1.26 its text start is 0).
//!
//! Found by its first word, the pclntab's address, and proven by five neighbours that must point
//! into the same table. In a position-independent file these words are relocations.

use std::ops::Range;

use super::{
    header::Header,
    layout::{Layout, tables},
};
use crate::binary::{BinaryError, Blocks, Elf};

/// Words that may hold the table's address; real files have one or two.
const CANDIDATES_MAX: usize = 64;

const NOT_FOUND: BinaryError =
    BinaryError::NotRecognised("no Go module data confirm the function table");

/// What the symbol tables need of the module data; addresses are the file's own.
pub(super) struct ModuleData {
    /// Address of the first function.
    pub text: u64,
    /// Address behind the last function.
    pub etext: u64,
    /// Address of `go:func.*`.
    pub gofunc: u64,
    /// Address that type name offsets are relative to.
    pub types: u64,
    /// Addresses of all Go variables.
    pub data: Range<u64>,
}

impl ModuleData {
    pub fn read(
        file: &Blocks,
        elf: &Elf,
        header: &Header,
        layout: Layout,
    ) -> Result<Self, BinaryError> {
        let at = &layout.tables.module_data;
        let words = find(file, elf, header, at)?.ok_or(NOT_FOUND)?;
        let word = |offset| words.get(offset).ok_or(NOT_FOUND);
        let (text, etext) = (word(at.text)?, word(at.etext)?);
        let in_code = elf.segments.iter().any(|s| {
            s.executable && text >= s.vaddr && text < etext && etext <= s.vaddr + s.file_bytes
        });
        if !in_code {
            return Err(BinaryError::NotRecognised("the Go text lies outside the code segment"));
        }
        Ok(Self {
            text,
            etext,
            gofunc: word(at.gofunc)?,
            types: word(at.types)?,
            data: word(at.noptrdata)?..word(at.end)?,
        })
    }
}

/// The one candidate whose words point to the five parts of `header`.
fn find(
    file: &Blocks,
    elf: &Elf,
    header: &Header,
    at: &tables::ModuleData,
) -> Result<Option<Words>, BinaryError> {
    let parts = [at.funcnametab, at.cutab, at.filetab, at.pctab, at.pclntable];
    let candidates = match relocated_pointers(file, elf, header.vaddr)? {
        relocated if relocated.is_empty() => plain_pointers(file, elf, header.vaddr)?,
        relocated => relocated,
    };
    let mut confirmed = None;
    for candidate in candidates {
        let words = Words::read(file, elf, candidate)?;
        let is_module = parts
            .iter()
            .zip(header.parts)
            .all(|(offset, part)| words.get(*offset) == Some(header.vaddr + part));
        if is_module && confirmed.replace(words).is_some() {
            return Err(BinaryError::NotRecognised("more than one Go module data"));
        }
    }
    Ok(confirmed)
}

/// The words of one candidate: file contents, overlaid by relocations.
struct Words {
    bytes: Vec<u8>,
    relocated: Vec<(u64, u64)>,
}

impl Words {
    /// Enough for every offset used, in every version.
    const BYTES: u64 = 384;

    fn read(file: &Blocks, elf: &Elf, base: u64) -> Result<Self, BinaryError> {
        let bytes = match elf.file_offset(base) {
            Some(offset) => match file.vec(offset, Self::BYTES as usize, "the module data") {
                // A stray pointer near the end of the file: others may be the right one.
                Err(BinaryError::Truncated { .. }) => Vec::new(),
                other => other?,
            },
            None => Vec::new(),
        };
        let mut relocated = Vec::new();
        elf.relative_relocations(file, |address, value| {
            let within = address.wrapping_sub(base);
            if within < Self::BYTES {
                relocated.push((within, value));
            }
            relocated.len() < Self::BYTES as usize / 8
        })?;
        Ok(Self { bytes, relocated })
    }

    fn get(&self, offset: u64) -> Option<u64> {
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
        found.len() < CANDIDATES_MAX
    })?;
    Ok(found)
}

/// Addresses of aligned words in writable segments that hold `value`.
fn plain_pointers(file: &Blocks, elf: &Elf, value: u64) -> Result<Vec<u64>, BinaryError> {
    let mut found = Vec::new();
    let needle = value.to_le_bytes();
    for segment in elf.segments.iter().filter(|segment| segment.writable) {
        let range = (segment.file_offset, segment.file_bytes);
        // No word is seen twice: pieces share less than one.
        file.scan(range, needle.len() - 1, "a data segment", |at, piece| {
            let vaddr = segment.vaddr + (at - segment.file_offset);
            let aligned = vaddr.next_multiple_of(8);
            let words = piece.get((aligned - vaddr) as usize..).unwrap_or_default().chunks_exact(8);
            let hits = words.zip((aligned..).step_by(8)).filter(|(word, _)| *word == needle);
            found.extend(hits.map(|(_, vaddr)| vaddr).take(CANDIDATES_MAX - found.len()));
            found.len() < CANDIDATES_MAX
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Words, plain_pointers};
    use crate::binary::{Blocks, Elf, Machine, Segment, go::layout::for_every_version};

    fn relocated(address: u64, count: usize) -> Words {
        // R_X86_64_RELATIVE is 8.
        let bytes = [address, 8, 0x1234].map(u64::to_le_bytes).concat().repeat(count);
        let length = bytes.len() as u64;
        let elf = Elf::for_test(Machine::Amd64, true, Vec::new()).with_relocations(0, length);
        Words::read(&Blocks::new(bytes), &elf, address).unwrap()
    }

    #[test]
    fn a_candidate_at_the_end_of_the_address_space_is_read() {
        let words = relocated(u64::MAX - 7, 1);
        assert_eq!((words.get(0), words.get(8)), (Some(0x1234), None));
    }

    #[test]
    fn a_word_relocated_again_and_again_takes_no_memory() {
        assert_eq!(relocated(0x1000, 100_000).relocated.len(), 48);
    }

    #[test]
    fn a_candidate_at_the_end_of_the_file_is_none_and_no_error() {
        let (vaddr, file_offset, file_bytes) = (0x1000, 0, 64);
        let (executable, writable) = (false, true);
        let segment = Segment { vaddr, file_offset, file_bytes, executable, writable };
        let elf = Elf::for_test(Machine::Amd64, false, vec![segment]);
        let words = Words::read(&Blocks::new(vec![1; 64]), &elf, 0x1000).unwrap();
        assert_eq!(words.get(0), None);
    }

    fn pointers(bytes: Vec<u8>, vaddr: u64) -> Vec<u64> {
        let file_bytes = bytes.len() as u64;
        let (file_offset, executable, writable) = (0, false, true);
        let segment = Segment { vaddr, file_offset, file_bytes, executable, writable };
        let elf = Elf::for_test(Machine::Amd64, false, vec![segment]);
        plain_pointers(&Blocks::new(bytes), &elf, 0x40_2000).unwrap()
    }

    #[test]
    fn a_pointer_is_found_where_pieces_meet_and_only_once() {
        for at in [(1 << 20) - 16, (1 << 20) - 8, 1 << 20] {
            let mut bytes = vec![0xff; (1 << 20) + 64];
            bytes[at..at + 8].copy_from_slice(&0x40_2000u64.to_le_bytes());
            assert_eq!(pointers(bytes, 0x1000), [0x1000 + at as u64]);
        }
    }

    #[test]
    fn a_pointer_is_found_behind_a_word_that_looks_like_it() {
        // Seven bytes of the word before are the pointer's, off by one.
        let bytes = [0x40_2000 << 8 | 0xff, 0x40_2000u64].map(u64::to_le_bytes).concat();
        assert_eq!(pointers(bytes, 0x1000), [0x1008]);
    }

    #[test]
    fn what_is_read_of_the_module_data_is_within_its_words() {
        // No offset that is used is larger.
        assert!(for_every_version().all(|l| l.tables.module_data.gofunc + 8 <= Words::BYTES));
    }
}
