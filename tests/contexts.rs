//! Contexts, who holds them, and whether they are still allocated, out of a live process's memory,
//! against what the process says about them. As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use leaktrace::{
    memory::{
        CancelFuncs, ChildFuncs, ContextReader, ContextType, Holder, Holding, Runtime, Standing,
        Types, cancellable_children, child_count, contains_child, find_holders, gc_cycles,
        visit_children,
    },
    session::{Executable, Look},
};
use serde_json::Value;
use support::{
    GO_VERSIONS, Trace, Workload, marked_line,
    served::{KINDS, Served},
    sites_at, state, workload_path,
};

/// Children under the root: what leaked before anybody looked.
const CHILDREN: u64 = 100_000;
/// Of these, what `contexts.go` makes besides the first kind.
const OTHER_CHILDREN: u64 = 10 + 10 + 10 + 1 + 20;
/// Of these, those of `context.AfterFunc`.
const AFTER_FUNCS: usize = 10;

/// One program under inspection.
struct Inspected {
    name: String,
    served: Served,
    executable: Executable,
    look: Look,
    truth: Value,
}

fn inspected(version: &str, kind: &str) -> Inspected {
    let mut served = Served::start(version, kind, &["contexts", &CHILDREN.to_string()]);
    let truth = served.command("truth");
    served.command("gc");
    let (_watch, executable, look) = served.look();
    Inspected { name: format!("go{version}{kind}"), served, executable, look, truth }
}

impl Inspected {
    fn addresses(&self, group: &str) -> Vec<u64> {
        hex(&self.truth[group]["Addresses"])
    }

    fn holders(&self, group: &str) -> Vec<u64> {
        hex(&self.truth[group]["Holders"])
    }

    fn root(&self) -> u64 {
        self.holders("held")[0]
    }

    fn standings(&self, reader: &ContextReader<'_, '_>, group: &str) -> Vec<Standing> {
        let asked: Vec<_> = self.addresses(group).into_iter().map(|at| (at, None)).collect();
        let standings = reader.standings(&asked).unwrap();
        assert!(!asked.is_empty() && asked.len() == standings.len());
        standings
    }
}

fn hex(list: &Value) -> Vec<u64> {
    let parse = |text: &Value| u64::from_str_radix(&text.as_str().unwrap()[2..], 16).unwrap();
    list.as_array().unwrap().iter().map(parse).collect()
}

fn for_all(check: impl Fn(&mut Inspected)) {
    for version in versions() {
        for kind in KINDS {
            check(&mut inspected(version, kind));
        }
    }
}

#[test]
fn every_context_is_held_as_the_program_made_it() {
    for_all(|inspected| {
        let (runtime, types) = (inspected.look.runtime(), inspected.executable.types().unwrap());
        assert!(gc_cycles(&runtime).unwrap() >= 2);
        let reader = ContextReader::new(&runtime, &types).unwrap();
        for group in ["held", "valued", "done", "nested", "few"] {
            check_held(inspected, &reader, group);
        }
        check_others(inspected, &reader);
        check_children(inspected, &runtime, &types);
    });
}

/// The program has the functions of exactly those that it can still cancel, wherever it keeps them.
#[test]
fn cancel_functions_are_found_as_long_as_the_program_has_them() {
    for_all(|inspected| {
        let (runtime, types) = (inspected.look.runtime(), inspected.executable.types().unwrap());
        let reader = ContextReader::new(&runtime, &types).unwrap();
        let [callable, forgotten] =
            ["callable", "forgotten"].map(|group| inspected.addresses(group));
        assert_eq!((callable.len(), forgotten.len()), (96, 64), "{}", inspected.name);
        let entries = inspected.executable.cancel_funcs();
        let all = callable.iter().chain(&forgotten).copied().collect();
        let found = CancelFuncs::search(&reader, entries, &all, &|| true).unwrap().unwrap();
        let has = |group: &[u64], has| group.iter().all(|context| found.has(*context) == Some(has));
        assert!(has(&callable, true) && has(&forgotten, false), "{} {found:?}", inspected.name);
        // The root has forgotten all, the next two of five.
        let holders = find_holders(&runtime, &types, &|| true).unwrap().top;
        let counts = holders[..2].iter().map(|holder| {
            let children = cancellable_children(&reader, holder).unwrap();
            let asked = children.iter().copied().collect();
            let found = CancelFuncs::search(&reader, entries, &asked, &|| true).unwrap().unwrap();
            ChildFuncs::count(&found, &children)
        });
        let counts: Vec<_> = counts.collect();
        let [root, next] = counts[..] else { panic!("{counts:?}") };
        // Some few are timers.
        assert!(root.looked_at > 56 && root.lost == root.looked_at, "{} {root:?}", inspected.name);
        let in_bounds = next.looked_at == 64 && (8..=45).contains(&next.lost);
        assert!(in_bounds, "{} {next:?}", inspected.name);
    });
}

