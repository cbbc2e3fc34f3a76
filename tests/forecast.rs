//! Forecasts on live processes: the kill that the kernel really does lies in the interval.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use leaktrace::{
    forecast::{
        Consequence, EVICTION_THRESHOLD_BYTES, Forecast, LimitKind, Observations, forecast,
    },
    memory::RuntimeCounters,
    model::{Contribution, Pacing, Slope, explained_share, heap_headroom, trend},
    session::{Executable, Look},
    snapshot::{
        CgroupLimit, CgroupSample, CgroupVersion, Hierarchies, Instant, NodeSample, OomSample,
        ProcessSample,
    },
    target::{Identity, Selector, Watch, select},
};
use procfs::process::Process;
use support::{GO, Guard, Trace, Workload};

const MIB: u64 = 1 << 20;
/// Of the outer cgroup; the inner one, where the process is, may have more.
const OUTER_LIMIT_BYTES: u64 = 64 * MIB;
const INNER_LIMIT_BYTES: u64 = 256 * MIB;
/// The workload's steps are 50 ms apart: 5 s.
const STEPS_WATCHED: usize = 100;
/// Pages of each step: 3.1 MiB/s.
const PAGES: u64 = 40;
const STEPS_PER_S: f64 = 20.0;

/// Two memory cgroups, one in the other, which are removed with their guard.
struct Cgroups {
    version: CgroupVersion,
    outer: PathBuf,
    inner: PathBuf,
}

impl Cgroups {
    /// None where no memory controller is mounted.
    fn make(name: &str) -> Option<Self> {
        let top = Hierarchies::find().memory_top()?;
        let outer = top.folder().join(format!("leaktrace-{name}-{}", std::process::id()));
        let inner = outer.join("inner");
        let made = Self { version: top.version, outer, inner };
        made.delegate(&top.folder());
        fs::create_dir(&made.outer).unwrap();
        made.delegate(&made.outer);
        fs::create_dir(&made.inner).unwrap();
        made.limit(&made.outer, OUTER_LIMIT_BYTES);
        made.limit(&made.inner, INNER_LIMIT_BYTES);
        Some(made)
    }

    /// v2: children have the controllers that their parent gives them.
    fn delegate(&self, parent: &Path) {
        if self.version == CgroupVersion::V2 {
            fs::write(parent.join("cgroup.subtree_control"), "+memory").unwrap();
        }
    }

    fn limit(&self, folder: &Path, bytes: u64) {
        let name = match self.version {
            CgroupVersion::V1 => "memory.limit_in_bytes",
            CgroupVersion::V2 => "memory.max",
        };
        fs::write(folder.join(name), bytes.to_string()).unwrap();
    }

