//! What a probe hit costs the target, as ratios in one run: nothing attached, an empty program,
//! full service, and bpftrace where it is installed. Run by `cargo xtask bench`, as root.
//!
//! In: a workload that makes and cancels contexts as fast as it can (`CHURN`), and a big program
//! (`BIG`). Out: a table of medians. Non-goals: passing or failing.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use leaktrace::{
    binary::{Blocks, BuildInfo, Elf, GoBinary},
    bpf::{Limits, Target, Tracer},
    config::LIVE_ENTRIES_DEFAULT,
    probe::{ContextFacts, Plan, plan},
};

const REPETITIONS: usize = 7;
const PAIRS: &str = "200000";
/// bpftrace needs a moment to attach, and a hundred times as long for a pair.
const PAIRS_BPFTRACE: &str = "20000";
const STARTS: usize = 5;

fn main() -> Result<()> {
    let program = PathBuf::from(std::env::var_os("CHURN").context("CHURN names no workload")?);
    let plan = read_plan(&program)?;
    hit_costs(&program, &plan)?;
    match std::env::var_os("BIG") {
        Some(big) => start_costs(Path::new(&big)),
        None => Ok(()),
    }
}

fn read_plan(program: &Path) -> Result<Plan> {
    let file = Blocks::new(File::open(program)?);
    let elf = Elf::read(&file)?;
    let build = BuildInfo::read(&file, &elf)?;
    let go = GoBinary::read(&file, &elf, &build)?;
    let plan = plan(&ContextFacts::read(&file, &elf, &go)?);
    ensure!(!plan.points.is_empty(), "no probe points in {}", program.display());
    Ok(plan)
}

/// Rounds of all variants in turn, so that drift of the machine's speed hits them alike.
fn hit_costs(program: &Path, plan: &Plan) -> Result<()> {
    let bpftrace = Command::new("bpftrace").arg("--version").output().is_ok();
    let mut ns: [Vec<f64>; 4] = Default::default();
    for _ in 0..REPETITIONS {
        ns[0].push(pair_ns(program, PAIRS, |_| Ok(()))?);
        ns[1].push(pair_ns(program, PAIRS, |pid| {
            let mut tracer = load(pid)?;
            tracer.attach_empty(&plan.points)?;
            Ok(tracer)
        })?);
        ns[2].push(pair_ns(program, PAIRS, |pid| {
            let mut tracer = load(pid)?;
            tracer.attach(&plan.points)?;
            Ok(tracer)
        })?);
        if bpftrace {
            ns[3].push(pair_ns(program, PAIRS_BPFTRACE, |pid| Bpftrace::attach(pid, plan))?);
        }
    }
    let [untraced, empty, full, other] = ns.map(median);
    let hit = |pair: f64| (pair - untraced) / 2.0;
    println!("cost of a probe hit (median of {REPETITIONS}; a create+cancel pair has 2 hits)");
    println!("{:<42} {:>9} {:>9} {:>9}", "", "ns/pair", "ns/hit", "x empty");
    println!("{:<42} {untraced:>9.0}", "untraced");
    let rows = [
        ("empty program at the same instruction", empty),
        ("full: walk, hash, site, live map", full),
        ("bpftrace @[ustack]=count()", other),
    ];
    for (name, pair) in rows.into_iter().filter(|(_, pair)| !pair.is_nan()) {
        println!("{name:<42} {pair:>9.0} {:>9.0} {:>9.2}", hit(pair), hit(pair) / hit(empty));
    }
    if other.is_nan() {
        println!("bpftrace is not installed, so it was not compared");
    } else {
        println!("full is 1/{:.1} of bpftrace", hit(other) / hit(full));
    }
    Ok(())
}

fn load(pid: NonZeroU32) -> Result<Tracer> {
    let target = Target { pid, exe: format!("/proc/{pid}/exe").into(), code: None };
    Ok(Tracer::load(target, Limits { live_entries: LIVE_ENTRIES_DEFAULT, log: false })?)
}

/// bpftrace counting stacks in the functions that we probe: at their symbols, since it resolves
/// no address behind them.
struct Bpftrace(Child);

