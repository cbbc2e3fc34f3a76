//! Goroutines over a trace, by `go` statement, against what the program says about itself (the part
//! `leaks` of the served program). As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{GO_VERSIONS, Trace, Workload, marked_line, served::Served, state, workload_path};

/// The versions that all is tried with.
const ENDS: [&str; 2] = ["1.21.13", "1.27.3"];
/// Long enough for a leak beside lives of 600 ms.
const DURATION: &str = "24s";
/// As `leaks.go` does by default: one in four of 20 per second.
const LEAKED_PER_S: f64 = 5.0;
/// Leaks that have a line of their own: file, mark, what they wait for.
const LEAKS: [(&str, &str, &str); 8] = [
    ("leaks.go", "// leak: send", "chan send"),
    ("leaks.go", "// leak: receive", "chan receive"),
    ("leaks.go", "// leak: ticker", "select"),
    ("leaks.go", "// leak: informer run", "chan receive"),
    ("leaks.go", "// leak: informer pop", "select"),
    ("leaks.go", "// leak: watcher", "chan receive"),
    ("leaks.go", "// leak: waitgroup", WAIT_GROUP),
    ("leaks.go", "// leak: mutex", "sync.Mutex.Lock"),
];
/// It has a reason of its own from Go 1.24.
const WAIT_GROUP: &str = "wait group";
/// Those of package net/http that a forgotten body leaves behind.
const OF_BODY: [&str; 2] =
    ["net/http.(*persistConn).readLoop", "net/http.(*persistConn).writeLoop"];

/// The sites of a report whose `go` statement is at the marked line.
fn sites_at<'r>(report: &'r Value, file: &str, mark: &str) -> Vec<&'r Value> {
    let line = marked_line(&format!("../served/{file}"), mark);
    let is_there = |site: &&Value| {
        let creator = &site["creator"];
        let is_file = creator["file"].as_str().is_some_and(|path| Path::new(path).ends_with(file));
        is_file && creator["line"] == line
    };
    report["goroutines"]["sites"].as_array().unwrap().iter().filter(is_there).collect()
}

fn site_at<'r>(report: &'r Value, file: &str, mark: &str) -> &'r Value {
    let sites = sites_at(report, file, mark);
    assert_eq!(sites.len(), 1, "{mark}: {:#}", report["goroutines"]);
    sites[0]
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Starts the program's part with these arguments, and lets it begin.
fn begun(version: &str, arguments: &[&str]) -> Served {
    let mut served = Served::start(version, "", &[&["leaks"], arguments].concat());
    served.command("begin");
    served
}

fn trace(served: &Served, duration: &str, interval: &str) -> Value {
    trace_with(served, &["--duration", duration, "--interval", interval])
}

fn trace_with(served: &Served, arguments: &[&str]) -> Value {
    Trace::of(served.pid(), arguments).report()
}

/// A trace long enough for a few readings.
fn look(served: &Served) -> Value {
    trace(served, "600ms", "100ms")
}

