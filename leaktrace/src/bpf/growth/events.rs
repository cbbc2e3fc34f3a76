//! One event of page faults per thread, without a thread missed or counted twice.
//!
//! Threads inherit the event of the thread that makes them. A thread that appears while events are
//! opened may have inherited one or not, and nothing says which; so all are opened again until
//! none has appeared. None counts before that.

use std::{collections::BTreeSet, fs, io, num::NonZeroU32, os::fd::AsFd as _, sync::Arc};

use aya::programs::ProgramFd;

use crate::bpf::{
    BpfError,
    perf::{self, Event, Inherit},
};

/// Times that all events are opened while threads appear.
const PASSES_MAX: usize = 8;
/// Samples per second that the period is chosen for: at about 1 µs each 0.2 % of a CPU.
const SAMPLES_PER_S: f64 = 2000.0;
/// Odd primes, since programs do things in powers of two: with a period of 64, of a function that
/// faults 63 times and one that then faults once, either might never be seen.
const PERIODS: [u64; 5] = [1, 5, 17, 61, 251];
/// What adapting begins with: cheap at any rate, and soon replaced.
const PERIOD_FIRST: u64 = 61;
/// The rate has to fall this far below what a shorter period bears.
const MARGIN: f64 = 0.5;

/// One in how many page faults is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPeriod {
    /// As the rate of faults says, from heartbeat to heartbeat.
    Adaptive,
    /// Always so many; 1: every fault.
    Fixed(NonZeroU32),
}

/// The events of all threads.
pub struct FaultEvents {
    events: Vec<Event>,
    setting: FaultPeriod,
    /// The period of these events.
    pub period: u64,
    /// Threads that may have no event.
    pub unsure_threads: u64,
    inherit: Inherit,
    program: Arc<ProgramFd>,
    /// The count at the last heartbeat.
    counted: u64,
}

impl FaultEvents {
    /// Opens events for all threads of `pid`; they count from [`Self::enable`] on.
    pub fn open(
        pid: NonZeroU32,
        setting: FaultPeriod,
        program: ProgramFd,
    ) -> Result<Self, BpfError> {
        let period = match setting {
            FaultPeriod::Adaptive => PERIOD_FIRST,
            FaultPeriod::Fixed(period) => u64::from(period.get()),
        };
        let program = Arc::new(program);
        let mut this = Self {
            events: Vec::new(),
            setting,
            period,
            unsure_threads: 0,
            inherit: Inherit::Threads,
            program,
            counted: 0,
        };
        let failed = |error: io::Error| perf::refused("events of page faults", &error);
        match this.fill(pid) {
            // Before 5.13 the kernel refuses what it does not know.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::E2BIG)) => {
                this.inherit = Inherit::All;
                this.fill(pid).map_err(failed)?;
            }
            other => other.map_err(failed)?,
        }
        Ok(this)
    }

    fn fill(&mut self, pid: NonZeroU32) -> io::Result<()> {
        for _ in 0..PASSES_MAX {
            self.events.clear();
            let before = threads(pid)?;
            for tid in &before {
                match Event::page_faults(*tid, self.period, self.inherit, self.program.as_fd()) {
                    Ok(event) => self.events.push(event),
                    // The thread has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) => return Err(error),
                }
            }
            self.unsure_threads = threads(pid)?.difference(&before).count() as u64;
            if self.unsure_threads == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Lets all count.
    pub fn enable(&self) -> Result<(), BpfError> {
        let enabled = self.events.iter().try_for_each(Event::enable);
        enabled.map_err(|error| perf::refused("events of page faults", &error))
    }

    /// Faults of all threads so far, those included that have ended; none where children of the
    /// process are among them.
    pub fn count(&self) -> io::Result<Option<u64>> {
        let sum = self.events.iter().map(Event::count).sum::<io::Result<u64>>()?;
        Ok((self.inherit == Inherit::Threads).then_some(sum))
    }

    /// If another period suits the rate of the last `seconds`: events with that one, which count
    /// already, and what these have counted, which no longer do.
    pub fn adapted(
        &mut self,
        pid: NonZeroU32,
        seconds: f64,
    ) -> Result<Option<(Self, u64)>, BpfError> {
        let failed = |error: io::Error| perf::refused("events of page faults", &error);
        let count = self.events.iter().map(Event::count).sum::<io::Result<u64>>();
        let count = count.map_err(failed)?;
        let rate = count.saturating_sub(self.counted) as f64 / seconds;
        self.counted = count;
        let period = suitable_period(self.period, rate);
        if self.setting != FaultPeriod::Adaptive || period == self.period {
            return Ok(None);
        }
        let mut next = Self {
            events: Vec::new(),
            period,
            counted: 0,
            unsure_threads: 0,
            program: Arc::clone(&self.program),
            ..*self
        };
        next.fill(pid).map_err(failed)?;
        self.events.iter().try_for_each(Event::disable).map_err(failed)?;
        next.enable()?;
        let counted = self.events.iter().map(Event::count).sum::<io::Result<u64>>();
        Ok(Some((next, counted.map_err(failed)?)))
    }
}

/// The shortest period with which `rate` faults per second give no more samples than they may;
/// shorter than `now` only where there is a margin, so that it does not swing.
fn suitable_period(now: u64, rate: f64) -> u64 {
    let bears = |period: &u64| {
        let share = if *period < now { MARGIN } else { 1.0 };
        rate <= SAMPLES_PER_S * *period as f64 * share
    };
    let longest = PERIODS[PERIODS.len() - 1];
    if rate.is_finite() { PERIODS.into_iter().find(bears).unwrap_or(longest) } else { now }
}

/// The ids of the threads of a process; none of one that has ended.
fn threads(pid: NonZeroU32) -> io::Result<BTreeSet<i32>> {
    let folder = match fs::read_dir(format!("/proc/{pid}/task")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        folder => folder?,
    };
    // A process that ends while it is listed has no more threads.
    let names = folder.map_while(|entry| Some(entry.ok()?.file_name()));
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::suitable_period;

    #[test]
    fn the_period_grows_with_the_rate() {
        let of = |rate| suitable_period(1, rate);
        assert_eq!([0.0, 2000.0, 2001.0, 100_000.0, 1e9].map(of), [1, 1, 5, 61, 251]);
    }

    #[test]
    fn a_period_shrinks_only_with_a_margin() {
        assert_eq!(suitable_period(61, 30_000.0), 61);
        assert_eq!(suitable_period(61, 17_000.0), 17);
        assert_eq!(suitable_period(5, 1500.0), 5);
        assert_eq!(suitable_period(5, 1000.0), 1);
    }

    #[test]
    fn no_time_is_no_rate() {
        assert_eq!(suitable_period(17, f64::NAN), 17);
        assert_eq!(suitable_period(17, f64::INFINITY), 17);
    }
}
