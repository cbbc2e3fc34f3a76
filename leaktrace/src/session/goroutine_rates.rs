//! Starts and ends of goroutines over a trace, on demand: counts out of the kernel in, the last of
//! them out, and whether they agree with the goroutines that memory showed meanwhile.
//!
//! Non-goals: which goroutines are alive (`goroutines` has it); names.

use std::{
    num::NonZeroU32,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::executable::Executable;
use crate::{
    bpf::{GoroutineLimits, GoroutineTracer, Target},
    history::History,
    memory::goroutines::Creation,
    overhead::ProbeCost,
    report::RatesFindings,
    snapshot::{self, Comparison, GoroutineRates, GoroutineSample, Living, Reconciled, reconcile},
};

/// While time is sampled, a reading waits for a window to end: not more often than this.
const REST_SAMPLED: Duration = Duration::from_secs(5);
/// Reading takes at most one part in this many of the time.
const READING_PART: u32 = 50;
/// A processor can be between a probe and what it tells of, where the runtime's list does not show
/// it yet; at both ends of what is compared.
const IN_FLIGHT_PER_PROCESSOR: u64 = 2;

/// Counts starts and ends.
pub struct RateWatch {
    tracer: GoroutineTracer,
    /// `CLOCK_MONOTONIC` when the probes were there.
    began_ns: u64,
    last: Option<FoundRates>,
    rest_until: Instant,
    /// The last reading was taken just now, and nothing was compared with it yet.
    is_fresh: bool,
    /// The first and the last comparison, and when that was.
    compared: Option<[(Instant, Comparison); 2]>,
}

/// What was counted.
#[derive(Debug, Clone)]
pub struct FoundRates {
    /// The counts.
    pub rates: GoroutineRates,
    /// Since the probes were there.
    pub seconds: f64,
    /// How far they agree with memory, and over how many seconds that was compared; none if they
    /// could not be compared twice.
    pub reconciled: Option<(Reconciled, f64)>,
}

impl FoundRates {
    /// For the report.
    pub const fn findings(&self) -> RatesFindings<'_> {
        let Self { rates, seconds, reconciled } = self;
        RatesFindings { rates, seconds: *seconds, reconciled: reconciled.as_ref() }
    }
}

impl RateWatch {
    /// Attaches to `pid`, which runs `executable`; the probes may cost it so many cores.
    ///
    /// # Errors
    /// The functions are not recognised, or the kernel refuses.
    pub fn attach(pid: NonZeroU32, executable: &Executable, budget_cores: f64) -> Result<Self> {
        let plan = executable.goroutine_plan()?;
        let Some(layout) = plan.layout.filter(|_| !plan.points.is_empty()) else {
            let why = plan.unavailable.first().map_or("not recognised", |missing| &missing.why);
            bail!("{why}");
        };
        let bias = executable.bias().context("the executable is not mapped where it says")?;
        let exe = PathBuf::from(format!("/proc/{pid}/exe"));
        let target = Target { pid, exe, code: executable.go_code() };
        let limits = GoroutineLimits { budget_cores, ..GoroutineLimits::default() };
        let mut tracer = GoroutineTracer::load(target, layout, bias, limits)?;
        tracer.attach(&plan.points)?;
        let began_ns = snapshot::Instant::now().monotonic_ns;
        Ok(Self {
            tracer,
            began_ns,
            last: None,
            rest_until: Instant::now(),
            is_fresh: false,
            compared: None,
        })
    }

    /// What the last reading knows of the cost.
    pub fn cost(&self) -> Option<ProbeCost> {
        let GoroutineRates { probe_hits, cost_ns, .. } = self.last.as_ref()?.rates;
        Some(ProbeCost::goroutines(probe_hits, cost_ns))
    }

    /// Kernel memory of the maps in bytes.
    pub fn map_bytes(&self) -> u64 {
        self.tracer.map_bytes()
    }

    /// Reads the counts, unless they were read just now; with `thorough` in any case.
    ///
    /// # Errors
    /// A map can't be read; what was read before is kept.
    pub fn observe(&mut self, thorough: bool) -> Result<()> {
        let at = Instant::now();
        self.is_fresh = thorough || at >= self.rest_until;
        if !self.is_fresh {
            return Ok(());
        }
        self.rest_until = at + REST_SAMPLED;
        let rates = GoroutineRates::new(&self.tracer.read()?);
        if rates.sampling.is_none() {
            self.rest_until = at + at.elapsed() * READING_PART;
        }
        // While it is sampled, the counts tell until the end of the last window only.
        let now_ns = snapshot::Instant::now().monotonic_ns;
        let until_ns = rates.sampling.and_then(|sampling| sampling.told_until_ns);
        let told_ns = until_ns.unwrap_or(now_ns).saturating_sub(self.began_ns);
        self.last = Some(FoundRates { rates, seconds: told_ns as f64 / 1e9, reconciled: None });
        Ok(())
    }

    /// Takes in what memory showed right after the last reading; `is_own` tells the program's sites
    /// from the runtime's.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn compare(
        &mut self,
        sample: &GoroutineSample,
        is_own: &mut dyn FnMut(Creation) -> bool,
    ) -> Result<()> {
        let last = self.last.as_ref().filter(|last| self.is_fresh && last.rates.sampling.is_none());
        let Some(last) = last else { return Ok(()) };
        let began = Instant::now();
        let after = GoroutineRates::new(&self.tracer.read()?);
        self.is_fresh = false;
        let living = Living::from(sample);
        if let Some(compared) = Comparison::new([&last.rates, &after], &living, is_own) {
            let now = (Instant::now(), compared);
            match &mut self.compared {
                Some([_, last]) => *last = now,
                none => *none = Some([now.clone(), now]),
            }
        }
        self.rest_until += began.elapsed() * READING_PART;
        Ok(())
    }

    /// The last reading; `history` tells how many processors the process has (GOMAXPROCS). Detaches.
    pub fn finish(self, history: &History) -> Option<FoundRates> {
        let runtime = history.points().iter().rev().find_map(|point| point.runtime);
        // Without its own figure it can't have more than the machine.
        let machine = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        let processors = runtime.map_or(machine, |runtime| runtime.processors);
        let reconciled = self.compared.and_then(|[(began, first), (ended, last)]| {
            let seconds = ended.duration_since(began).as_secs_f64();
            let excused = IN_FLIGHT_PER_PROCESSOR * u64::from(processors);
            (seconds > 0.0).then(|| (reconcile([&first, &last], excused), seconds))
        });
        Some(FoundRates { reconciled, ..self.last? })
    }
}
