//! `cargo xtask accuracy`: how often the verdict is right, over scenarios whose truth is known.
//!
//! Prints a page of tables; fails where an honest program was called leaky or a leak above the stated
//! floor was missed. Non-goals: building what live programs need (xtask does).

#![allow(
    unused_imports,
    reason = "a benchmark without harness leaves out the tests, not what they import"
)]

#[path = "mod.rs"]
mod accuracy;

use std::{
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use accuracy::{
    catalogue::{SEED_DEFAULT, catalogue},
    fast::{Run, run},
    live::{self, Live, Ran},
    live_catalogue::{live_catalogue, quick},
    outcome::Outcome,
    page::page,
    recorded,
    scenario::Scenario,
    score::{Worth, is_failure},
    sweep::sweep,
};

/// Random programs in a full run.
const SWEEP_DEFAULT: u64 = 300;
/// Live scenarios, by the beginnings of their names, whose readings are kept.
const RECORDED: [&str; 7] = [
    "0.55 contexts/s",
    "connections that come and go",
    "cache with eviction",
    "several leaks at once",
    "load ramp",
    "pool of goroutines",
    "goroutines",
];
/// In a quick one every so many is run.
const QUICK_EVERY: usize = 6;

/// Judges programs whose truth is known, and says how often that was right.
#[derive(Parser)]
struct Options {
    /// Draws rates, lives and shares of about half of the scenarios
    #[arg(long, default_value_t = SEED_DEFAULT)]
    seed: u64,
    /// Only these
    #[arg(long)]
    only: Option<Only>,
    /// A part of the scenarios, and no random programs
    #[arg(long)]
    quick: bool,
    /// Name the scenarios and run none
    #[arg(long)]
    list: bool,
    /// Random programs for the calibration; 300 in a full run, none with filters
    #[arg(long)]
    sweep: Option<u64>,
    /// Write the page into this file too; from the root of the repository
    #[arg(long)]
    out: Option<PathBuf>,
    /// Trace the scenarios that are kept as recordings anew
    #[arg(long)]
    record: bool,
    /// Say why, for each verdict that was wrong
    #[arg(long)]
    why: bool,
    /// Only scenarios whose names have one of these in them
    words: Vec<String>,
    /// Given by cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn names(&self, scenario: &Scenario) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| scenario.name.contains(word))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Fast,
    Live,
    Recorded,
}

fn main() -> ExitCode {
    match judge(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for; gives whether all was right that must be.
fn judge(options: &Options) -> Result<bool> {
    let scenarios = chosen(options);
    if options.list {
        scenarios.iter().for_each(|scenario| println!("{}", scenario.name));
        live_scenarios(options).iter().for_each(|live| println!("live: {}", live.scenario.name));
        return Ok(true);
    }
    if options.record {
        return record(options);
    }
    let mut outcomes = run_all(&scenarios, options.why);
    outcomes.extend(recorded_outcomes(options)?);
    outcomes.extend(run_live(&live_scenarios(options), options.why)?);
    let random = run_all(&sweep(sweep_count(options), options.seed), options.why);
    let text = header(options) + &page(&outcomes, &random);
    println!("{text}");
    if let Some(out) = &options.out {
        let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(out);
        std::fs::write(&out, &text).with_context(|| format!("can't write {}", out.display()))?;
    }
    let failures: Vec<_> = outcomes.iter().filter(|outcome| is_failure(outcome)).collect();
    failures.iter().for_each(|outcome| eprintln!("wrong: {}", outcome.name));
    Ok(failures.is_empty())
}

/// The simulated scenarios that were asked for.
fn chosen(options: &Options) -> Vec<Scenario> {
    if options.only.is_some_and(|only| only != Only::Fast) {
        return Vec::new();
    }
    let scenarios = catalogue(options.seed).into_iter();
    let scenarios = scenarios.filter(|scenario| options.names(scenario));
    scenarios.step_by(if options.quick { QUICK_EVERY } else { 1 }).collect()
}

/// What the recordings come to.
fn recorded_outcomes(options: &Options) -> Result<Vec<Outcome>> {
    if options.only.is_some_and(|only| only != Only::Recorded) {
        return Ok(Vec::new());
    }
    let all = recorded::all()?.into_iter().filter(|known| options.names(&known.scenario));
    Ok(all.map(|known| recorded::replay(&known)).collect())
}

/// Makes the recordings anew, several at a time.
fn record(options: &Options) -> Result<bool> {
    let lives: Vec<_> = live_catalogue(options.seed)
        .into_iter()
        .filter(|live| RECORDED.iter().any(|name| live.scenario.name.starts_with(name)))
        .collect();
    let results = live::each(&lives, live::AT_ONCE, recorded::record);
    for path in results {
        eprintln!("{}", path?.display());
    }
    Ok(true)
}

/// The live scenarios to run.
fn live_scenarios(options: &Options) -> Vec<Live> {
    if options.only.is_some_and(|only| only != Only::Live) {
        return Vec::new();
    }
    let all = if options.quick { quick(options.seed) } else { live_catalogue(options.seed) };
    all.into_iter().filter(|live| options.names(&live.scenario)).collect()
}

/// Runs them, several at a time. One that could not be run at all is an error: its result is missing.
fn run_live(lives: &[Live], why: bool) -> Result<Vec<Outcome>> {
    let began = Instant::now();
    let results = live::run_all(lives, live::AT_ONCE, |live, result| {
        let said = result.as_ref().map(|ran| format!("{:?}", ran.outcome.said));
        eprintln!("{}: {}", live.scenario.name, said.unwrap_or_else(|error| format!("{error:#}")));
    });
    eprintln!("{} live programs in {:.0} s", lives.len(), began.elapsed().as_secs_f64());
    let ran = results.into_iter().collect::<Result<Vec<Ran>>>()?;
    for ran in ran.iter().filter(|ran| why && Worth::of(&ran.outcome) != Worth::Right) {
        eprintln!(
            "{}: {:?}\n{:#}",
            Worth::of(&ran.outcome).word(),
            ran.outcome,
            ran.report["verdict"]
        );
    }
    Ok(ran.into_iter().map(|ran| ran.outcome).collect())
}

fn sweep_count(options: &Options) -> u64 {
    let is_full = !options.quick && options.only.is_none() && options.words.is_empty();
    options.sweep.unwrap_or(if is_full { SWEEP_DEFAULT } else { 0 })
}

/// Runs all, on every processor; in their order. With `why` it tells of those that were not right.
fn run_all(scenarios: &[Scenario], why: bool) -> Vec<Outcome> {
    let (next, began) = (AtomicUsize::new(0), Instant::now());
    let work = || {
        let mut done = Vec::new();
        while let Some((number, scenario)) = take(scenarios, &next) {
            done.push((number, run(scenario)));
        }
        done
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut runs: Vec<(usize, Run)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.flat_map(|done| done.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    runs.sort_by_key(|(number, _)| *number);
    eprintln!("{} programs in {:.1} s", runs.len(), began.elapsed().as_secs_f64());
    if why {
        let not_right = runs.iter().filter(|(_, run)| Worth::of(&run.outcome) != Worth::Right);
        not_right.for_each(|(number, run)| explain(&scenarios[*number], run));
    }
    runs.into_iter().map(|(_, run)| run.outcome).collect()
}

fn take<'a>(scenarios: &'a [Scenario], next: &AtomicUsize) -> Option<(usize, &'a Scenario)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, scenarios.get(number)?))
}

fn explain(scenario: &Scenario, run: &Run) {
    eprintln!("{}: {:?}", Worth::of(&run.outcome).word(), run.outcome);
    eprintln!("    {scenario:?}");
    run.reasons.iter().for_each(|reason| eprintln!("    {reason}"));
}

/// When and how the page was made.
fn header(options: &Options) -> String {
    let day = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut command = "cargo xtask accuracy".to_owned();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            // Where the page goes is no part of what it says.
            "--out" => drop(arguments.next()),
            word => command = format!("{command} {word}"),
        }
    }
    let day = day.split('T').next().unwrap_or_default();
    format!(
        "# How often the verdict is right\n\n\
         As `{command}` printed it on {day}, seed {}.\n\n",
        options.seed,
    )
}