/// Where a constructor is inlined, its caller may cancel without a function in the heap.
#[test]
fn cancel_functions_lie_in_the_heap_where_no_constructor_is_inlined() {
    let executable = Executable::at(&workload_path("go1.22.10-stripped")).unwrap();
    assert!(executable.cancel_funcs_are_in_heap());
    let (file, _, go) = executable.go().unwrap();
    let inlined_into = |name| {
        let found = go.table.find_inlining(file, &["context.nowhere", name]).unwrap();
        let mut names: Vec<_> = found.into_iter().map(|function| function.name).collect();
        names.sort_unstable();
        names
    };
    assert!(inlined_into("context.withCancel").contains(&"context.WithCancel".to_owned()));
    assert!(inlined_into("context.WithCancel").is_empty());
    assert_eq!(executable.cancel_funcs().len(), 0, "it is mapped nowhere");
}

/// Requests come and go under one parent while collections run: each has its function to its end.
#[test]
fn of_those_that_come_and_go_none_is_called_lost() {
    for version in versions() {
        let mut inspected = inspected(version, "");
        inspected.served.command("serve");
        inspected.truth = inspected.served.command("truth");
        let types = inspected.executable.types().unwrap();
        let (entries, server) = (inspected.executable.cancel_funcs(), inspected.holders("server"));
        let (mut told, mut seen) = (0, 0);
        for _ in 0..200 {
            let runtime = inspected.look.runtime();
            let reader = ContextReader::new(&runtime, &types).unwrap();
            let holder =
                Holder { address: server[0], type_name: "*context.cancelCtx", children: 64 };
            let children = cancellable_children(&reader, &holder).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(5));
            let asked = children.iter().copied().collect();
            let found = CancelFuncs::search(&reader, entries, &asked, &|| true).unwrap();
            let Some(found) = found else { continue };
            let counts = ChildFuncs::count(&found, &children);
            assert_eq!(counts.lost, 0, "{} {counts:?}", inspected.name);
            (told, seen) = (told + 1, seen + counts.looked_at);
        }
        assert!(told > 10 && seen > 100, "{}: {told} told, {seen} seen", inspected.name);
        drop(types);
        inspected.served.command("quiet");
    }
}

fn check_held(inspected: &Inspected, reader: &ContextReader<'_, '_>, group: &str) {
    let standings = inspected.standings(reader, group);
    for (standing, expected) in standings.iter().zip(inspected.holders(group)) {
        let context = format!("{} {group}: {standing:?}, under {expected:#x}", inspected.name);
        let Holding::Held { holder } = &standing.holding else { panic!("{context}") };
        assert_eq!(
            (holder.address, holder.type_name),
            (expected, "*context.cancelCtx"),
            "{context}"
        );
        let children = if expected == inspected.root() { CHILDREN + OTHER_CHILDREN } else { 1 };
        let children = if group == "few" { 8 } else { children };
        assert_eq!(holder.children, children, "{context}");
        let bytes = standing.retained_bytes;
        let at_least = if group == "done" { 80 + 96 + 20 } else { 80 + 20 };
        assert!((at_least..=1500).contains(&bytes), "{context}");
    }
    let bytes = standings[0].retained_bytes;
    match group {
        // Measured by HeapAlloc: 108 to 157, and 203 to 253 with a channel.
        "held" => assert!((100..=160).contains(&bytes), "{} {bytes}", inspected.name),
        "done" => assert!((196..=256).contains(&bytes), "{} {bytes}", inspected.name),
        _ => {}
    }
}

