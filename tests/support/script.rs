//! Hostile executables of some tens of bytes: which honest one, and what differs from it.
//!
//! A script is plain fixed-size records, so that what a byte means never changes and a fuzzer's
//! small changes stay small. It is laid over the honest file while that is read; nothing is copied.
//!
//! ```text
//! 0  which specimen, modulo their number
//! 1  length of the file in 3 bytes, modulo its real one; 0: whole
//! 4  patches of 14 bytes: region 1, kind 1, place in the region 4, value 8
//! ```

use std::{io, ops::Range, sync::LazyLock};

use leaktrace::binary::{Blocks, ReadAt};

use super::{
    readers::{Answer, read_all},
    specimen::{BUILDS, Specimen, le, le32},
};

const HEAD_BYTES: usize = 4;
const PATCH_BYTES: usize = 14;
/// More patches than this are left out: each costs time in every reading.
const PATCHES_MAX: usize = 64;
/// A fill repeats its word at most as often as a table of this many entries has words.
const FILL_WORDS_MAX: usize = 1 << 14;
const COPY_BYTES_MAX: usize = 64;
/// Every eighth pc is asked for: a fuzzer wants many files rather than many answers.
const PC_STEP: usize = 8;

/// An honest executable with what is asked about it.
struct Subject {
    specimen: Specimen,
    regions: Vec<Range<usize>>,
    pcs: Vec<u64>,
    itabs: Vec<u64>,
}

static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let subject = |build| {
        let specimen = Specimen::read(build);
        let regions = specimen.regions().into_iter().map(|(_, region)| region).collect();
        let pcs = specimen.pcs().into_iter().step_by(PC_STEP).collect();
        let itabs = specimen.itabs().collect();
        Subject { specimen, regions, pcs, itabs }
    };
    BUILDS.into_iter().map(subject).collect()
});

/// An honest file seen through patches.
struct Overlay {
    honest: &'static [u8],
    patches: Vec<(usize, Vec<u8>)>,
}

impl ReadAt for Overlay {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.honest.len());
        let length = buffer.len().min(self.honest.len() - start);
        buffer[..length].copy_from_slice(&self.honest[start..start + length]);
        for (at, bytes) in &self.patches {
            let (from, to) = (start.max(*at), (start + length).min(at + bytes.len()));
            if from < to {
                buffer[from - start..to - start].copy_from_slice(&bytes[from - at..to - at]);
            }
        }
        Ok(length)
    }
}

/// Reads the file that `script` describes with every reader; none for less than its head.
pub fn read_patched(script: &[u8]) -> Option<Answer> {
    let (head, rest) = script.split_at_checked(HEAD_BYTES)?;
    let subject = &SUBJECTS[usize::from(head[0]) % SUBJECTS.len()];
    let honest = subject.specimen.bytes.as_slice();
    let length = match le32(head, 0) as usize >> 8 {
        0 => honest.len(),
        length => length % honest.len(),
    };
    let records = rest.chunks_exact(PATCH_BYTES).take(PATCHES_MAX);
    let patches = records.map(|record| subject.patch(record)).collect();
    let overlay = Overlay { honest: &honest[..length], patches };
    Some(read_all(&Blocks::new(overlay), &subject.pcs, &subject.itabs))
}

impl Subject {
    /// The file offset and the bytes of one patch.
    fn patch(&self, record: &[u8]) -> (usize, Vec<u8>) {
        let region = self.region(record[0]);
        let at = region.start + le32(record, 2) as usize % region.len();
        let word = |bytes: usize| (at - region.start) / bytes * bytes + region.start;
        let (value, honest) = (le(record, 6), &self.specimen.bytes);
        let (low, high) = (value as u32, (value >> 32) as usize);
        match record[1] % 7 {
            0 => (at, vec![honest[at] ^ (1 << (value % 8))]),
            1 => (at, vec![value as u8]),
            2 => (word(4), low.to_le_bytes().to_vec()),
            3 => (word(8), value.to_le_bytes().to_vec()),
            4 => {
                let from = low as usize % (honest.len() - COPY_BYTES_MAX);
                (at, honest[from..from + high % COPY_BYTES_MAX].to_vec())
            }
            5 => (word(4), low.to_le_bytes().repeat(high % FILL_WORDS_MAX)),
            _ => (word(8), self.address(high as u8, low).to_le_bytes().to_vec()),
        }
    }

    fn region(&self, number: u8) -> &Range<usize> {
        &self.regions[usize::from(number) % self.regions.len()]
    }

    /// A likely pointer: the address of a place in a region.
    fn address(&self, region: u8, within: u32) -> u64 {
        let region = self.region(region);
        let offset = (region.start + within as usize % region.len()) as u64;
        let mut segments = self.specimen.elf.segments.iter();
        let holding =
            segments.find(|s| (s.file_offset..s.file_offset + s.file_bytes).contains(&offset));
        holding.map_or(0, |segment| offset - segment.file_offset + segment.vaddr)
    }
}
