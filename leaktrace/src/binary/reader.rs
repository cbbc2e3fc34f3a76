//! Bounded random access to a file: positional reads in, small cached blocks out.
//!
//! Own memory stays at `BLOCKS * BLOCK_BYTES` whatever the file's size, and own time at what
//! `WORK_MAX` buys, whatever its tables say. Non-goals: mapping.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io,
    os::unix::fs::FileExt,
};

use super::BinaryError;
use crate::display::printable;

/// Cached blocks; with [`BLOCK_BYTES`] this is 1 MiB.
const BLOCKS: usize = 64;
const BLOCK_BYTES: usize = 16 * 1024;
/// Bytes that may be read of one file, all readings together: a bound on time, since a small
/// file can have its tables read over and over. A kubectl of 57 MB takes 66 MB.
const WORK_MAX: u64 = 2 << 30;
/// What a small reading and a cache miss cost at least, in the same measure.
const READING_COST: u64 = 64;
const MISS_COST: u64 = 1024;
/// Kernels refuse offsets above `i64::MAX`; no file comes near.
const OFFSET_MAX: u64 = 1 << 62;

/// Positional reads, so that parsers work on files and on recorded bytes alike.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the data.
    ///
    /// # Errors
    /// Whatever the medium reports.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() && offset < OFFSET_MAX {
            match FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let length = buffer.len().min(self.len() - start);
        buffer[..length].copy_from_slice(&self[start..start + length]);
        Ok(length)
    }
}

struct Block {
    /// Block number in the file; `u64::MAX` while the slot is empty.
    number: u64,
    bytes: Vec<u8>,
}

/// A direct-mapped block cache over a [`ReadAt`].
pub struct Blocks {
    source: Box<dyn ReadAt>,
    cache: RefCell<Vec<Block>>,
    work_left: Cell<u64>,
}

impl Blocks {
    /// An empty cache over `source`.
    pub fn new(source: impl ReadAt + 'static) -> Self {
        let empty = || Block { number: u64::MAX, bytes: Vec::new() };
        let cache = RefCell::new((0..BLOCKS).map(|_| empty()).collect());
        Self { source: Box::new(source), cache, work_left: Cell::new(WORK_MAX) }
    }

    /// Takes `bytes` from the work that is left.
    fn spend(&self, bytes: u64) -> Result<(), BinaryError> {
        const TOO_MUCH: BinaryError =
            BinaryError::NotRecognised("tables that ask for more reading than any known program's");
        self.work_left.set(self.work_left.get().checked_sub(bytes).ok_or(TOO_MUCH)?);
        Ok(())
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`BinaryError::Truncated`] naming `what` if the data ends before that.
    pub fn read(
        &self,
        buffer: &mut [u8],
        offset: u64,
        what: &'static str,
    ) -> Result<(), BinaryError> {
        let mut done = 0;
        while done < buffer.len() {
            let copied =
                self.read_in_block(&mut buffer[done..], offset.checked_add(done as u64))?;
            if copied == 0 {
                return Err(BinaryError::Truncated { what });
            }
            done += copied;
        }
        Ok(())
    }

    /// Reads what one block holds from `offset` on; 0 bytes at the end of the data.
    fn read_in_block(&self, buffer: &mut [u8], offset: Option<u64>) -> Result<usize, BinaryError> {
        let Some(offset) = offset else { return Ok(0) };
        let number = offset / BLOCK_BYTES as u64;
        let within = (offset % BLOCK_BYTES as u64) as usize;
        let mut cache = self.cache.borrow_mut();
        let block = &mut cache[(number % BLOCKS as u64) as usize];
        self.spend(READING_COST.max(buffer.len() as u64))?;
        if block.number != number {
            self.spend(MISS_COST)?;
            block.number = u64::MAX;
            block.bytes.resize(BLOCK_BYTES, 0);
            let length = self.source.read_at(&mut block.bytes, number * BLOCK_BYTES as u64)?;
            block.bytes.truncate(length);
            block.number = number;
        }
        let available = block.bytes.get(within..).unwrap_or_default();
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        Ok(length)
    }

