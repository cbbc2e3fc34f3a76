//! One trace from beginning to end: wires the stages, owns the clock and the signals.
//!
//! In: a validated configuration. Out: a report, whatever happened after the attach: Ctrl-C, a
//! target that ended, a map that could not be read. Non-goals: printing.

mod attach;
mod conclude;
mod doctor;
mod executable;
mod goroutine_rates;
mod goroutines;
mod growth;
mod heap;
mod holding;
mod inspect;
mod look;
mod natures;
mod pods;
mod resident;
mod sampler;
mod shortfalls;

use std::{
    future::Future,
    path::Path,
    pin::pin,
    time::{Duration, SystemTime},
};

use anyhow::{Result, anyhow};
use procfs::{ProcError, process::Process};
use tokio::time::{Instant as Tick, sleep_until};

pub use doctor::{Subject, examine};
pub use executable::Executable;
pub use inspect::{Findings, Inspector};
pub use look::Look;

use self::{conclude::Conclusion, sampler::Sampler};
use crate::{
    bpf,
    config::TraceConfig,
    history::History,
    overhead::Overhead,
    report::{Ending, Report},
    signatures::Families,
    snapshot::{OwnSample, RollupSample},
    target::{Identity, State, Watch, select},
    verdict::{Circumstances, Moment, Settling, Verdict, judge},
};

/// Judging takes at most one part in this many of a processor's time.
const JUDGING_PART: u32 = 50;
/// How often the target's life and the live map's occupancy are looked at between readings.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// What a running trace tells while it runs.
pub trait Progress {
    /// The trace is attached; `plan` says to what.
    fn attached(&mut self, identity: &Identity, plan: &str);
    /// A reading was taken; the trace ends after `remaining` at the latest.
    fn reading(&mut self, history: &History, remaining: Duration);
    /// What the readings so far mean, where the trace ends with that.
    fn judged(&mut self, so_far: &SoFar<'_>) {
        let _ = so_far;
    }
}

/// A trace at one moment.
#[derive(Debug, Clone, Copy)]
pub struct SoFar<'a> {
    /// The series.
    pub history: &'a History,
    /// What is known beside them.
    pub moment: &'a Moment,
    /// What holds for the whole trace.
    pub circumstances: &'a Circumstances,
    /// What it means.
    pub verdict: &'a Verdict,
}

/// Traces as `config` says, until its time is up, the verdict is settled, `stop` is ready or the target
/// ends.
///
/// # Errors
/// No such target, missing rights, or a kernel that refuses; nothing was collected then.
pub async fn trace(
    config: &TraceConfig,
    stop: impl Future<Output = ()>,
    progress: &mut dyn Progress,
) -> Result<Report> {
    let own_before = OwnSample::read();
    let families = families(config.families.as_deref())?;
    let process = select(&config.selector)?;
    bpf::check_features()?;
    let identity = identify(&process)?;
    let watch = Watch::new(process, identity);
    let executable = Executable::of(&watch)?;
    let mut sampler = Sampler::attach(config, &watch, &executable)?;
    progress.attached(watch.identity(), &executable.describe());
    let first_rollup = RollupSample::read(watch.process());
    let circumstances = circumstances(&watch, &executable, sampler.history().start().wall);
    let traced = Traced { config, watch: &watch, circumstances: &circumstances };
    let ending = traced.run(stop, &mut sampler, progress).await;
    // What runs by now may be another program.
    let is_same = !matches!(ending, Ending::TargetEnded | Ending::TargetReplaced);
    let last_rollup = is_same.then(|| RollupSample::read(watch.process())).flatten();
    let overhead = Overhead::new(
        own_before,
        OwnSample::read(),
        sampler.history().duration_s(),
        sampler.costs(),
    );
    let conclusion = Conclusion {
        config,
        watch: &watch,
        executable: &executable,
        families: &families,
        circumstances: &circumstances,
        ending,
        rollups: [first_rollup, last_rollup],
        overhead,
    };
    Ok(conclusion.report(sampler.finish(&watch)))
}

