//! The list of all goroutines (`runtime.allgs`), a batch at a time.
//!
//! A batch is read in three rounds: every `g`, then every stack, then every `g` again. What is not
//! as it was is read again by itself, a few times. What stands where an earlier reading saw it is
//! taken from there.

use super::{
    Goroutine, Goroutines, LabelsId, Lost, NoStack, Options, Stack, Status,
    kept::Kept,
    labels::{self, Label},
    raw::{self, RawG, Slot},
    stacks::{Walk, Walker},
};
use crate::{
    binary::RuntimeVariable,
    memory::{MemoryError, Runtime, view::Pieces},
};

/// Slots of a batch: few enough that the rounds are a millisecond apart, and many, since `g`s lie
/// next to each other and are read together. With a gap each they take up 0.75 MB.
const BATCH: usize = 512;
/// How often one goroutine is read that changes under the reader.
const TRIES: usize = 4;

/// What hangs from a goroutine.
#[derive(Clone, Copy)]
pub struct Found {
    pub stack: Stack,
    pub labels: Option<LabelsId>,
}

impl Found {
    pub const NOTHING: Self = Self { stack: Stack::Unknown(NoStack::Torn), labels: None };
}

/// All goroutines of `runtime`, with what is `kept` of earlier readings.
///
/// # Errors
/// As [`Goroutines::read`].
pub fn read(
    runtime: &Runtime<'_>,
    options: &Options<'_>,
    kept: &mut Kept,
) -> Result<Goroutines, MemoryError> {
    // The runtime publishes the list before its length.
    let count = runtime.view.u64(runtime.addresses.of(RuntimeVariable::GoroutineCount)?)?;
    let list = runtime.addresses.of(RuntimeVariable::Goroutines)?;
    let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(options.limits.slots);
    let mut reader = Reader::new(runtime, options, kept);
    reader.lost.slots_beyond_limit = count - wanted as u64;
    for first in (0..wanted).step_by(BATCH) {
        // The list moves when it grows, and its old place becomes something else; its slots stay in
        // order.
        let mut at = [0; 1];
        reader.words_now(list, &mut at)?;
        let mut pointers = vec![0; BATCH.min(wanted - first)];
        match reader.words_now(at[0].wrapping_add(first as u64 * 8), &mut pointers) {
            Ok(()) => reader.batch(first, &pointers)?,
            Err(MemoryError::Unmapped { .. }) => {
                // Nothing behind it is mapped either: the length was no length.
                reader.lost.slots_unreadable += (wanted - first) as u64;
                break;
            }
            Err(why) => return Err(why),
        }
    }
    Ok(reader.finish())
}

/// A goroutine that was read once.
struct Reading {
    slot: usize,
    address: u64,
    raw: RawG,
    walk: Walk,
    /// Where its stack ends in the batch's addresses; it begins where the one before ends.
    pcs_end: usize,
    labels: Option<Vec<Label>>,
}

struct Reader<'a> {
    runtime: &'a Runtime<'a>,
    walker: Walker<'a>,
    /// The `g`s of a batch.
    batch: Pieces,
    /// Room for one `g`.
    bytes: Vec<u8>,
    kept: &'a mut Kept,
    list: Vec<Goroutine>,
    walked: u64,
    lost: Lost,
}

impl<'a> Reader<'a> {
    fn new(runtime: &'a Runtime<'a>, options: &Options<'a>, kept: &'a mut Kept) -> Self {
        let frames = options.limits.frames;
        Self {
            runtime,
            walker: Walker::new(&runtime.view, options.unwind, runtime.machine, frames),
            batch: Pieces::new(raw::bytes(&runtime.layout)),
            bytes: vec![0; raw::bytes(&runtime.layout)],
            list: Vec::with_capacity(kept.alive_last()),
            kept,
            walked: 0,
            lost: Lost::default(),
        }
    }

