//! The pclntab's header: where it lies, and whether it is one.
//! Source: runtime/symtab.go, cmd/internal/objabi; magic unchanged from Go 1.20 to 1.27.

use super::layout::Layout;
use crate::binary::{BinaryError, Blocks, Elf, elf::ADDRESS_END};

/// `go120PCLnTabMagic`, two zero bytes; the instruction quantum (1 on amd64, 4 on arm64) and the
/// pointer size follow.
const MAGIC: [u8; 6] = [0xf1, 0xff, 0xff, 0xff, 0, 0];
/// Bytes of the header, in every version.
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
    pub fn find(file: &Blocks, elf: &Elf, layout: Layout) -> Result<Option<Self>, BinaryError> {
        for name in [".gopclntab", ".data.rel.ro.gopclntab"] {
            if let Some(section) = elf.section(name)
                && let Some(header) =
                    parse_header(file, section.file_offset, section.vaddr, layout)?
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
                if let Some(header) = parse_header(file, offset, vaddr, layout)? {
                    return Ok(Some(header));
                }
            }
        }
        Ok(None)
    }
}

/// The header at `offset` if it is one: magic, pointer size, and parts in ascending order.
fn parse_header(
    file: &Blocks,
    offset: u64,
    vaddr: u64,
    layout: Layout,
) -> Result<Option<Header>, BinaryError> {
    let bytes = match file.vec(offset, HEADER_BYTES, "the pclntab header") {
        Err(BinaryError::Truncated { .. }) => return Ok(None),
        other => other?,
    };
    let word = |at: u64| {
        let word = &bytes[at as usize..][..8];
        word.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let at = &layout.tables.pc_header;
    let (quantum, pointer_bytes) = (bytes[at.min_lc as usize], bytes[at.ptr_size as usize]);
    let parts =
        [at.funcname_offset, at.cu_offset, at.filetab_offset, at.pctab_offset, at.pcln_offset]
            .map(word);
    let functions = word(at.nfunc);
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
    use super::{HEADER_BYTES, parse_header};
    use crate::binary::{
        Blocks,
        go::layout::{for_every_version, for_version},
    };

    #[test]
    fn a_header_at_the_end_of_the_address_space_is_none() {
        let words = [0x0801_0000_ffff_fff1u64, 1, 0, 0, 72, 72, 72, 72, 72];
        let file = Blocks::new(words.map(u64::to_le_bytes).concat());
        let layout = for_version(&"go1.26.3".into()).unwrap();
        assert!(parse_header(&file, 0, 0x40_0000, layout).unwrap().is_some());
        assert!(parse_header(&file, 0, u64::MAX - 8, layout).unwrap().is_none());
    }

    #[test]
    fn the_header_is_as_long_in_every_version() {
        assert!(for_every_version().all(|l| l.tables.pc_header.bytes == HEADER_BYTES as u64));
    }
}
