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

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, MISS_COST, View};
    use crate::memory::{MemoryError, RecordedMemory};

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
}
