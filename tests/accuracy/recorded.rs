//! Readings of live traces, kept and judged again in fast time: what the judge of today says of what a
//! real kernel and real programs showed.
//!
//! `cargo xtask accuracy --record` makes them anew. Non-goals: what leaktrace costs or loses.

use std::{
    collections::HashMap,
    future,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, anyhow};
use leaktrace::{
    config::{
        EvictionThreshold, GoroutineStacks, Growth, LIVE_ENTRIES_DEFAULT, TraceConfig, Until,
    },
    history::History,
    session::{Progress, SoFar, trace},
    snapshot::Instant,
    target::{Identity, Selector},
    verdict::{Goal, Settling, SiteJudgement, SiteState, State, Verdict, judge},
};
use serde::{Deserialize, Serialize};

use super::{
    live::{Live, live_schedule},
    live_blame::Blame,
    outcome::{How, Outcome},
    player::Player,
    recording::{Recording, read, write},
    scenario::Scenario,
    schedule::Event,
    truth::{Called, Judged},
};

/// Nothing is ever settled for somebody who wants to see this.
const NEVER_SEEN: Goal = Goal { objects_per_s: 1e-9, bytes_per_s: None, share_of_leak: 0.0 };

/// A recorded trace and the truth about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    pub scenario: Scenario,
    pub build: String,
    /// By part: when something was forgotten, in seconds since tracing began.
    forgotten_s: Vec<Vec<f64>>,
    /// Sites of contexts and creations of goroutines, as in a report's `id`, by part.
    parts: HashMap<String, usize>,
    recording: Recording,
}

/// Where they are kept.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/accuracy/recorded")
}

/// All that are kept, by name.
///
/// # Errors
/// One can't be read.
pub fn all() -> Result<Vec<Recorded>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    paths.sort();
    let one =
        |path: PathBuf| read(&std::fs::read(&path)?).with_context(|| path.display().to_string());
    paths.into_iter().map(one).collect()
}

/// Judges the readings one after the other, as the trace would have.
pub fn replay(recorded: &Recorded) -> Outcome {
    let start = Instant { monotonic_ns: 1_000_000_000_000, wall: SystemTime::UNIX_EPOCH };
    let (mut history, mut settling) = (History::new(start), Settling::new(Goal::DEFAULT));
    let circumstances = recorded.recording.circumstances();
    let (mut verdict, mut settled) = (Verdict::default(), false);
    for reading in &recorded.recording.readings {
        let moment = reading.replay(&mut history, start);
        verdict = judge(&history, &moment, &circumstances);
        settled = settling.observe(history.duration_s(), &verdict);
        if settled {
            break;
        }
    }
    recorded.outcome(&verdict, (history.duration_s(), settled))
}

impl Recorded {
    fn outcome(&self, verdict: &Verdict, ended: (f64, bool)) -> Outcome {
        let (scenario, events) = (&self.scenario, &self.events());
        let (called, strangers) = self.called(verdict);
        let judged = Judged { scenario, events, verdict, called: (&called, strangers), ended };
        judged.outcome(How::Recorded)
    }

    /// What was forgotten, as far as a comparison asks.
    fn events(&self) -> Vec<Event> {
        let of_part = |(part, forgotten_s): (usize, &Vec<f64>)| {
            let event =
                move |at_s: &f64| Event { at_s: *at_s, part, until_s: None, is_forgotten: true };
            forgotten_s.iter().map(event).collect::<Vec<_>>()
        };
        self.forgotten_s.iter().enumerate().flat_map(of_part).collect()
    }

