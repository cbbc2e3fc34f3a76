//! The pclntab's header: where it lies, and whether it is one.
//! Source: runtime/symtab.go, cmd/internal/objabi; magic and layout unchanged from Go 1.20 to 1.27.

use crate::binary::{BinaryError, Blocks, Elf, elf::ADDRESS_END};

/// `go120PCLnTabMagic`, two zero bytes; the instruction quantum (1 on amd64, 4 on arm64) and the
/// pointer size follow.
const MAGIC: [u8; 6] = [0xf1, 0xff, 0xff, 0xff, 0, 0];
/// Bytes of the header.
const HEADER_BYTES: usize = 72;
/// The largest binaries known have a million functions; each may cost four bytes of memory.
const FUNCTIONS_MAX: u64 = 1 << 21;

/// Offsets of the header's parts stay below this.
const PART_MAX: u64 = 1 << 40;

/// The header's offsets, relative to its own start.
pub(super) struct Header {
    /// File offset of the header.
    pub offset: u64,
    /// Virtual address of the header.
    pub vaddr: u64,
    /// Smallest instruction in bytes.
    pub quantum: u64,
    /// Functions in the table.
    pub functions: u64,
    /// funcname, cu, filetab, pctab, pcln.
    pub parts: [u64; 5],
}

impl Header {
    /// The header in the named section, else the first plausible one in any segment.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn find(file: &Blocks, elf: &Elf) -> Result<Option<Self>, BinaryError> {
        for name in [".gopclntab", ".data.rel.ro.gopclntab"] {
            if let Some(section) = elf.section(name)
                && let Some(header) = parse_header(file, section.file_offset, section.vaddr)?
            {
                return Ok(Some(header));
            }
        }
        for segment in elf.segments.iter().filter(|segment| !segment.executable) {
            let mut candidates = Vec::new();
            let range = (segment.file_offset, segment.file_bytes);
            file.scan(range, MAGIC.len(), "a data segment", |at, piece| {
                let hits = memchr::memmem::find_iter(piece, &MAGIC).map(|hit| at + hit as u64);
                candidates.extend(hits.filter(|offset| offset.is_multiple_of(8)));
                candidates.len() < 1024
            })?;
            for offset in candidates {
                let vaddr = segment.vaddr + (offset - segment.file_offset);
                if let Some(header) = parse_header(file, offset, vaddr)? {
                    return Ok(Some(header));
                }
            }
        }
        Ok(None)
    }
}

/// The header at `offset` if it is one: magic, pointer size, and parts in ascending order.
fn parse_header(file: &Blocks, offset: u64, vaddr: u64) -> Result<Option<Header>, BinaryError> {
    let bytes = match file.vec(offset, HEADER_BYTES, "the pclntab header") {
        Err(BinaryError::Truncated { .. }) => return Ok(None),
        other => other?,
    };
    let word = |at: usize| {
        bytes[at..at + 8].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let (quantum, pointer_bytes) = (bytes[6], bytes[7]);
    let parts = [word(32), word(40), word(48), word(56), word(64)];
    let functions = word(8);
    let plausible = bytes[..6] == MAGIC
        && matches!(quantum, 1 | 4)
        && pointer_bytes == 8
        && (1..=FUNCTIONS_MAX).contains(&functions)
        && parts.is_sorted()
        && parts[0] >= HEADER_BYTES as u64
        && parts[4] < PART_MAX
        && vaddr < ADDRESS_END;
    Ok(plausible.then_some(Header { offset, vaddr, quantum: quantum.into(), functions, parts }))
}

#[cfg(test)]
mod tests {
    use super::parse_header;
    use crate::binary::Blocks;

    #[test]
    fn a_header_at_the_end_of_the_address_space_is_none() {
        let words = [0x0801_0000_ffff_fff1u64, 1, 0, 0, 72, 72, 72, 72, 72];
        let file = Blocks::new(words.map(u64::to_le_bytes).concat());
        assert!(parse_header(&file, 0, 0x40_0000).unwrap().is_some());
        assert!(parse_header(&file, 0, u64::MAX - 8).unwrap().is_none());
    }
}
