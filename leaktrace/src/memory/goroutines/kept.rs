//! What readings of one process have in common: a goroutine that waits and has not moved since the
//! last reading in, the stack and the labels that were found then out.
//!
//! Slots of `runtime.allgs` stay where they are, so what was seen is kept by slot: 40 bytes each.
//! Non-goals: goroutines that do not wait; they are read anew each time.

use super::{
    Goroutines, Limits, Stack, Status, Unwind,
    labels::LabelSets,
    raw::{RawG, Start},
    reader::{self, Found},
    stacks::Stacks,
};
use crate::memory::{MemoryError, Runtime};

/// Different stacks, or sets of labels, from which on those that nobody has any more are looked for.
const SWEEP_MIN: usize = 1024;

/// A goroutine where it was seen last.
#[derive(Clone, Copy)]
struct Seen {
    /// 0: nothing was seen.
    id: u64,
    /// Of where it stood: see [`fingerprint`].
    fingerprint: u64,
    found: Found,
}

const NOTHING: Seen = Seen { id: 0, fingerprint: 0, found: Found::NOTHING };

/// What earlier readings found.
pub struct Kept {
    pub stacks: Stacks,
    pub labels: LabelSets,
    seen: Vec<Seen>,
    sweep_at: usize,
}

impl Kept {
    /// Nothing yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            stacks: Stacks::new(limits.stack_words),
            labels: LabelSets::new(limits.label_bytes),
            seen: Vec::new(),
            sweep_at: SWEEP_MIN,
        }
    }

    /// About how many were alive at the last reading.
    pub const fn alive_last(&self) -> usize {
        self.seen.len()
    }

    /// What was found of the goroutine in `slot`, if it waits where it did.
    pub fn standing(&self, slot: usize, raw: &RawG) -> Option<Found> {
        let seen = self.seen.get(slot).filter(|seen| seen.id == raw.id)?;
        (is_parked(raw) && seen.fingerprint == fingerprint(raw)).then_some(seen.found)
    }

    /// Notes what was found in `slot`; what is not whole will be looked for again.
    pub fn note(&mut self, slot: usize, raw: &RawG, found: Option<Found>) {
        if self.seen.len() <= slot {
            self.seen.resize(slot + 1, NOTHING);
        }
        let found =
            found.filter(|found| is_parked(raw) && !matches!(found.stack, Stack::Unknown(_)));
        self.seen[slot] = found.map_or(NOTHING, |found| Seen {
            id: raw.id,
            fingerprint: fingerprint(raw),
            found,
        });
    }

    /// Notes that nothing is in `slot`.
    pub fn forget(&mut self, slot: usize) {
        if let Some(seen) = self.seen.get_mut(slot) {
            *seen = NOTHING;
        }
    }

    /// Makes room, once there is much that perhaps nobody has any more.
    fn sweep(&mut self) {
        if self.stacks.len().max(self.labels.len()) < self.sweep_at && !self.stacks.is_full() {
            return;
        }
        let found = || self.seen.iter().filter(|seen| seen.id != 0).map(|seen| seen.found);
        let stacks = self.stacks.retain(found().filter_map(|found| found.stack.id()));
        let labels = self.labels.retain(found().filter_map(|found| found.labels));
        for Seen { found, .. } in self.seen.iter_mut().filter(|seen| seen.id != 0) {
            found.stack = found.stack.renumbered(&stacks);
            found.labels = found.labels.and_then(|id| labels.get(&id).copied());
        }
        self.sweep_at = SWEEP_MIN.max(2 * self.stacks.len().max(self.labels.len()));
    }
}

/// Reads one process's goroutines over and over. Where most of them wait, a reading costs a small
/// part of the first.
pub struct GoroutineReader {
    limits: Limits,
    kept: Kept,
}

impl GoroutineReader {
    /// Nothing is read yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, kept: Kept::new(&limits) }
    }

    /// All goroutines that are alive now; `unwind` as in [`super::Options`].
    ///
    /// # Errors
    /// As [`Goroutines::read`].
    pub fn read(
        &mut self,
        runtime: &Runtime<'_>,
        unwind: Option<&dyn Unwind>,
    ) -> Result<Goroutines, MemoryError> {
        self.kept.sweep();
        reader::read(runtime, &super::Options { unwind, limits: self.limits }, &mut self.kept)
    }
}

const fn is_parked(raw: &RawG) -> bool {
    matches!(raw.status, Status::Waiting | Status::Leaked)
}

/// Of all that changes when a goroutine runs on: where it stands, where its stack lies, its labels,
/// and how often it has stopped running (the last of 256 counts). A sum of products that do not wait
/// for each other; who makes two of the same shows an old stack of its own.
fn fingerprint(raw: &RawG) -> u64 {
    let Start { pc, sp, bp, lr, hi } = raw.start;
    let words = [pc, sp, bp.unwrap_or(1), lr, hi, raw.stack_bytes, raw.labels, raw.stops.into()];
    words
        .into_iter()
        .zip(MULTIPLIERS)
        .fold(0, |sum: u64, (word, multiplier)| sum.wrapping_add(word.wrapping_mul(multiplier)))
}

/// Powers of the multiplier of Fx, a hash for small keys from Firefox.
const MULTIPLIERS: [u64; 8] = {
    let mut powers = [0x517c_c1b7_2722_0a95_u64; 8];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1].wrapping_mul(powers[0]);
        at += 1;
    }
    powers
};
