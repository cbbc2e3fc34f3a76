//! Starts and ends of goroutines as they are traced, against what the workload says that it did. As
//! root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    os::unix::fs::FileExt as _,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use leaktrace::{
    binary::Execution,
    bpf::GoroutineLimits,
    history::GoroutineHistory,
    memory::goroutines::Creation,
    probe::GoroutineProgram,
    report::{GoroutineFindings, GoroutineSite, GoroutineSites, RatesFindings, goroutine_sites},
    snapshot::{Comparison, GoroutineRates, Instant, Living, Reconciled, SiteRates, reconcile},
};
use leaktrace_common::{FRAMES_MAX, Lost};
use serde_json::Value;
use support::{
    GO, GO_VERSIONS, Observer,
    rates::{Traced, plan_of},
    workload_path,
};

/// Written by those that need a processor for themselves: a storm is none where it has to share.
static QUIET: RwLock<()> = RwLock::new(());
/// More than any target here costs: everything is counted.
const UNLIMITED: f64 = 1000.0;

fn limits(budget_cores: f64) -> GoroutineLimits {
    GoroutineLimits { budget_cores, ..GoroutineLimits::default() }
}

fn rates(traced: &Traced) -> GoroutineRates {
    let rates = GoroutineRates::new(&traced.tracer.read().unwrap());
    assert_eq!(rates.failure, None);
    rates
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap()
}

/// The sites of `rates` that `truth` names; where it does not know the `go` statement, of any.
fn of(rates: &GoroutineRates, [creator_pc, start_pc]: [u64; 2]) -> Vec<(&Creation, &SiteRates)> {
    let is = |site: &Creation| {
        site.start_pc == start_pc && (creator_pc == 0 || site.creator_pc == creator_pc)
    };
    rates.sites.iter().filter(|(site, _)| is(site)).collect()
}

/// By return addresses above the function with the `go` statement: starts.
fn stacks_of(truth: &Value) -> BTreeMap<Vec<u64>, u64> {
    let pcs = |stack: &Value| {
        let pcs = stack["pcs"].as_array().unwrap().iter().map(|pc| pc.as_u64().unwrap());
        pcs.take(FRAMES_MAX - 1).collect::<Vec<_>>()
    };
    let mut stacks = BTreeMap::new();
    for stack in truth["stacks"].as_array().into_iter().flatten() {
        *stacks.entry(pcs(stack)).or_default() += number(stack, "started");
    }
    stacks
}

fn check_site(name: &str, truth: &Value, traced: &Traced, rates: &GoroutineRates) {
    let mut start_pc = number(truth, "start_pc");
    if name.ends_with("coroutine") {
        let coroutine = traced.plan.layout.unwrap().coroutine_vaddr;
        start_pc = coroutine.map_or(0, |vaddr| vaddr + traced.bias);
    }
    let found = of(rates, [number(truth, "creator_pc"), start_pc]);
    let sum = |of: fn(&SiteRates) -> u64| found.iter().map(|(_, site)| of(site)).sum::<u64>();
    assert!(number(truth, "started") > 0 || name.ends_with("coroutine"), "{name}");
    let counted = (sum(|site| site.started.seen), sum(|site| site.ended.seen));
    let expected = (number(truth, "started"), number(truth, "ended"));
    assert_eq!(counted, expected, "{name}: {truth}");
    if number(truth, "creator_pc") == 0 {
        return;
    }
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    let here = rates.stacks.values().filter(|stack| stack.site == *found[0].0);
    let stacks = here.map(|stack| (stack.pcs[1..].to_vec(), stack.started.seen)).collect();
    assert_eq!(stacks_of(truth), stacks, "{name}");
}

/// How every build is made that has a plan; see `xtask`'s `workloads`.
const AMD64_KINDS: [&str; 3] = ["", "-pie", "-cgo"];
const ARM64_KINDS: [&str; 2] = ["-arm64", "-arm64-pie"];

