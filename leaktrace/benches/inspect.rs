//! What a look into a process costs: time and own memory on 100,000 goroutines and on 10,000 heap
//! sites (`SERVED`), how much less another reading of the same goroutines costs, and what a busy
//! target (`CHURN`) notices of it. Run by `cargo xtask bench`,
//! as root.
//!
//! Non-goals: passing or failing.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use leaktrace::{
    memory::goroutines::{CodeFrames, GoroutineReader, Limits},
    session::{Executable, Look},
    target::{Identity, Selector, Watch, select},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

const LOOKS: usize = 5;
/// Some seconds, so that several looks fall into each round.
const PAIRS: &str = "10000000";
const ROUNDS: usize = 8;

fn main() -> Result<()> {
    let path = |name| std::env::var_os(name).map(PathBuf::from).context(name);
    let (served, churn) = (path("SERVED")?, path("CHURN")?);
    println!("a look (median of {LOOKS})                  s    own RSS, peak    found");
    look_at(&served, "100,000 goroutines", &["goroutines", "100000"], |found| {
        format!("{} goroutines", found["goroutines"]["total"])
    })?;
    look_at(&served, "10,000 heap sites", &["heap", "-rate", "1", "-many", "10000"], |found| {
        format!("{} call chains", found["heap"]["sites_total"])
    })?;
    look_at(&served, "100,000 contexts", &["contexts", "100000"], |found| {
        format!("{} children", found["holders"]["top"][0]["children"])
    })?;
    println!();
    ["0", "12"].iter().try_for_each(|depth| read_again(&served, depth))?;
    let (mut quiet, mut watched) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Taking turns: whatever warms up or tires hits both alike.
        for is_watched in [round % 2 == 0, round % 2 != 0] {
            let ns = pair_ns(&churn, is_watched)?;
            if is_watched { &mut watched } else { &mut quiet }.push(ns);
        }
    }
    println!("\na busy target, ns per create+cancel pair: median of {ROUNDS} (least to most)");
    for (name, ns) in [("alone", &quiet), ("looked at once a second", &watched)] {
        let (least, most) = ns.iter().fold((f64::MAX, 0.0_f64), |(a, b), n| (a.min(*n), b.max(*n)));
        println!("{name:<26} {:>6.0}  ({least:.0} to {most:.0})", median(ns.clone()));
    }
    Ok(())
}

fn leaktrace(pid: u32) -> Result<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leaktrace"));
    let output = command.args(["inspect", "--json", "--pid", &pid.to_string()]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn look_at(
    served: &Path,
    what: &str,
    arguments: &[&str],
    found: impl Fn(&Value) -> String,
) -> Result<()> {
    let target = Target::start(served, arguments)?;
    let looks = (0..LOOKS).map(|_| leaktrace(target.child.id())).collect::<Result<Vec<_>>>()?;
    let seconds = median(looks.iter().filter_map(|look| look["took_s"].as_f64()).collect());
    let peak = looks.iter().filter_map(|look| look["own_rss_peak_bytes"].as_f64());
    let peak_mib = peak.fold(0.0, f64::max) / f64::from(1 << 20);
    println!("{what:<34} {seconds:>6.3}  {peak_mib:>9.1} MiB    {}", found(&looks[0]));
    Ok(())
}

/// The CPU time that this thread has had: what others do on the machine does not count.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What a reading costs in which no goroutine has moved since the one before, beside the first; they
/// wait in `depth` more calls than the fewest there can be.
fn read_again(served: &Path, depth: &str) -> Result<()> {
    let target = Target::start(served, &["goroutines", "100000", depth])?;
    let process = select(&Selector::Pid(target.child.id() as i32))?;
    let identity = Identity::of(&process)?;
    let watch = Watch::new(process, identity);
    let executable = Executable::of(&watch)?;
    let look = Look::open(watch.process(), &executable)?;
    let (file, _, go) = executable.go().context("no Go program")?;
    let frames = CodeFrames::new(file, &go.table, executable.bias().context("no bias")?);
    let (mut first, mut again, mut walked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..LOOKS {
        let mut reader = GoroutineReader::new(Limits::default());
        for reading in 0..=LOOKS {
            let seconds = if reading == 0 { &mut first } else { &mut again };
            let begin = cpu_s();
            walked = reader.read(&look.runtime(), Some(&frames))?.walked;
            seconds.push(cpu_s() - begin);
        }
    }
    let (first, again) = (median(first), median(again));
    println!(
        "100,000 goroutines in {depth} more calls: read in {first:.3} s of CPU, again in {again:.4} s \
         ({:.1} %), {walked} stacks walked",
        100.0 * again / first
    );
    Ok(())
}

/// A program that says `ready` once it is set up, and ends with its standard input.
struct Target {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Target {
    fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut this = Self { child, stdout };
        this.line("ready ")?;
        Ok(this)
    }

    fn line(&mut self, start: &str) -> Result<String> {
        let mut line = String::new();
        while self.stdout.read_line(&mut line)? > 0 {
            if let Some(rest) = line.strip_prefix(start) {
                return Ok(rest.to_owned());
            }
            line.clear();
        }
        anyhow::bail!("the program never said `{start}`")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pair_ns(churn: &Path, watched: bool) -> Result<f64> {
    let mut target = Target::start(churn, &["churn", "-wait", "-pairs", PAIRS])?;
    let (pid, over) = (target.child.id(), AtomicBool::new(false));
    thread::scope(|scope| {
        if watched {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = leaktrace(pid);
                    thread::sleep(std::time::Duration::from_secs(1));
                }
            });
        }
        target.child.stdin.as_mut().context("no stdin")?.write_all(b"\n")?;
        let done = target.line("done ");
        over.store(true, Ordering::Relaxed);
        let truth: Value = serde_json::from_str(&done?)?;
        truth["ns_per_pair"].as_f64().context("the workload gives no ns_per_pair")
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
