//! Memory that is not a process: extracts of a real one, or made up, for tests and for fuzzing.

use std::{cell::RefCell, collections::BTreeMap, io};

use super::ReadMemory;

/// Pieces of memory by their addresses.
#[derive(Debug, Default)]
pub struct RecordedMemory {
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl RecordedMemory {
    /// Adds `bytes` at `address`; a later piece hides what an earlier one has there.
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = address.wrapping_add(done as u64);
            let page = self.pieces.entry(at & !0xfff).or_insert_with(|| vec![0; 0x1000]);
            let to = &mut page[(at & 0xfff) as usize..];
            let length = to.len().min(bytes.len() - done);
            to[..length].copy_from_slice(&bytes[done..done + length]);
            done += length;
        }
    }

    /// Adds little-endian words at `address`.
    pub fn put_words(&mut self, address: u64, words: &[u64]) {
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(address, &bytes);
    }

    /// All pages, by address.
    pub const fn pages(&self) -> &BTreeMap<u64, Vec<u8>> {
        &self.pieces
    }
}

impl ReadMemory for RecordedMemory {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let Some(at) = address.checked_add(done as u64) else { break };
            let Some(page) = self.pieces.get(&(at & !0xfff)) else { break };
            let from = &page[(at & 0xfff) as usize..];
            let length = from.len().min(buffer.len() - done);
            buffer[done..done + length].copy_from_slice(&from[..length]);
            done += length;
        }
        Ok(done)
    }
}

/// Keeps the pages that were read of another memory: what a walk needs, as a golden input.
pub struct Recorder<'a> {
    source: &'a dyn ReadMemory,
    seen: RefCell<RecordedMemory>,
}

impl<'a> Recorder<'a> {
    /// A recorder of what is read of `source` through it.
    pub fn new(source: &'a dyn ReadMemory) -> Self {
        Self { source, seen: RefCell::default() }
    }

    /// What was read.
    pub fn into_recorded(self) -> RecordedMemory {
        self.seen.into_inner()
    }
}

impl ReadMemory for Recorder<'_> {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read_at(address, buffer)?;
        self.seen.borrow_mut().put(address, &buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::{RecordedMemory, Recorder};
    use crate::memory::ReadMemory as _;

    #[test]
    fn a_read_ends_where_nothing_is_known() {
        let mut memory = RecordedMemory::default();
        memory.put_words(0x1ff8, &[7, 8]);
        let mut buffer = [0; 16];
        assert_eq!(memory.read_at(0x1ff8, &mut buffer).unwrap(), 16);
        assert_eq!((buffer[0], buffer[8]), (7, 8));
        assert_eq!(memory.read_at(0x2ff8, &mut buffer).unwrap(), 8);
        assert_eq!(memory.read_at(0x9000, &mut buffer).unwrap(), 0);
        assert_eq!(memory.read_at(u64::MAX, &mut buffer).unwrap(), 0);
    }

    #[test]
    fn what_was_read_is_recorded() {
        let mut memory = RecordedMemory::default();
        memory.put_words(0x1000, &[1, 2, 3]);
        let recorder = Recorder::new(&memory);
        recorder.read_at(0x1008, &mut [0; 8]).unwrap();
        let mut buffer = [0; 24];
        recorder.into_recorded().read_at(0x1000, &mut buffer).unwrap();
        assert_eq!((buffer[0], buffer[8], buffer[16]), (0, 2, 0));
    }
}