    fn batch(&mut self, first: usize, pointers: &[u64]) -> Result<(), MemoryError> {
        let (mut moved, mut pcs, before) = (Vec::new(), Vec::new(), self.list.len());
        // Labels are read through the cache.
        self.runtime.view.refresh();
        self.runtime.view.read_pieces(pointers, &mut self.batch)?;
        for (number, address) in pointers.iter().enumerate() {
            let slot = first + number;
            match self.slot(number, *address) {
                Some(Slot::Alive(raw)) => match self.kept.standing(slot, &raw) {
                    Some(found) => self.push(slot, &raw, found),
                    None => moved.push((slot, *address, raw)),
                },
                Some(Slot::Unused) => self.kept.forget(slot),
                Some(Slot::Invalid) => self.again(slot, *address)?,
                None => self.lost.slots_unreadable += 1,
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        let readings = moved
            .into_iter()
            .map(|(slot, address, raw)| self.reading(slot, address, raw, &mut pcs));
        let readings = readings.collect::<Result<Vec<_>, _>>()?;
        self.keep_what_stood(&readings, &pcs)?;
        // Those that moved came last.
        self.list[before..].sort_unstable_by_key(|goroutine| goroutine.slot);
        Ok(())
    }

    /// The third round: what is as it was when its stack was read is kept.
    fn keep_what_stood(&mut self, readings: &[Reading], pcs: &[u64]) -> Result<(), MemoryError> {
        // What changed is read again as it is now.
        self.runtime.view.refresh();
        let addresses: Vec<_> = readings.iter().map(|reading| reading.address).collect();
        self.runtime.view.read_pieces(&addresses, &mut self.batch)?;
        let mut begin = 0;
        for (number, reading) in readings.iter().enumerate() {
            let walked = pcs.get(begin..reading.pcs_end).unwrap_or_default();
            begin = reading.pcs_end;
            match self.slot(number, reading.address) {
                Some(Slot::Alive(now)) if now.stands_as(&reading.raw) => {
                    self.keep(reading, walked);
                }
                _ => self.again(reading.slot, reading.address)?,
            }
        }
        Ok(())
    }

    /// Fills `words` from `address` on, as they are now.
    fn words_now(&self, address: u64, words: &mut [u64]) -> Result<(), MemoryError> {
        let mut bytes = vec![0; words.len() * 8];
        let read = self.runtime.view.read_once(address, &mut bytes)?;
        if read < bytes.len() {
            return Err(MemoryError::Unmapped { address: address.wrapping_add(read as u64) });
        }
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Ok(())
    }

    /// What the `g` of that number in the batch is, which lies at `address`; none if no memory is
    /// there.
    fn slot(&self, number: usize, address: u64) -> Option<Slot> {
        if address == 0 || !address.is_multiple_of(8) {
            return Some(Slot::Invalid);
        }
        self.batch.get(number).map(|bytes| raw::parse(bytes, &self.runtime.layout))
    }

    /// The same, as it is now.
    fn slot_now(&mut self, address: u64) -> Result<Slot, MemoryError> {
        let read = self.runtime.view.read_once(address, &mut self.bytes)?;
        let whole = read == self.bytes.len() && address.is_multiple_of(8);
        let parsed = whole.then(|| raw::parse(&self.bytes, &self.runtime.layout));
        Ok(parsed.unwrap_or(Slot::Invalid))
    }

    /// Reads what hangs from a `g`; its stack goes behind `pcs`.
    fn reading(
        &mut self,
        slot: usize,
        address: u64,
        raw: RawG,
        pcs: &mut Vec<u64>,
    ) -> Result<Reading, MemoryError> {
        let walk = match raw.status {
            Status::Running => Walk::None(NoStack::Running),
            Status::CopyStack => Walk::None(NoStack::Torn),
            _ => {
                self.walked += 1;
                self.walker.walk(&raw.start, pcs)?
            }
        };
        let runtime = self.runtime;
        let labels = match raw.labels {
            0 => Some(Vec::new()),
            at => match labels::read(&runtime.view, &runtime.layout, at) {
                Ok(labels) => Some(labels),
                Err(MemoryError::Unmapped { .. } | MemoryError::NotRecognised(_)) => None,
                Err(why) => return Err(why),
            },
        };
        Ok(Reading { slot, address, raw, walk, pcs_end: pcs.len(), labels })
    }

    /// Reads one goroutine until it stands still for as long as that takes.
    fn again(&mut self, slot: usize, address: u64) -> Result<(), MemoryError> {
        let (mut pcs, mut moving, mut valid) = (Vec::new(), None, false);
        for _ in 0..TRIES {
            let raw = match self.slot_now(address)? {
                Slot::Alive(raw) => raw,
                Slot::Unused => return Ok(()),
                Slot::Invalid => continue,
            };
            valid = true;
            pcs.clear();
            let reading = self.reading(slot, address, raw, &mut pcs)?;
            match self.slot_now(address)? {
                Slot::Alive(now) if now.stands_as(&raw) => {
                    self.keep(&reading, &pcs);
                    return Ok(());
                }
                Slot::Alive(now) if now.id == raw.id => moving = Some(reading),
                Slot::Alive(_) | Slot::Invalid => moving = None,
                Slot::Unused => return Ok(()),
            }
        }
        match moving {
            Some(reading) => {
                self.lost.stacks_torn += 1;
                self.keep(&Reading { walk: Walk::None(NoStack::Torn), ..reading }, &[]);
            }
            None if valid => self.lost.torn += 1,
            None => self.lost.invalid += 1,
        }
        Ok(())
    }

    fn keep(&mut self, reading: &Reading, pcs: &[u64]) {
        let stack = self.kept.stacks.keep(reading.walk, pcs);
        let beyond = stack == Stack::Unknown(NoStack::BeyondLimit);
        self.lost.stacks_beyond_limit += u64::from(beyond);
        let labels = self.labels_id(reading.labels.as_deref());
        let found = Found { stack, labels };
        let has_none = reading.labels.as_deref().is_some_and(<[Label]>::is_empty);
        let is_whole = labels.is_some() || has_none;
        self.kept.note(reading.slot, &reading.raw, is_whole.then_some(found));
        self.push(reading.slot, &reading.raw, found);
    }

    fn push(&mut self, slot: usize, raw: &RawG, found: Found) {
        let waits = matches!(raw.status, Status::Waiting | Status::Leaked);
        let reason = self.runtime.layout.wait_reasons.get(usize::from(raw.reason));
        self.lost.stacks_cut += u64::from(matches!(found.stack, Stack::Cut(_)));
        self.list.push(Goroutine {
            id: raw.id,
            slot: slot as u32,
            status: raw.status,
            wait_reason: reason.filter(|_| waits),
            waiting_since_ns: raw.waiting_since_ns,
            parent_id: raw.parent_id,
            creator_pc: raw.creator_pc,
            start_pc: raw.start_pc,
            locked_to_thread: raw.locked_to_thread,
            stack_bytes: raw.stack_bytes,
            labels: found.labels,
            stack: found.stack,
        });
    }

    /// The number of `labels`, which are none if they could not be read.
    fn labels_id(&mut self, labels: Option<&[Label]>) -> Option<LabelsId> {
        let kept = match labels {
            Some([]) => return None,
            Some(labels) => self.kept.labels.keep(labels),
            None => None,
        };
        self.lost.labels += u64::from(kept.is_none());
        kept
    }

    fn finish(self) -> Goroutines {
        Goroutines {
            list: self.list,
            lost: self.lost,
            walked: self.walked,
            stacks: self.kept.stacks.list(),
            labels: self.kept.labels.list(),
        }
    }
}
