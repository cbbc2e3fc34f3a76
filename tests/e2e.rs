//! End to end on live processes: what leaktrace says against what the workload knows it did.
//! Needs root and BPF.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use leaktrace::{
    binary::{Blocks, BuildInfo, Elf, GoBinary},
    probe::{ContextFacts, ProbePoint, Program, plan},
};
use rustix::process::Signal;
use serde_json::Value;
use support::{
    GO, GO_VERSIONS, Guard, Observer, Trace, Workload, growing_python, marked_line, sites_at,
    state, sum, workload_path, write_results,
};

/// Counts exactly what the workload did at its marked line, under load on all CPUs, in stacks
/// that grow, with cancels that repeat.
fn exact_counts(build: &str) {
    let mut workload =
        Workload::start(build, &["exact", "-wait", "-creations", "20000", "-keep-every", "10"]);
    let trace = Trace::of(workload.pid(), &["--duration", "60s", "--interval", "1s"]);
    workload.begin();
    let truth = workload.truth();
    let report = trace.interrupt();
    let sites = sites_at(&report, "exact.go", marked_line("exact.go", "// site: exact"));
    assert_eq!(report["window"]["ended_by"], "interrupted", "{build}");
    assert_eq!(truth["created"], 20_000, "{build}");
    for count in ["created", "released", "outstanding"] {
        assert_eq!(sum(&sites, count), truth[count].as_u64().unwrap(), "{build}: {count}");
    }
    assert!(report["contexts"]["repeated_cancels"].as_u64().unwrap() > 1000, "{build}");
    assert_eq!(report["lost"], serde_json::json!({}), "{build}");
    // The shallower chains fit whole; all goroutines begin in goexit.
    let whole = |site: &&Value| frames(site).last().unwrap()["function"] == "runtime.goexit";
    assert!(sites.iter().any(whole), "{build}: {sites:#?}");
    for site in sites {
        let functions: Vec<_> = frames(site).map(|f| f["function"].as_str().unwrap()).collect();
        assert!(functions.contains(&"main.(*exactWorker).create"), "{build}: {functions:?}");
        assert!(functions.contains(&"main.(*exactWorker).descend"), "{build}: {functions:?}");
        assert_eq!(site["parent_type"], "*context.cancelCtx", "{build}");
    }
    let (last_words, status) = workload.end();
    assert_eq!((last_words.as_str(), status.code()), ("bye\n", Some(0)), "{build}");
}

fn frames(site: &Value) -> impl Iterator<Item = &Value> {
    site["frames"].as_array().unwrap().iter()
}

/// The builds whose counts were exact, for `cargo xtask support`. The tests of one run fill it.
static EXACT: Mutex<Vec<Value>> = Mutex::new(Vec::new());

/// One kind of build, by every Go version.
fn exact_counts_of(kind: &str) {
    for version in GO_VERSIONS {
        exact_counts(&format!("go{version}{kind}"));
        let mut exact = EXACT.lock().unwrap();
        exact.push(serde_json::json!({ "go": version, "build": kind }));
        write_results("e2e.json", &*exact);
    }
}

#[test]
fn counts_are_exact_on_every_go_version() {
    exact_counts_of("");
}

#[test]
fn counts_are_exact_in_position_independent_executables() {
    exact_counts_of("-pie");
}

#[test]
fn counts_are_exact_with_c_in_the_program() {
    exact_counts_of("-cgo");
}

#[test]
fn counts_are_exact_with_c_in_position_independent_executables() {
    exact_counts_of("-cgo-pie");
}

/// C without frame pointers leaves anything in that register: it must not make a new site of every
/// callback.
#[test]
fn a_chain_ends_where_c_calls_back() {
    for build in ["go1.21.13-cgo", "go1.27.3-cgo-pie"] {
        let mut workload = Workload::start(build, &["callbacks", "-wait", "-count", "300"]);
        let trace = Trace::of(workload.pid(), &["--duration", "60s", "--interval", "1s"]);
        workload.begin();
        let truth = workload.truth();
        let report = trace.interrupt();
        let sites =
            sites_at(&report, "callbacks.go", marked_line("callbacks.go", "// site: callbacks"));
        assert_eq!(truth["created"], 300, "{build}");
        assert_eq!(sites.len(), 1, "{build}: {sites:#?}");
        assert_eq!(sum(&sites, "created"), 300, "{build}");
        let functions: Vec<_> = frames(sites[0]).map(|f| f["function"].as_str().unwrap()).collect();
        assert!(functions.contains(&"runtime.cgocallbackg"), "{build}: {functions:?}");
        let last = frames(sites[0]).last().unwrap();
        assert!(last["file"].as_str().unwrap().ends_with(".s"), "{build}: {functions:?}");
    }
}

