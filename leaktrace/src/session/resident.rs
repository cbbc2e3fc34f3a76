//! What is in the target's memory, over a trace: readings of its mappings and its heap in, the first
//! and the last of them out.
//!
//! Non-goals: what the bytes are (`ledger` has it).

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use procfs::process::Process;

use super::look::Look;
use crate::snapshot::{CgroupSample, ResidentSample};

/// It is read at most during one part in this many of the time: the kernel walks page tables for it.
const READING_PART: u32 = 50;
/// What is known of a reading's cost before the first.
const REST_MIN: Duration = Duration::from_secs(1);

/// Reads now and then, so that a target which ends leaves what it was.
pub struct ResidentWatch {
    look: Option<Rc<Look>>,
    first: Option<(Instant, ResidentSample)>,
    last: Option<(Instant, ResidentSample)>,
    rest_until: Instant,
}

/// What was in memory at two moments.
pub struct ResidentMoments {
    /// The earlier.
    pub first: ResidentSample,
    /// The later.
    pub last: ResidentSample,
    /// Between them.
    pub seconds: f64,
}

impl ResidentWatch {
    /// Gets ready; with `look` the Go heap is told apart.
    pub fn new(look: Option<Rc<Look>>) -> Self {
        Self { look, first: None, last: None, rest_until: Instant::now() }
    }

    /// Reads, unless that would take too much of the time; with `thorough` it is worth it.
    ///
    /// # Errors
    /// It can't be read; what was read before is kept.
    pub fn observe(
        &mut self,
        process: &Process,
        cgroup: Option<&CgroupSample>,
        thorough: bool,
    ) -> std::io::Result<()> {
        let at = Instant::now();
        if !thorough && at < self.rest_until {
            return Ok(());
        }
        // Also what fails has its cost.
        self.rest_until = at + REST_MIN;
        let runtime = self.look.as_ref().map(|look| look.runtime());
        let sample = ResidentSample::read(process, runtime.as_ref(), cgroup)?;
        self.rest_until = at + (at.elapsed() * READING_PART).max(REST_MIN);
        match &self.first {
            None => self.first = Some((at, sample)),
            Some(_) => self.last = Some((at, sample)),
        }
        Ok(())
    }

    /// The first and the last reading, if there were two.
    pub fn finish(self) -> Option<ResidentMoments> {
        let ((began, first), (ended, last)) = (self.first?, self.last?);
        let seconds = ended.saturating_duration_since(began).as_secs_f64();
        Some(ResidentMoments { first, last, seconds })
    }
}
