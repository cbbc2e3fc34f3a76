//! What tracing goroutines costs the target, as ratios in one run. Run by `cargo xtask bench`, as
//! root.
//!
//! In: a workload that starts goroutines which end at once (`CHURN`). Out: tables of medians. What
//! is compared is CPU time, since others may want the CPU too. Non-goals: passing or failing.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result};
use leaktrace::{
    binary::{Blocks, BuildInfo, Elf, GoBinary},
    bpf::{GoroutineLimits, GoroutineTracer, Target},
    probe::{GoroutineFacts, GoroutinePlan, plan_goroutines},
    snapshot::GoroutineRates,
};
use serde_json::Value;

const REPETITIONS: usize = 15;
const PAIRS: &str = "100000";
const STORMS: usize = 7;
const STORM: [&str; 4] = ["-rate", "100000", "-last", "10s"];
/// Nothing is ever sampled.
const UNLIMITED: f64 = 1000.0;

fn main() -> Result<()> {
    let program = PathBuf::from(std::env::var_os("CHURN").context("CHURN names no workload")?);
    let plan = read_plan(&program)?;
    hit_costs(&program, &plan)?;
    storm(&program, &plan)
}

fn read_plan(program: &Path) -> Result<GoroutinePlan> {
    let file = Blocks::new(File::open(program)?);
    let elf = Elf::read(&file)?;
    let build = BuildInfo::read(&file, &elf)?;
    let go = GoBinary::read(&file, &elf, &build)?;
    Ok(plan_goroutines(&GoroutineFacts::read(&file, &elf, &go, &build)?))
}

/// Rounds of all variants in turn, so that drift of the machine's speed hits them alike.
fn hit_costs(program: &Path, plan: &GoroutinePlan) -> Result<()> {
    let mut ns: [Vec<f64>; 3] = Default::default();
    for _ in 0..REPETITIONS {
        let pair_ns = |truth: Value| truth["ns_per_pair"].as_f64().context("no ns_per_pair");
        let run = |attach: &dyn Fn(NonZeroU32) -> Result<Box<dyn std::any::Any>>| {
            pair_ns(Relay::start(program, "relay", &["-pairs", PAIRS])?.run(attach)?)
        };
        ns[0].push(run(&|_| Ok(Box::new(())))?);
        ns[1].push(run(&|pid| {
            let mut tracer = load(pid, plan, UNLIMITED)?;
            let probes = tracer.attach_empty(&plan.points)?;
            Ok(Box::new((probes, tracer)))
        })?);
        ns[2].push(run(&|pid| Ok(Box::new(attached(pid, plan, UNLIMITED)?)))?);
    }
    let over_empty = |index: usize| (ns[2][index] - ns[0][index]) / (ns[1][index] - ns[0][index]);
    let paired = median((0..REPETITIONS).map(over_empty).collect());
    let [untraced, empty, full] = ns.map(median);
    println!(
        "goroutines: cost of a probe hit (medians of {REPETITIONS}; a start with its end has 2)"
    );
    println!("{:<42} {:>9} {:>9} {:>9}", "", "ns/pair", "ns/hit", "x empty");
    println!("{:<42} {untraced:>9.0}", "untraced");
    println!("{:<42} {empty:>9.0} {:>9.0}", "empty program", (empty - untraced) / 2.0);
    let hit = (full - untraced) / 2.0;
    println!("{:<42} {full:>9.0} {hit:>9.0} {paired:>9.2}", "full: walk, hash, stack, site");
    Ok(())
}

/// A target that starts 100,000 goroutines per second, at the default budget. It swings by itself by
/// more than the budget: so pairs are compared, and what two runs without probes differ by is shown.
fn storm(program: &Path, plan: &GoroutinePlan) -> Result<()> {
    let budget_cores = GoroutineLimits::default().budget_cores;
    let cores = |budget: Option<f64>| -> Result<f64> {
        let truth = Relay::start(program, "paced", &STORM)?.run(&|pid| {
            Ok(match budget {
                Some(budget) => Box::new(attached(pid, plan, budget)?),
                None => Box::new(()),
            })
        })?;
        let seconds = |field: &str| truth[field].as_f64().context("no seconds");
        Ok(seconds("cpu_seconds")? / seconds("seconds")?)
    };
    let variants = [None, Some(UNLIMITED), Some(budget_cores)];
    let mut lost_cores: [Vec<f64>; 3] = Default::default();
    for _ in 0..STORMS {
        let untraced = cores(None)?;
        for (lost_cores, budget) in lost_cores.iter_mut().zip(variants) {
            lost_cores.push(cores(budget)? - untraced);
        }
    }
    println!(
        "100,000 starts per second: what the target loses, in % of a core (of {STORMS} pairs)"
    );
    let names = ["nothing (noise)", "everything counted", "at the default budget of 1 %"];
    for (name, lost_cores) in names.iter().zip(lost_cores) {
        let lost = lost_cores.iter().copied();
        let (least, most) = (lost.clone().fold(f64::NAN, f64::min), lost.fold(f64::NAN, f64::max));
        let [median, least, most] = [median(lost_cores), least, most].map(|cores| cores * 100.0);
        println!("{name:<42} {median:>9.1}  ({least:+.1} .. {most:+.1})");
    }
    Ok(())
}

fn load(pid: NonZeroU32, plan: &GoroutinePlan, budget_cores: f64) -> Result<GoroutineTracer> {
    let target = Target { pid, exe: format!("/proc/{pid}/exe").into(), code: None };
    let limits = GoroutineLimits { budget_cores, ..GoroutineLimits::default() };
    let layout = plan.layout.context("no probe points")?;
    Ok(GoroutineTracer::load(target, layout, 0, limits)?)
}

fn attached(pid: NonZeroU32, plan: &GoroutinePlan, budget_cores: f64) -> Result<GoroutineTracer> {
    let mut tracer = load(pid, plan, budget_cores)?;
    tracer.attach(&plan.points)?;
    GoroutineRates::new(&tracer.read()?);
    Ok(tracer)
}

/// A workload that waits to begin.
struct Relay {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Relay {
    fn start(program: &Path, name: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args([name, "-wait"]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut this = Self { child, stdin, stdout };
        this.line_starting("ready ")?;
        Ok(this)
    }

    /// Its truth, with what `attach` gives held meanwhile.
    fn run(
        mut self,
        attach: &dyn Fn(NonZeroU32) -> Result<Box<dyn std::any::Any>>,
    ) -> Result<Value> {
        let pid = NonZeroU32::new(self.child.id()).context("no pid")?;
        let attached = attach(pid)?;
        self.stdin.write_all(b"\n")?;
        let done = self.line_starting("done ")?;
        drop(attached);
        Ok(serde_json::from_str(&done)?)
    }

    fn line_starting(&mut self, start: &str) -> Result<String> {
        let mut line = String::new();
        while self.stdout.read_line(&mut line)? > 0 {
            if let Some(rest) = line.strip_prefix(start) {
                return Ok(rest.to_owned());
            }
            line.clear();
        }
        anyhow::bail!("the workload never said `{start}`")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The middle value; NaN of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
