//! Typed, bounded reads of another process's memory through a small cache.
//!
//! What is read twice in a row comes out of one moment; what is read of a process that runs on is
//! old after milliseconds, so a view is made anew for each look. Non-goals: knowing what lies where.

use std::cell::{Cell, RefCell};

use super::{MemoryError, ReadMemory};

/// Cached blocks; with [`BLOCK_BYTES`] this is 2 MiB.
const BLOCKS: usize = 256;
const BLOCK_BYTES: usize = 8 * 1024;
/// Bytes that one look may read, all reads together: several times what 10,000 heap sites and a
/// million goroutines take. A bound on time, since structures may lead in circles.
const WORK_MAX: u64 = 8 << 30;
/// What a small read and a cache miss cost at least, in the same measure.
const READING_COST: u64 = 64;
const MISS_COST: u64 = 1024;
/// What is read along between two pieces: within a page it costs less than another system call.
const GAP_BYTES_MAX: u64 = 1024;
/// What pieces that lie together are read by at once; more gains nothing.
const RUN_BYTES_MAX: u64 = 64 * 1024;

struct Block {
    /// Its address; `u64::MAX` while the slot is empty.
    address: u64,
    bytes: Vec<u8>,
}

/// A look at a process's memory.
pub struct View<'a> {
    memory: &'a dyn ReadMemory,
    cache: RefCell<Vec<Block>>,
    work_left: Cell<u64>,
}

impl<'a> View<'a> {
    /// A look at `memory`, with nothing read yet.
    pub fn new(memory: &'a dyn ReadMemory) -> Self {
        let empty = || Block { address: u64::MAX, bytes: Vec::new() };
        let cache = RefCell::new((0..BLOCKS).map(|_| empty()).collect());
        Self { memory, cache, work_left: Cell::new(WORK_MAX) }
    }

    /// Forgets what was read: the next read sees the memory as it is then.
    pub fn refresh(&self) {
        self.cache.borrow_mut().iter_mut().for_each(|block| block.address = u64::MAX);
    }

    fn spend(&self, bytes: u64) -> Result<(), MemoryError> {
        let left = self.work_left.get().checked_sub(bytes).ok_or(MemoryError::TooMuch)?;
        self.work_left.set(left);
        Ok(())
    }