/// What is probed: in Go 1.21 ends are seen elsewhere, coroutines are there from 1.23 on.
fn planned(minor: u64) -> Vec<(GoroutineProgram, &'static str)> {
    let end = if minor < 22 { "runtime.goexit0" } else { "runtime.gdestroy" };
    let always = [(GoroutineProgram::Start, "runtime.newproc"), (GoroutineProgram::End, end)];
    let coroutine = (GoroutineProgram::CoroutineStart, "runtime.newcoro");
    always.into_iter().chain((minor >= 23).then_some(coroutine)).collect()
}

/// `push %rbp`, or `str x30, [sp, #-N]!`.
fn is_planned_instruction(code: [u8; 4], execution: Execution) -> bool {
    match execution {
        Execution::Emulated => code[0] == 0x55,
        Execution::SingleStepped => u32::from_le_bytes(code) & 0xffe0_0fff == 0xf800_0ffe,
    }
}

#[test]
fn every_build_has_the_same_plan_and_arm64_is_planned_only() {
    let _shared = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    for version in GO_VERSIONS {
        let minor = version.split('.').nth(1).unwrap().parse().unwrap();
        for kind in AMD64_KINDS.into_iter().chain(ARM64_KINDS) {
            let build = format!("go{version}{kind}");
            let path = workload_path(&build);
            let plan = plan_of(path.to_str().unwrap());
            let is_foreign = ARM64_KINDS.contains(&kind);
            let points = if is_foreign { &plan.foreign_points } else { &plan.points };
            let found: Vec<_> = points.iter().map(|p| (p.program, p.function.as_str())).collect();
            assert_eq!(found, planned(minor), "{build}: {plan:?}");
            assert_eq!(plan.unavailable.len(), usize::from(is_foreign), "{build}: {plan:?}");
            assert_eq!(plan.points.is_empty(), is_foreign, "{build}");
            let file = File::open(path).unwrap();
            for point in points {
                let mut code = [0; 4];
                file.read_exact_at(&mut code, point.file_offset).unwrap();
                assert!(is_planned_instruction(code, point.execution), "{build}: {code:x?}");
            }
        }
    }
}

/// Of a target that does nothing while it is read.
fn still(rates: &GoroutineRates, live: BTreeMap<Creation, u64>) -> Comparison {
    let living = Living { by_site: live, unread: 0 };
    Comparison::new([rates, rates], &living, &mut |_| true).unwrap()
}

fn check_counts(build: &str, keep_every: &str) {
    let mut traced =
        Traced::start(build, &["starts", "-keep-every", keep_every], limits(UNLIMITED));
    let (before, live_before) = (rates(&traced), traced.live());
    let truth = traced.truth();
    let (now, live_now) = (rates(&traced), traced.live());
    assert_eq!((now.sampling, &now.lost), (None, &Vec::new()), "{build}");
    assert_eq!(now.unplaced, SiteRates::default(), "{build}");
    let mut kept = 0;
    for (name, site) in truth.as_object().unwrap() {
        check_site(&format!("{build} {name}"), site, &traced, &now);
        kept += number(site, "started") - number(site, "ended");
    }
    assert_eq!(kept > 0, keep_every != "0");
    let found = reconcile([&still(&before, live_before), &still(&now, live_now)], 0);
    assert_eq!((found.lost, found.total.unexplained), (0, 0), "{build}: {found:?}");
    assert!(found.total.of_living >= kept as i64, "{build}: {found:?}");
    let (rest, status) = traced.workload.end();
    assert_eq!((rest.as_str(), status.success()), ("bye\n", true), "{build}");
}

#[test]
fn counts_and_creator_stacks_are_exact_in_every_go() {
    let _shared = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    for version in GO_VERSIONS {
        for kind in ["", "-pie"] {
            check_counts(&format!("go{version}{kind}"), "5");
        }
    }
}

#[test]
fn counts_are_exact_with_c_in_it_and_in_an_honest_program() {
    let _shared = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    check_counts(&format!("{GO}-cgo"), "5");
    check_counts(GO, "0");
}