fn wait_reason(version: &str, reason: &'static str) -> &'static str {
    let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
    match reason {
        WAIT_GROUP if minor >= 24 => "sync.WaitGroup.Wait",
        WAIT_GROUP => "semacquire",
        other => other,
    }
}

/// How fast it grows, by the slope and by what is said at both ends.
fn assert_grows(name: &str, site: &Value) {
    let growth = site["growth_per_s"].as_f64().unwrap();
    assert!((0.85 * LEAKED_PER_S..=1.1 * LEAKED_PER_S).contains(&growth), "{name}: {site:#}");
    let each = count(&site["stack_bytes_each"]);
    assert!((2048..=16 << 10).contains(&each), "{name}: {site:#}");
    let bytes = site["growth_bytes_per_s"].as_f64().unwrap();
    assert!((bytes - growth * each as f64).abs() < 1.0, "{name}: {site:#}");
    assert!(site["ages"]["oldest_s"].as_f64().unwrap() > 15.0, "{name}: {site:#}");
}

/// Every way to leak, in one program.
fn leaks_are_named(version: &'static str) {
    let mut served = begun(
        version,
        &["-leaky", "-only", "send,receive,ticker,informer,watcher,waitgroup,mutex,body"],
    );
    let before = served.command("truth");
    let report = trace(&served, DURATION, "1s");
    let after = served.command("truth");
    assert_eq!(state(&report), "leak", "go{version}: {:#}", report["verdict"]);
    assert!(report["verdict"]["floor_goroutines_per_s"].as_f64().is_some());
    for (file, mark, reason) in LEAKS {
        let site = site_at(&report, file, mark);
        let name = format!("go{version} {mark}");
        assert_eq!(site["verdict"], "leak", "{name}: {site:#}");
        assert_grows(&name, site);
        let waits = wait_reason(version, reason);
        let leaked = count(&after["leaked"][mark.split(' ').nth(2).unwrap()]);
        let parked = site["states"].as_array().unwrap().iter().find(|row| row["state"] == waits);
        let parked = count(&parked.unwrap_or_else(|| panic!("{name}: {site:#}"))["count"]);
        // Those that will be let go within 600 ms wait beside them.
        assert!((leaked * 8 / 10..=leaked + 24).contains(&parked), "{name}: {leaked} {site:#}");
        let first = count(&before["leaked"][mark.split(' ').nth(2).unwrap()]);
        assert!(count(&site["live_first"]) >= first, "{name}: {site:#}");
        let stack = &site["stacks"][0];
        let frames = stack["frames"].as_array().unwrap();
        let is_main = |frame: &Value| frame["function"].as_str().unwrap().starts_with("main.");
        assert!(stack["state"] == waits && frames.iter().any(is_main), "{name}: {stack:#}");
    }
    for function in OF_BODY {
        let sites = report["goroutines"]["sites"].as_array().unwrap().iter();
        let of_body: Vec<_> = sites.filter(|site| site["start"]["function"] == function).collect();
        assert_eq!(of_body.len(), 1, "go{version} {function}");
        let site = of_body[0];
        assert_eq!(site["verdict"], "leak", "go{version} {function}: {site:#}");
        assert_eq!(site["creator"]["function"], "net/http.(*Transport).dialConn");
        assert_eq!(site["stacks"][0]["state"], "select", "go{version} {function}: {site:#}");
        assert_grows(function, site);
    }
    let summary = report["verdict"]["summary"].as_str().unwrap();
    assert!(summary.contains("leaks goroutines started in "), "go{version}: {summary}");
    what_is_left_is_exact(version, &mut served);
}

/// A goroutine that waits for a forgotten context: both are said, with their bytes apart.
fn a_context_and_its_goroutine_leak(version: &'static str) {
    let served = begun(version, &["-leaky", "-only", "session"]);
    let report = trace(&served, DURATION, "1s");
    let name = format!("go{version}: {:#}", report["verdict"]);
    let site = site_at(&report, "leaks.go", "// leak: session");
    assert_eq!((state(&report), &site["verdict"]), ("leak", &"leak".into()), "{name}");
    assert_grows(&name, site);
    let line = marked_line("../served/leaks.go", "// leak: session context");
    let contexts = support::sites_at(&report, "leaks.go", line);
    assert!(contexts.iter().any(|site| site["verdict"] == "leak"), "{:#}", report["contexts"]);
    let reasons = report["verdict"]["reasons"].to_string();
    assert!(reasons.contains("that is one leak seen twice"), "{name}");
}

/// Goroutines that leak nothing but their stacks, of 128 KiB: the share of the RSS's growth that these
/// are is what the runtime and the kernel tell the program itself.
fn stacks_explain_the_growth(version: &'static str) {
    let mut served = begun(version, &["-leaky", "-only", "deep"]);
    let before = served.command("truth");
    let report = trace(&served, DURATION, "1s");
    let after = served.command("truth");
    let name = format!("go{version}: {:#}", report["verdict"]);
    let site = site_at(&report, "leaks.go", "// leak: deep");
    assert_eq!((state(&report), &site["verdict"]), ("leak", &"leak".into()), "{name}");
    assert_eq!(count(&site["stack_bytes_each"]) >> 10, 128, "{site:#}");
    let grown = |field: &str| (count(&after[field]) - count(&before[field])) as f64;
    let known = grown("stack_bytes") / grown("rss_bytes");
    let explained = &report["rss"]["explained_by_sites"];
    let [low, ratio, high] = ["low", "ratio", "high"].map(|of| explained[of].as_f64().unwrap());
    assert!(low <= known && known <= high, "{known} in {explained}; {name}");
    assert!(ratio > 0.5 && high < 1.5, "{explained}; {name}");
    let reasons = report["verdict"]["reasons"].to_string();
    assert!(reasons.contains("the stacks of the leaking goroutines explain "), "{name}");
}

/// Once all else has ended, what is left is what was leaked, to the last one.
fn what_is_left_is_exact(version: &str, served: &mut Served) {
    let truth = served.command("stop");
    let report = look(served);
    let text = String::from_utf8(served.get("/debug/pprof/goroutine?debug=1")).unwrap();
    let name = format!("go{version}");
    assert_eq!(
        report["goroutines"]["live"], truth["goroutines"],
        "{name}: {:#}",
        report["goroutines"]
    );
    for (file, mark, _) in LEAKS {
        let site = site_at(&report, file, mark);
        let leaked = &truth["leaked"][mark.split(' ').nth(2).unwrap()];
        assert_eq!((&site["live"], &site["live_first"]), (leaked, leaked), "{name} {mark}");
        assert_eq!(&site["ages"]["before"], leaked, "{name} {mark}");
        assert_eq!(site["verdict"], "clean", "{name} {mark}: it was there before");
    }
    assert_eq!(labels(&report), profiled_labels(&text), "{name}");
    assert!(labels(&report).contains_key(&("controller".to_owned(), "informer".to_owned())));
}

/// Goroutines by label, as the report has them.
fn labels(report: &Value) -> BTreeMap<(String, String), u64> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = report["goroutines"]["labels"].as_array().unwrap().iter();
    let row = |row: &Value| ((text(&row["key"]), text(&row["value"])), count(&row["last"]));
    rows.map(row).filter(|(_, last)| *last > 0).collect()
}

