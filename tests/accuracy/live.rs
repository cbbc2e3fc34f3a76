//! Live processes in real time: scenarios in, what `leaktrace trace` says out.
//!
//! The truth is the schedule's over the traced window, after it was checked that the player did all
//! of it. Non-goals: which scenarios there are (`live_catalogue`), tables.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::{
    live_blame::Blame,
    outcome::{How, Outcome, Said},
    player::{Player, Truth, lived_warm_s},
    scenario::{Arrivals, Life, Part, Scenario, What},
    schedule::{Event, schedule},
    support::Trace,
};

/// So many are traced at the same time: twice the processors of a small machine, which mostly wait.
pub const AT_ONCE: usize = 4;
/// A trace ends by itself once its verdict is settled; else after the longest time.
const ENDS_WHEN_SETTLED: bool = false;
/// What is made goes on for so long behind the longest trace, in seconds.
const TAIL_S: f64 = 20.0;
/// A player that is later than this, in seconds, did not carry out its schedule.
const LATE_MAX_S: f64 = 1.0;

/// A scenario and the build of the player that carries it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub scenario: Scenario,
    /// A folder of `target/workloads`: `go1.26.3-player-pie`.
    pub build: String,
}

/// What one run left.
#[derive(Debug, Clone)]
pub struct Ran {
    pub outcome: Outcome,
    /// What leaks by the schedule, by part, in objects per second over the traced window.
    pub leaked_per_s: Vec<f64>,
    pub blame: Blame,
    /// What the player said when tracing had begun, and at the end.
    pub truths: [Truth; 2],
    pub report: Value,
}

/// Runs all, `at_once` at the same time, in their order; `tell` hears of each when it is over.
pub fn run_all(
    lives: &[Live],
    at_once: usize,
    tell: impl Fn(&Live, &Result<Ran>) + Sync,
) -> Vec<Result<Ran>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let work = || {
        while let Some((number, live)) = take(lives, &next) {
            let result = run_guarded(live);
            tell(live, &result);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

fn take<'a>(lives: &'a [Live], next: &AtomicUsize) -> Option<(usize, &'a Live)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    lives.get(number).map(|live| (number, live))
}

/// In a thread of its own: what the support for tests can't do is a panic, which ends one run only.
fn run_guarded(live: &Live) -> Result<Ran> {
    let run = || run(live).with_context(|| live.scenario.name.clone());
    thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|_| Err(anyhow!("{} panicked", live.scenario.name)))
}