/// What holds for the whole trace.
fn circumstances(watch: &Watch, executable: &Executable, start: SystemTime) -> Circumstances {
    let plan = executable.plan();
    Circumstances {
        contexts_are_probed: !plan.points.is_empty(),
        releases_complete: plan.releases_complete,
        garbage_collected: executable.go_version().is_some(),
        uptime_at_start_s: uptime_s(watch, start),
    }
}

/// The families that come with leaktrace, and those of the user's own file.
///
/// # Errors
/// The file can't be read, or is wrong.
fn families(file: Option<&Path>) -> Result<Families> {
    let built_in = Families::built_in();
    Ok(match file {
        Some(file) => built_in.with_file(file)?,
        None => built_in,
    })
}

/// Who `process` is.
///
/// # Errors
/// Without the right to look at it, with the way out; or it has ended.
fn identify(process: &Process) -> Result<Identity> {
    let pid = process.pid();
    Identity::of(process).map_err(|why| match why {
        ProcError::PermissionDenied(_) => {
            anyhow!("can't look at pid {pid}: permission denied; run leaktrace as root (sudo)")
        }
        other => anyhow!("can't identify pid {pid}: {other}"),
    })
}

/// What a running trace needs beside its sampler.
struct Traced<'a> {
    config: &'a TraceConfig,
    watch: &'a Watch,
    circumstances: &'a Circumstances,
}

impl Traced<'_> {
    /// Takes readings until something ends the trace.
    async fn run(
        &self,
        stop: impl Future<Output = ()>,
        sampler: &mut Sampler<'_>,
        progress: &mut dyn Progress,
    ) -> Ending {
        let mut stop = pin!(stop);
        let interval = self.config.interval;
        let begin = Tick::now();
        let end = begin + self.config.until.at_most();
        let mut settling = self.config.until.goal().map(Settling::new);
        let mut judged_until = begin;
        let mut next = begin + interval;
        sampler.sample(self.watch);
        loop {
            let wake = next.min(end).min(Tick::now() + HEARTBEAT);
            let stopped = tokio::select! {
                () = &mut stop => true,
                () = sleep_until(wake) => false,
            };
            sampler.heartbeat();
            let mut ending = self.ending(stopped, end);
            if ending.is_some() || Tick::now() >= next {
                sampler.sample(self.watch);
                let remaining = end.saturating_duration_since(Tick::now());
                progress.reading(sampler.history(), remaining);
                let now = Tick::now();
                if let (Some(settling), None, true) = (&mut settling, ending, now >= judged_until) {
                    let settled = self.is_settled(settling, sampler, progress);
                    ending = settled.then_some(Ending::Settled);
                    judged_until = now + now.elapsed() * JUDGING_PART;
                }
                // Readings keep to their grid; one that came late is not made up for.
                while next <= Tick::now() {
                    next += interval;
                }
            }
            if let Some(ending) = ending {
                return ending;
            }
        }
    }

    /// Why the trace ends now, if it does.
    fn ending(&self, stopped: bool, end: Tick) -> Option<Ending> {
        match self.watch.state() {
            State::Ended => Some(Ending::TargetEnded),
            State::Replaced => Some(Ending::TargetReplaced),
            State::Running if stopped => Some(Ending::Interrupted),
            State::Running => (Tick::now() >= end).then_some(Ending::TimeUp),
        }
    }

    /// Whether what is known by now needs no longer trace.
    fn is_settled(
        &self,
        settling: &mut Settling,
        sampler: &Sampler<'_>,
        progress: &mut dyn Progress,
    ) -> bool {
        let moment = sampler.moment();
        let history = sampler.history();
        let verdict = judge(history, &moment, self.circumstances);
        let circumstances = self.circumstances;
        progress.judged(&SoFar { history, moment: &moment, circumstances, verdict: &verdict });
        settling.observe(history.duration_s(), &verdict)
    }
}

/// Seconds from the target's start to `now`.
fn uptime_s(watch: &Watch, now: SystemTime) -> Option<f64> {
    now.duration_since(watch.start_time()?).ok().map(|uptime| uptime.as_secs_f64())
}