/// The same by the process's own profile: groups with a line of labels.
fn profiled_labels(text: &str) -> BTreeMap<(String, String), u64> {
    let mut labels = BTreeMap::new();
    for group in text.split("\n\n") {
        let line = group.lines().find_map(|line| line.strip_prefix("# labels: "));
        let Some(line) = line else { continue };
        let head = group.lines().find(|line| line.contains(" @ ")).unwrap();
        let alive: u64 = head.split_once(" @ ").unwrap().0.parse().unwrap();
        let set: BTreeMap<String, String> = serde_json::from_str(line).unwrap();
        for label in set {
            *labels.entry(label).or_default() += alive;
        }
    }
    labels
}

/// The honest twin: as many are started at the same lines, and all are let go.
fn honest_twins_are_clean(version: &'static str) {
    let served = begun(
        version,
        &["-only", "send,receive,ticker,informer,watcher,waitgroup,mutex,body,after"],
    );
    let report = trace(&served, DURATION, "1s");
    for (file, mark, _) in LEAKS {
        let site = site_at(&report, file, mark);
        assert_eq!(site["verdict"], "clean", "go{version} {mark}: {site:#}");
        assert!(count(&site["started"]) > 100, "go{version} {mark}: {site:#}");
    }
    // Up to Go 1.22 the timers stay until they fire: that is heap, not a goroutine.
    let after = site_at(&report, "shapes.go", "// site: after");
    assert_eq!((count(&after["live"]), &after["verdict"]), (1, &Value::from("clean")));
    no_site_leaks(version, &report);
}

fn no_site_leaks(name: &str, report: &Value) {
    let sites = report["goroutines"]["sites"].as_array().unwrap();
    let fine = ["clean", "stopped"];
    let is_fine = |site: &Value| fine.contains(&site["verdict"].as_str().unwrap());
    assert!(sites.iter().all(is_fine), "{name}: {:#}", report["goroutines"]);
    assert_ne!(state(report), "leak", "{name}: {:#}", report["verdict"]);
    let reasons = report["verdict"]["reasons"].to_string();
    assert!(reasons.contains("no go statement leaves goroutines behind"), "{name}: {reasons}");
}