    /// Fills `buffer` from `address`, through the cache: for small things that lie close together.
    ///
    /// # Errors
    /// [`MemoryError::Unmapped`] if not all of it is mapped.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let mut done = 0;
        while done < buffer.len() {
            let at = address.checked_add(done as u64).ok_or(MemoryError::Unmapped { address })?;
            let copied = self.read_in_block(at, &mut buffer[done..])?;
            if copied == 0 {
                return Err(MemoryError::Unmapped { address: at });
            }
            done += copied;
        }
        Ok(())
    }

    fn read_in_block(&self, address: u64, buffer: &mut [u8]) -> Result<usize, MemoryError> {
        let number = address / BLOCK_BYTES as u64;
        let start = number * BLOCK_BYTES as u64;
        let mut cache = self.cache.borrow_mut();
        let block = &mut cache[(number % BLOCKS as u64) as usize];
        self.spend(READING_COST.max(buffer.len() as u64))?;
        if block.address != start {
            self.spend(MISS_COST)?;
            block.address = u64::MAX;
            block.bytes.resize(BLOCK_BYTES, 0);
            let length = self.read_raw(start, &mut block.bytes)?;
            block.bytes.truncate(length);
            block.address = start;
        }
        let available = block.bytes.get((address - start) as usize..).unwrap_or_default();
        if available.is_empty() {
            // A mapping may begin in mid-block, at any page, behind one that is not there.
            self.spend(MISS_COST)?;
            let length = (BLOCK_BYTES - (address - start) as usize).min(buffer.len());
            return self.read_raw(address, &mut buffer[..length]);
        }
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        Ok(length)
    }

    fn read_raw(&self, address: u64, buffer: &mut [u8]) -> Result<usize, MemoryError> {
        let read = self.memory.read_at(address, buffer);
        read.map_err(|why| MemoryError::Closed(why.to_string()))
    }

    /// Fills as much of `buffer` as is mapped from `address` on, past the cache: for large things,
    /// and for things that are read once. Gives the number of bytes.
    ///
    /// # Errors
    /// The memory is closed, or too much was read.
    pub fn read_once(&self, address: u64, buffer: &mut [u8]) -> Result<usize, MemoryError> {
        self.spend(MISS_COST + buffer.len() as u64)?;
        self.read_raw(address, buffer)
    }

    /// Reads a piece at each of `addresses`, past the cache: each is as it is now, and those that lie
    /// close together are read together. The caller caps their number.
    ///
    /// # Errors
    /// The memory is closed, or too much was read.
    pub fn read_pieces(&self, addresses: &[u64], pieces: &mut Pieces) -> Result<(), MemoryError> {
        pieces.plan(addresses);
        let mut at = 0;
        for index in 0..pieces.runs.len() {
            let (start, bytes) = pieces.runs[index];
            let read = self.read_once(start, &mut pieces.bytes[at..at + bytes])?;
            if read < bytes {
                // Behind what is not mapped may be more that is.
                self.read_alone(start, bytes, pieces)?;
            }
            at += bytes;
        }
        Ok(())
    }

    /// Reads the pieces within the `length` bytes from `start` on, each by itself.
    fn read_alone(
        &self,
        start: u64,
        length: usize,
        pieces: &mut Pieces,
    ) -> Result<(), MemoryError> {
        let Pieces { piece_bytes, bytes, places, order, .. } = pieces;
        let first = order.partition_point(|(address, _)| *address < start);
        let within = order.iter().skip(first);
        for (address, number) in within.take_while(|(address, _)| address - start < length as u64) {
            let Some(place) = places[*number] else { continue };
            let read = self.read_once(*address, &mut bytes[place..place + *piece_bytes])?;
            places[*number] = Some(place).filter(|_| read == *piece_bytes);
        }
        Ok(())
    }

    /// The little-endian `u64` at `address`.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn u64(&self, address: u64) -> Result<u64, MemoryError> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The little-endian `u32` at `address`.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn u32(&self, address: u64) -> Result<u32, MemoryError> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The byte at `address`.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn u8(&self, address: u64) -> Result<u8, MemoryError> {
        let mut bytes = [0; 1];
        self.read(address, &mut bytes)?;
        Ok(bytes[0])
    }

    /// The little-endian unsigned number of `bytes` (at most 8) bytes at `address`.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn uint(&self, address: u64, bytes: u64) -> Result<u64, MemoryError> {
        let mut word = [0; 8];
        self.read(address, &mut word[..bytes.min(8) as usize])?;
        Ok(u64::from_le_bytes(word))
    }

    /// The little-endian words from `address` on. The caller caps `count`.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn words(&self, address: u64, count: usize) -> Result<Vec<u64>, MemoryError> {
        let mut bytes = vec![0; count * 8];
        if bytes.len() > BLOCK_BYTES {
            let read = self.read_once(address, &mut bytes)?;
            if read < bytes.len() {
                return Err(MemoryError::Unmapped { address: address.wrapping_add(read as u64) });
            }
        } else {
            self.read(address, &mut bytes)?;
        }
        let word = |chunk: &[u8]| chunk.try_into().map_or(0, u64::from_le_bytes);
        Ok(bytes.chunks_exact(8).map(word).collect())
    }
}

/// Things of one length from many places, for [`View::read_pieces`], in room that is used over and
/// over: not more than the pieces with a gap each.
pub struct Pieces {
    piece_bytes: usize,
    bytes: Vec<u8>,
    /// Where each begins in `bytes`; none if not all of it is mapped.
    places: Vec<Option<usize>>,
    /// Addresses in order, with the numbers of their pieces.
    order: Vec<(u64, usize)>,
    /// Addresses and lengths of what is read at once; in `bytes` they lie one behind the other.
    runs: Vec<(u64, usize)>,
}