#[test]
fn counts_are_exact_where_binutils_stripped() {
    exact_counts_of("-stripped");
}

#[test]
fn counts_are_exact_without_section_headers() {
    exact_counts_of("-bare");
}

#[test]
fn the_leaky_twin_is_a_leak_at_its_line() {
    let workload = Workload::start(GO, &["podsync", "-mode", "leaky"]);
    let report = Trace::of(workload.pid(), &["--duration", "24s", "--interval", "1s"]).report();
    assert_eq!(state(&report), "leak", "{:#}", report["verdict"]);
    let guilty = sites_at(&report, "podsync.go", marked_line("podsync.go", "// leak: podsync"));
    assert!(!guilty.is_empty() && guilty.iter().all(|site| site["verdict"] == "leak"));
    let leaking = report["contexts"]["sites"].as_array().unwrap().iter();
    assert_eq!(leaking.filter(|site| site["verdict"] == "leak").count(), guilty.len());
    // 10 pods that sync every 100 ms and cancel one of 12 contexts.
    let growth = guilty[0]["growth_per_s"].as_f64().unwrap();
    assert!((85.0..=100.0).contains(&growth), "{growth}");
    assert_eq!(guilty[0]["pinned"], true);
    let summary = report["verdict"]["summary"].as_str().unwrap();
    assert!(summary.contains("startPodSync") && summary.contains("podsync.go:"), "{summary}");
}

#[test]
fn a_trace_without_a_duration_ends_when_its_verdict_is_settled() {
    let workload = Workload::start(GO, &["podsync", "-mode", "leaky"]);
    let report = Trace::of(workload.pid(), &[]).report();
    assert_eq!((state(&report), &report["window"]["ended_by"]), ("leak", &"settled".into()));
    let verdict = &report["verdict"];
    assert!(verdict["confidence_ratio"].as_f64().unwrap() >= 0.9, "{verdict:#}");
    assert!(verdict["floor_contexts_per_s"].as_f64().unwrap() <= 0.5, "{verdict:#}");
    let traced_s = report["window"]["duration_s"].as_f64().unwrap();
    assert!((20.0..200.0).contains(&traced_s), "{traced_s}");
}

#[test]
fn a_trace_that_is_to_see_more_than_its_time_allows_says_so() {
    let workload = Workload::start(GO, &["podsync", "-mode", "leaky"]);
    let report = Trace::of(workload.pid(), &["--see", "1/h", "--at-most", "12s"]).report();
    assert_eq!(report["window"]["ended_by"], "time_up");
    let ahead = report["verdict"]["ahead"].as_array().unwrap();
    let slow = |ahead: &&Value| ahead["of"] == "goroutines" && ahead["per_s"] == 0.001;
    let window_s = ahead.iter().find(slow).unwrap()["window_s"].as_f64().unwrap();
    // Thirteen of them take so long, and some of them are still young.
    assert!((13_000.0..25_000.0).contains(&window_s), "{window_s}");
}

#[test]
fn the_fixed_twin_is_clean() {
    let workload = Workload::start("go1.27.3-pie", &["podsync", "-mode", "fixed"]);
    let report = Trace::of(workload.pid(), &["--duration", "24s", "--interval", "1s"]).report();
    assert_eq!(state(&report), "no_leak", "{:#}", report["verdict"]);
    assert!(report["verdict"]["floor_contexts_per_s"].as_f64().unwrap() < 1.0);
    let created = report["contexts"]["created"].as_u64().unwrap();
    assert!(created > 4000, "{created}: the twin works as hard as the leaky one");
}