fn check_others(inspected: &Inspected, reader: &ContextReader<'_, '_>) {
    let deadlines = inspected.truth["timer"]["Deadlines"].as_array().unwrap();
    let timers = inspected.standings(reader, "timer");
    for (standing, deadline) in timers.iter().zip(deadlines) {
        let deadline_unix_ns = deadline.as_i64().unwrap();
        assert_eq!(standing.holding, Holding::HeldUntil { deadline_unix_ns }, "{}", inspected.name);
    }
    let all = |group: &str, expected: fn(&Standing) -> bool| {
        for standing in inspected.standings(reader, group) {
            assert!(expected(&standing), "{} {group}: {standing:?}", inspected.name);
        }
    };
    all("kept", |standing| standing.holding == Holding::Nobody && standing.retained_bytes == 80);
    all("cancelled", |standing| standing.holding == Holding::Cancelled);
    all("dropped", |standing| standing.holding == Holding::Freed);
    all("foreign", |standing| match &standing.holding {
        Holding::Unknown { why } => why.contains("main.foreign"),
        _ => false,
    });
}

/// The root's map, entry by entry.
fn check_children(inspected: &Inspected, runtime: &Runtime<'_>, types: &Types<'_>) {
    let reader = ContextReader::new(runtime, types).unwrap();
    let root = reader.object(inspected.root(), None).unwrap().unwrap();
    let map = root.children_map;
    assert_eq!(root.children, CHILDREN + OTHER_CHILDREN, "{}", inspected.name);
    assert_eq!(child_count(runtime, map).unwrap(), root.children);
    let mut entries = Vec::new();
    let walk = visit_children(runtime, map, &mut |entry| {
        entries.push(entry);
        true
    });
    let walk = walk.unwrap();
    assert!(walk.complete, "{} {walk:?}", inspected.name);
    assert_eq!((walk.visited, walk.count, walk.dropped), (root.children, root.children, 0));
    let kind = |itab| ContextType::named(&types.of_itab(runtime, itab).unwrap().unwrap());
    let of_kind =
        |wanted: ContextType| entries.iter().filter(move |entry| kind(entry.itab) == Some(wanted));
    assert_eq!(of_kind(ContextType::AfterFunc).count(), AFTER_FUNCS, "{}", inspected.name);
    assert_eq!(of_kind(ContextType::Timer).count(), 20, "{}", inspected.name);
    // The type by the fields alone is that of the itab.
    for wanted in [ContextType::AfterFunc, ContextType::Timer] {
        for entry in of_kind(wanted) {
            let object = reader.object(entry.data, None).unwrap().unwrap();
            assert_eq!(object.kind, wanted, "{}", inspected.name);
        }
    }
    let (member, other) = (inspected.addresses("held")[7], inspected.addresses("kept")[0]);
    assert_eq!(contains_child(runtime, map, member).unwrap(), Some(true));
    assert_eq!(contains_child(runtime, map, other).unwrap(), Some(false));
}

#[test]
fn what_leaked_before_anybody_looked_is_found() {
    for_all(|inspected| {
        let (runtime, types) = (inspected.look.runtime(), inspected.executable.types().unwrap());
        let started = std::time::Instant::now();
        let found = find_holders(&runtime, &types, &|| true).unwrap();
        let context = format!("{} in {:?}: {found:?}", inspected.name, started.elapsed());
        eprintln!("{context}");
        assert!(found.complete && found.spans_seen == found.spans, "{context}");
        let first = &found.top[0];
        assert_eq!((first.address, first.children), (inspected.root(), CHILDREN + OTHER_CHILDREN));
        let next = [(1, "forgotten", 160), (2, "few", 8)];
        for (place, group, children) in next {
            let found = (found.top[place].address, found.top[place].children);
            assert_eq!(found, (inspected.holders(group)[0], children), "{context}");
        }
        // The root, the 200 of the chain, and the parent of those with functions.
        assert!((202..=230).contains(&found.with_children), "{context}");
        let cut = find_holders(&runtime, &types, &|| false).unwrap();
        assert!(!cut.complete && cut.spans_seen == 0 && cut.top.is_empty());
    });
}

