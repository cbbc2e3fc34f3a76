//! The stack of one goroutine: where it stands in, return addresses out; and all different stacks.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{NoStack, Stack, StackId, Unwind, raw::Start};
use crate::{
    binary::Machine,
    memory::{MemoryError, View},
};

/// What is read of a stack at once: all that most goroutines have in use.
const CHUNK_BYTES: u64 = 4096;
/// What keeping a stack costs besides its addresses, in words.
const KEEPING_WORDS: usize = 8;
/// Frames of a deep stack.
const FRAMES_USUAL: usize = 64;

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// At the goroutine's first function.
    Whole,
    /// Before: something on the way is not a frame, or there are too many.
    Cut,
    /// It could not begin.
    None(NoStack),
}

/// Walks stacks, one after the other.
pub struct Walker<'a> {
    view: &'a View<'a>,
    unwind: Option<&'a dyn Unwind>,
    machine: Machine,
    frames_max: usize,
    chunk: Vec<u8>,
    /// Address of `chunk`.
    base: u64,
}

impl<'a> Walker<'a> {
    /// A walker in the memory of `view`, which knows code by `unwind`.
    pub const fn new(
        view: &'a View<'a>,
        unwind: Option<&'a dyn Unwind>,
        machine: Machine,
        frames_max: usize,
    ) -> Self {
        Self { view, unwind, machine, frames_max, chunk: Vec::new(), base: 0 }
    }

    /// Appends the addresses of the stack that begins at `start` to `pcs`.
    ///
    /// # Errors
    /// The memory as a whole can't be read any more.
    pub fn walk(&mut self, start: &Start, pcs: &mut Vec<u64>) -> Result<Walk, MemoryError> {
        self.chunk.clear();
        let first = pcs.len();
        pcs.push(start.pc);
        let walked = match (self.unwind, start.bp) {
            (Some(unwind), _) => self.by_tables(unwind, start, pcs),
            (None, Some(bp)) => self.by_frame_pointers(bp, start, pcs),
            (None, None) => {
                pcs.truncate(first);
                return Ok(Walk::None(NoStack::NoFramePointer));
            }
        };
        match walked {
            Ok(whole) => Ok(if whole { Walk::Whole } else { Walk::Cut }),
            Err(MemoryError::Unmapped { .. }) => Ok(Walk::Cut),
            Err(why) => Err(why),
        }
    }

    /// By the size of each function's frame (`runtime.(*unwinder).resolveInternal`); gives whether
    /// the end was reached.
    fn by_tables(
        &mut self,
        unwind: &dyn Unwind,
        start: &Start,
        pcs: &mut Vec<u64>,
    ) -> Result<bool, MemoryError> {
        let (mut pc, mut sp) = (start.pc, start.sp);
        for number in 0..self.frames_max {
            let Some(frame) = unwind.frame(pc) else { return Ok(false) };
            if frame.outermost {
                return Ok(true);
            }
            let Some(end) = sp.checked_add(frame.depth) else { return Ok(false) };
            let link = if number == 0 && frame.depth == 0 { start.lr } else { 0 };
            (pc, sp) = match (self.machine, link) {
                (Machine::Arm64, 0) => (self.word(sp, start.hi)?, end),
                (Machine::Arm64, link) => (link, end),
                _ => (self.word(end, start.hi)?, end.wrapping_add(8)),
            };
            if pc == 0 {
                return Ok(true);
            }
            if number + 1 < self.frames_max {
                pcs.push(pc);
            }
        }
        Ok(false)
    }

    /// By the frame pointers that each function saves on its way in.
    fn by_frame_pointers(
        &mut self,
        mut bp: u64,
        start: &Start,
        pcs: &mut Vec<u64>,
    ) -> Result<bool, MemoryError> {
        let mut above = start.sp.wrapping_sub(16);
        for _ in 1..self.frames_max {
            if bp == 0 {
                return Ok(true);
            }
            if !bp.is_multiple_of(8) || bp < above {
                return Ok(false);
            }
            pcs.push(self.word(bp.wrapping_add(8), start.hi)?);
            above = bp.wrapping_add(1);
            bp = self.word(bp, start.hi)?;
        }
        Ok(false)
    }

    /// The word at `address` of the stack that ends at `hi`.
    fn word(&mut self, address: u64, hi: u64) -> Result<u64, MemoryError> {
        if let Some(word) = self.known(address) {
            return Ok(word);
        }
        let unmapped = MemoryError::Unmapped { address };
        let left = hi.checked_sub(address).filter(|left| *left >= 8);
        let Some(left) = left else { return Err(unmapped) };
        self.base = address;
        self.chunk.resize(left.min(CHUNK_BYTES) as usize, 0);
        let read = self.view.read_once(address, &mut self.chunk)?;
        self.chunk.truncate(read);
        self.known(address).ok_or(unmapped)
    }

    fn known(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.base)?).ok()?;
        Some(u64::from_le_bytes(*self.chunk.get(at..)?.first_chunk()?))
    }
}

/// All different stacks.
pub struct Stacks {
    ids: HashMap<Arc<[u64]>, StackId>,
    list: Vec<Arc<[u64]>>,
    words_left: usize,
}

impl Stacks {
    /// None yet; all together may take `words_max` words.
    pub fn new(words_max: usize) -> Self {
        Self { ids: HashMap::new(), list: Vec::new(), words_left: words_max }
    }

    /// The stack of `pcs`, which ended as `walk` says.
    pub fn keep(&mut self, walk: Walk, pcs: &[u64]) -> Stack {
        match (walk, self.id(pcs)) {
            (Walk::None(why), _) => Stack::Unknown(why),
            (_, None) => Stack::Unknown(NoStack::BeyondLimit),
            (Walk::Whole, Some(id)) => Stack::Known(id),
            (Walk::Cut, Some(id)) => Stack::Cut(id),
        }
    }

    fn id(&mut self, pcs: &[u64]) -> Option<StackId> {
        if let Some(id) = self.ids.get(pcs) {
            return Some(*id);
        }
        if pcs.is_empty() {
            return None;
        }
        self.words_left = self.words_left.checked_sub(pcs.len() + KEEPING_WORDS)?;
        let id = StackId(u32::try_from(self.list.len()).ok()?);
        let pcs: Arc<[u64]> = pcs.into();
        self.list.push(Arc::clone(&pcs));
        self.ids.insert(pcs, id);
        Some(id)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there may be no room for another.
    pub const fn is_full(&self) -> bool {
        self.words_left < KEEPING_WORDS + FRAMES_USUAL
    }

    /// The stacks by their numbers.
    pub fn list(&self) -> Vec<Arc<[u64]>> {
        self.list.clone()
    }

    /// Forgets all but `used`; gives their new numbers by the old ones.
    pub fn retain(&mut self, used: impl Iterator<Item = StackId>) -> HashMap<StackId, StackId> {
        let old = std::mem::take(&mut self.list);
        self.words_left += old.iter().map(|pcs| pcs.len() + KEEPING_WORDS).sum::<usize>();
        self.ids.clear();
        let mut renumbered = HashMap::new();
        for id in used {
            let Some(pcs) = old.get(id.0 as usize) else { continue };
            if let Entry::Vacant(entry) = renumbered.entry(id) {
                self.id(pcs).map(|new| *entry.insert(new));
            }
        }
        renumbered
    }
}