/// Traces one scenario.
pub fn run(live: &Live) -> Result<Ran> {
    let scenario = &live.scenario;
    let events = live_schedule(scenario);
    let mut player = Player::start(&live.build, scenario, &events)?;
    player.begin()?;
    let arguments = arguments(scenario);
    let trace = Trace::of(player.pid(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let before = player.truth()?;
    let report = trace.report();
    let after = player.truth()?;
    for truth in [&before, &after] {
        player.ensure_done(truth, &events)?;
        ensure!(truth.late_max_s <= LATE_MAX_S, "the player was {:.1} s late", truth.late_max_s);
    }
    let traced_s = number(&report["window"]["duration_s"])?;
    let until_s = after.at_s.min(before.at_s + traced_s);
    let per_s = |part| leaked_per_s(scenario, &events, part, [before.at_s, until_s]);
    let leaked_per_s: Vec<f64> = (0..scenario.parts.len()).map(per_s).collect();
    let blame = Blame::of(&report);
    let outcome = outcome(scenario, &leaked_per_s, &blame, &report)?;
    Ok(Ran { outcome, leaked_per_s, blame, truths: [before, after], report })
}

/// How `leaktrace trace` is to trace it, behind the pid.
fn arguments(scenario: &Scenario) -> Vec<String> {
    let limit = if ENDS_WHEN_SETTLED { "--max-duration" } else { "--duration" };
    vec![limit.to_owned(), format!("{}s", scenario.duration_max_s)]
}

/// With all that ends while the player lives through the time before tracing begins, which a schedule
/// leaves out, and with work for after the longest trace, which begins after time 0.
fn live_schedule(scenario: &Scenario) -> Vec<Event> {
    let warm_s = lived_warm_s(scenario);
    let mut later = Scenario {
        warm_s: scenario.warm_s - warm_s,
        duration_max_s: scenario.duration_max_s + warm_s + TAIL_S,
        ends_s: None,
        ..scenario.clone()
    };
    later.parts.iter_mut().for_each(|part| *part = later_part(part, warm_s));
    let mut events = schedule(&later);
    for event in &mut events {
        event.at_s -= warm_s;
        event.until_s = event.until_s.map(|until_s| until_s - warm_s);
    }
    events
}

/// The same part, where time 0 is so much earlier.
fn later_part(part: &Part, by_s: f64) -> Part {
    let arrivals = match part.arrivals {
        Arrivals::Ramp { from_per_s, to_per_s, from_s, to_s } => {
            Arrivals::Ramp { from_per_s, to_per_s, from_s: from_s + by_s, to_s: to_s + by_s }
        }
        Arrivals::Between { per_s, from_s, to_s } => {
            Arrivals::Between { per_s, from_s: from_s + by_s, to_s: to_s + by_s }
        }
        same => same,
    };
    let life = match part.life {
        Life::Until { at_s } => Life::Until { at_s: at_s + by_s },
        same => same,
    };
    Part { arrivals, life, ..part.clone() }
}

/// Forgotten contexts under nothing that can be cancelled are garbage.
pub fn leaks(part: &Part) -> bool {
    part.is_leaky() && part.what != What::Unheld
}

/// Whether there is something to count but bytes.
pub const fn is_counted(what: What) -> bool {
    !matches!(what, What::Heap | What::Native)
}

/// What a part forgets between two times, in objects per second; zero if that is no leak.
fn leaked_per_s(
    scenario: &Scenario,
    events: &[Event],
    part: usize,
    [from, until]: [f64; 2],
) -> f64 {
    if !leaks(&scenario.parts[part]) {
        return 0.0;
    }
    let is_leaked = |event: &&Event| {
        event.part == part && event.is_forgotten && event.at_s > from && event.at_s <= until
    };
    events.iter().filter(is_leaked).count() as f64 / (until - from)
}

fn outcome(
    scenario: &Scenario,
    leaked_per_s: &[f64],
    blame: &Blame,
    report: &Value,
) -> Result<Outcome> {
    let said = said(report)?;
    let ended_s = number(&report["window"]["duration_s"])?;
    let verdict = &report["verdict"];
    let is_named = |number| is_named(scenario, number, blame, said);
    let parts = || scenario.parts.iter().enumerate();
    let leaky: Vec<usize> =
        parts().filter(|(_, part)| leaks(part)).map(|(number, _)| number).collect();
    let honest = parts().filter(|(number, part)| !leaks(part) && is_named(*number)).count();
    let accused_bytes = said == Said::Leak && leaky.is_empty() && blame.names_nobody();
    let is_missed = |number: &&usize| {
        let rate_per_s = leaked_per_s[**number];
        !is_named(**number) && is_above_floor(&scenario.parts[**number], rate_per_s, said, verdict)
    };
    let errors = leaky.iter().filter_map(|&number| {
        let growth_per_s = blame.growth_per_s(number)?;
        (leaked_per_s[number] > 0.0).then(|| (growth_per_s / leaked_per_s[number] - 1.0).abs())
    });
    Ok(Outcome {
        name: scenario.name.clone(),
        how: How::Live,
        is_leaky: !leaky.is_empty(),
        is_counted: leaky.iter().any(|&number| is_counted(scenario.parts[number].what)),
        leaked_per_s: leaked_per_s.iter().copied().fold(0.0, f64::max),
        said,
        confidence: number(&verdict["confidence_ratio"])?,
        ended_s,
        is_settled: ENDS_WHEN_SETTLED && ended_s < scenario.duration_max_s - 1.0,
        floor_per_s: floor_per_s(scenario, verdict),
        found: leaky.iter().filter(|number| is_named(**number)).count(),
        missed: leaky.iter().filter(is_missed).count(),
        accused: honest + blame.strangers + usize::from(accused_bytes),
        rate_error: errors.reduce(f64::max),
    })
}

/// Whether a part is called a leak. Of bytes, only the process is: they are named when it is, and
/// nothing that can be counted is to blame.
fn is_named(scenario: &Scenario, number: usize, blame: &Blame, said: Said) -> bool {
    let part = &scenario.parts[number];
    if is_counted(part.what) {
        return blame.names(number);
    }
    leaks(part) && said == Said::Leak && blame.names_nobody()
}

/// Whether the verdict claims that it would have seen such a leak. Where it says nothing of a floor,
/// only "inconclusive" claims nothing.
fn is_above_floor(part: &Part, rate_per_s: f64, said: Said, verdict: &Value) -> bool {
    let (rate, floor) = match part.what {
        What::Heap | What::Native => {
            (rate_per_s * part.payload_bytes as f64, &verdict["floor_bytes_per_s"])
        }
        What::Goroutine => (rate_per_s, &verdict["floor_goroutines_per_s"]),
        _ => (rate_per_s, &verdict["floor_contexts_per_s"]),
    };
    floor.as_f64().map_or(said != Said::Inconclusive, |floor| rate > floor)
}

/// The floor of what leaks, or of what would: the lowest of those that count.
fn floor_per_s(scenario: &Scenario, verdict: &Value) -> Option<f64> {
    let of = |part: &Part| match part.what {
        What::Heap | What::Native => None,
        What::Goroutine => verdict["floor_goroutines_per_s"].as_f64(),
        _ => verdict["floor_contexts_per_s"].as_f64(),
    };
    let some = |only_leaky: bool| {
        let parts = scenario.parts.iter().filter(move |part| !only_leaky || leaks(part));
        parts.filter_map(of).reduce(f64::min)
    };
    some(true).or_else(|| some(false))
}

fn said(report: &Value) -> Result<Said> {
    match report["verdict"]["state"].as_str() {
        Some("leak") => Ok(Said::Leak),
        Some("suspect") => Ok(Said::Suspect),
        Some("no_leak") => Ok(Said::NoLeak),
        Some("inconclusive") => Ok(Said::Inconclusive),
        other => bail!("`{other:?}` is no verdict"),
    }
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().with_context(|| format!("{value} is no number"))
}
