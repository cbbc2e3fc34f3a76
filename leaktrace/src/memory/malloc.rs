//! What glibc's malloc has mapped piece by piece: anonymous memory in, resident bytes out.
//!
//! A large piece is a mapping of its own, which the kernel joins with its neighbours, those of the
//! Go runtime among them. Its first 16 bytes tell it (malloc/malloc.c `sysmalloc_mmap`): no previous
//! size, and its own size with the bit `IS_MMAPPED`. Non-goals: pieces that are cut out of a heap.

use std::ops::Range;

use super::{
    MemoryError, View,
    pagemap::{Pages, ReadPages, Resident},
};

/// The flags beside the size: mapped, and neither another arena's nor behind a used piece.
const FLAGS: u64 = 7;
const IS_MMAPPED: u64 = 2;
/// From this size on pieces are mapped (malloc/malloc.c `DEFAULT_MMAP_THRESHOLD_MIN`).
const SIZE_MIN_BYTES: u64 = 128 << 10;
/// Pages that are asked at once.
const WINDOW_BYTES: u64 = 64 << 20;
/// Pages that are looked at: 1 GiB of 4 KiB, besides the pieces themselves.
const LOOKS_MAX: u64 = 1 << 18;

/// Address space that is looked through: a sanitizer's shadow, or what some runtimes reserve, has
/// terabytes, of which each page would be asked.
const SPACE_BYTES_MAX: u64 = 64 << 30;

/// Pieces that malloc has mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct MappedPieces {
    /// How many there are.
    pub pieces: u64,
    /// How much address space they have.
    pub mapped_bytes: u64,
    /// How much of them is in memory.
    pub resident: Resident,
    /// All of the memory was looked at.
    pub complete: bool,
}

impl MappedPieces {
    /// Looks through `ranges`, which are mapped and anonymous.
    ///
    /// # Errors
    /// Memory or page map are closed, or too much was read.
    pub fn find(
        view: &View<'_>,
        source: &dyn ReadPages,
        ranges: &[Range<u64>],
    ) -> Result<Self, MemoryError> {
        let mut found = Self { complete: true, ..Self::default() };
        let (mut looks, mut space_left_bytes) = (0, SPACE_BYTES_MAX);
        for range in ranges {
            let length_bytes = range.end.saturating_sub(range.start);
            let Some(left_bytes) = space_left_bytes.checked_sub(length_bytes) else {
                found.complete = false;
                continue;
            };
            space_left_bytes = left_bytes;
            let mut at = range.start;
            while at < range.end {
                let window = at..range.end.min(at.saturating_add(WINDOW_BYTES));
                at = found.window(view, source, window, range.end, &mut looks)?;
                if looks >= LOOKS_MAX {
                    found.complete = false;
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Gives where to go on.
    fn window(
        &mut self,
        view: &View<'_>,
        source: &dyn ReadPages,
        window: Range<u64>,
        end: u64,
        looks: &mut u64,
    ) -> Result<u64, MemoryError> {
        let page_bytes = source.page_bytes().max(1);
        let pages = Pages::read(source, window.clone())?;
        let mut at = window.start;
        while at < window.end {
            let page = at..at.saturating_add(page_bytes);
            at = page.end;
            if pages.resident(page.clone()).bytes() == 0 {
                continue;
            }
            *looks += 1;
            let Some(bytes) = piece(view, page.start, page_bytes)? else { continue };
            let Some(piece_end) = page.start.checked_add(bytes).filter(|piece| *piece <= end)
            else {
                continue;
            };
            self.pieces += 1;
            self.mapped_bytes = self.mapped_bytes.saturating_add(bytes);
            self.resident.add(resident(source, page.start..piece_end)?);
            at = piece_end;
        }
        Ok(at)
    }
}

/// Bytes of the piece that begins at `address`, if one does.
fn piece(view: &View<'_>, address: u64, page_bytes: u64) -> Result<Option<u64>, MemoryError> {
    let mut head = [0; 16];
    match view.read(address, &mut head) {
        Err(MemoryError::Unmapped { .. }) => return Ok(None),
        other => other?,
    }
    let [previous, size] =
        [0, 8].map(|at| head[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
    let bytes = size & !FLAGS;
    let is_piece = previous == 0
        && size & FLAGS == IS_MMAPPED
        && bytes >= SIZE_MIN_BYTES
        && bytes.is_multiple_of(page_bytes);
    Ok(is_piece.then_some(bytes))
}

fn resident(source: &dyn ReadPages, range: Range<u64>) -> Result<Resident, MemoryError> {
    let (mut sum, mut at) = (Resident::default(), range.start);
    while at < range.end {
        let window = at..range.end.min(at.saturating_add(WINDOW_BYTES));
        at = window.end;
        sum.add(Pages::read(source, window.clone())?.resident(window));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::{MappedPieces, Resident};
    use crate::memory::{RecordedMemory, View, pagemap::testing::MadePages};

    const START: u64 = 0x7f00_0000_0000;
    const PIECE: u64 = 0x2_1000;

    #[test]
    fn pieces_are_told_from_what_lies_between() {
        let (mut memory, mut pages) = (RecordedMemory::default(), MadePages::default());
        // Something of one page, a piece, something, another piece half in memory.
        memory.put_words(START, &[0, PIECE]);
        memory.put_words(START + 0x1000, &[0, PIECE | 2]);
        memory.put_words(START + 0x1000 + PIECE, &[7, PIECE | 2]);
        memory.put_words(START + 0x2000 + PIECE, &[0, PIECE | 2]);
        pages.put(START, 3 + PIECE / 0x1000, true);
        let range = START..START + 0x2000 + 2 * PIECE;
        let found = MappedPieces::find(&View::new(&memory), &pages, &[range]).unwrap();
        let exclusive_bytes = PIECE + 0x1000;
        let resident = Resident { exclusive_bytes, shared_bytes: 0 };
        assert_eq!(
            found,
            MappedPieces { pieces: 2, mapped_bytes: 2 * PIECE, resident, complete: true }
        );
    }

    /// A program built with `-asan` has 15 TiB of shadow: to ask for each of its pages took hours.
    #[test]
    fn what_is_only_reserved_is_passed_over_and_said() {
        let (mut memory, mut pages) = (RecordedMemory::default(), MadePages::default());
        memory.put_words(START, &[0, PIECE | 2]);
        pages.put(START, PIECE / 0x1000, true);
        let ranges = [0x1_0000_0000..0x1000_0000_0000, START..START + PIECE];
        let found = MappedPieces::find(&View::new(&memory), &pages, &ranges).unwrap();
        assert_eq!((found.pieces, found.mapped_bytes, found.complete), (1, PIECE, false));
    }

    #[test]
    fn a_piece_beyond_its_mapping_is_none() {
        for size in [u64::MAX - 5, (PIECE * 2) | 2, 0x1000 | 2, (PIECE + 16) | 2] {
            let (mut memory, mut pages) = (RecordedMemory::default(), MadePages::default());
            memory.put_words(START, &[0, size]);
            pages.put(START, 2, true);
            let range = START..START + PIECE;
            let found = MappedPieces::find(&View::new(&memory), &pages, &[range]).unwrap();
            assert_eq!((found.pieces, found.complete), (0, true), "{size:#x}");
        }
    }
}
