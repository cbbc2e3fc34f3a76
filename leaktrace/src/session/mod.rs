//! One trace from beginning to end: wires the stages, owns the clock and the signals.
//!
//! In: a validated configuration. Out: a report, whatever happened after the attach: Ctrl-C, a
//! target that ended, a map that could not be read. Non-goals: printing.

mod attach;
mod doctor;
mod executable;
mod goroutine_rates;
mod goroutines;
mod growth;
mod heap;
mod holding;
mod inspect;
mod look;
mod pods;
mod resident;
mod sampler;

use std::{
    future::Future,
    os::unix::ffi::OsStrExt as _,
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

use self::sampler::Sampler;
use crate::{
    bpf,
    config::TraceConfig,
    display::printable,
    forecast::{Forecast, Observations, forecast},
    history::History,
    overhead::Overhead,
    probe::Unavailable,
    report::{
        GrowthInputs, Inputs, Report, Target, TargetState, build, growth_section, heap_traffic,
        memory_section,
    },
    signatures::Families,
    snapshot::{OomSample, OwnSample, RollupSample},
    target::{Identity, State, Watch, select},
    verdict::{Evidence, Verdict, WINDOW_MIN_S, assess, explained_by_heap, headroom},
};

/// How often the target's life and the live map's occupancy are looked at between readings.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// What a running trace tells while it runs.
pub trait Progress {
    /// The trace is attached; `plan` says to what.
    fn attached(&mut self, identity: &Identity, plan: &str);
    /// A reading was taken.
    fn reading(&mut self, history: &History, remaining: Duration);
}

/// Traces as `config` says, until its time is up, `stop` is ready or the target ends.
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
    let state = run(config, stop, &watch, &mut sampler, progress).await;
    // What runs by now may be another program.
    let is_same = state == State::Running;
    let last_rollup = is_same.then(|| RollupSample::read(watch.process())).flatten();
    let overhead = Overhead::new(
        own_before,
        OwnSample::read(),
        sampler.history().duration_s(),
        sampler.costs(),
    );
    let found = sampler.finish(&watch);
    let names = executable.name_sites(&watch, &found.origins, &families);
    let natures = names.iter().map(|(site, name)| (*site, name.nature)).collect();
    let evidence = Evidence {
        history: &found.history,
        births_s: found.births_s.as_ref(),
        natures: &natures,
        holdings: &found.holdings,
        releases_complete: executable.plan().releases_complete,
        garbage_collected: executable.go_version().is_some(),
        uptime_at_start_s: uptime_s(&watch, found.history.start().wall),
    };
    let mut verdict = assess(&evidence);
    let mut goroutines = None;
    if let Some(known) = &found.goroutines {
        let idle = contexts_are_idle(&evidence, &executable);
        verdict = known.weigh(verdict, &found.history, [evidence.is_young(), idle]);
        let symbolizer = executable.symbolizer(&watch);
        goroutines =
            symbolizer.map(|mut names| known.section(&verdict, &found.history, &mut names));
        if let Some(section) = &mut goroutines {
            section.advise(&families, executable.program());
            if let (Some(found), Some(mut names)) = (&found.rates, executable.symbolizer(&watch)) {
                section.add_rates(&found.rates, found.seconds, &mut names);
            }
        }
    }
    let heap_growth = found.heap.as_ref().and_then(|moments| moments.compared().growth());
    let explained_by_heap = heap_growth.and_then(|growth| explained_by_heap(&evidence, growth));
    let heap_headroom = headroom(&evidence);
    let heap = found.heap.as_ref().and_then(|looks| {
        Some(heap_traffic(&looks.compared(), &mut executable.symbolizer(&watch)?))
    });
    let growth = found.growth.as_ref().and_then(|found| {
        let inputs = GrowthInputs {
            sample: &found.sample,
            origins: &found.origins,
            kinds: &found.kinds,
            mappings_counted: found.mappings_counted,
        };
        Some(growth_section(&inputs, &mut executable.symbolizer(&watch)?))
    });
    let memory = found
        .resident
        .as_ref()
        .map(|moments| memory_section(&moments.first, &moments.last, moments.seconds));
    let oom = if is_same { OomSample::read(watch.process()) } else { OomSample::default() };
    let foresight = foresee(config, &found.history, &verdict, state);
    let mut unavailable = executable.plan().unavailable.clone();
    if goroutines.is_none() && found.rates.is_some() {
        let why = "the goroutines could not be read, so there is nothing to add them to";
        unavailable.push(Unavailable::new("starts and ends of goroutines", why));
    }
    unavailable.extend(found.unavailable);
    Ok(build(Inputs {
        target: target(&watch, &executable, state),
        history: &found.history,
        verdict,
        names,
        holdings: found.holdings,
        holders: found.holders,
        rollups: [first_rollup, last_rollup],
        heap,
        pods: found.pods,
        goroutines,
        growth,
        memory,
        explained_by_heap,
        heap_headroom,
        forecast: foresight,
        oom,
        overhead,
        unavailable,
    }))
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

/// Takes readings until something ends the trace.
async fn run(
    config: &TraceConfig,
    stop: impl Future<Output = ()>,
    watch: &Watch,
    sampler: &mut Sampler<'_>,
    progress: &mut dyn Progress,
) -> State {
    let mut stop = pin!(stop);
    let begin = Tick::now();
    let end = begin + config.duration;
    let mut next = begin + config.interval;
    sampler.sample(watch);
    loop {
        let wake = next.min(end).min(Tick::now() + HEARTBEAT);
        let stopped = tokio::select! {
            () = &mut stop => true,
            () = sleep_until(wake) => false,
        };
        sampler.heartbeat();
        let state = watch.state();
        let over = stopped || state != State::Running || Tick::now() >= end;
        if over || Tick::now() >= next {
            sampler.sample(watch);
            progress.reading(sampler.history(), end.saturating_duration_since(Tick::now()));
            // Readings keep to their grid; one that came late is not made up for.
            while next <= Tick::now() {
                next += config.interval;
            }
        }
        if over {
            return state;
        }
    }
}

/// When the memory runs out, as the window went.
fn foresee(config: &TraceConfig, history: &History, verdict: &Verdict, state: State) -> Forecast {
    let nothing = |why: &str| Forecast {
        assumptions: vec![format!("nothing is forecast: {why}")],
        ..Forecast::default()
    };
    if state != State::Running {
        return nothing("the target has ended, or is another program");
    }
    if history.duration_s() < WINDOW_MIN_S {
        return nothing("the window is too short");
    }
    // Growth that leaking contexts explain is no swing of the heap.
    let is_sure = verdict.contexts_leak && verdict.explained.is_some_and(|share| share.low > 0.0);
    let points = history.points();
    let nodes: Vec<_> = points.iter().map(|point| (point.at_s, point.node.clone())).collect();
    let cgroups: Vec<_> =
        points.iter().filter_map(|point| Some((point.at_s, point.cgroup.clone()?))).collect();
    let capacity = nodes.last().and_then(|(_, node)| node.capacity_bytes);
    forecast(&Observations {
        rss_anon: &history.series(|process| process.rss_anon_bytes),
        noise_bytes: if is_sure { 0.0 } else { verdict.rss_noise_bytes },
        nodes: &nodes,
        cgroups: &cgroups,
        eviction_threshold_bytes: config.eviction_threshold.bytes(capacity),
    })
}

/// Whether it is known that no context was made or cancelled, or there is nothing that could.
fn contexts_are_idle(evidence: &Evidence<'_>, executable: &Executable) -> bool {
    let counted = evidence.history.contexts().filter(|_| evidence.births_s.is_some());
    let idle = counted.map(|contexts| contexts.probe_hits == 0 && contexts.lost.is_empty());
    idle.unwrap_or_else(|| executable.plan().points.is_empty())
}

/// Seconds from the target's start to `now`.
fn uptime_s(watch: &Watch, now: SystemTime) -> Option<f64> {
    now.duration_since(watch.start_time()?).ok().map(|uptime| uptime.as_secs_f64())
}

fn target(watch: &Watch, executable: &Executable, state: State) -> Target {
    let (identity, now) = (watch.identity(), SystemTime::now());
    let (start_time, uptime_s) = watch.start_time().map_or((None, None), |start| {
        (Some(humantime::format_rfc3339_seconds(start).to_string()), uptime_s(watch, now))
    });
    Target {
        pid: identity.pid,
        start_time,
        uptime_s,
        comm: printable(identity.comm.as_bytes()),
        exe: printable(identity.exe.as_os_str().as_bytes()),
        build_id: executable.build_id(),
        go_version: executable.go_version(),
        module: executable.module(),
        version: executable.program_version().map(|found| found.version.clone()),
        version_from: executable.program_version().map(|found| found.proof.clone()),
        unit: identity.unit.as_ref().map(|unit| printable(unit.as_bytes())),
        cgroup: identity.cgroup.as_ref().map(|cgroup| printable(cgroup.as_bytes())),
        state: match state {
            State::Running => TargetState::Running,
            State::Ended => TargetState::Ended,
            State::Replaced => TargetState::Replaced,
        },
    }
}
