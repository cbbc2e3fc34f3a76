//! ELF files without section headers: they run as well, but nothing in them can be found by name.
//!
//! Offsets are those of `Elf64_Ehdr` and `Elf64_Phdr` (elf(5)), little endian.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};

const E_PHOFF: Range<usize> = 32..40;
const E_SHOFF: Range<usize> = 40..48;
const E_PHENTSIZE: Range<usize> = 54..56;
const E_PHNUM: Range<usize> = 56..58;
/// `e_shnum` and `e_shstrndx`.
const E_SECTIONS: Range<usize> = 60..64;
const P_OFFSET: usize = 8;
const P_FILESZ: usize = 32;

/// The same ELF file without section headers, cut behind its last segment.
pub fn without_section_headers(mut elf: Vec<u8>) -> Result<Vec<u8>> {
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
    let headers = number(&elf, E_PHOFF)?;
    let (size, count) = (number(&elf, E_PHENTSIZE)?, number(&elf, E_PHNUM)?);
    let mut end = headers + size * count;
    for header in (0..count).map(|index| headers + index * size) {
        let field = |at| number(&elf, header + at..header + at + 8);
        end = end.max(field(P_OFFSET)? + field(P_FILESZ)?);
    }
    ensure!(end <= elf.len(), "its segments end behind its end");
    elf.truncate(end);
    elf[E_SHOFF].fill(0);
    elf[E_SECTIONS].fill(0);
    Ok(elf)
}

fn number(elf: &[u8], at: Range<usize>) -> Result<usize> {
    let bytes = elf.get(at).context("its headers end behind its end")?;
    let value = bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let value = u32::try_from(value).context("a header points beyond 4 GiB")?;
    Ok(value as usize)
}

#[cfg(test)]
mod tests {
    use super::without_section_headers;

    /// A header, one segment of `length` bytes from 120, and 100 bytes of section headers.
    fn file(length: u8) -> Vec<u8> {
        let mut elf = vec![0; 320];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        for (at, value) in [(32, 64), (40, 220), (54, 56), (56, 1), (58, 64), (60, 2), (62, 1)] {
            elf[at] = value;
        }
        (elf[64 + 8], elf[64 + 32]) = (120, length);
        elf
    }

    #[test]
    fn sections_are_cut_and_segments_stay() {
        let whole = file(100);
        let bare = without_section_headers(whole.clone()).unwrap();
        assert_eq!(bare.len(), 220);
        let changed: Vec<_> = (0..220).filter(|at| bare[*at] != whole[*at]).collect();
        assert_eq!(changed, [40, 60, 62]);
    }

    #[test]
    fn what_is_no_whole_elf_file_is_refused() {
        for bad in [b"#!/bin/sh".to_vec(), file(100)[..100].to_vec(), file(100)[..219].to_vec()] {
            assert!(without_section_headers(bad).is_err());
        }
    }
}