    /// What the kernel says of kills, beside leaktrace's own reading.
    fn oom_kills(&self) -> u64 {
        let name = match self.version {
            CgroupVersion::V1 => "memory.oom_control",
            CgroupVersion::V2 => "memory.events",
        };
        let text = fs::read_to_string(self.inner.join(name)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.unwrap().parse().unwrap()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for folder in [&self.inner, &self.outer] {
            // The kernel lets go of a process's cgroup shortly after its parent has waited for it.
            let removed = (0..200).any(|_| {
                let gone = fs::remove_dir(folder).is_ok() || !folder.exists();
                if !gone {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                gone
            });
            if !removed {
                eprintln!("{} was left behind", folder.display());
            }
        }
    }
}

/// The workload of tests/workloads/c/pages.c.
struct Pages {
    process: Guard,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Pages {
    /// Starts it in `folder` of the cgroups; it touches nothing until it is told to begin.
    fn start(folder: &Path, pages: u64) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(folder);
        command.arg(built()).arg(pages.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut this = Self { process: Guard(child), stdin, lines: BufReader::new(stdout) };
        assert_eq!(this.line(), format!("ready pid={}", this.process.pid()));
        this
    }

    fn begin(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
        assert_eq!(self.line(), "started");
    }

    /// Empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Bytes touched after one more step; none when it is gone.
    fn step(&mut self) -> Option<u64> {
        let line = self.line();
        line.strip_prefix("touched ").map(|bytes| bytes.parse().unwrap())
    }
}

/// The compiled workload; whatever links Rust programs compiles C.
fn built() -> PathBuf {
    static ONCE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/workloads/c/pages.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
        let status = Command::new("cc").arg("-O1").arg(source).arg("-o").arg(&program).status();
        assert!(status.unwrap().success());
        program
    };
    ONCE.get_or_init(build).clone()
}

/// What was seen of a process while it took its steps.
struct Seen {
    start: Instant,
    end_s: f64,
    rss_anon: Vec<(f64, f64)>,
    nodes: Vec<(f64, NodeSample)>,
    cgroups: Vec<(f64, CgroupSample)>,
    /// By the workload itself: (seconds, bytes).
    touched: Vec<(f64, f64)>,
}

impl Seen {
    fn watch(pages: &mut Pages) -> Self {
        let hierarchies = Hierarchies::find();
        let process = Process::new(pages.process.pid() as i32).unwrap();
        let start = Instant::now();
        let mut seen = Self {
            start,
            end_s: 0.0,
            rss_anon: Vec::new(),
            nodes: Vec::new(),
            cgroups: Vec::new(),
            touched: Vec::new(),
        };
        for _ in 0..STEPS_WATCHED {
            let touched = pages.step().expect("it is killed later");
            let at_s = Instant::now().seconds_since(&start);
            seen.touched.push((at_s, touched as f64));
            let sample = ProcessSample::read(&process);
            seen.rss_anon.push((at_s, sample.rss_anon_bytes.unwrap() as f64));
            seen.nodes.push((at_s, NodeSample::read(&hierarchies)));
            seen.cgroups.push((at_s, CgroupSample::read(&process, &hierarchies).unwrap()));
            seen.end_s = at_s;
        }
        seen
    }

    fn forecast(&self) -> Forecast {
        forecast(&Observations {
            rss_anon: &self.rss_anon,
            noise_bytes: 0.0,
            nodes: &self.nodes,
            cgroups: &self.cgroups,
            eviction_threshold_bytes: EVICTION_THRESHOLD_BYTES,
        })
    }

    fn since_end_s(&self) -> f64 {
        Instant::now().seconds_since(&self.start) - self.end_s
    }
}

/// Where a skip is earned: no memory controller is mounted, which the kernel says as well.
fn cgroups_or_skip(name: &str) -> Option<Cgroups> {
    let made = Cgroups::make(name);
    if made.is_none() {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let memory = |line: &str| line.contains(" - cgroup ") && line.contains("memory");
        assert!(!mounts.lines().any(memory), "a memory hierarchy is mounted");
        eprintln!("skipped: no memory controller is mounted");
    }
    made
}

#[test]
fn the_kill_in_a_cgroup_comes_when_it_was_forecast() {
    let Some(cgroups) = cgroups_or_skip("kill") else { return };
    let mut pages = Pages::start(&cgroups.inner, PAGES);
    pages.begin();
    let seen = Seen::watch(&mut pages);

    let found = seen.forecast();
    let slope = trend(&seen.rss_anon, 0.0).unwrap().slope;
    let exact = trend(&seen.touched, 0.0).unwrap().slope.per_s;
    assert!(slope.low <= exact && exact <= slope.high, "{exact} is not in {slope:?}");
    let asked = PAGES as f64 * procfs::page_size() as f64 * STEPS_PER_S;
    assert!((exact / asked - 1.0).abs() < 0.1, "{exact} of {asked} bytes/s: too busy a machine");

    let first = found.first_limit().unwrap_or_else(|| panic!("{found:?}"));
    let name = cgroups.outer.file_name().unwrap().to_str().unwrap();
    assert!(first.cgroup.ends_with(name), "{found:?}");
    assert_eq!((first.kind, first.consequence), (LimitKind::Max, Consequence::OomKill));
    assert_eq!(first.limit_bytes, OUTER_LIMIT_BYTES);
    assert_eq!(cgroups.oom_kills(), 0);

    let mut touched = 0;
    while let Some(bytes) = pages.step() {
        touched = bytes;
    }
    let truth_s = seen.since_end_s();
    let status = pages.process.0.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    assert_eq!(cgroups.oom_kills(), 1);
    // It was the limit: all but 4 MiB of it were the workload's own pages.
    assert!((OUTER_LIMIT_BYTES - 4 * MIB..OUTER_LIMIT_BYTES).contains(&touched), "{touched}");

    let deadline = first.deadline;
    let latest_s = deadline.latest_s.unwrap_or_else(|| panic!("{found:#?}"));
    println!("killed after {truth_s:.2} s, forecast {:.2} to {latest_s:.2} s", deadline.earliest_s);
    println!("{found:#?}");
    // It grows in steps: the limit was crossed in the last one, or just before it.
    let crossed_s = truth_s - 1.0 / STEPS_PER_S;
    assert!(deadline.earliest_s <= truth_s && crossed_s <= latest_s, "{truth_s}: {found:#?}");
    assert!(latest_s - deadline.earliest_s < 0.5 * truth_s, "too wide: {found:#?}");
}

/// The honest twin: the same steps without a page.
#[test]
fn a_process_that_does_not_grow_has_no_end() {
    let Some(cgroups) = cgroups_or_skip("flat") else { return };
    let mut pages = Pages::start(&cgroups.inner, 0);
    pages.begin();
    let seen = Seen::watch(&mut pages);
    let found = seen.forecast();
    assert!(found.limits.iter().all(|limit| limit.deadline.latest_s.is_none()), "{found:#?}");
    assert!(found.limits.iter().all(|limit| limit.deadline.earliest_s > 60.0), "{found:#?}");
}

#[test]
fn the_cgroups_are_those_that_were_made() {
    let Some(cgroups) = cgroups_or_skip("read") else { return };
    let pages = Pages::start(&cgroups.inner, 0);
    let process = Process::new(pages.process.pid() as i32).unwrap();
    let hierarchies = Hierarchies::find();
    let sample = CgroupSample::read(&process, &hierarchies).unwrap();
    assert_eq!(sample.version, cgroups.version);
    let limits: Vec<_> = sample.levels.iter().map(|level| level.max).collect();
    let bytes = |bytes| Some(CgroupLimit::Bytes(bytes));
    assert_eq!(limits[..2], [bytes(INNER_LIMIT_BYTES), bytes(OUTER_LIMIT_BYTES)]);
    assert!(sample.levels[0].path.ends_with("/inner"), "{sample:?}");
    assert_eq!(sample.levels[0].oom_kills, Some(0));
    if cgroups.version == CgroupVersion::V1 {
        let hierarchical = sample.levels[0].stat.hierarchical_limit;
        assert_eq!(hierarchical, bytes(OUTER_LIMIT_BYTES), "the nearest of all above");
    }
    let used: Vec<_> = sample.levels.iter().map(|level| level.working_set_bytes()).collect();
    assert!(used[0] <= used[1], "a parent has what its children have: {used:?}");
}

/// A process that asks to be killed first is first, by the kernel's own score.
#[test]
fn who_is_killed_first_is_who_asked_for_it() {
    let Some(cgroups) = cgroups_or_skip("first") else { return };
    let pages = Pages::start(&cgroups.inner, 0);
    let pid = pages.process.pid() as i32;
    fs::write(format!("/proc/{pid}/oom_score_adj"), "1000").unwrap();
    let sample = OomSample::read(&Process::new(pid).unwrap());
    let first = sample.first.as_ref().unwrap();
    assert_eq!((first.pid, first.score_adj, sample.rank), (pid, 1000, Some(1)), "{sample:?}");
    assert_eq!((first.comm.as_str(), sample.score_adj), ("pages", Some(1000)));
    let init = OomSample::read(&Process::new(1).unwrap());
    assert_eq!(init.rank, None, "init is never killed: {init:?}");
}

/// Contexts that are leaked, 32 KiB hang on each, among ten times as much garbage: the share by
/// what the workload says that it leaked.
#[test]
fn a_leak_times_the_headroom_explains_the_growth() {
    const PAYLOAD_BYTES: f64 = 32768.0;
    let sizes = ["-payload", "32768", "-garbage", "327680", "-syncs", "1500"];
    let mut workload = Workload::start(GO, &[&["podsync", "-wait"][..], &sizes].concat());
    let find = || select(&Selector::Pid(workload.pid() as i32)).unwrap();
    let watch = Watch::new(find(), Identity::of(&find()).unwrap());
    let executable = Executable::of(&watch).unwrap();
    let counters = || {
        let look = Look::open(watch.process(), &executable).unwrap();
        Pacing::from(&RuntimeCounters::read(&look.runtime()).unwrap())
    };
    workload.begin();
    let start = Instant::now();
    let done = std::thread::spawn(move || (workload.truth(), Instant::now(), workload));
    let (mut rss_anon, mut looks) = (Vec::new(), Vec::new());
    while !done.is_finished() {
        let at_s = Instant::now().seconds_since(&start);
        rss_anon.push((at_s, ProcessSample::read(watch.process()).rss_anon_bytes.unwrap() as f64));
        if looks.is_empty() && at_s > 3.0 || looks.len() == 1 && at_s > 13.0 {
            looks.push((at_s, counters()));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let (truth, end, _workload) = done.join().unwrap();
    let [(first_s, first), (last_s, last)] = looks[..] else { panic!("{} looks", looks.len()) };
    let headroom = heap_headroom(&first, &last, last_s - first_s);
    let leaked_per_s = truth["leaked"].as_f64().unwrap() / end.seconds_since(&start);
    let growth_per_s = Slope { per_s: leaked_per_s, low: leaked_per_s, high: leaked_per_s };
    // The context, its value and its place among its parent's children are some 300 bytes more.
    let leak = Contribution { growth_per_s, bytes_each: [PAYLOAD_BYTES, PAYLOAD_BYTES + 400.0] };
    let resident = trend(&rss_anon, 0.0).unwrap().slope;
    let found = explained_share(&[leak], headroom, resident).unwrap();
    let rate = leaked_per_s * PAYLOAD_BYTES;
    println!("explained {found}: {rate:.0} B/s leaked, headroom {headroom:?}, {resident:?}");
    assert!((0.8..=1.2).contains(&found.ratio), "{found} of {resident:?}");
    assert!(found.low <= 1.0 && 1.0 <= found.high, "{found} of {resident:?}");
}

/// By the report of a trace: the outer cgroup's limit, and the second in which the kernel kills.
#[test]
fn a_trace_names_the_limit_that_comes_first() {
    let Some(cgroups) = cgroups_or_skip("trace") else { return };
    let mut pages = Pages::start(&cgroups.inner, PAGES);
    pages.begin();
    let trace = Trace::of(pages.process.pid(), &["--duration", "11s", "--interval", "250ms"]);
    let report = trace.report();
    let ended = std::time::Instant::now();
    let limit = &report["forecast"]["limits"][0];
    let name = cgroups.outer.file_name().unwrap().to_str().unwrap();
    let forecast = &report["forecast"];
    assert!(limit["cgroup"].as_str().unwrap().ends_with(name), "{forecast:#}");
    assert_eq!(limit["limit_bytes"].as_u64(), Some(OUTER_LIMIT_BYTES), "{forecast:#}");
    assert_eq!((&limit["kind"], &limit["consequence"]), (&"max".into(), &"oom_kill".into()));
    let status = pages.process.0.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    let killed_s = ended.elapsed().as_secs_f64();
    let end = |name: &str| limit["deadline"][name].as_f64().unwrap();
    // The report itself takes a moment, which the forecast does not know of.
    let interval = end("earliest_s") - 1.5..=end("latest_s") + 0.5;
    assert!(interval.contains(&killed_s), "killed after {killed_s}: {limit:#}");
}
