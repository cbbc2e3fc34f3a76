//! The goroutines over a trace: all that are alive at each reading in, counts by site and, at the
//! end, what the survivors do out.
//!
//! Read with every reading of a trace, unless that would take too much of the time, so that a target
//! which ends leaves all but the last moment. Non-goals: judging.

use std::{
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use super::{executable::Executable, look::Look};
use crate::{
    history::History,
    memory::{
        MemoryError,
        goroutines::{CodeFrames, Creation, GoroutineReader, Goroutines, Limits},
    },
    report::{GoroutineFindings, GoroutineSites, goroutine_sites},
    snapshot::{self, GoroutineSample, GoroutineTracker, survey},
    symbolize::{Symbolizer, is_system_goroutine},
    target::{State, Watch},
    verdict::{GoroutineMoment, Verdict},
};

/// Reading them takes at most one part in this many of a processor's time.
const READING_PART: u32 = 50;
/// What is known of a reading's cost before the first.
const REST_MIN: Duration = Duration::from_millis(50);
/// A reading is still good for the end of the trace after this.
const FRESH_NS: u64 = 200_000_000;
/// First functions whose names are kept: several times what a real program has.
const STARTS_MAX: usize = 1 << 16;

/// Reads the goroutines now and then.
pub struct GoroutineWatch<'e> {
    look: Rc<Look>,
    executable: &'e Executable,
    frames: Option<CodeFrames<'e>>,
    reader: GoroutineReader,
    tracker: GoroutineTracker,
    /// Whether goroutines that begin there are the runtime's own.
    is_system: HashMap<u64, bool>,
    last: Option<(u64, Goroutines)>,
    rest_until: Instant,
}

/// The CPU time that this thread has had: a busy machine makes a reading long, not dear.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The section of the report about what was found.
pub fn section(
    found: &GoroutineMoment,
    verdict: &Verdict,
    history: &History,
    symbolizer: &mut Symbolizer<'_>,
) -> GoroutineSites {
    let findings = GoroutineFindings {
        history: history.goroutines(),
        judgements: &verdict.goroutines,
        surveys: &found.surveys,
    };
    goroutine_sites(&findings, symbolizer)
}

impl<'e> GoroutineWatch<'e> {
    /// Gets ready to look through `look` at what runs `executable`.
    pub fn new(look: Rc<Look>, executable: &'e Executable) -> Self {
        let frames = executable.go().zip(executable.bias());
        Self {
            look,
            executable,
            frames: frames.map(|((file, _, go), bias)| CodeFrames::new(file, &go.table, bias)),
            reader: GoroutineReader::new(Limits::default()),
            tracker: GoroutineTracker::default(),
            is_system: HashMap::new(),
            last: None,
            rest_until: Instant::now(),
        }
    }

    /// Reads the goroutines, unless that would take too much of the time; with `thorough` it is worth
    /// it.
    ///
    /// # Errors
    /// They can't be read, though the process lives; what was read before is kept.
    pub fn observe(
        &mut self,
        watch: &Watch,
        at: snapshot::Instant,
        thorough: bool,
    ) -> Result<Option<GoroutineSample>, MemoryError> {
        let began = Instant::now();
        let last_ns = self.last.as_ref().map(|(at_ns, _)| *at_ns);
        let is_fresh = last_ns.is_some_and(|ns| at.monotonic_ns.saturating_sub(ns) < FRESH_NS);
        if if thorough { is_fresh } else { began < self.rest_until } {
            return Ok(None);
        }
        let cpu_before = cpu_time();
        // Also what fails has its cost.
        self.rest_until = began + REST_MIN;
        let unwind = self.frames.as_ref().map(|frames| frames as _);
        let goroutines = match self.reader.read(&self.look.runtime(), unwind) {
            Ok(goroutines) => goroutines,
            Err(_) if self.last.is_some() && watch.state() != State::Running => return Ok(None),
            Err(why) => return Err(why),
        };
        self.name_starts(watch, goroutines.list.iter().map(|one| one.start_pc).collect());
        let is_system = &self.is_system;
        let sample = self.tracker.observe(at.monotonic_ns, &goroutines, &mut |one| {
            !is_system.get(&one.start_pc).copied().unwrap_or(false)
        });
        // The first reading walks every stack, which says nothing about the next.
        let cost = if self.last.is_some() {
            cpu_time().saturating_sub(cpu_before)
        } else {
            Duration::ZERO
        };
        self.rest_until = began + (cost * READING_PART).max(REST_MIN);
        self.last = Some((at.monotonic_ns, goroutines));
        Ok(Some(sample))
    }

    /// Whether the program starts goroutines at `site`, and not the runtime for itself, nor C that
    /// calls Go: that is no `go` statement.
    pub fn is_own(&mut self, watch: &Watch, site: Creation) -> bool {
        self.name_starts(watch, vec![site.start_pc]);
        site.creator_pc != 0 && !self.is_system.get(&site.start_pc).copied().unwrap_or(false)
    }

    /// Finds out which first functions are the runtime's own, of those that are new.
    fn name_starts(&mut self, watch: &Watch, mut new: Vec<u64>) {
        new.sort_unstable();
        new.dedup();
        new.retain(|start| !self.is_system.contains_key(start));
        if new.is_empty() {
            return;
        }
        let Some(mut symbolizer) = self.executable.symbolizer(watch) else { return };
        for start in new.into_iter().take(STARTS_MAX - self.is_system.len().min(STARTS_MAX)) {
            let function = symbolizer.start_function(start).function;
            self.is_system.insert(start, is_system_goroutine(&function));
        }
    }

    /// What is known so far, if they could be read, without what they do; births in seconds since
    /// `start_ns`.
    pub fn so_far(&self, start_ns: u64) -> Option<GoroutineMoment> {
        self.last.as_ref()?;
        let births_s = self.tracker.births_s(start_ns);
        Some(GoroutineMoment { births_s, surveys: HashMap::new() })
    }

    /// The same at the end, with what they do.
    pub fn finish(self, start_ns: u64) -> Option<GoroutineMoment> {
        let (at_ns, goroutines) = self.last.as_ref()?;
        let surveys = survey(&self.tracker, goroutines, *at_ns);
        Some(GoroutineMoment { surveys, ..self.so_far(start_ns)? })
    }
}
