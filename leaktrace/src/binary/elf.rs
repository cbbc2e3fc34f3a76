//! The ELF frame of an executable: headers in, segments, sections, relocations and build id out.
//!
//! Non-goals: symbol tables; 32-bit and big-endian files, which are refused by name.

use std::fmt;

use object::{
    LittleEndian, elf,
    pod::{self, Pod},
    read::elf::{FileHeader as _, NoteIterator, ProgramHeader as _, SectionHeader as _},
};

use super::{BinaryError, Blocks};
use crate::display::printable;

type FileHeader = elf::FileHeader64<LittleEndian>;
type ProgramHeader = elf::ProgramHeader64<LittleEndian>;
type SectionHeader = elf::SectionHeader64<LittleEndian>;
type Rela = elf::Rela64<LittleEndian>;

const LE: LittleEndian = LittleEndian;
/// Real executables have tens; the cap keeps a hostile header from costing memory.
const HEADERS_MAX: usize = 4096;
/// No offset in a file and no address of a user process comes near this. What begins below it
/// and is shorter can be added to without overflow.
pub(super) const ADDRESS_END: u64 = 1 << 56;
/// A GNU note is 36 bytes, Go's about 100.
const NOTE_BYTES_MAX: u64 = 4096;

/// The processor a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
    /// Any other, by its `e_machine`.
    Other(u16),
}

impl Machine {
    /// The one that leaktrace itself was built for; its BPF programs read that one's registers.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amd64 => f.write_str("amd64"),
            Self::Arm64 => f.write_str("arm64"),
            Self::Other(number) => write!(f, "machine {number}"),
        }
    }
}

/// A loaded part of the file.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// Virtual address in the file (before any load bias).
    pub vaddr: u64,
    /// Where its bytes lie in the file.
    pub file_offset: u64,
    /// How many bytes the file holds.
    pub file_bytes: u64,
    /// Mapped executable.
    pub executable: bool,
    /// Mapped writable.
    pub writable: bool,
}

/// A named part of the file. A file may have none: sections are not needed to run it.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Virtual address in the file.
    pub vaddr: u64,
    /// Where its bytes lie in the file.
    pub file_offset: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The frame of one executable.
#[derive(Debug)]
pub struct Elf {
    /// The processor.
    pub machine: Machine,
    /// Loaded at any address (`ET_DYN`): addresses in the file need a load bias.
    pub position_independent: bool,
    /// `PT_LOAD` segments.
    pub segments: Vec<Segment>,
    /// Sections with content in the file.
    pub sections: Vec<Section>,
    /// GNU build id in hex, or Go's own as text.
    pub build_id: Option<String>,
    /// File offset and size of the `Rela64` table, if any.
    relocations: Option<(u64, u64)>,
}

fn pods<T: Pod>(bytes: &[u8], count: usize) -> Result<&[T], BinaryError> {
    let read = pod::slice_from_bytes(bytes, count);
    read.map(|(items, _)| items).map_err(|()| BinaryError::Truncated { what: "an ELF table" })
}

impl Elf {
    /// Reads the headers of `file`.
    ///
    /// # Errors
    /// Not a 64-bit little-endian ELF executable, or truncated.
    pub fn read(file: &Blocks) -> Result<Self, BinaryError> {
        let start = file.vec(0, size_of::<FileHeader>(), "the ELF header");
        let bytes = start.map_err(|error| match error {
            BinaryError::Truncated { .. } => BinaryError::NotElf("shorter than an ELF header"),
            other => other,
        })?;
        let header = &pods::<FileHeader>(&bytes, 1)?[0];
        check(header)?;
        let programs = program_headers(file, header)?;
        let segments = programs.iter().filter(|p| p.p_type(LE) == elf::PT_LOAD);
        let mut this = Self {
            machine: machine(header.e_machine(LE)),
            position_independent: header.e_type(LE) == elf::ET_DYN,
            segments: segments.map(|program| segment(file, program)).collect::<Result<_, _>>()?,
            sections: sections(file, header)?,
            build_id: None,
            relocations: None,
        };
        let dynamic = programs.iter().find(|p| p.p_type(LE) == elf::PT_DYNAMIC);
        this.relocations = match dynamic {
            Some(dynamic) => relocation_table(file, dynamic, &this)?,
            None => None,
        };
        let notes = programs.iter().filter(|p| p.p_type(LE) == elf::PT_NOTE);
        this.build_id = build_id(file, notes);
        Ok(this)
    }

