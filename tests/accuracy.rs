//! The quick part of the accuracy benchmark: simulated programs in, no wrong verdict out.
//!
//! `cargo xtask accuracy` has all scenarios.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "accuracy/mod.rs"]
mod accuracy;

use accuracy::{
    catalogue::{SEED_DEFAULT, catalogue},
    fast::run,
    outcome::{Outcome, Said},
    recorded,
    scenario::Scenario,
};

/// Programs of each kind, of which the debug build simulates all in some seconds.
const QUICK: [&str; 12] = [
    "every context leaks, 1/s",
    "kubernetes#139823 in the lab, 100 every 2 s",
    "one context in 10 of 20/s leaks",
    "leak of 2/s beside a full cache",
    "three leaks at once beside requests",
    "every goroutine leaks, 1/s",
    "100 in lockstep every 2 s",
    "load climbs, drawn",
    "a full cache evicts",
    "old program, lives of ten windows",
    "goroutines come and go, drawn",
    "contexts that nobody holds, drawn",
];
/// A growth rate may differ so much from the truth.
const RATE_ERROR_MAX: f64 = 0.05;
/// The same for recordings, whose truth begins up to half a second before their readings.
const RECORDED_RATE_ERROR_MAX: f64 = 0.08;

/// What is wrong with it.
fn complaints(outcome: &Outcome, rate_error_max: f64) -> Vec<String> {
    let Outcome { name, said, confidence, ended_s, missed, accused, rate_error, .. } = outcome;
    let complain = |what: &str| format!("{name}: {what} ({said:?} {confidence:.2} at {ended_s} s)");
    let mut complaints = Vec::new();
    if !outcome.is_leaky && *said == Said::Leak {
        complaints.push(complain("is honest, and called leaky"));
    }
    if outcome.is_leaky && outcome.is_counted && outcome.found == 0 {
        complaints.push(complain("leaks, and was not called so"));
    }
    if *missed > 0 {
        complaints.push(complain(&format!("{missed} leaks above the floor were missed")));
    }
    if *accused > 0 {
        complaints.push(complain(&format!("{accused} parts are called leaks that are none")));
    }
    if let Some(error) = rate_error.filter(|error| *error > rate_error_max) {
        complaints.push(complain(&format!("the rate is wrong by {:.1} %", 100.0 * error)));
    }
    complaints
}

fn all_are_right(seed: u64) {
    let scenarios = catalogue(seed);
    let named = QUICK.map(|name| scenarios.iter().find(|scenario| scenario.name == name).unwrap());
    let complaints = |scenario: &&Scenario| complaints(&run(scenario).outcome, RATE_ERROR_MAX);
    let wrong: Vec<_> = named.iter().flat_map(complaints).collect();
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
}

#[test]
fn verdicts_are_right_under_the_default_seed() {
    all_are_right(SEED_DEFAULT);
}

#[test]
fn verdicts_are_right_under_another_seed() {
    all_are_right(7);
}

/// What a real kernel and real programs showed, judged as it would be today.
#[test]
fn verdicts_on_recorded_traces_are_right() {
    let all = recorded::all().unwrap();
    let leaky = all.iter().filter(|recorded| recorded.scenario.is_leaky()).count();
    assert!(leaky >= 5 && all.len() - leaky >= 5, "{leaky} of {}", all.len());
    let outcomes: Vec<_> = all.iter().map(recorded::replay).collect();
    let complaints = |outcome| complaints(outcome, RECORDED_RATE_ERROR_MAX);
    let wrong: Vec<_> = outcomes.iter().flat_map(complaints).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
