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
    truth::{Called, Floors, compare},
};

/// So many are traced at the same time: twice the processors of a small machine, which mostly wait.
pub const AT_ONCE: usize = 4;
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
    each(lives, at_once, |live| {
        let result = run_guarded(live);
        tell(live, &result);
        result
    })
}

/// Does something with each, `at_once` at the same time; gives what came of it, in their order.
pub fn each<T: Send>(lives: &[Live], at_once: usize, work: impl Fn(&Live) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let take_and_work = || {
        while let Some((number, live)) = take(lives, &next) {
            let result = work(live);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(take_and_work);
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
    let window = [before.at_s, after.at_s.min(before.at_s + traced_s)];
    let blame = Blame::of(&report)?;
    let outcome = outcome(scenario, &events, window, &blame, &report)?;
    Ok(Ran { outcome, blame, truths: [before, after], report })
}

/// How `leaktrace trace` is to trace it, behind the pid.
fn arguments(scenario: &Scenario) -> Vec<String> {
    vec!["--at-most".to_owned(), format!("{}s", scenario.duration_max_s)]
}

/// With all that ends while the player lives through the time before tracing begins, which a schedule
/// leaves out, and with work for after the longest trace, which begins after time 0.
pub fn live_schedule(scenario: &Scenario) -> Vec<Event> {
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

/// What was said against what the schedule has between two times.
fn outcome(
    scenario: &Scenario,
    events: &[Event],
    [from_s, until_s]: [f64; 2],
    blame: &Blame,
    report: &Value,
) -> Result<Outcome> {
    let said = said(report)?;
    let verdict = &report["verdict"];
    let traced = |event: &Event| Event { at_s: event.at_s - from_s, ..*event };
    let traced: Vec<Event> = events.iter().map(traced).collect();
    let called = called(scenario, blame, said);
    let floors = Floors {
        contexts_per_s: verdict["floor_contexts_per_s"].as_f64(),
        goroutines_per_s: verdict["floor_goroutines_per_s"].as_f64(),
        bytes_per_s: verdict["floor_bytes_per_s"].as_f64(),
    };
    let compared = compare(scenario, &traced, until_s - from_s, (said, &called, floors));
    // A leak that nothing of the program is called to is no part's.
    let strangers = if said == Said::Leak { blame.strangers } else { 0 };
    let is_nowhere = said == Said::Leak && called.is_empty() && blame.strangers == 0;
    let ended_s = number(&report["window"]["duration_s"])?;
    Ok(Outcome {
        name: scenario.name.clone(),
        how: How::Live,
        is_leaky: scenario.is_leaky(),
        is_counted: scenario.is_counted(),
        leaked_per_s: compared.leaked_per_s,
        said,
        confidence: number(&verdict["confidence_ratio"])?,
        ended_s,
        is_settled: report["window"]["ended_by"] == "settled",
        floor_per_s: compared.floor_per_s,
        found: compared.found,
        found_above: compared.found_above,
        missed: compared.missed,
        accused: compared.accused + strangers + usize::from(is_nowhere),
        rate_error: compared.rate_error,
    })
}

/// The parts that are called leaks. Those that make bytes have no site: they are when the process is,
/// and nothing that can be counted is to blame.
fn called(scenario: &Scenario, blame: &Blame, said: Said) -> Vec<Called> {
    if said != Said::Leak {
        return Vec::new();
    }
    let bytes_leak = said == Said::Leak && blame.is_empty();
    let is_called = |&(number, part): &(usize, &Part)| match part.what {
        What::Heap | What::Native => bytes_leak,
        _ => blame.names(number),
    };
    let parts = scenario.parts.iter().enumerate().filter(is_called);
    parts.map(|(part, _)| Called { part, per_s: blame.growth_per_s(part) }).collect()
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

#[cfg(test)]
mod tests {
    use super::{TAIL_S, live_schedule};
    use crate::accuracy::{
        player::lived_warm_s,
        scenario::{Arrivals, Life, Part, Scenario, What},
        schedule::schedule,
    };

    fn scenario(arrivals: Arrivals, life: Life) -> Scenario {
        let what = What::Context;
        let part = Part {
            what,
            arrivals,
            life,
            forgotten_one_in: Some(3),
            capacity: None,
            payload_bytes: 0,
        };
        Scenario {
            name: String::new(),
            seed: 5,
            parts: vec![part],
            warm_s: 30.0,
            duration_max_s: 60.0,
            gogc: 100,
            ends_s: Some(20.0),
        }
    }

    #[test]
    fn what_ends_while_the_program_warms_up_is_made_and_work_lasts_beyond_the_trace() {
        let steady = scenario(Arrivals::Steady { per_s: 10.0 }, Life::Fixed { s: 0.5 });
        let ended = |events: &[super::Event]| {
            events
                .iter()
                .filter(|event| event.until_s.is_some_and(|until_s| until_s <= 0.0))
                .count()
        };
        assert_eq!(ended(&schedule(&steady)), 0);
        let live = live_schedule(&steady);
        let warm_s = lived_warm_s(&steady);
        // Two of three of 10/s, but for those half a second before the end.
        let expected = 2.0 / 3.0 * 10.0 * warm_s;
        assert!((ended(&live) as f64 - expected).abs() <= 2.0, "{} of {expected}", ended(&live));
        let first_s = live[0].at_s;
        assert!((-30.0..-29.5).contains(&first_s), "{first_s}");
        let last_s = live.last().unwrap().at_s;
        assert!((60.0..=60.0 + TAIL_S).contains(&last_s), "{last_s}");
    }

    #[test]
    fn times_of_the_program_stay_where_they_are() {
        let between = Arrivals::Between { per_s: 50.0, from_s: 5.0, to_s: 15.0 };
        let events = live_schedule(&scenario(between, Life::Until { at_s: 40.0 }));
        assert!(events.iter().all(|event| (5.0..15.0).contains(&event.at_s)));
        let ends: Vec<_> = events.iter().filter_map(|event| event.until_s).collect();
        assert!(ends.len() > 200 && ends.iter().all(|end_s| (end_s - 40.0).abs() < 1e-9));
    }
}