/// Where ends are not probed, they are what memory shows and starts don't explain, to the last one.
#[test]
fn ends_that_no_probe_saw_are_lost_by_site() {
    let _shared = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let is_start = |program| program != GoroutineProgram::End;
    let mut traced = Traced::start_with(GO, &["starts"], limits(UNLIMITED), &is_start);
    let first = still(&rates(&traced), traced.live());
    let truth = traced.truth();
    let last = still(&rates(&traced), traced.live());
    let found = reconcile([&first, &last], 0);
    let ended: u64 = truth.as_object().unwrap().values().map(|site| number(site, "ended")).sum();
    // Those that start the others end too.
    assert!(found.lost >= ended, "{ended}: {}", found.lost);
    for site in truth.as_object().unwrap().values().filter(|site| number(site, "creator_pc") > 0) {
        let [creator_pc, start_pc] = ["creator_pc", "start_pc"].map(|field| number(site, field));
        let change = found.sites[&Creation { creator_pc, start_pc }];
        assert_eq!(change.unexplained, -(number(site, "ended") as i64), "{site}");
    }
    let section = section_of(&traced, &rates(&traced), Some(&(found.clone(), 1.0)));
    let said = section.rates.unwrap();
    assert_eq!(
        (said.lost["unreconciled"], said.reconciled.unwrap().lost),
        (found.lost, found.lost)
    );
}

/// The section of a report in which no reading saw a goroutine.
fn section_of(
    traced: &Traced,
    rates: &GoroutineRates,
    reconciled: Option<&(Reconciled, f64)>,
) -> GoroutineSites {
    let history = GoroutineHistory::default();
    let (judgements, surveys) = (&[], &HashMap::new());
    let mut names = traced.executable.symbolizer(&traced.watch).unwrap();
    let findings = GoroutineFindings { history: &history, judgements, surveys };
    let mut section = goroutine_sites(&findings, &mut names);
    section.add_rates(&RatesFindings { rates, seconds: 2.0, reconciled }, &mut names);
    section
}

/// Goroutines that live shorter than readings lie apart: each site has a row, below all others.
#[test]
fn sites_that_only_the_probes_saw_have_rows() {
    let _shared = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let mut traced = Traced::start(GO, &["starts", "-keep-every", "0"], limits(UNLIMITED));
    let (truth, now) = (traced.truth(), rates(&traced));
    let section = section_of(&traced, &now, None);
    assert_eq!(section.sites.len() as u64, section.sites_total);
    let numbers = |site: &GoroutineSite| (site.live, site.started, site.ended);
    for site in truth.as_object().unwrap().values().filter(|site| number(site, "creator_pc") > 0) {
        let [creator_pc, start_pc] = ["creator_pc", "start_pc"].map(|field| number(site, field));
        let creation = Some(Creation { creator_pc, start_pc });
        let rows: Vec<_> = section.sites.iter().filter(|row| row.creation == creation).collect();
        assert_eq!(rows.len(), 1, "{site}");
        let expected = (0, number(site, "started"), number(site, "ended"));
        assert_eq!((numbers(rows[0]), rows[0].verdict), (expected, "brief"), "{site}");
        let rates = rows[0].rates.as_ref().unwrap();
        assert_eq!(rates.started_per_s, number(site, "started") as f64 / 2.0);
        assert!(rows[0].creator.is_some() && !rates.creators.is_empty(), "{site}");
    }
    let starts: Vec<_> = section.sites.iter().map(|site| site.started).collect();
    assert!(starts.is_sorted_by(|one, other| one >= other), "{starts:?}");
}

/// Stacks of `descend` differ by depth: there is no room for all of them.
#[test]
fn what_finds_no_room_is_counted_by_site_and_said() {
    let _shared = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let small = GoroutineLimits { stacks: 16, ..limits(UNLIMITED) };
    let mut traced = Traced::start(GO, &["starts"], small);
    let (truth, now) = (traced.truth(), rates(&traced));
    for (name, site) in truth.as_object().unwrap().iter().filter(|(name, _)| *name != "coroutine") {
        let found = of(&now, [number(site, "creator_pc"), number(site, "start_pc")]);
        let started: u64 = found.iter().map(|(_, site)| site.started.seen).sum();
        assert_eq!(started, number(site, "started"), "{name}");
    }
    let counted: u64 = now.sites.values().map(|site| site.started.seen).sum();
    let with_stack: u64 = now.stacks.values().map(|stack| stack.started.seen).sum();
    assert_eq!(now.lost, [(Lost::StacksFull, counted - with_stack)]);
    assert!(counted > with_stack && now.stacks.len() == 16, "{} stacks", now.stacks.len());
}