/// Honest workloads that look like leaks for a while, all at once. No life lies just below the
/// edge of a histogram bucket, where a little jitter would double the horizon.
#[test]
fn look_alikes_are_not_called_leaks() {
    let look_alikes: [(&str, &[&str], &str); 5] = [
        ("bursts", &["burst", "-hold", "1500ms"], "no_leak"),
        ("contexts held since the start", &["hold"], "no_leak"),
        ("lives of three seconds", &["steady", "-life", "3s"], "no_leak"),
        ("released by their timers", &["timeouts", "-timeout", "1500ms"], "no_leak"),
        ("collected by the garbage collector", &["background"], "no_leak"),
    ];
    let running: Vec<_> = look_alikes
        .iter()
        .map(|(name, arguments, expected)| {
            let workload = Workload::start(GO, arguments);
            let trace = ["--duration", "36s", "--interval", "1s"];
            (name, arguments, expected, Trace::of(workload.pid(), &trace), workload)
        })
        .collect();
    for (name, arguments, expected, trace, _workload) in running {
        let report = trace.report();
        assert_eq!(state(&report), *expected, "{name}: {:#}", report["verdict"]);
        assert!(report["contexts"]["created"].as_u64().unwrap() > 500, "{name}");
        let sites = report["contexts"]["sites"].as_array().unwrap();
        // Nothing is ever released at this one, and hardly any is left.
        let unreleased = sites.iter().filter(|site| site["parent_type"] == "context.backgroundCtx");
        for site in unreleased.filter(|site| site["released"] == 0 && site["created"] != 1) {
            assert_eq!(arguments[0], "background", "{name}: {site:#}");
            let count = |what: &str| site[what].as_u64().unwrap();
            assert!(count("collected") > 9 * count("outstanding"), "{name}: {site:#}");
        }
    }
}

/// SAFE-1: not ptraced, never stopped, same work done, same exit.
#[test]
fn the_target_is_unharmed() {
    let mut workload =
        Workload::start(GO, &["exact", "-wait", "-creations", "50000", "-keep-every", "5"]);
    let observer = Observer::of(workload.pid());
    let trace = Trace::of(workload.pid(), &["--duration", "60s", "--interval", "200ms"]);
    workload.begin();
    let truth = workload.truth();
    let report = trace.interrupt();
    assert_eq!(truth["created"], 50_000);
    assert_eq!(report["contexts"]["created"].as_u64().unwrap(), 50_001, "and the parent");
    assert_eq!(observer.offences(), Vec::<String>::new());
    let (last_words, status) = workload.end();
    assert_eq!((last_words.as_str(), status.code()), ("bye\n", Some(0)));
}

/// What would be probed in a workload.
fn probe_points(build: &str) -> Vec<ProbePoint> {
    let file = Blocks::new(File::open(workload_path(build)).unwrap());
    let elf = Elf::read(&file).unwrap();
    let info = BuildInfo::read(&file, &elf).unwrap();
    let go = GoBinary::read(&file, &elf, &info).unwrap();
    plan(&ContextFacts::read(&file, &elf, &go).unwrap()).points
}

/// A profile-guided build inlines `cancel` into the closure that is given out as `CancelFunc`.
#[test]
fn counts_are_exact_where_cancel_is_inlined() {
    let points = probe_points("go1.22.10-pgo");
    let closures: Vec<_> = points
        .iter()
        .filter(|point| point.program == Program::ContextReleaseClosure)
        .map(|point| point.function.as_str())
        .collect();
    assert_eq!(closures, ["context.WithCancel.func1"]);
    exact_counts("go1.22.10-pgo");
}

/// The instruction at each probe point of a running workload, read from its memory.
struct ProbedCode {
    memory: File,
    addresses: Vec<u64>,
}

impl ProbedCode {
    const PUSH_RBP: u8 = 0x55;
    const BREAKPOINT: u8 = 0xcc;

    fn of(workload: &Workload) -> Self {
        let addresses: Vec<_> = probe_points(GO).iter().map(|point| point.vaddr).collect();
        assert_eq!(addresses.len(), 2);
        Self { memory: File::open(format!("/proc/{}/mem", workload.pid())).unwrap(), addresses }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut read = |address: &u64| {
            let mut byte = [0];
            self.memory.seek(SeekFrom::Start(*address)).unwrap();
            self.memory.read_exact(&mut byte).unwrap();
            byte[0]
        };
        self.addresses.iter().map(&mut read).collect()
    }
}