impl Pieces {
    /// None yet; each will be of `piece_bytes`.
    pub const fn new(piece_bytes: usize) -> Self {
        Self {
            piece_bytes,
            bytes: Vec::new(),
            places: Vec::new(),
            order: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// The piece at the address of that number; none if not all of it is mapped.
    pub fn get(&self, number: usize) -> Option<&[u8]> {
        let place = (*self.places.get(number)?)?;
        self.bytes.get(place..place + self.piece_bytes)
    }

    /// Makes room for a piece at each of `addresses`.
    fn plan(&mut self, addresses: &[u64]) {
        self.places.clear();
        self.places.resize(addresses.len(), None);
        self.order.clear();
        self.order.extend(addresses.iter().copied().zip(0..));
        // A stable sort takes what is in order already as it is, and most is.
        self.order.sort_by_key(|(address, _)| *address);
        self.runs.clear();
        let (mut rest, mut total_bytes) = (self.order.as_slice(), 0);
        while let Some((run, bytes)) = next_run(&mut rest, self.piece_bytes as u64) {
            for (address, number) in run {
                self.places[*number] = Some(total_bytes + (address - run[0].0) as usize);
            }
            self.runs.push((run[0].0, bytes));
            total_bytes += bytes;
        }
        if self.bytes.len() < total_bytes {
            self.bytes.resize(total_bytes, 0);
        }
    }
}

/// Takes from the beginning of `order` what is read at once, with its length in bytes; none if its
/// piece would end beyond the last address.
fn next_run<'o>(
    order: &mut &'o [(u64, usize)],
    piece_bytes: u64,
) -> Option<(&'o [(u64, usize)], usize)> {
    let (start, _) = *order.first()?;
    let mut end = start.checked_add(piece_bytes)?;
    let mut count = 1;
    while let Some((address, _)) = order.get(count) {
        let Some(next) = address.checked_add(piece_bytes) else { break };
        if address.saturating_sub(end) > GAP_BYTES_MAX || next - start > RUN_BYTES_MAX {
            break;
        }
        (end, count) = (next, count + 1);
    }
    let (run, rest) = order.split_at(count);
    *order = rest;
    Some((run, (end - start) as usize))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io};

    use super::{BLOCK_BYTES, GAP_BYTES_MAX, MISS_COST, Pieces, RUN_BYTES_MAX, View};
    use crate::memory::{MemoryError, ReadMemory, RecordedMemory};

    fn memory() -> RecordedMemory {
        let mut memory = RecordedMemory::default();
        memory.put_words(0x1_0000, &(0..4096).collect::<Vec<_>>());
        memory
    }

    #[test]
    fn words_come_from_anywhere_that_is_mapped() {
        let memory = memory();
        let view = View::new(&memory);
        assert_eq!(view.u64(0x1_0008).unwrap(), 1);
        assert_eq!(view.u32(0x1_0010).unwrap(), 2);
        assert_eq!(view.uint(0x1_0010, 2).unwrap(), 2);
        // Over the edge of a block, and past the cache.
        assert_eq!(view.words(0x1_0000 + BLOCK_BYTES as u64 - 8, 2).unwrap(), [1023, 1024]);
        assert_eq!(view.words(0x1_0000, 2000).unwrap()[1999], 1999);
        for address in [0, 0xfff8, 0x1_8000, u64::MAX - 3] {
            let error = view.u64(address).unwrap_err();
            assert!(matches!(error, MemoryError::Unmapped { .. }), "{address:#x}: {error}");
        }
        assert!(view.words(0x1_0000, 5000).is_err());
    }

    #[test]
    fn a_mapping_may_begin_in_mid_block() {
        let mut memory = RecordedMemory::default();
        memory.put_words(0x1_3000, &[1, 2]);
        let view = View::new(&memory);
        assert!(view.u64(0x1_2ff8).is_err());
        assert_eq!(view.u64(0x1_3008).unwrap(), 2);
    }

    #[test]
    fn reading_over_and_over_comes_to_an_end() {
        let memory = memory();
        let view = View::new(&memory);
        view.work_left.set(MISS_COST + 10_000);
        let readings = (0..1000).take_while(|_| view.u64(0x1_0000).is_ok()).count();
        assert!((10..200).contains(&readings), "{readings}");
        assert!(matches!(view.u64(0x1_0000), Err(MemoryError::TooMuch)));
    }

    /// The words 0 to 4095, as [`memory`] has them, and what was read of them.
    struct Watched(RecordedMemory, RefCell<Vec<(u64, usize)>>);