/// What honest programs do that looks like a leak for a while.
fn honest_shapes_are_no_leak(version: &'static str) {
    let served = begun(version, &["-only", "pool,burst,warmup,long"]);
    let report = trace(&served, DURATION, "1s");
    for mark in ["pool", "burst", "long"] {
        let site = site_at(&report, "shapes.go", &format!("// site: {mark}"));
        assert_eq!(site["verdict"], "clean", "go{version} {mark}: {site:#}");
    }
    let long = site_at(&report, "shapes.go", "// site: long");
    assert!(count(&long["ended_before"]) > 80, "go{version}: {long:#}");
    no_site_leaks(version, &report);
    assert_eq!(state(&report), "no_leak", "go{version}: {:#}", report["verdict"]);
    let summary = report["verdict"]["summary"].as_str().unwrap();
    assert!(summary.ends_with("leaks no goroutines faster than the floor"), "{summary}");
}

/// Ten thousand start and end every second; one in a thousand of them is forgotten.
fn a_leak_within_a_churn_is_found(version: &'static str) {
    let mut served = begun(version, &["-leaky", "-only", "churn"]);
    let (first, began) = (served.command("truth"), Instant::now());
    let report = trace(&served, DURATION, "1s");
    let (last, elapsed_s) = (served.command("truth"), began.elapsed().as_secs_f64());
    let site = site_at(&report, "shapes.go", "// leak: churn");
    assert_eq!(
        (state(&report), &site["verdict"]),
        ("leak", &"leak".into()),
        "{:#}",
        report["verdict"]
    );
    let begun = count(&last["started"]["churn"]) - count(&first["started"]["churn"]);
    let seconds = report["window"]["duration_s"].as_f64().unwrap();
    assert!(begun as f64 > 3000.0 * seconds, "go{version}: only {begun}");
    // The numbers tell how many began, though hardly any were seen. Coming and going takes the trace
    // a while too.
    let numbers = count(&report["goroutines"]["numbers_given"]) as f64 / seconds;
    let begun_per_s = begun as f64 / elapsed_s;
    assert!((0.8..=1.25).contains(&(numbers / begun_per_s)), "{numbers} of {begun_per_s}");
    assert!(count(&site["started"]) < begun / 10, "go{version}: {site:#}");
    let growth = site["growth_per_s"].as_f64().unwrap();
    let rate = begun_per_s / 1000.0;
    assert!((0.7 * rate..=1.3 * rate).contains(&growth), "go{version}: {growth} of {rate}");
    let truth = served.command("stop");
    let report = look(&served);
    assert_eq!(report["goroutines"]["live"], truth["goroutines"], "go{version}");
    let site = site_at(&report, "shapes.go", "// leak: churn");
    assert_eq!(site["live"], truth["leaked"]["churn"], "go{version}: {site:#}");
}

fn a_churn_alone_is_no_leak(version: &'static str) {
    let served = begun(version, &["-only", "churn"]);
    let report = trace(&served, DURATION, "1s");
    no_site_leaks(version, &report);
    assert_eq!(state(&report), "no_leak", "go{version}: {:#}", report["verdict"]);
}

/// Each start and each end of some 10,000 a second, and at all other `go` statements, is counted, and
/// memory agrees with them. Two of these once had the same hash, as their functions look alike.
fn a_churn_is_reconciled(version: &'static str) {
    let served = begun(version, &["-leaky"]);
    let always = ["--goroutine-stacks", "--budget", "10"];
    let report =
        trace_with(&served, &[&["--duration", "8s", "--interval", "1s"], &always[..]].concat());
    let rates = &report["goroutines"]["rates"];
    let reconciled = &rates["reconciled"];
    assert_eq!(rates["how"], "counted", "go{version}: {rates:#}");
    assert!(reconciled["seconds"].as_f64().unwrap() > 3.0, "go{version}: {rates:#}");
    // What is unexplained may be in flight: at either end, one per processor.
    assert_eq!((&reconciled["lost"], &rates["lost"]["unreconciled"]), (&0.into(), &Value::Null));
    assert_eq!(report["lost"], serde_json::json!({}), "go{version}");
    let change = &site_at(&report, "shapes.go", "// leak: churn")["rates"]["reconciled"];
    let [memory, probes] = ["by_memory", "by_probes"].map(|of| change[of].as_i64().unwrap());
    let tolerated = count(&change["in_between"]) as i64 + 8;
    assert!((memory - probes).abs() <= tolerated, "go{version}: {change}");
    // What churns is many times what may differ.
    let counted = rates["probe_hits"].as_f64().unwrap();
    assert!((tolerated as f64) < counted / 20.0, "go{version}: {change}, {counted} hits");
    let probes = report["overhead"]["probes"].as_array().unwrap();
    let cost = probes.iter().find(|probe| probe["what"] == "goroutines").unwrap();
    assert!(count(&cost["hits"]) > 40_000 && cost["cost_s"].as_f64().unwrap() > 0.0, "{cost}");
    assert!(count(&report["overhead"]["probe_hits"]) >= count(&cost["hits"]));
}