    /// A frame without a file behind it.
    #[cfg(test)]
    pub fn for_test(machine: Machine, position_independent: bool, segments: Vec<Segment>) -> Self {
        let sections = Vec::new();
        Self {
            machine,
            position_independent,
            segments,
            sections,
            build_id: None,
            relocations: None,
        }
    }

    /// The same with a table of relocations at `offset`.
    #[cfg(test)]
    pub const fn with_relocations(mut self, offset: u64, bytes: u64) -> Self {
        self.relocations = Some((offset, bytes));
        self
    }

    /// The file offset of the byte loaded at `vaddr`.
    pub fn file_offset(&self, vaddr: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = vaddr.checked_sub(segment.vaddr)?;
            (within < segment.file_bytes).then_some(segment.file_offset.checked_add(within)?)
        })
    }

    /// The virtual address of the byte at `file_offset`, if it is loaded.
    pub fn vaddr(&self, file_offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = file_offset.checked_sub(segment.file_offset)?;
            (within < segment.file_bytes).then_some(segment.vaddr.checked_add(within)?)
        })
    }

    /// The file offset of the code loaded at `vaddr`, and how many bytes of code there are from
    /// there on. Segments may overlap: only executable ones count.
    pub fn code(&self, vaddr: u64) -> Option<(u64, u64)> {
        self.segments.iter().filter(|segment| segment.executable).find_map(|segment| {
            let within = vaddr.checked_sub(segment.vaddr)?;
            let bytes = segment.file_bytes.checked_sub(within).filter(|bytes| *bytes > 0)?;
            Some((segment.file_offset + within, bytes))
        })
    }

    /// The section called `name`.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The pointer at `vaddr` when the file is loaded at its own addresses: from a relocation, or
    /// as it stands in the file. None outside the file.
    ///
    /// # Errors
    /// The file is truncated.
    pub fn pointer(&self, file: &Blocks, vaddr: u64) -> Result<Option<u64>, BinaryError> {
        let mut relocated = None;
        self.relative_relocations(file, |address, value| {
            relocated = (address == vaddr).then_some(value);
            relocated.is_none()
        })?;
        match (relocated, self.file_offset(vaddr)) {
            (Some(value), _) => Ok(Some(value)),
            (None, Some(offset)) => file.u64(offset, "a pointer").map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Calls `visit(address, value)` for every relative relocation: when the file is loaded at
    /// its own addresses, the word at `address` becomes `value`. Stops when it gives `false`.
    ///
    /// # Errors
    /// The table lies beyond the end of the file.
    pub fn relative_relocations(
        &self,
        file: &Blocks,
        mut visit: impl FnMut(u64, u64) -> bool,
    ) -> Result<(), BinaryError> {
        let Some((offset, bytes)) = self.relocations else { return Ok(()) };
        let entry = size_of::<Rela>();
        let whole = bytes - bytes % entry as u64;
        let relative = match self.machine {
            Machine::Amd64 => elf::R_X86_64_RELATIVE,
            Machine::Arm64 => elf::R_AARCH64_RELATIVE,
            Machine::Other(_) => return Ok(()),
        };
        // Pieces are 1 MiB, not a multiple of 24: the overlap keeps entries whole.
        let mut next = offset;
        file.scan((offset, whole), entry, "the relocation table", |at, piece| {
            let skip = (next - at) as usize;
            let entries = piece.get(skip..).unwrap_or_default();
            let count = entries.len() / entry;
            next += (count * entry) as u64;
            let Ok(relas) = pods::<Rela>(entries, count) else { return false };
            relas
                .iter()
                .filter(|rela| rela.r_type(LE, false) == relative)
                .all(|rela| visit(rela.r_offset.get(LE), rela.r_addend.get(LE) as u64))
        })
    }
}

fn check(header: &FileHeader) -> Result<(), BinaryError> {
    if header.e_ident.magic != elf::ELFMAG {
        return Err(BinaryError::NotElf("no ELF magic"));
    }
    if header.e_ident.class != elf::ELFCLASS64 {
        return Err(BinaryError::NotElf("it is 32-bit"));
    }
    if header.e_ident.data != elf::ELFDATA2LSB {
        return Err(BinaryError::NotElf("it is big-endian"));
    }
    if ![elf::ET_EXEC, elf::ET_DYN].contains(&header.e_type(LE)) {
        return Err(BinaryError::NotElf("it is not an executable"));
    }
    Ok(())
}

const fn machine(e_machine: u16) -> Machine {
    match e_machine {
        elf::EM_X86_64 => Machine::Amd64,
        elf::EM_AARCH64 => Machine::Arm64,
        other => Machine::Other(other),
    }
}

fn program_headers(file: &Blocks, header: &FileHeader) -> Result<Vec<ProgramHeader>, BinaryError> {
    let count = usize::from(header.e_phnum(LE)).min(HEADERS_MAX);
    let length = count * size_of::<ProgramHeader>();
    let bytes = file.vec(header.e_phoff(LE), length, "the program header table")?;
    Ok(pods(&bytes, count)?.to_vec())
}

/// A segment that lies in the file as a whole.
fn segment(file: &Blocks, program: &ProgramHeader) -> Result<Segment, BinaryError> {
    let (vaddr, file_offset) = (program.p_vaddr(LE), program.p_offset(LE));
    let file_bytes = program.p_filesz(LE);
    if [vaddr, file_offset, file_bytes].iter().any(|value| *value >= ADDRESS_END) {
        return Err(BinaryError::NotRecognised("a segment beyond the address space"));
    }
    if file_bytes > 0 {
        file.read(&mut [0], file_offset + file_bytes - 1, "a segment")?;
    }
    let (executable, writable) =
        (program.p_flags(LE) & elf::PF_X != 0, program.p_flags(LE) & elf::PF_W != 0);
    Ok(Segment { vaddr, file_offset, file_bytes, executable, writable })
}

fn sections(file: &Blocks, header: &FileHeader) -> Result<Vec<Section>, BinaryError> {
    let count = usize::from(header.e_shnum(LE)).min(HEADERS_MAX);
    if header.e_shoff(LE) == 0 || count == 0 {
        return Ok(Vec::new());
    }
    let length = count * size_of::<SectionHeader>();
    let bytes = file.vec(header.e_shoff(LE), length, "the section header table")?;
    let headers = pods::<SectionHeader>(&bytes, count)?;
    let Some(names) = headers.get(usize::from(header.e_shstrndx(LE))) else {
        return Ok(Vec::new());
    };
    headers
        .iter()
        .filter(|section| section.sh_type(LE) != elf::SHT_NOBITS)
        .map(|section| {
            let name_offset = names.sh_offset(LE).saturating_add(section.sh_name(LE).into());
            Ok(Section {
                name: file.c_str(name_offset, 256)?,
                vaddr: section.sh_addr(LE),
                file_offset: section.sh_offset(LE),
                bytes: section.sh_size(LE),
            })
        })
        .collect()
}

/// Finds `DT_RELA` and `DT_RELASZ` in the dynamic segment.
fn relocation_table(
    file: &Blocks,
    dynamic: &ProgramHeader,
    elf: &Elf,
) -> Result<Option<(u64, u64)>, BinaryError> {
    let entry = size_of::<elf::Dyn64<LittleEndian>>();
    let count = (dynamic.p_filesz(LE) as usize / entry).min(HEADERS_MAX);
    let bytes = file.vec(dynamic.p_offset(LE), count * entry, "the dynamic segment")?;
    let entries = pods::<elf::Dyn64<LittleEndian>>(&bytes, count)?;
    let value = |tag| entries.iter().find(|d| d.d_tag.get(LE) == tag).map(|d| d.d_val.get(LE));
    let (Some(vaddr), Some(size)) = (value(elf::DT_RELA), value(elf::DT_RELASZ)) else {
        return Ok(None);
    };
    Ok(elf.file_offset(vaddr).map(|offset| (offset, size)))
}

/// The GNU build id if there is one, else Go's. A broken note is no build id, not an error.
fn build_id<'a>(file: &Blocks, notes: impl Iterator<Item = &'a ProgramHeader>) -> Option<String> {
    let mut go_id = None;
    for program in notes {
        let length = program.p_filesz(LE).min(NOTE_BYTES_MAX) as usize;
        let Ok(bytes) = file.vec(program.p_offset(LE), length, "a note") else { continue };
        let notes = NoteIterator::<FileHeader>::new(LE, program.p_align(LE), &bytes);
        let Ok(mut notes) = notes else { continue };
        while let Ok(Some(note)) = notes.next() {
            match (note.name(), note.n_type(LE)) {
                (b"GNU", elf::NT_GNU_BUILD_ID) => return Some(hex(note.desc())),
                (b"Go", elf::NT_GO_BUILD_ID) => {
                    go_id = Some(printable(note.desc()));
                }
                _ => {}
            }
        }
    }
    go_id
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::Elf;
    use crate::binary::{BinaryError, Blocks, Machine, Segment};

    /// A file of 120 bytes with one `PT_LOAD`.
    fn file(vaddr: u64, offset: u64, bytes: u64) -> Blocks {
        let ident = 0x0001_0102_464c_457f;
        // ET_EXEC and EM_X86_64; one program header of 56 bytes at 64.
        let header = [ident, 0, 0x003e_0002, 0, 64, 0, 0x0038_0040_0000_0000, 1];
        let program = [1, offset, vaddr, 0, bytes, bytes, 0];
        let words = header.into_iter().chain(program);
        Blocks::new(words.flat_map(u64::to_le_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn a_segment_lies_in_the_file() {
        assert_eq!(Elf::read(&file(0x40_0000, 0, 120)).unwrap().file_offset(0x40_0001), Some(1));
        let error = Elf::read(&file(0x40_0000, 0, 121)).unwrap_err();
        assert!(matches!(error, BinaryError::Truncated { what: "a segment" }), "{error}");
    }

    #[test]
    fn code_is_in_an_executable_segment_also_where_another_overlaps_it() {
        let segment = |file_offset, executable| {
            let (vaddr, file_bytes, writable) = (0x1000, 0x100, false);
            Segment { vaddr, file_offset, file_bytes, executable, writable }
        };
        let segments = vec![segment(0, false), segment(0x200, true)];
        let elf = Elf::for_test(Machine::Amd64, false, segments);
        assert_eq!(elf.code(0x10f0), Some((0x2f0, 0x10)));
        assert_eq!((elf.code(0xfff), elf.code(0x1100)), (None, None));
    }

    #[test]
    fn a_segment_lies_in_the_address_space() {
        for (vaddr, offset, bytes) in [(u64::MAX - 9, 0, 120), (0, u64::MAX, 2), (0, 1, u64::MAX)] {
            let error = Elf::read(&file(vaddr, offset, bytes)).unwrap_err();
            assert!(matches!(error, BinaryError::NotRecognised(_)), "{error}");
        }
    }
}