    impl ReadMemory for Watched {
        fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.1.borrow_mut().push((address, buffer.len()));
            self.0.read_at(address, buffer)
        }
    }

    /// The first word of each piece of 16 bytes.
    fn first_words(memory: &dyn ReadMemory, addresses: &[u64]) -> Vec<Option<u64>> {
        let mut pieces = Pieces::new(16);
        View::new(memory).read_pieces(addresses, &mut pieces).unwrap();
        let word = |piece: &[u8]| piece.first_chunk().map(|word| u64::from_le_bytes(*word));
        (0..addresses.len()).map(|number| pieces.get(number).and_then(word)).collect()
    }

    #[test]
    fn pieces_that_lie_together_are_read_together() {
        let watched = Watched(memory(), RefCell::default());
        let far = 0x1_0050 + GAP_BYTES_MAX + 1;
        // In any order, twice, overlapping, with a gap.
        let found = first_words(&watched, &[far, 0x1_0040, 0x1_0000, 0x1_0008, 0x1_0040]);
        assert_eq!(found[1..], [Some(8), Some(0), Some(1), Some(8)]);
        assert_eq!(*watched.1.borrow(), [(0x1_0000, 0x50), (far, 16)]);
        let watched = Watched(memory(), RefCell::default());
        let all: Vec<_> = (0..2048).map(|number| 0x1_0000 + number * 16).collect();
        let twice: Vec<_> = all.iter().chain(&all).copied().collect();
        let expected: Vec<_> = (0..2048).chain(0..2048).map(|number| Some(number * 2)).collect();
        assert_eq!(first_words(&watched, &twice), expected);
        assert_eq!(*watched.1.borrow(), [(0x1_0000, 4096 * 8)]);
    }

    #[test]
    fn a_run_of_pieces_has_an_end() {
        let mut memory = RecordedMemory::default();
        memory.put_words(0x10_0000, &(0..32_768).collect::<Vec<_>>());
        let watched = Watched(memory, RefCell::default());
        let all: Vec<_> = (0..16_384).map(|number| 0x10_0000 + number * 16).collect();
        let expected: Vec<_> = (0..16_384).map(|number| Some(number * 2)).collect();
        assert_eq!(first_words(&watched, &all), expected);
        assert!(watched.1.borrow().iter().all(|(_, bytes)| *bytes as u64 <= RUN_BYTES_MAX));
    }

    #[test]
    fn pieces_are_found_on_both_sides_of_what_is_not_mapped() {
        let mut memory = memory();
        memory.put_words(0x1_9000, &[7, 8, 9]);
        let addresses = [
            0x1_7ff8,     // half of it
            0x1_8000,     // none of it
            0x1_9008,     // behind it
            0x1_7ff0,     // before it
            u64::MAX - 3, // beyond all
            0,
            0x1_8ff8, // the wrong half
        ];
        let found = first_words(&memory, &addresses);
        assert_eq!(found, [None, None, Some(8), Some(4094), None, None, None]);
        // In one run, with what is not mapped within it.
        let chain: Vec<_> = (0x1_7c00..=0x1_9000).step_by(0x200).collect();
        let found = first_words(&memory, &chain);
        assert_eq!(
            found,
            [Some(3968), Some(4032), None, None, None, None, None, None, None, None, Some(7)]
        );
        assert_eq!(first_words(&memory, &[]), []);
    }

    #[test]
    fn what_is_read_anew_is_what_is_there_now() {
        let (mut first, second) = (memory(), memory());
        first.put_words(0x1_0000, &[77]);
        let mut pieces = Pieces::new(8);
        View::new(&first).read_pieces(&[0x1_0000], &mut pieces).unwrap();
        View::new(&second).read_pieces(&[0x1_0008, 0x9000], &mut pieces).unwrap();
        assert_eq!((pieces.get(0).unwrap()[0], pieces.get(1), pieces.get(2)), (1, None, None));
    }

    #[test]
    fn reading_pieces_comes_to_an_end() {
        let memory = memory();
        let (view, mut pieces) = (View::new(&memory), Pieces::new(16));
        view.work_left.set(10 * MISS_COST);
        let far: Vec<_> = (0..1000).map(|number| number * 0x10_0000).collect();
        assert!(matches!(view.read_pieces(&far, &mut pieces), Err(MemoryError::TooMuch)));
    }
}