    /// A copy of `length` bytes at `offset`. The caller caps `length`.
    ///
    /// # Errors
    /// As [`Blocks::read`].
    pub fn vec(
        &self,
        offset: u64,
        length: usize,
        what: &'static str,
    ) -> Result<Vec<u8>, BinaryError> {
        let mut bytes = vec![0; length];
        // Large reads go past the cache: they would only empty it.
        if length > BLOCK_BYTES {
            self.spend(length as u64)?;
            if self.source.read_at(&mut bytes, offset)? < length {
                return Err(BinaryError::Truncated { what });
            }
        } else {
            self.read(&mut bytes, offset, what)?;
        }
        Ok(bytes)
    }

    /// A little-endian `u32` at `offset`.
    ///
    /// # Errors
    /// As [`Blocks::read`].
    pub fn u32(&self, offset: u64, what: &'static str) -> Result<u32, BinaryError> {
        let mut bytes = [0; 4];
        self.read(&mut bytes, offset, what)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// A little-endian `u64` at `offset`.
    ///
    /// # Errors
    /// As [`Blocks::read`].
    pub fn u64(&self, offset: u64, what: &'static str) -> Result<u64, BinaryError> {
        let mut bytes = [0; 8];
        self.read(&mut bytes, offset, what)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The NUL-terminated string at `offset`, of at most `cap` bytes.
    ///
    /// # Errors
    /// As [`Blocks::read`]; a string longer than `cap` is not recognised.
    pub fn c_str(&self, offset: u64, cap: usize) -> Result<String, BinaryError> {
        let (mut text, mut piece) = (Vec::new(), [0; 128]);
        while text.len() <= cap {
            let at = offset.checked_add(text.len() as u64);
            let length = self.read_in_block(&mut piece, at)?;
            if length == 0 {
                return Err(BinaryError::Truncated { what: "a string" });
            }
            match memchr::memchr(0, &piece[..length]) {
                None => text.extend_from_slice(&piece[..length]),
                Some(end) if text.len() + end <= cap => {
                    text.extend_from_slice(&piece[..end]);
                    return Ok(printable(&text));
                }
                Some(_) => break,
            }
        }
        Err(BinaryError::NotRecognised("a string without an end"))
    }

    /// A byte-wise reader from `offset` on.
    pub const fn cursor(&self, offset: u64) -> Cursor<'_> {
        Cursor { blocks: self, offset, buffer: [0; 64], length: 0, next: 0 }
    }

    /// Calls `visit(offset, bytes)` over `[start, start + length)` in pieces of up to 1 MiB,
    /// each beginning `overlap` bytes before the end of the last; stops when it gives `false`.
    ///
    /// # Errors
    /// [`BinaryError::Truncated`] naming `what` if the data ends before that.
    pub fn scan(
        &self,
        (start, length): (u64, u64),
        overlap: usize,
        what: &'static str,
        mut visit: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), BinaryError> {
        const PIECE_BYTES: u64 = 1024 * 1024;
        let end = start.checked_add(length).ok_or(BinaryError::Truncated { what })?;
        let mut piece = Vec::new();
        let mut offset = start;
        while offset < end {
            piece.resize((end - offset).min(PIECE_BYTES) as usize, 0);
            self.spend(piece.len() as u64)?;
            if self.source.read_at(&mut piece, offset)? < piece.len() {
                return Err(BinaryError::Truncated { what });
            }
            let piece_end = offset + piece.len() as u64;
            if !visit(offset, &piece) || piece_end == end {
                break;
            }
            offset = piece_end - overlap as u64;
        }
        Ok(())
    }
}

/// Reads bytes and varints one after another.
pub struct Cursor<'a> {
    blocks: &'a Blocks,
    offset: u64,
    buffer: [u8; 64],
    length: usize,
    next: usize,
}