/// While contexts come and go and the map grows, what is held is never said to be let go.
#[test]
fn a_moving_tree_is_read_without_falsehood() {
    for version in versions() {
        let mut inspected = inspected(version, "");
        inspected.served.command("churn");
        let types = inspected.executable.types().unwrap();
        let mut sure = 0;
        for _ in 0..8 {
            let runtime = inspected.look.runtime();
            let reader = ContextReader::new(&runtime, &types).unwrap();
            for standing in inspected.standings(&reader, "held") {
                match standing.holding {
                    Holding::Held { .. } => sure += 1,
                    Holding::Unknown { .. } => {}
                    other => panic!("{}: {other:?}", inspected.name),
                }
            }
            find_holders(&runtime, &types, &|| true).unwrap();
        }
        assert!(sure > 4 * 1000, "{}: {sure}", inspected.name);
        drop(types);
        inspected.served.command("quiet");
    }
}

/// What a trace of 24 s says of the sites of `file` that are marked so.
fn traced(workload: &Workload, file: &str, mark: &str) -> (Value, Vec<Value>) {
    let report = Trace::of(workload.pid(), &["--duration", "24s", "--interval", "1s"]).report();
    marked_sites(report, file, mark)
}

fn marked_sites(report: Value, file: &str, mark: &str) -> (Value, Vec<Value>) {
    let sites = sites_at(&report, file, marked_line(file, mark));
    let sites: Vec<_> = sites.into_iter().cloned().collect();
    assert!(!sites.is_empty(), "{report:#}");
    (report, sites)
}

fn a_leak_is_pinned(build: &str) {
    let workload = Workload::start(build, &["podsync", "-mode", "leaky"]);
    let (report, sites) = traced(&workload, "podsync.go", "// leak: podsync");
    assert_eq!(state(&report), "leak", "{build}: {:#}", report["verdict"]);
    for site in &sites {
        assert_eq!((&site["verdict"], &site["pinned"]), (&"leak".into(), &true.into()), "{site:#}");
        assert!(site["retained_how"].as_str().unwrap().starts_with("read from memory"));
        assert!((100..=3000).contains(&site["retained_bytes_each"].as_u64().unwrap()), "{site:#}");
        // The payload of 2048 bytes hangs above the context, in a slice in a valueCtx: 24 and 48.
        let reached = site["reached_bytes_each"].as_u64().unwrap();
        let payload = reached - site["retained_bytes_each"].as_u64().unwrap();
        assert!((2048 + 72 - 100..=2048 + 72 + 200).contains(&payload), "{site:#}");
    }
    let holders = report["contexts"]["holders"].as_array().unwrap();
    assert!(!holders.is_empty(), "{build}: {:#}", report["contexts"]);
    let reasons = report["verdict"]["reasons"].to_string();
    assert!(reasons.contains("looked at are held, most by the *context."), "{reasons}");
    assert!(!reasons.contains("pinned: unknown"), "{reasons}");
    // Each pod keeps the function of its newest context, which has not seen two collections.
    assert!(reasons.contains("checked have no cancel function left in the program"), "{reasons}");
    let lost = |site: &Value| site["holding"]["cancel_func_lost"].as_u64();
    assert!(sites.iter().any(|site| lost(site).is_some_and(|lost| lost >= 32)), "{sites:#?}");
}

fn what_nobody_holds_is_not_pinned(build: &str) {
    let workload = Workload::start(build, &["background"]);
    let (report, sites) = traced(&workload, "background.go", "// site: background");
    for site in &sites {
        assert_eq!(site["pinned"], false, "{build}: {site:#}");
        // Where the addresses are used again at once, it does not even grow.
        let is_harmless = ["collectable", "clean"].contains(&site["verdict"].as_str().unwrap());
        assert!(is_harmless, "{build}: {site:#}");
    }
    assert_ne!(state(&report), "leak", "{build}: {:#}", report["verdict"]);
}

/// Each reading leaves out the dead, not only the last.
fn the_dead_are_not_outstanding_while_it_is_traced(build: &str) {
    let workload = Workload::start(build, &["background"]);
    let trace = Trace::of(workload.pid(), &["--duration", "24s", "--interval", "1s"]);
    let (_report, progress) = trace.report_and_progress();
    let counts = |line: &str| {
        let (_, counts) = line.split_once("left: RSS ")?;
        let (_, counts) = counts.split_once(", ")?;
        let (created, outstanding) = counts.split_once(" contexts created, ")?;
        let outstanding = outstanding.strip_suffix(" outstanding")?;
        Some((created.parse().unwrap(), outstanding.parse().unwrap()))
    };
    let last: Option<(u64, u64)> = progress.lines().filter_map(counts).next_back();
    let (created, outstanding) = last.unwrap_or_else(|| panic!("{build}: {progress}"));
    // The collector frees them several times a second.
    assert!(created > 1000 && outstanding < created / 4, "{build}: {progress}");
}

