//! Where the bytes are, by the report of a trace: growth by call chain, the ledger, what explains it.
//! As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{GO, Trace, Workload, native::Native, state};

const MIB: u64 = 1 << 20;

/// What a section's rows say of the innermost of the program's own functions.
fn row_of<'r>(rows: &'r Value, function: &str) -> &'r Value {
    let has = |row: &&Value| {
        let frames = row["frames"].as_array().unwrap();
        frames.iter().any(|frame| frame["function"] == function)
    };
    let found = rows.as_array().unwrap().iter().find(has);
    found.unwrap_or_else(|| panic!("{function}: {rows:#}"))
}

fn bytes_of_line(ledger: &Value, what: &str) -> i64 {
    let lines = ledger["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line["what"] == what);
    line.map_or(0, |line| line["bytes"].as_i64().unwrap())
}

/// A program that is not Go: everything is known by the bytes that it says it took.
#[test]
fn a_native_program_grows_by_name() {
    let mut grow = Native::start("grow");
    let arguments = ["--growth", "all", "--duration", "10s", "--interval", "500ms"];
    let trace = Trace::of(grow.pid().get(), &arguments);
    let (mut mapped, mut pages) = (0, 0);
    // Behind the first reading.
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..16 {
        let done = grow.command("grow_anon", 4 * MIB);
        (mapped, pages) = (mapped + done.map_bytes, pages + done.pages);
        std::thread::sleep(Duration::from_millis(500));
    }
    let report = trace.report();
    let growth = &report["growth"];
    assert_eq!(growth["mmap_bytes"].as_u64(), Some(mapped), "{growth:#}");
    let site = row_of(&growth["mapping_sites"], "grow_anon");
    assert_eq!((site["net_bytes"].as_u64(), site["calls"].as_u64()), (Some(mapped), Some(16)));
    let touched = &growth["fault_sites"][0];
    assert_eq!(touched, row_of(&growth["fault_sites"], "grow_anon"));
    assert_eq!(touched["kind"], "anonymous");
    let ratio = touched["bytes"].as_f64().unwrap() / (pages * 4096) as f64;
    assert!((0.8..=1.2).contains(&ratio), "{ratio}: {touched:#}");
    let memory = &report["memory"];
    assert_eq!(
        (&memory["growth"]["answer"], memory["ledger"]["unexplained_bytes"].as_i64()),
        (&"native".into(), Some(0))
    );
    let lines = memory["growth"]["lines"].as_array().unwrap();
    let anonymous = lines.iter().find(|line| line["what"] == "anonymous").unwrap();
    let error = anonymous["grew_bytes"].as_i64().unwrap().abs_diff((pages * 4096) as i64);
    assert!(error < MIB, "{anonymous:#} of {pages} pages");
    assert_eq!(state(&report), "suspect", "{:#}", report["verdict"]);
    assert!(growth["lost"].as_object().unwrap().is_empty(), "{growth:#}");
}

/// Page faults are sampled without being asked for; mapping calls cost others, and are not.
#[test]
fn mapping_calls_are_counted_only_when_asked_for() {
    let mut grow = Native::start("grow");
    let trace = Trace::of(grow.pid().get(), &["--duration", "3s", "--interval", "500ms"]);
    grow.command("grow_anon", 16 * MIB);
    let growth = &trace.report()["growth"];
    assert!(
        growth["mmap_bytes"].is_null() && growth["mapping_sites"].as_array().unwrap().is_empty()
    );
    assert!(growth["faults"].as_u64().unwrap() >= 4000, "{growth:#}");
    let off = ["--growth", "off", "--duration", "1s", "--interval", "100ms"];
    let report = Trace::of(grow.pid().get(), &off).report();
    assert!(report["growth"].is_null());
}

/// The leak of the demo, whose bytes the program knows, against what the RSS really did.
#[test]
fn a_leak_explains_the_growth_that_it_makes() {
    let workload = Workload::start(GO, &["podsync", "-mode", "leaky"]);
    let report = Trace::of(workload.pid(), &["--duration", "40s", "--interval", "1s"]).report();
    let rss = &report["rss"];
    let explained = &rss["explained_by_sites"];
    let ratio = |end: &str| explained[end].as_f64().unwrap_or_else(|| panic!("{rss:#}"));
    assert!((0.7..=1.3).contains(&ratio("ratio")), "{explained:#}");
    assert!(ratio("low") < 1.2 && ratio("high") > 0.8, "{explained:#}");
    let memory = &report["memory"];
    assert_eq!(memory["growth"]["answer"], "go_heap", "{:#}", memory["growth"]);
    let ledger = &memory["ledger"];
    let rss_bytes = ledger["rss_bytes"].as_i64().unwrap();
    let unexplained = ledger["unexplained_bytes"].as_i64().unwrap();
    assert!(unexplained.abs() < MIB as i64, "{ledger:#}");
    let lines = ledger["lines"].as_array().unwrap();
    let sum: i64 = lines.iter().map(|line| line["bytes"].as_i64().unwrap()).sum();
    assert_eq!(sum, rss_bytes, "{ledger:#}");
    // What is left of 40 s at 92 contexts a second, 2.6 KiB each.
    let live = bytes_of_line(ledger, "go_live") as f64 / MIB as f64;
    assert!((6.0..=13.0).contains(&live), "{ledger:#}");
    assert!(!report["growth"]["fault_sites"].as_array().unwrap().is_empty());
}