    /// The parts that are called leaks, and how many sites that are no part's.
    fn called(&self, verdict: &Verdict) -> (Vec<Called>, usize) {
        if verdict.state != State::Leak {
            return (Vec::new(), 0);
        }
        let contexts = verdict.sites.iter().map(|(site, judged)| (format!("{site:016x}"), judged));
        let goroutines = verdict
            .goroutines
            .iter()
            .map(|(site, judged)| (format!("{:x}-{:x}", site.creator_pc, site.start_pc), judged));
        let is_leak = |(_, judged): &(String, &SiteJudgement)| judged.state == SiteState::Leak;
        let leaks = contexts.chain(goroutines).filter(is_leak);
        let (mut called, mut strangers) = (Vec::<Called>::new(), 0);
        for (id, judged) in leaks {
            let per_s = judged.grows().map(|growth| growth.per_s);
            match self.parts.get(&id) {
                Some(part) => called.push(Called { part: *part, per_s }),
                None => strangers += 1,
            }
        }
        (called, strangers)
    }
}

/// Keeps every moment of a trace.
#[derive(Default)]
struct Recorder {
    recording: Option<Result<Recording>>,
    /// When the probes were attached.
    attached: Option<std::time::Instant>,
}

impl Progress for Recorder {
    fn attached(&mut self, _: &Identity, _: &str) {
        self.attached = Some(std::time::Instant::now());
    }

    fn reading(&mut self, _: &History, _: Duration) {}

    fn judged(&mut self, so_far: &SoFar<'_>) {
        let recording =
            self.recording.get_or_insert_with(|| Ok(Recording::new(so_far.circumstances)));
        if let Ok(known) = recording
            && let Err(error) = known.add(so_far)
        {
            *recording = Err(error);
        }
    }
}

/// Traces a live scenario to the end of its time and keeps the readings in a file.
///
/// # Errors
/// It can't be run, or something was lost.
pub fn record(live: &Live) -> Result<PathBuf> {
    let events = live_schedule(&live.scenario);
    let mut player = Player::start(&live.build, &live.scenario, &events)?;
    player.begin()?;
    let config = config(player.pid(), &live.scenario)?;
    let mut recorder = Recorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (asked, before) = (std::time::Instant::now(), player.truth()?);
    let report = runtime.block_on(trace(&config, future::pending(), &mut recorder))?;
    let after = player.truth()?;
    player.ensure_done(&after, &events)?;
    let recording = recorder.recording.take().ok_or_else(|| anyhow!("nothing was read"))??;
    let attached_s = recorder.attached.map_or(0.0, |at| at.duration_since(asked).as_secs_f64());
    let began_s = before.at_s + attached_s;
    let forgotten_s = (0..live.scenario.parts.len()).map(|part| {
        let of_part = events.iter().filter(|event| event.part == part && event.is_forgotten);
        let since = of_part.map(|event| event.at_s - began_s).filter(|at_s| *at_s >= 0.0);
        since.map(|at_s| (at_s * 1e3).round() / 1e3).collect()
    });
    let recorded = Recorded {
        scenario: live.scenario.clone(),
        build: live.build.clone(),
        forgotten_s: forgotten_s.collect(),
        parts: Blame::parts(&serde_json::to_value(&report)?)?,
        recording,
    };
    let path = folder().join(format!("{}.json.gz", file_name(&live.scenario.name)));
    std::fs::create_dir_all(folder())?;
    std::fs::write(&path, write(&recorded)?)?;
    Ok(path)
}

fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

fn config(pid: u32, scenario: &Scenario) -> Result<TraceConfig> {
    let at_most = Duration::from_secs_f64(scenario.duration_max_s);
    let until = Until::new(None, Some(NEVER_SEEN), Some(at_most));
    Ok(TraceConfig {
        selector: Selector::Pid(pid.try_into()?),
        until,
        interval: Duration::from_secs(1),
        live_entries: LIVE_ENTRIES_DEFAULT,
        bpf_log: false,
        growth: Growth::Off,
        goroutine_stacks: GoroutineStacks::Never,
        budget_cores: 0.01,
        eviction_threshold: EvictionThreshold::Ratio(0.05),
        families: None,
        outputs: Vec::new(),
    }
    .validated()?)
}