/// A trace that can't clean up leaves nothing behind: the kernel removes the probes.
#[test]
fn probes_are_gone_after_kill_9() {
    let workload = Workload::start(GO, &["podsync", "-mode", "fixed"]);
    let mut code = ProbedCode::of(&workload);
    assert_eq!(code.bytes(), [ProbedCode::PUSH_RBP; 2]);
    let trace = Trace::of(workload.pid(), &["--duration", "60s"]);
    assert_eq!(code.bytes(), [ProbedCode::BREAKPOINT; 2]);
    trace.process.signal(Signal::KILL);
    drop(trace);
    let deadline = Instant::now() + Duration::from_secs(10);
    while code.bytes() != [ProbedCode::PUSH_RBP; 2] {
        assert!(Instant::now() < deadline, "the probes are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (last_words, status) = workload.end();
    assert!(last_words.ends_with("bye\n") && status.success(), "{last_words}");
}

/// What was collected before the target's end is reported, and its end is said.
#[test]
fn a_target_that_ends_leaves_a_report() {
    let mut workload =
        Workload::start(GO, &["exact", "-wait", "-creations", "5000", "-keep-every", "10"]);
    let trace = Trace::of(workload.pid(), &["--duration", "60s", "--interval", "1s"]);
    workload.begin();
    let truth = workload.truth();
    let ended = Instant::now();
    workload.end();
    let report = trace.report();
    assert!(ended.elapsed() < Duration::from_secs(20), "the trace ends with its target");
    assert_eq!(report["target"]["state"], "ended");
    assert!(report["verdict"]["reasons"][0].as_str().unwrap().contains("target ended"));
    let sites = sites_at(&report, "exact.go", marked_line("exact.go", "// site: exact"));
    assert_eq!(sum(&sites, "created"), 5000);
    assert_eq!(sum(&sites, "outstanding"), truth["outstanding"].as_u64().unwrap());
}

/// IDENT-1: a process that executes its own file again is another one, whose probes are gone.
#[test]
fn a_target_that_executes_itself_again_is_another_epoch() {
    let script = "sleep 2; exec /bin/sh -c 'sleep 30'";
    let shell = Guard(Command::new("/bin/sh").args(["-c", script]).spawn().unwrap());
    let report = Trace::of(shell.pid(), &["--duration", "20s", "--interval", "200ms"]).report();
    assert_eq!(report["target"]["state"], "replaced");
    assert!(report["window"]["duration_s"].as_f64().unwrap() < 10.0);
    // Nothing of the other program is in it, and nothing is forecast for it.
    let forecast = &report["forecast"];
    assert!(forecast["eviction"].is_null() && forecast["oom"].is_null(), "{forecast:#}");
    let assumed = forecast["assumptions"][0].as_str().unwrap();
    assert!(assumed.contains("another program"), "{assumed}");
    assert!(report["rss"]["rollup_anon_last_bytes"].is_null(), "{:#}", report["rss"]);
    assert_eq!(state(&report), "inconclusive");
}

/// COST-1: a live map that fills widens its sampling; creations stay exact, the rest is scaled,
/// nothing is lost.
#[test]
fn a_full_live_map_samples_and_says_so() {
    let mut workload = Workload::start(GO, &["hold", "-wait", "-count", "20000"]);
    let arguments = ["--duration", "6s", "--interval", "1s", "--live-entries", "4096"];
    let trace = Trace::of(workload.pid(), &arguments);
    workload.begin();
    let report = trace.report();
    let sites = sites_at(&report, "hold.go", marked_line("hold.go", "// site: hold"));
    assert_eq!(sum(&sites, "created"), 20_000);
    // 20,000 survivors sampled 1 in 16: four standard deviations are 11 %.
    let outstanding = sum(&sites, "outstanding");
    assert!((17_600..=22_400).contains(&outstanding), "{outstanding}");
    let ratio = report["contexts"]["sample_ratio"].as_f64().unwrap();
    assert!(ratio < 0.5, "{ratio}");
    assert!(report["contexts"]["how"].as_str().unwrap().contains("sampled 1 in"));
    assert_eq!(report["lost"], serde_json::json!({}));
}

/// LOSS-1: what finds no room is counted, said first, and nothing is claimed with confidence.
#[test]
fn a_flooded_live_map_counts_its_losses() {
    let mut workload =
        Workload::start(GO, &["exact", "-wait", "-creations", "60000", "-keep-every", "1"]);
    let arguments = ["--duration", "60s", "--interval", "1s", "--live-entries", "1024"];
    let trace = Trace::of(workload.pid(), &arguments);
    workload.begin();
    workload.truth();
    std::thread::sleep(Duration::from_secs(11));
    let report = trace.interrupt();
    let lost = report["lost"]["live_full"].as_u64().unwrap();
    assert!(lost > 1000, "{lost}");
    assert!(["suspect", "inconclusive"].contains(&state(&report)), "{:#}", report["verdict"]);
    assert_eq!(report["verdict"]["confidence_ratio"], 0.0);
    assert!(report["verdict"]["reasons"][0].as_str().unwrap().contains("were lost"));
    let sites = sites_at(&report, "exact.go", marked_line("exact.go", "// site: exact"));
    assert_eq!(sum(&sites, "created"), 60_000, "creations stay exact");
}

/// Ctrl-C in the very moment at which leaktrace says that it traces.
#[test]
fn an_early_interrupt_still_gives_a_report() {
    let workload = Workload::start(GO, &["podsync", "-mode", "fixed"]);
    for _ in 0..10 {
        let report =
            Trace::of(workload.pid(), &["--duration", "20s", "--interval", "1s"]).interrupt();
        assert_eq!(state(&report), "inconclusive");
        assert!(report["window"]["duration_s"].as_f64().unwrap() < 5.0);
    }
}

/// NET-1: no socket of any internet protocol is opened.
#[test]
fn nothing_is_opened_to_the_network() {
    let workload = Workload::start(GO, &["podsync", "-mode", "fixed"]);
    let trace = Trace::of(workload.pid(), &["--duration", "20s", "--interval", "1s"]);
    let folder = format!("/proc/{}/fd", trace.process.pid());
    let sockets: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
        })
        .collect();
    let net = format!("/proc/{}/net", trace.process.pid());
    for protocol in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
        let Ok(table) = std::fs::read_to_string(format!("{net}/{protocol}")) else { continue };
        for inode in table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9)) {
            assert!(!sockets.iter().any(|socket| socket == inode), "{protocol} socket {inode}");
        }
    }
    trace.interrupt();
}

