//! The list of all goroutines (`runtime.allgs`), a batch at a time.
//!
//! A batch is read in three rounds: every `g`, then every stack, then every `g` again. What is not
//! as it was is read again by itself, a few times.

use super::{
    Goroutine, Goroutines, LabelsId, Lost, NoStack, Options, Stack, Status,
    labels::{self, Label, LabelSets},
    raw::{self, RawG, Slot},
    stacks::{Stacks, Walk, Walker},
};
use crate::{
    binary::RuntimeVariable,
    memory::{MemoryError, Runtime},
};

/// Slots of a batch: few enough that the rounds are a millisecond apart, and many, since `g`s lie
/// next to each other and are read together.
const BATCH: usize = 256;
/// How often one goroutine is read that changes under the reader.
const TRIES: usize = 4;

/// All goroutines of `runtime`.
///
/// # Errors
/// As [`Goroutines::read`].
pub fn read(runtime: &Runtime<'_>, options: &Options<'_>) -> Result<Goroutines, MemoryError> {
    // The runtime publishes the list before its length.
    let count = runtime.view.u64(runtime.addresses.of(RuntimeVariable::GoroutineCount)?)?;
    let list = runtime.addresses.of(RuntimeVariable::Goroutines)?;
    let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(options.limits.slots);
    let mut reader = Reader::new(runtime, options);
    reader.lost.slots_beyond_limit = count - wanted as u64;
    for first in (0..wanted).step_by(BATCH) {
        runtime.view.refresh();
        // The list moves when it grows; its slots stay in order.
        let at = runtime.view.u64(list)?.wrapping_add(first as u64 * 8);
        let slots = BATCH.min(wanted - first);
        match runtime.view.words(at, slots) {
            Ok(pointers) => reader.batch(&pointers)?,
            Err(MemoryError::Unmapped { .. }) => {
                // Nothing behind it is mapped either: the length was no length.
                reader.lost.slots_unreadable = (wanted - first) as u64;
                break;
            }
            Err(why) => return Err(why),
        }
    }
    Ok(reader.finish())
}

/// A goroutine that was read once.
struct Reading {
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
    /// Room for one `g`.
    bytes: Vec<u8>,
    stacks: Stacks,
    labels: LabelSets,
    list: Vec<Goroutine>,
    lost: Lost,
}

impl<'a> Reader<'a> {
    fn new(runtime: &'a Runtime<'a>, options: &Options<'a>) -> Self {
        let limits = &options.limits;
        let frames = limits.frames;
        Self {
            runtime,
            walker: Walker::new(&runtime.view, options.unwind, runtime.machine, frames),
            bytes: vec![0; raw::bytes(&runtime.layout)],
            stacks: Stacks::new(limits.stack_words),
            labels: LabelSets::new(limits.label_bytes),
            list: Vec::new(),
            lost: Lost::default(),
        }
    }

    fn batch(&mut self, pointers: &[u64]) -> Result<(), MemoryError> {
        let (mut raws, mut pcs) = (Vec::new(), Vec::new());
        for address in pointers {
            match self.slot(*address)? {
                Some(Slot::Alive(raw)) => raws.push((*address, raw)),
                Some(Slot::Unused) => {}
                Some(Slot::Invalid) => self.again(*address)?,
                None => self.lost.slots_unreadable += 1,
            }
        }
        let readings = raws.into_iter().map(|(address, raw)| self.reading(address, raw, &mut pcs));
        let readings = readings.collect::<Result<Vec<_>, _>>()?;
        self.runtime.view.refresh();
        let mut begin = 0;
        for reading in readings {
            let walked = pcs.get(begin..reading.pcs_end).unwrap_or_default();
            begin = reading.pcs_end;
            match self.slot(reading.address)? {
                Some(Slot::Alive(now)) if now.stands_as(&reading.raw) => {
                    self.keep(&reading, walked);
                }
                _ => self.again(reading.address)?,
            }
        }
        Ok(())
    }

    /// What the `g` at `address` is; none if no memory is there.
    fn slot(&mut self, address: u64) -> Result<Option<Slot>, MemoryError> {
        if address == 0 || !address.is_multiple_of(8) {
            return Ok(Some(Slot::Invalid));
        }
        match self.runtime.view.read(address, &mut self.bytes) {
            Ok(()) => Ok(Some(raw::parse(&self.bytes, &self.runtime.layout))),
            Err(MemoryError::Unmapped { .. }) => Ok(None),
            Err(why) => Err(why),
        }
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
        address: u64,
        raw: RawG,
        pcs: &mut Vec<u64>,
    ) -> Result<Reading, MemoryError> {
        let walk = match raw.status {
            Status::Running => Walk::None(NoStack::Running),
            Status::CopyStack => Walk::None(NoStack::Torn),
            _ => self.walker.walk(&raw.start, pcs)?,
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
        Ok(Reading { address, raw, walk, pcs_end: pcs.len(), labels })
    }

    /// Reads one goroutine until it stands still for as long as that takes.
    fn again(&mut self, address: u64) -> Result<(), MemoryError> {
        let (mut pcs, mut moving, mut valid) = (Vec::new(), None, false);
        for _ in 0..TRIES {
            let raw = match self.slot_now(address)? {
                Slot::Alive(raw) => raw,
                Slot::Unused => return Ok(()),
                Slot::Invalid => continue,
            };
            valid = true;
            pcs.clear();
            let reading = self.reading(address, raw, &mut pcs)?;
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
        let raw = &reading.raw;
        let stack = self.stacks.keep(reading.walk, pcs);
        self.lost.stacks_cut += u64::from(matches!(stack, Stack::Cut(_)));
        let beyond = stack == Stack::Unknown(NoStack::BeyondLimit);
        self.lost.stacks_beyond_limit += u64::from(beyond);
        let waits = matches!(raw.status, Status::Waiting | Status::Leaked);
        let labels = self.labels_id(reading.labels.as_deref());
        let reason = self.runtime.layout.wait_reasons.get(usize::from(raw.reason));
        self.list.push(Goroutine {
            id: raw.id,
            status: raw.status,
            wait_reason: reason.filter(|_| waits),
            waiting_since_ns: raw.waiting_since_ns,
            parent_id: raw.parent_id,
            creator_pc: raw.creator_pc,
            start_pc: raw.start_pc,
            locked_to_thread: raw.locked_to_thread,
            labels,
            stack,
        });
    }

    /// The number of `labels`, which are none if they could not be read.
    fn labels_id(&mut self, labels: Option<&[Label]>) -> Option<LabelsId> {
        let kept = match labels {
            Some([]) => return None,
            Some(labels) => self.labels.keep(labels),
            None => None,
        };
        self.lost.labels += u64::from(kept.is_none());
        kept
    }

    fn finish(mut self) -> Goroutines {
        self.list.sort_unstable_by_key(|goroutine| goroutine.id);
        let found = self.list.len();
        self.list.dedup_by_key(|goroutine| goroutine.id);
        self.lost.duplicates = (found - self.list.len()) as u64;
        Goroutines {
            list: self.list,
            lost: self.lost,
            stacks: self.stacks.into_list(),
            labels: self.labels.into_list(),
        }
    }
}
