//! What tracing growth costs the target and everybody else, as ratios in one run. Run by
//! `cargo xtask bench`, as root.
//!
//! In: the native workload (`GROW`). Out: tables of medians of paired runs. Non-goals: passing or
//! failing.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result};
use leaktrace::bpf::{FaultPeriod, GrowthLimits, GrowthTracer};

/// Pairs of measurements, one traced and one not. What is compared is CPU time, since others may
/// want the CPU too.
const PAIRED_RUNS: usize = 45;
/// Runs of one measurement.
const RUNS: usize = 9;
/// A target that maps, touches and unmaps ten pages every 100 µs: 10,000 pairs and 100,000 faults
/// per second.
const CHURN: Work = Work { command: "churn", times: 200, each_ns: 100_000.0 };
/// A bystander that makes a system call every microsecond.
const ASK: Work = Work { command: "ask", times: 20_000, each_ns: 1000.0 };

/// What a workload is to do, and how long one time of it takes with computing in between.
#[derive(Clone, Copy)]
struct Work {
    command: &'static str,
    times: u64,
    each_ns: f64,
}

/// What is attached.
#[derive(Clone, Copy)]
struct Traced {
    name: &'static str,
    faults: Option<FaultPeriod>,
    mappings: bool,
}

const ADAPTED: FaultPeriod = FaultPeriod::Fixed(NonZeroU32::new(61).expect("not 0"));
const EVERY: FaultPeriod = FaultPeriod::Fixed(NonZeroU32::MIN);

const VARIANTS: [Traced; 5] = [
    Traced { name: "nothing (noise)", faults: None, mappings: false },
    Traced { name: "faults, 1 in 61 (adapted)", faults: Some(ADAPTED), mappings: false },
    Traced { name: "mapping calls", faults: None, mappings: true },
    Traced { name: "both", faults: Some(ADAPTED), mappings: true },
    Traced { name: "every fault", faults: Some(EVERY), mappings: false },
];

fn main() -> Result<()> {
    let program = PathBuf::from(std::env::var_os("GROW").context("GROW names no workload")?);
    let mut target = Grow::start(&program)?;
    let mut bystander = Grow::start(&program)?;
    println!("growth: slowdown, medians of {PAIRED_RUNS} pairs (their 95 % intervals; quartiles)");
    let (churn, ask) = (target.calibrated(CHURN)?, bystander.calibrated(ASK)?);
    println!("a target with 10,000 mmap and munmap pairs and 100,000 faults per second");
    for traced in VARIANTS {
        let pid = target.pid()?;
        row(traced.name, compare(&mut target, CHURN, churn, pid, traced)?);
    }
    call_cost(&mut target)?;
    println!("a bystander with 1,000,000 system calls per second");
    for traced in &VARIANTS[..4] {
        row(traced.name, compare(&mut bystander, ASK, ask, target.pid()?, *traced)?);
    }
    own_cost(target.pid()?)
}

fn row(name: &str, mut ratios: Vec<f64>) {
    ratios.sort_by(f64::total_cmp);
    let at = |part: f64| (ratios[(part * (ratios.len() - 1) as f64) as usize] - 1.0) * 100.0;
    // Ranks between which the median lies in 19 cases of 20 whatever the noise (sign test).
    let half = 0.98 / (ratios.len() as f64).sqrt();
    println!(
        "{name:<42} {:>+7.2} %   ({:+.2} .. {:+.2}; {:+.2} .. {:+.2})",
        at(0.5),
        at(0.5 - half),
        at(0.5 + half),
        at(0.25),
        at(0.75)
    );
}

/// What one call costs more, by the same loop without computing in it.
fn call_cost(target: &mut Grow) -> Result<()> {
    let pid = target.pid()?;
    let pairs = measure(target, CHURN, 0, pid, VARIANTS[2])?;
    let mut ns: Vec<_> = pairs
        .into_iter()
        .map(|[without, with]| (with - without) / (CHURN.times * 2) as f64)
        .collect();
    ns.sort_by(f64::total_cmp);
    println!("{:<42} {:>+7.0} ns", "a call of mmap or munmap", ns[ns.len() / 2]);
    Ok(())
}

/// Time traced over time untraced, for runs in turn, with either first.
fn compare(
    worker: &mut Grow,
    work: Work,
    rounds: u64,
    traced_pid: NonZeroU32,
    traced: Traced,
) -> Result<Vec<f64>> {
    let pairs = measure(worker, work, rounds, traced_pid, traced)?;
    Ok(pairs.into_iter().map(|[without, with]| with / without).collect())
}

/// Nanoseconds untraced and traced, with either first in turn.
fn measure(
    worker: &mut Grow,
    work: Work,
    rounds: u64,
    traced_pid: NonZeroU32,
    traced: Traced,
) -> Result<Vec<[f64; 2]>> {
    let mut tracer = GrowthTracer::load(traced_pid, GrowthLimits::default())?;
    let mut pairs = Vec::new();
    for pair in 0..PAIRED_RUNS {
        let mut times = [0.0; 2];
        for turn in [pair % 2, 1 - pair % 2] {
            if turn == 1 {
                attach(&mut tracer, traced)?;
            }
            times[turn] = worker.best(work, rounds)?;
            tracer.detach_faults();
            tracer.detach_mappings();
        }
        pairs.push(times);
    }
    Ok(pairs)
}

fn attach(tracer: &mut GrowthTracer, traced: Traced) -> Result<()> {
    if let Some(period) = traced.faults {
        tracer.attach_faults(period)?;
    }
    if traced.mappings {
        tracer.attach_mappings()?;
    }
    Ok(())
}

/// The maps' memory, with everything attached.
fn own_cost(pid: NonZeroU32) -> Result<()> {
    let mut tracer = GrowthTracer::load(pid, GrowthLimits::default())?;
    attach(&mut tracer, VARIANTS[3])?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("kernel maps {:>43.1} MiB", mib(tracer.map_bytes()));
    Ok(())
}

/// The workload of `tests/workloads/native/grow.c`.
struct Grow {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Grow {
    fn start(program: &Path) -> Result<Self> {
        let mut child =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut this = Self { child, stdin, stdout };
        this.line()?;
        Ok(this)
    }

    fn pid(&self) -> Result<NonZeroU32> {
        NonZeroU32::new(self.child.id()).context("no pid")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }

    /// Nanoseconds of `work` with so many rounds of computing after each time.
    fn run(&mut self, work: Work, rounds: u64) -> Result<f64> {
        writeln!(self.stdin, "{} {}/{rounds}", work.command, work.times)?;
        let line = self.line()?;
        let ns = line.trim_end().rsplit_once("ns=").context("the workload gives no time")?.1;
        Ok(ns.parse()?)
    }

    /// The least of some short runs in a row: others can only add to it.
    fn best(&mut self, work: Work, rounds: u64) -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..RUNS {
            best = best.min(self.run(work, rounds)?);
        }
        Ok(best)
    }

    /// Rounds of computing with which one time of `work` takes as long as it says.
    fn calibrated(&mut self, work: Work) -> Result<u64> {
        const ROUNDS: u64 = 1000;
        let alone_ns = self.best(work, 0)? / work.times as f64;
        let with_ns = self.best(work, ROUNDS)? / work.times as f64;
        let round_ns = (with_ns - alone_ns) / ROUNDS as f64;
        Ok(((work.each_ns - alone_ns) / round_ns).max(0.0) as u64)
    }
}

impl Drop for Grow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