/// From the first reading on; and labels beyond what is kept are counted.
fn what_was_there_before_is_counted(version: &'static str) {
    let mut served =
        Served::start(version, "", &["leaks", "-standing", "50000", "-labelled", "1500"]);
    let truth = served.command("truth");
    let report = look(&served);
    let goroutines = &report["goroutines"];
    assert_eq!(goroutines["live_first"], truth["goroutines"], "go{version}");
    assert_eq!(goroutines["live"], truth["goroutines"], "go{version}");
    let site = site_at(&report, "leaks.go", "// site: standing");
    assert_eq!((count(&site["live_first"]), count(&site["started"])), (50_000, 0), "{site:#}");
    assert_eq!(count(&site["stack_bytes"]), 50_000 * count(&site["stack_bytes_each"]));
    let kept = labels(&report);
    let other = count(&goroutines["labels_other"]["last"]);
    assert!(kept.len() < 1000 && kept.len() as u64 + other == 1500, "{} {other}", kept.len());
}

/// A target that the kernel kills takes its goroutines with it, not the evidence.
fn a_killed_target_leaves_its_goroutines(version: &'static str) {
    let served = begun(version, &["-leaky", "-only", "send"]);
    let trace = Trace::of(served.pid(), &["--duration", "60s", "--interval", "1s"]);
    std::thread::sleep(Duration::from_secs(6));
    drop(served);
    let report = trace.report();
    assert_eq!(report["target"]["state"], "ended");
    let site = site_at(&report, "leaks.go", "// leak: send");
    assert!(count(&site["live"]) > 10, "{site:#}");
    assert_eq!(site["stacks"][0]["state"], "chan send", "{site:#}");
    let missing = report["unavailable"].to_string();
    assert!(!missing.contains("\"goroutines\""), "{missing}");
}

/// At the same time, since most of it is waiting.
fn at_once(checks: Vec<JoinHandle<()>>) {
    checks.into_iter().for_each(|check| check.join().unwrap());
}

