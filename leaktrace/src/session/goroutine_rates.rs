//! Starts and ends of goroutines over a trace, on demand: counts out of the kernel in, the last of
//! them out.
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
    snapshot::{self, GoroutineRates},
};

/// A reading may wait for a window of sampling to end: not more often than this.
const REST: Duration = Duration::from_secs(5);

/// Counts starts and ends.
pub struct RateWatch {
    tracer: GoroutineTracer,
    /// `CLOCK_MONOTONIC` when the probes were there.
    began_ns: u64,
    last: Option<FoundRates>,
    rest_until: Instant,
}

/// What was counted.
#[derive(Debug, Clone)]
pub struct FoundRates {
    /// The counts.
    pub rates: GoroutineRates,
    /// Since the probes were there.
    pub seconds: f64,
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
        Ok(Self { tracer, began_ns, last: None, rest_until: Instant::now() })
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
        if thorough || at >= self.rest_until {
            self.rest_until = at + REST;
            let rates = GoroutineRates::new(&self.tracer.read()?);
            // While it is sampled, the counts tell until the end of the last window only.
            let now_ns = snapshot::Instant::now().monotonic_ns;
            let until_ns = rates.sampling.and_then(|sampling| sampling.told_until_ns);
            let told_ns = until_ns.unwrap_or(now_ns).saturating_sub(self.began_ns);
            let seconds = told_ns as f64 / 1e9;
            self.last = Some(FoundRates { rates, seconds });
        }
        Ok(())
    }

    /// The last reading. Detaches.
    pub fn finish(self) -> Option<FoundRates> {
        self.last
    }
}