impl Cursor<'_> {
    /// The next byte.
    ///
    /// # Errors
    /// As [`Blocks::read`].
    pub fn byte(&mut self, what: &'static str) -> Result<u8, BinaryError> {
        if self.next == self.length {
            self.length = self.blocks.read_in_block(&mut self.buffer, Some(self.offset))?;
            if self.length == 0 {
                return Err(BinaryError::Truncated { what });
            }
            self.offset += self.length as u64;
            self.next = 0;
        }
        self.next += 1;
        Ok(self.buffer[self.next - 1])
    }

    /// The next unsigned LEB128 value that fits in 32 bits.
    ///
    /// # Errors
    /// As [`Blocks::read`]; a longer value is not recognised.
    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<u32, BinaryError> {
        // Nearly all are one byte.
        if self.next < self.length && self.buffer[self.next] < 0x80 {
            self.next += 1;
            return Ok(self.buffer[self.next - 1].into());
        }
        self.long_varint(what)
    }

    fn long_varint(&mut self, what: &'static str) -> Result<u32, BinaryError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte(what)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BinaryError::NotRecognised("a varint of more than 32 bits"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::{BLOCK_BYTES, Blocks};
    use crate::binary::BinaryError;

    fn counting(length: usize) -> Blocks {
        Blocks::new((0..length).map(|i| (i / 7) as u8).collect::<Vec<_>>())
    }

    #[test]
    fn reads_across_block_boundaries() {
        let blocks = counting(3 * BLOCK_BYTES);
        let offset = BLOCK_BYTES as u64 - 3;
        let bytes = blocks.vec(offset, 6, "x").unwrap();
        let expected: Vec<u8> = (0..6).map(|i| ((offset + i) / 7) as u8).collect();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_end_of_data_names_what_was_sought() {
        let blocks = counting(100);
        let mut buffer = [0; 8];
        let error = blocks.read(&mut buffer, 96, "the header").unwrap_err();
        assert!(matches!(error, BinaryError::Truncated { what: "the header" }));
        assert!(blocks.u64(u64::MAX - 3, "x").is_err());
        assert!(blocks.vec(10, BLOCK_BYTES * 2, "x").is_err());
        assert!(blocks.scan((50, 51), 0, "x", |_, _| true).is_err());
    }

    #[test]
    fn scan_pieces_overlap_and_cover_everything() {
        let blocks = counting(2_500_000);
        let mut seen = Vec::new();
        blocks
            .scan((10, 2_499_990), 7, "x", |offset, piece| {
                seen.push((offset, piece.len()));
                true
            })
            .unwrap();
        assert_eq!(seen, [(10, 1 << 20), (1_048_579, 1 << 20), (2_097_148, 402_852)]);
    }

    #[test]
    fn reading_over_and_over_comes_to_an_end() {
        let blocks = counting(100);
        blocks.work_left.set(10_000);
        let readings = (0..1000).take_while(|_| blocks.u32(0, "x").is_ok()).count();
        assert!((10..200).contains(&readings), "{readings}");
        assert!(matches!(
            blocks.scan((0, 100), 0, "x", |_, _| true),
            Err(BinaryError::NotRecognised(_))
        ));
    }

    #[test]
    fn no_file_reaches_beyond_the_offsets_that_a_kernel_takes() {
        let blocks = Blocks::new(File::open("/proc/self/exe").unwrap());
        for offset in [1 << 40, 1 << 62, i64::MAX as u64 - 100, 1 << 63, u64::MAX - 3] {
            for length in [1, 8, BLOCK_BYTES * 2] {
                let error = blocks.vec(offset, length, "x").unwrap_err();
                assert!(matches!(error, BinaryError::Truncated { what: "x" }), "{error}");
            }
        }
    }

    #[test]
    fn a_string_ends_within_its_cap() {
        for length in [0, 1, 127, 128, 129, 300] {
            let mut bytes = vec![b'x'; length];
            bytes.push(0);
            let blocks = Blocks::new(bytes);
            assert_eq!(blocks.c_str(0, 300).unwrap().len(), length);
            if length > 0 {
                let error = blocks.c_str(0, length - 1).unwrap_err();
                assert!(matches!(error, BinaryError::NotRecognised(_)), "{length}: {error}");
            }
        }
        let error = Blocks::new(vec![b'x'; 200]).c_str(0, 300).unwrap_err();
        assert!(matches!(error, BinaryError::Truncated { what: "a string" }), "{error}");
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        let blocks = Blocks::new(b"main.f\x1b[2J\x9b\n\0".to_vec());
        assert_eq!(blocks.c_str(0, 100).unwrap(), "main.f\u{fffd}[2J\u{fffd}\u{fffd}");
    }

    #[test]
    fn varints_end_or_are_refused() {
        let blocks = Blocks::new(vec![0x05, 0xac, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        let mut cursor = blocks.cursor(0);
        assert_eq!(cursor.varint("x").unwrap(), 5);
        assert_eq!(cursor.varint("x").unwrap(), 300);
        assert!(matches!(cursor.varint("x"), Err(BinaryError::NotRecognised(_))));
    }
}