#[test]
fn sites_without_room_are_counted_together_and_said() {
    let _shared = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let small = GoroutineLimits { sites: 4, ..limits(UNLIMITED) };
    let mut traced = Traced::start(GO, &["starts"], small);
    let (truth, now) = (traced.truth(), rates(&traced));
    let ended: u64 = truth.as_object().unwrap().values().map(|site| number(site, "ended")).sum();
    let counted: u64 = now.sites.values().map(|site| site.ended.seen).sum();
    let unplaced = now.unplaced.ended.seen;
    assert!(unplaced > 0 && counted + unplaced >= ended, "{counted} + {unplaced} of {ended}");
    assert_eq!(now.lost, [(Lost::SitesFull, unplaced)]);
}

/// 100,000 starts per second cost some 20 % of a core here. At 5 % there are windows enough for a
/// test.
#[test]
fn a_storm_is_sampled_in_time_and_says_so() {
    let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
    let mut traced = Traced::start(GO, &["paced", "-last", "12s"], limits(0.05));
    let observer = Observer::of(traced.workload.pid());
    let begin = Instant::now();
    let truth = traced.truth();
    let now = rates(&traced);
    let sampling = now.sampling.expect("sampling is announced");
    assert!(sampling.windows >= 5 && sampling.span_ns > 3 * sampling.observed_ns, "{sampling:?}");
    let told_ns = sampling.told_until_ns.map(|until| until - begin.monotonic_ns).unwrap() as f64;
    let per_ns = truth["started"].as_f64().unwrap() / (truth["seconds"].as_f64().unwrap() * 1e9);
    let (_, site) = now.sites.iter().max_by_key(|(_, site)| site.started.seen).unwrap();
    for rate in [site.started, site.ended] {
        let off = (rate.estimate - per_ns * told_ns).abs();
        // Few windows tell their own spread badly, and the workload's pace is uneven too.
        let allowed = 5.0 * rate.error + 0.03 * rate.estimate;
        assert!(off < allowed && rate.seen < number(&truth, "started"), "{rate:?}: {off}");
    }
    // By what hits were measured to cost: 5 % of a core, and what was spent before it was known.
    assert!(
        now.cost_ns > 0 && now.cost_ns as f64 / 1e9 < 0.1 * truth["seconds"].as_f64().unwrap(),
        "{now:?}"
    );
    assert_eq!(now.lost, []);
    assert_eq!(observer.offences(), Vec::<String>::new());
}

/// Once the storm is over, everything is counted again; that it was not is never forgotten.
#[test]
fn quiet_after_a_storm_is_counted_completely() {
    let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
    let mut traced = Traced::start(GO, &["paced", "-last", "2s"], limits(0.01));
    traced.truth();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let ends = loop {
        let sampling = rates(&traced).sampling.expect("sampling is announced");
        if sampling.told_until_ns.is_none() {
            break sampling;
        }
        assert!(std::time::Instant::now() < deadline, "{sampling:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(ends.windows > 0 && ends.observed_ns < ends.span_ns, "{ends:?}");
    traced.tracer.detach();
    let (rest, status) = traced.workload.end();
    assert_eq!((rest.as_str(), status.success()), ("bye\n", true));
}

/// The workload's goroutines go on as if nobody had looked while probes come and go.
#[test]
fn probes_that_come_and_go_leave_the_target_unharmed() {
    let _shared = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let mut traced = Traced::start(GO, &["starts", "-times", "2000"], limits(1e-6));
    let observer = Observer::of(traced.workload.pid());
    let truth = traced.truth();
    let ended = |site: &Value| number(site, "ended");
    assert!(truth.as_object().unwrap().values().map(ended).sum::<u64>() > 50_000);
    assert!(rates(&traced).sampling.is_some());
    assert_eq!(observer.offences(), Vec::<String>::new());
    drop(traced.tracer);
    let (rest, status) = traced.workload.end();
    assert_eq!((rest.as_str(), status.success()), ("bye\n", true));
}