/// A process that is not Go: contexts are unavailable, by name; its memory is traced.
#[test]
fn a_native_process_that_grows_is_suspect() {
    let python = growing_python();
    let report = Trace::of(python.pid(), &["--duration", "14s", "--interval", "500ms"]).report();
    assert_eq!(state(&report), "suspect", "{:#}", report["verdict"]);
    assert_eq!(report["unavailable"][0]["what"], "contexts");
    assert!(report["unavailable"][0]["why"].as_str().unwrap().contains("not a Go binary"));
    assert_eq!(report.get("contexts"), None);
    let slope = report["rss"]["anon_slope_bytes_per_s"].as_f64().unwrap();
    assert!((5e6..1.3e7).contains(&slope), "{slope}");
}

/// The figures of what it costs are there and within their bounds.
#[test]
fn the_cost_is_reported_and_bounded() {
    let workload = Workload::start(GO, &["podsync", "-mode", "fixed"]);
    let report = Trace::of(workload.pid(), &["--duration", "3s", "--interval", "500ms"]).report();
    let overhead = &report["overhead"];
    let map_bytes = overhead["map_bytes"].as_u64().unwrap();
    assert!((1 << 20..16 << 20).contains(&map_bytes), "{map_bytes}");
    let (rss, peak) = (&overhead["rss_bytes"], &overhead["rss_peak_bytes"]);
    assert!(rss.as_u64().unwrap() > 1 << 20 && peak.as_u64() >= rss.as_u64(), "{rss}, {peak}");
    let contexts = &report["contexts"];
    let count = |field: &str| contexts[field].as_u64().unwrap();
    let seen = count("created") + count("released");
    let others = count("released_untracked") + count("repeated_cancels");
    let probes = overhead["probes"].as_array().unwrap();
    let of_contexts = probes.iter().find(|probe| probe["what"] == "contexts").unwrap();
    assert_eq!(of_contexts["hits"].as_u64().unwrap(), seen + others);
    let sum: u64 = probes.iter().map(|probe| probe["hits"].as_u64().unwrap()).sum();
    assert_eq!(overhead["probe_hits"].as_u64().unwrap(), sum);
    let seconds: f64 = probes.iter().map(|probe| probe["cost_s"].as_f64().unwrap()).sum();
    let slowdown = overhead["estimated_target_slowdown_ratio"].as_f64().unwrap();
    let window_s = report["window"]["duration_s"].as_f64().unwrap();
    assert!((slowdown * window_s - seconds).abs() < 1e-9, "{overhead:#}");
}