/// A target that the kernel kills takes its memory with it, not the evidence.
fn a_killed_target_leaves_its_holders(build: &str) {
    let workload = Workload::start(build, &["podsync", "-mode", "leaky"]);
    let trace = Trace::of(workload.pid(), &["--duration", "60s", "--interval", "1s"]);
    std::thread::sleep(std::time::Duration::from_secs(6));
    workload.process.signal(rustix::process::Signal::KILL);
    let report = trace.report();
    assert_eq!(report["target"]["state"], "ended");
    let (report, sites) = marked_sites(report, "podsync.go", "// leak: podsync");
    for site in &sites {
        assert_eq!(site["pinned"], true, "{build}: {site:#}");
        assert!(site["retained_how"].as_str().unwrap().starts_with("read from memory"));
    }
    let holder = &report["contexts"]["holders"][0];
    assert!(holder["children"].as_u64().unwrap() > 100, "{build}: {:#}", report["contexts"]);
    assert!(holder["growth_per_s"].as_f64().unwrap() > 50.0, "{build}: {:#}", report["contexts"]);
}

/// The holder has all its children, also those from before the trace.
fn what_leaked_before_a_trace_is_counted(version: &str) {
    let mut served = Served::start(version, "", &["contexts", &CHILDREN.to_string()]);
    served.command("leak");
    let report = Trace::of(served.pid(), &["--duration", "24s", "--interval", "1s"]).report();
    let truth = served.command("truth");
    let holder = &report["contexts"]["holders"][0];
    assert_eq!(holder["address"], truth["held"]["Holders"][0], "{:#}", report["contexts"]);
    assert_eq!(holder["type"], "*context.cancelCtx");
    let children = holder["children"].as_u64().unwrap();
    assert!((CHILDREN + 1000..CHILDREN + 10_000).contains(&children), "{children}");
    // One more every 10 ms; a loaded machine drops some.
    let growth = holder["growth_per_s"].as_f64().unwrap();
    assert!((50.0..=101.0).contains(&growth), "{growth}");
    let reasons = report["verdict"]["reasons"].to_string();
    assert!(reasons.contains(&format!("which has {children} children")), "{reasons}");
}

/// An HTTP client that dials all the time leaves contexts to the collector: no leak at any site.
fn dialing_is_no_leak(version: &str) {
    let mut served = Served::start(version, "", &["client"]);
    let report = Trace::of(served.pid(), &["--duration", "24s", "--interval", "1s"]).report();
    let asked = served.command("asked").as_u64().unwrap();
    assert!(asked > 500, "{asked}");
    let sites = report["contexts"]["sites"].as_array().unwrap();
    assert!(sites.iter().all(|site| site["verdict"] != "leak"), "{:#}", report["contexts"]);
    assert_ne!(report["verdict"]["state"], "leak", "{:#}", report["verdict"]);
    let created = report["contexts"]["created"].as_u64().unwrap();
    assert!(created > 500, "{created}");
}

#[test]
fn a_trace_says_what_is_held() {
    let checks: [fn(); 10] = [
        || the_dead_are_not_outstanding_while_it_is_traced("go1.24.11"),
        || a_killed_target_leaves_its_holders("go1.25.5"),
        || dialing_is_no_leak("1.22.10"),
        || dialing_is_no_leak("1.27.3"),
        || a_leak_is_pinned("go1.22.10"),
        || a_leak_is_pinned("go1.27.3-pie"),
        || what_nobody_holds_is_not_pinned("go1.22.10"),
        || what_nobody_holds_is_not_pinned("go1.27.3-pie"),
        || what_leaked_before_a_trace_is_counted("1.23.9"),
        || what_leaked_before_a_trace_is_counted("1.26.3"),
    ];
    let running = checks.map(std::thread::spawn);
    running.into_iter().for_each(|check| check.join().unwrap());
}

/// All, or those that begin as `LEAKTRACE_TEST_GO` says.
fn versions() -> impl Iterator<Item = &'static str> {
    let only = std::env::var("LEAKTRACE_TEST_GO").unwrap_or_default();
    GO_VERSIONS.into_iter().filter(move |version| version.starts_with(&only))
}