impl Bpftrace {
    fn attach(pid: NonZeroU32, plan: &Plan) -> Result<Self> {
        let probes: Vec<_> = plan
            .points
            .iter()
            .map(|point| format!("uprobe:/proc/{pid}/exe:\"{}\"", point.function))
            .collect();
        let script = format!(
            "BEGIN {{ printf(\"on\\n\"); }} {} {{ @[ustack] = count(); }}",
            probes.join(",")
        );
        let mut command = Command::new("bpftrace");
        command.args(["-B", "line", "-p", &pid.to_string(), "-e", &script]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut this = Self(command.spawn().context("can't start bpftrace")?);
        let stdout = this.0.stdout.as_mut().context("bpftrace has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next().transpose()? {
            if line == "on" {
                // BEGIN runs before the others are attached.
                std::thread::sleep(Duration::from_millis(500));
                return Ok(this);
            }
        }
        anyhow::bail!("bpftrace refused the script: {script}")
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nanoseconds of one create+cancel pair while what `attach` gives is held.
fn pair_ns<T>(
    program: &Path,
    pairs: &str,
    attach: impl FnOnce(NonZeroU32) -> Result<T>,
) -> Result<f64> {
    let mut churn = Churn::start(program, pairs)?;
    let pid = NonZeroU32::new(churn.child.id()).context("no pid")?;
    let attached = attach(pid)?;
    churn.stdin.write_all(b"\n")?;
    let done = churn.line_starting("done ")?;
    drop(attached);
    let truth: serde_json::Value = serde_json::from_str(&done)?;
    truth["ns_per_pair"].as_f64().context("the workload gives no ns_per_pair")
}

struct Churn {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Churn {
    fn start(program: &Path, pairs: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["churn", "-wait", "-pairs", pairs]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut this = Self { child, stdin, stdout };
        this.line_starting("ready ")?;
        Ok(this)
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

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// From the start of leaktrace to its probes attached, on a big program, and what it costs.
fn start_costs(big: &Path) -> Result<()> {
    let size_mb = std::fs::metadata(big)?.len() as f64 / 1e6;
    let mut target = Command::new(big).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let measured: Result<Vec<_>> = (0..STARTS).map(|_| start_once(target.id())).collect();
    let _ = target.kill();
    let _ = target.wait();
    let mut seconds = Vec::new();
    let mut last = serde_json::Value::Null;
    for (attached_s, report) in measured? {
        seconds.push(attached_s);
        last = report;
    }
    let functions = read_functions(big)?;
    println!(
        "\nstart on a program of {size_mb:.0} MB with {functions} functions (median of {STARTS})"
    );
    println!("from start to attached                     {:>8.3} s", median(seconds));
    let mib =
        |field: &str| last["overhead"][field].as_f64().unwrap_or(f64::NAN) / f64::from(1 << 20);
    println!("own RSS                                    {:>8.1} MiB", mib("rss_bytes"));
    println!("own RSS, peak while loading                {:>8.1} MiB", mib("rss_peak_bytes"));
    println!("kernel maps                                {:>8.1} MiB", mib("map_bytes"));
    Ok(())
}

fn start_once(pid: u32) -> Result<(f64, serde_json::Value)> {
    let begin = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_leaktrace"));
    command.args(["trace", "--json", "--duration", "2s", "--interval", "200ms", "--pid"]);
    command.arg(pid.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().context("no stderr")?);
    let mut line = String::new();
    stderr.read_line(&mut line)?;
    let attached_s = begin.elapsed().as_secs_f64();
    ensure!(line.starts_with("tracing ") && line.contains("2 probes"), "leaktrace said: {line}");
    let drain = std::thread::spawn(move || stderr.lines().count());
    let output = child.wait_with_output()?;
    let _ = drain.join();
    Ok((attached_s, serde_json::from_slice(&output.stdout)?))
}

fn read_functions(program: &Path) -> Result<u64> {
    let file = Blocks::new(File::open(program)?);
    let elf = Elf::read(&file)?;
    let build = BuildInfo::read(&file, &elf)?;
    Ok(GoBinary::read(&file, &elf, &build)?.table.function_count())
}

/// The middle value; NaN of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
