//! Which pages of a process are in memory: addresses in, the kernel's word on each page out.
//!
//! Source: Documentation/admin-guide/mm/pagemap.rst and fs/proc/task_mmu.c. No page frame numbers
//! are asked for, so that no right beyond those for reading memory is needed. Non-goals: pages that
//! are swapped out; what is not in memory is no part of RSS.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _};

use procfs::process::Process;

use super::MemoryError;

/// Bytes of an entry of `/proc/PID/pagemap`.
const ENTRY_BYTES: usize = 8;
/// The page is in memory (bit 63).
const PRESENT: u64 = 1 << 63;
/// The page is mapped here and nowhere else (bit 56, kernel 4.2 on).
const EXCLUSIVE: u64 = 1 << 56;

/// What the kernel says about pages.
pub trait ReadPages {
    /// Bytes of a page.
    fn page_bytes(&self) -> u64;

    /// Fills `entries` with the page map's entries from the page at `address` on; fewer at the end
    /// of the address space. Gives their number.
    ///
    /// # Errors
    /// The process is gone, or its page map is closed to us.
    fn entries(&self, address: u64, entries: &mut [u64]) -> io::Result<usize>;
}

/// `/proc/PID/pagemap`.
#[derive(Debug)]
pub struct Pagemap {
    file: File,
    page_bytes: u64,
}

/// Bytes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Resident {
    /// Of pages that only this process has: all of these are part of its RSS.
    pub exclusive_bytes: u64,
    /// Of other pages: shared after a fork, or the one page of zeros that stands for all that was
    /// read and never written, which is no part of RSS. Which of these, the mapping's RSS tells.
    pub shared_bytes: u64,
}

/// The pages of one stretch of addresses.
pub(super) struct Pages {
    start: u64,
    page_bytes: u64,
    entries: Vec<u64>,
}

impl Pagemap {
    /// Opens the page map of `process`.
    ///
    /// # Errors
    /// [`MemoryError::Closed`] with the kernel's reason.
    pub fn open(process: &Process) -> Result<Self, MemoryError> {
        let file = process.open_relative("pagemap");
        let file = file.map_err(|why| MemoryError::Closed(why.to_string()))?;
        Ok(Self { file, page_bytes: procfs::page_size() })
    }
}

impl ReadPages for Pagemap {
    fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    fn entries(&self, address: u64, entries: &mut [u64]) -> io::Result<usize> {
        let mut bytes = vec![0; entries.len() * ENTRY_BYTES];
        let start = address / self.page_bytes * ENTRY_BYTES as u64;
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], start + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        for (entry, bytes) in entries.iter_mut().zip(bytes[..done].chunks_exact(ENTRY_BYTES)) {
            *entry = bytes.try_into().map_or(0, u64::from_le_bytes);
        }
        Ok(done / ENTRY_BYTES)
    }
}

impl Resident {
    /// Both together.
    pub const fn add(&mut self, other: Self) {
        self.exclusive_bytes = self.exclusive_bytes.saturating_add(other.exclusive_bytes);
        self.shared_bytes = self.shared_bytes.saturating_add(other.shared_bytes);
    }

    /// Exclusive and shared bytes.
    pub const fn bytes(self) -> u64 {
        self.exclusive_bytes.saturating_add(self.shared_bytes)
    }

    /// What of it is part of RSS when this share of shared bytes is.
    pub fn counting_shared(self, ratio: f64) -> u64 {
        self.exclusive_bytes.saturating_add((self.shared_bytes as f64 * ratio).round() as u64)
    }
}

impl Pages {
    /// Asks about `range`. The caller caps its length.
    ///
    /// # Errors
    /// [`MemoryError::Closed`] when the page map is.
    pub fn read(source: &dyn ReadPages, range: Range<u64>) -> Result<Self, MemoryError> {
        let page_bytes = source.page_bytes().max(1);
        let start = range.start / page_bytes * page_bytes;
        let count = range.end.saturating_sub(start).div_ceil(page_bytes);
        let mut entries = vec![0; count as usize];
        let read = source.entries(start, &mut entries);
        entries.truncate(read.map_err(|why| MemoryError::Closed(why.to_string()))?);
        Ok(Self { start, page_bytes, entries })
    }

    /// What of `range` is in memory, to the byte: a page may hold several things.
    pub fn resident(&self, range: Range<u64>) -> Resident {
        let mut resident = Resident::default();
        let mut at = range.start.max(self.start);
        while at < range.end {
            let index = (at - self.start) / self.page_bytes;
            let Some(entry) = self.entries.get(index as usize) else { break };
            let next = (self.start + (index + 1) * self.page_bytes).min(range.end);
            if entry & PRESENT != 0 {
                let exclusive = entry & EXCLUSIVE != 0;
                let bytes = if exclusive {
                    &mut resident.exclusive_bytes
                } else {
                    &mut resident.shared_bytes
                };
                *bytes += next - at;
            }
            at = next;
        }
        resident
    }
}

/// Pages made up for tests.
#[cfg(test)]
pub mod testing {
    use std::{collections::BTreeMap, io};

    use super::{EXCLUSIVE, PRESENT, ReadPages};

    /// Pages of 4 KiB by address; what is not named is not in memory.
    #[derive(Debug, Default)]
    pub struct MadePages(BTreeMap<u64, u64>);

    impl MadePages {
        /// Puts `count` pages from `address` on into memory.
        pub fn put(&mut self, address: u64, count: u64, exclusive: bool) {
            let entry = if exclusive { PRESENT | EXCLUSIVE } else { PRESENT };
            self.0.extend((0..count).map(|page| (address + page * 4096, entry)));
        }
    }

    impl ReadPages for MadePages {
        fn page_bytes(&self) -> u64 {
            4096
        }

        fn entries(&self, address: u64, entries: &mut [u64]) -> io::Result<usize> {
            let end = address + entries.len() as u64 * 4096;
            for (page, entry) in self.0.range(address..end) {
                entries[((page - address) / 4096) as usize] = *entry;
            }
            Ok(entries.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use procfs::process::Process;

    use super::{Pagemap, Pages, Resident, testing::MadePages};

    #[test]
    fn parts_of_pages_are_counted_to_the_byte() {
        let mut made = MadePages::default();
        made.put(0x1000, 1, true);
        made.put(0x2000, 1, false);
        let pages = Pages::read(&made, 0x1000..0x5000).unwrap();
        let resident = |exclusive_bytes, shared_bytes| Resident { exclusive_bytes, shared_bytes };
        assert_eq!(pages.resident(0x1000..0x5000), resident(4096, 4096));
        assert_eq!(pages.resident(0x1ff0..0x2008), resident(16, 8));
        assert_eq!(pages.resident(0x3000..0x9000), resident(0, 0));
        assert_eq!(resident(100, 50).counting_shared(0.5), 125);
    }

    #[test]
    fn what_was_written_is_in_memory_and_exclusive() {
        let bytes = vec![1_u8; 1 << 20];
        let start = bytes.as_ptr() as u64;
        let pagemap = Pagemap::open(&Process::myself().unwrap()).unwrap();
        let pages = Pages::read(&pagemap, start..start + (1 << 20)).unwrap();
        let resident = pages.resident(start..start + (1 << 20));
        assert_eq!(resident.exclusive_bytes, 1 << 20, "{resident:?}");
    }
}
