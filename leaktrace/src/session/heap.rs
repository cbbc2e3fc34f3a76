//! The heap profile over a trace: looks into memory in, the first and the last of them out.
//!
//! Non-goals: what changed (`report` has it); names.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::look::Look;
use crate::{
    memory::{HeapProfile, MemoryError, gc_cycles},
    report::HeapLooks,
};

/// The profile is read at most during one part in this many of the time.
const READING_PART: u32 = 50;
/// What is known of a reading's cost before the first.
const REST_MIN: Duration = Duration::from_millis(500);

/// The profile at one moment.
struct HeapMoment {
    at: Instant,
    /// Collections by then.
    gc_cycles: u32,
    profile: HeapProfile,
}

/// Reads the heap profile now and then, so that a target which ends leaves one.
pub struct HeapWatch {
    look: Rc<Look>,
    first: Option<HeapMoment>,
    last: Option<HeapMoment>,
    rest_until: Instant,
}

impl HeapWatch {
    /// Gets ready to look through `look`.
    pub fn new(look: Rc<Look>) -> Self {
        Self { look, first: None, last: None, rest_until: Instant::now() }
    }

    /// Reads the profile, unless that would take too much of the time; with `thorough` it is worth
    /// it.
    ///
    /// # Errors
    /// It can't be read; what was read before is kept.
    pub fn observe(&mut self, thorough: bool) -> Result<(), MemoryError> {
        let at = Instant::now();
        if !thorough && at < self.rest_until {
            return Ok(());
        }
        // Also what fails has its cost.
        self.rest_until = at + REST_MIN;
        let runtime = self.look.runtime();
        let gc_cycles = gc_cycles(&runtime)?;
        let moment = HeapMoment { at, gc_cycles, profile: HeapProfile::read(&runtime)? };
        self.rest_until = at + (at.elapsed() * READING_PART).max(REST_MIN);
        match &self.first {
            None => self.first = Some(moment),
            Some(_) => self.last = Some(moment),
        }
        Ok(())
    }

    /// The first and the last reading, if there were two.
    pub fn finish(self) -> Option<HeapMoments> {
        Some(HeapMoments { first: self.first?, last: self.last? })
    }
}

/// The profile at two moments.
pub struct HeapMoments {
    first: HeapMoment,
    last: HeapMoment,
}

impl HeapMoments {
    /// Beside each other.
    pub fn compared(&self) -> HeapLooks<'_> {
        let Self { first, last } = self;
        HeapLooks {
            first: &first.profile,
            last: &last.profile,
            seconds: last.at.saturating_duration_since(first.at).as_secs_f64(),
            gc_cycles: last.gc_cycles.wrapping_sub(first.gc_cycles),
        }
    }
}