#[test]
fn goroutines_that_never_end_are_named() {
    let run = |check: fn(&'static str), version| std::thread::spawn(move || check(version));
    let all = GO_VERSIONS.map(|version| run(leaks_are_named, version));
    let ends = ENDS.into_iter().flat_map(|version| {
        [
            a_leak_within_a_churn_is_found,
            a_context_and_its_goroutine_leak,
            stacks_explain_the_growth,
        ]
        .map(|check| run(check, version))
    });
    at_once(
        all.into_iter()
            .chain(ends)
            .chain([run(a_killed_target_leaves_its_goroutines, "1.25.5")])
            .collect(),
    );
}

#[test]
fn goroutines_that_end_are_no_leak() {
    let run = |check: fn(&'static str), version| std::thread::spawn(move || check(version));
    let checks = ENDS.into_iter().flat_map(|version| {
        let shapes = [honest_twins_are_clean, honest_shapes_are_no_leak, a_churn_alone_is_no_leak];
        shapes.map(|check| run(check, version))
    });
    at_once(checks.chain([run(honest_twins_are_clean, "1.24.11")]).collect());
}

#[test]
fn starts_less_ends_are_what_memory_shows_under_churn() {
    ENDS.into_iter().chain(["1.25.5"]).for_each(a_churn_is_reconciled);
}

#[test]
fn fifty_thousand_are_counted_from_the_first_reading() {
    ENDS.into_iter().chain(["1.23.9"]).for_each(what_was_there_before_is_counted);
}

/// A stand-in for a kubelet that replaces a prober 20 times a second, beside three pods, and forgets
/// to stop three of four.
fn probers(mode: &str, arguments: &[&str]) -> Value {
    let root = std::env::temp_dir().join(format!("leaktrace-{}-{mode}", std::process::id()));
    for pod in ["a", "b", "c"] {
        std::fs::create_dir_all(root.join("pods").join(pod)).unwrap();
    }
    let program = workload_path("go1.26.3").with_file_name("kubelet");
    let program = program.parent().unwrap().with_file_name("go1.26.3-kubelet").join("kubelet");
    let flag = format!("--root-dir={}", root.display());
    let workload = Workload::start_at(&program, &[&flag, mode]);
    let arguments = [&["--duration", DURATION, "--interval", "1s"], arguments].concat();
    let report = Trace::of(workload.pid(), &arguments).report();
    std::fs::remove_dir_all(root).unwrap();
    report
}

#[test]
fn a_kubelet_that_leaks_probers_is_known_for_it() {
    let fixed = std::thread::spawn(|| probers("fixed", &["--goroutine-stacks"]));
    let report = probers("leaky", &[]);
    assert_eq!(state(&report), "leak", "{:#}", report["verdict"]);
    let summary = report["verdict"]["summary"].as_str().unwrap();
    assert!(summary.contains("prober.(*Manager).AddPod"), "{summary}");
    let site = &report["goroutines"]["sites"][0];
    assert_eq!(
        (&site["verdict"], &site["advice"][0]["family"]),
        (&"leak".into(), &"kubelet: probers".into())
    );
    let growth = site["growth_per_s"].as_f64().unwrap();
    assert!((12.5..=15.5).contains(&growth), "{site:#}");
    // The probes came by themselves once something grew, and saw each start, each end, and who
    // starts them.
    let seconds = report["goroutines"]["rates"]["seconds"].as_f64().unwrap();
    assert!((5.0..23.0).contains(&seconds), "{:#}", report["goroutines"]["rates"]);
    let rates = &site["rates"];
    let [started, ended] = ["started_per_s", "ended_per_s"].map(|of| rates[of].as_f64().unwrap());
    assert!((started - ended - growth).abs() < 1.5, "{rates:#}");
    assert!((started / ended - 4.0).abs() < 0.3, "{rates:#}");
    let chain = rates["creators"][0]["frames"].as_array().unwrap();
    assert!(chain.iter().any(|frame| frame["function"] == "main.probe"), "{rates:#}");
    assert_eq!(report["goroutines"]["rates"]["how"], "counted");
    let reconciled = &report["goroutines"]["rates"]["reconciled"];
    assert_eq!(reconciled["lost"], 0, "{reconciled:#}");
    let change = &rates["reconciled"];
    let [memory, probes] = ["by_memory", "by_probes"].map(|of| change[of].as_i64().unwrap());
    assert!(memory > 20 && (memory - probes).abs() <= 2, "{change:#}");
    assert_eq!(report["pods"]["last"]["count"], 3, "{:#}", report["pods"]);
    let statements = report["pods"]["statements"].as_array().unwrap();
    let flat = "the number of goroutines grew while the pod count was flat (3 pods)";
    assert!(statements.iter().any(|statement| statement == flat), "{statements:#?}");
    let fixed = fixed.join().unwrap();
    assert!(["no_leak", "inconclusive"].contains(&state(&fixed)), "{:#}", fixed["verdict"]);
    let sites = fixed["goroutines"]["sites"].as_array().unwrap();
    assert!(sites.iter().all(|site| site["verdict"] != "leak"), "{:#}", fixed["goroutines"]);
    let rates = &fixed["goroutines"]["rates"];
    let [started, ended] = ["started_per_s", "ended_per_s"].map(|of| rates[of].as_f64().unwrap());
    assert!(started > 15.0 && (started - ended).abs() < 1.0, "{rates:#}");
    assert!(rates["seconds"].as_f64().unwrap() > 22.0, "{rates:#}");
}
