//! Growth of memory by call chain, against what native programs say that they did. As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    io::{BufRead as _, BufReader},
    num::NonZeroU32,
    process::{Command, Stdio},
    sync::{PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use leaktrace::bpf::{FaultPeriod, GrowthLimits, GrowthReadout, GrowthTracer};
use leaktrace_common::{GrowthKind, GrowthOperation, GrowthTotal, Lost, growth_overflow_site};
use support::{
    Guard,
    native::{Native, of},
};

const PAGE_BYTES: u64 = 4096;
const MIB: u64 = 1 << 20;
/// Whom the process that is to be killed traces.
const HELD_PID: &str = "LEAKTRACE_GROWTH_HELD_PID";

/// Held for reading while programs are loaded, and for writing where none may be.
static LOADED: RwLock<()> = RwLock::new(());

fn loading() -> RwLockReadGuard<'static, ()> {
    LOADED.read().unwrap_or_else(PoisonError::into_inner)
}

fn every_fault() -> FaultPeriod {
    FaultPeriod::Fixed(NonZeroU32::new(1).unwrap())
}

fn total(readout: &GrowthReadout, operation: GrowthOperation, kind: GrowthKind) -> GrowthTotal {
    let row = readout.totals.iter().find(|row| (row.0, row.1) == (operation, kind));
    row.map(|row| row.2).unwrap_or_default()
}

/// A program whose mapping calls are counted.
fn mapped() -> (Native, GrowthTracer) {
    let grow = Native::start("grow");
    let mut tracer = GrowthTracer::load(grow.pid(), GrowthLimits::default()).unwrap();
    tracer.attach_mappings().unwrap();
    (grow, tracer)
}

#[test]
fn mapped_bytes_are_exact_by_kind_and_function() {
    let _loading = loading();
    let (mut grow, tracer) = mapped();
    let commands = [
        ("map_anon", GrowthKind::Anon),
        ("map_shared", GrowthKind::Shared),
        ("reserve", GrowthKind::Reserved),
        ("file_private", GrowthKind::File),
        ("file_shared", GrowthKind::File),
        ("grow_brk", GrowthKind::Heap),
    ];
    for (times, (command, _)) in (1..).zip(commands) {
        for _ in 0..times {
            // One byte over: the kernel maps whole pages.
            let bytes = if command == "grow_brk" { MIB } else { MIB + 1 };
            assert_eq!(grow.command(command, bytes).map_bytes, bytes);
        }
    }
    let blame = grow.blame(&tracer);
    for (times, (command, kind)) in (1..).zip(commands) {
        let bytes = if command == "grow_brk" { MIB } else { MIB + PAGE_BYTES };
        let counted = of(&blame, GrowthOperation::Map, kind, command);
        assert_eq!(
            (counted.calls, counted.amount),
            (times, times * bytes),
            "{command}: {blame:#?}"
        );
    }
    let readout = tracer.read().unwrap();
    let files = total(&readout, GrowthOperation::Map, GrowthKind::File);
    assert_eq!(files, GrowthTotal { calls: 9, amount: 9 * (MIB + PAGE_BYTES) });
    assert_eq!(readout.lost, []);
    assert_eq!(readout.faults, None);
}

#[test]
fn what_is_unmapped_is_taken_off_whoever_mapped_it() {
    let _loading = loading();
    let (mut grow, tracer) = mapped();
    grow.command("map_anon", 8 * MIB);
    grow.command("unmap", MIB);
    grow.command("remap", 4 * MIB);
    grow.command("shrink", MIB);
    // The last 3 MiB of the 10 came by growing, and go last here: the first go off map_anon.
    grow.command("unmap", 2 * MIB);
    grow.command("discard", 2 * MIB);
    let blame = grow.blame(&tracer);
    let of = |operation, function| of(&blame, operation, GrowthKind::Anon, function);
    let (map, unmap) = (GrowthOperation::Map, GrowthOperation::Unmap);
    assert_eq!(of(map, "map_anon").amount, 8 * MIB, "{blame:#?}");
    assert_eq!(of(map, "remap").amount, 4 * MIB, "{blame:#?}");
    assert_eq!((of(unmap, "unmap").calls, of(unmap, "unmap").amount), (2, 3 * MIB));
    assert_eq!(of(unmap, "shrink").amount, MIB);
    assert_eq!(of(GrowthOperation::Discard, "discard").amount, 2 * MIB);
    let released = of(map, "map_anon").released_bytes + of(map, "remap").released_bytes;
    assert_eq!(released, 4 * MIB, "{blame:#?}");
    assert_eq!(tracer.read().unwrap().lost, []);
}

#[test]
fn a_spike_is_no_growth() {
    let _loading = loading();
    let (mut grow, tracer) = mapped();
    for _ in 0..10 {
        grow.command("spike", MIB);
    }
    grow.command("grow_brk", MIB);
    grow.command("shrink_brk", MIB);
    let blame = grow.blame(&tracer);
    let spike = of(&blame, GrowthOperation::Map, GrowthKind::Anon, "spike");
    assert_eq!((spike.amount, spike.released_bytes), (10 * MIB, 10 * MIB), "{blame:#?}");
    let shrunk = of(&blame, GrowthOperation::Unmap, GrowthKind::Heap, "shrink_brk");
    assert_eq!(shrunk.amount, MIB);
}

/// As the Go runtime does: what is mapped over a reservation is no second growth of it.
#[test]
fn what_is_mapped_over_a_reservation_takes_its_place() {
    let _loading = loading();
    let (mut grow, tracer) = mapped();
    grow.command("reserve", 8 * MIB);
    grow.command("commit", MIB);
    let blame = grow.blame(&tracer);
    let reserved = of(&blame, GrowthOperation::Map, GrowthKind::Reserved, "reserve");
    assert_eq!((reserved.amount, reserved.released_bytes), (8 * MIB, MIB));
    let committed = of(&blame, GrowthOperation::Map, GrowthKind::Anon, "commit");
    assert_eq!((committed.amount, committed.released_bytes), (MIB, 0));
}

/// What finds no room is counted all the same, and that it found none.
#[test]
fn full_maps_lose_names_and_no_bytes() {
    let _loading = loading();
    let mut grow = Native::start("grow");
    let limits = GrowthLimits { sites: 6, ranges: 2 };
    let mut tracer = GrowthTracer::load(grow.pid(), limits).unwrap();
    tracer.attach_mappings().unwrap();
    let commands = ["map_anon", "map_shared", "reserve", "file_private", "file_shared"];
    for command in commands {
        grow.command(command, MIB);
    }
    let readout = tracer.read().unwrap();
    let mapped = |kind| total(&readout, GrowthOperation::Map, kind).amount;
    assert_eq!(mapped(GrowthKind::File), 2 * MIB);
    assert_eq!(mapped(GrowthKind::Reserved), MIB);
    let overflow = growth_overflow_site(GrowthOperation::Map);
    let overflow = readout.sites.iter().find(|site| site.site == overflow).unwrap();
    assert_eq!((overflow.counters.calls, overflow.counters.amount), (3, 3 * MIB));
    assert_eq!(readout.lost, [(Lost::SitesFull, 3), (Lost::MappingsFull, 3)]);
}

/// While calls are not counted, what is known about mappings grows old, and must not be believed.
#[test]
fn what_happens_while_detached_is_not_made_up() {
    let _loading = loading();
    let (mut grow, mut tracer) = mapped();
    grow.command("reserve", MIB);
    tracer.detach_mappings();
    grow.command("unmap", MIB);
    grow.command("map_anon", MIB);
    grow.command("grow_brk", MIB);
    tracer.attach_mappings().unwrap();
    grow.command("unmap", MIB);
    grow.command("grow_brk", 2 * MIB);
    let readout = tracer.read().unwrap();
    let unmapped = total(&readout, GrowthOperation::Unmap, GrowthKind::Unknown);
    assert_eq!(unmapped, GrowthTotal { calls: 1, amount: MIB });
    let heap = total(&readout, GrowthOperation::Map, GrowthKind::Heap);
    assert_eq!(heap, GrowthTotal { calls: 1, amount: 2 * MIB });
    let reserved = of(&grow.blame(&tracer), GrowthOperation::Map, GrowthKind::Reserved, "reserve");
    assert_eq!((reserved.amount, reserved.released_bytes), (MIB, 0));
}

/// What was mapped before anybody looked has no kind, and that is said.
#[test]
fn what_was_mapped_before_has_no_kind() {
    let _loading = loading();
    let mut grow = Native::start("grow");
    grow.command("map_anon", 2 * MIB);
    let mut tracer = GrowthTracer::load(grow.pid(), GrowthLimits::default()).unwrap();
    tracer.attach_mappings().unwrap();
    grow.command("unmap", MIB);
    let readout = tracer.read().unwrap();
    let unmapped = total(&readout, GrowthOperation::Unmap, GrowthKind::Unknown);
    assert_eq!(unmapped, GrowthTotal { calls: 1, amount: MIB });
}

#[test]
fn every_touched_page_is_blamed_on_who_touched_it() {
    let _loading = loading();
    let mut grow = Native::start("grow");
    // Whatever it needs once, it has.
    grow.command("touch_reservation", PAGE_BYTES);
    grow.command("read_into", PAGE_BYTES);
    grow.command("grow_anon", PAGE_BYTES);
    let mut tracer = GrowthTracer::load(grow.pid(), GrowthLimits::default()).unwrap();
    tracer.attach_faults(every_fault()).unwrap();
    let truth = [
        ("touch_reservation", grow.command("touch_reservation", 3 * MIB).pages),
        ("read_into", grow.command("read_into", 2 * MIB).pages),
        ("grow_anon", grow.command("grow_anon", MIB).pages),
    ];
    let blame = grow.blame(&tracer);
    for (function, pages) in truth {
        let counted = of(&blame, GrowthOperation::Fault, GrowthKind::Unknown, function);
        assert_eq!((counted.calls, counted.amount), (pages, pages), "{function}: {blame:#?}");
    }
    let readout = tracer.read().unwrap();
    let all = total(&readout, GrowthOperation::Fault, GrowthKind::Unknown);
    assert_eq!(readout.faults.unwrap().counted, Some(all.amount));
    assert_eq!(readout.lost, []);
}

#[test]
fn sampled_faults_are_within_their_error() {
    let _loading = loading();
    let mut grow = Native::start("grow");
    let mut tracer = GrowthTracer::load(grow.pid(), GrowthLimits::default()).unwrap();
    tracer.attach_faults(FaultPeriod::Fixed(NonZeroU32::new(61).unwrap())).unwrap();
    // Both take turns, in steps shorter than the period.
    for _ in 0..1000 {
        grow.command("touch_reservation", 30 * PAGE_BYTES);
        grow.command("read_into", 10 * PAGE_BYTES);
    }
    let blame = grow.blame(&tracer);
    let pages =
        |function| of(&blame, GrowthOperation::Fault, GrowthKind::Unknown, function).amount as f64;
    // About 490 and 160 samples: three standard deviations of a binomial share are 14 and 24 %.
    let (touched, read) = (pages("touch_reservation"), pages("read_into"));
    assert!((touched / 30_000.0 - 1.0).abs() < 0.14, "{touched}: {blame:#?}");
    assert!((read / 10_000.0 - 1.0).abs() < 0.24, "{read}: {blame:#?}");
    let counted = tracer.read().unwrap().faults.unwrap().counted.unwrap();
    assert!((40_000..42_000).contains(&counted), "{counted}");
}

#[test]
fn threads_from_before_and_from_later_are_both_seen_once() {
    let _loading = loading();
    let mut grow = Native::start("grow");
    let starts = |grow: &mut Native| {
        for _ in 0..4 {
            grow.command("start_thread", MIB);
        }
    };
    starts(&mut grow);
    let mut tracer = GrowthTracer::load(grow.pid(), GrowthLimits::default()).unwrap();
    tracer.attach_faults(every_fault()).unwrap();
    tracer.attach_mappings().unwrap();
    starts(&mut grow);
    let truth: u64 = (0..8).map(|_| grow.command("in_thread", MIB).pages).sum();
    let blame = grow.blame(&tracer);
    let function = "touch_in_thread";
    let faults = of(&blame, GrowthOperation::Fault, GrowthKind::Unknown, function);
    assert_eq!(faults.amount, truth, "{blame:#?}");
    let mapped = of(&blame, GrowthOperation::Map, GrowthKind::Anon, function);
    assert_eq!((mapped.calls, mapped.amount), (8, 8 * MIB));
    // glibc puts a guard page of its own into the size that is asked for.
    let readout = tracer.read().unwrap();
    let stacks = total(&readout, GrowthOperation::Map, GrowthKind::Stack);
    assert_eq!(stacks, GrowthTotal { calls: 4, amount: 4 * (MIB + PAGE_BYTES) });
    assert_eq!(readout.faults.unwrap().unsure_threads, 0);
}

#[test]
fn bystanders_and_children_are_not_counted() {
    let _loading = loading();
    let (mut grow, mut tracer) = mapped();
    tracer.attach_faults(every_fault()).unwrap();
    let mut other = Native::start("grow");
    other.command("grow_anon", MIB);
    grow.command("in_child", 16 * MIB);
    let readout = tracer.read().unwrap();
    assert_eq!(total(&readout, GrowthOperation::Map, GrowthKind::Anon), GrowthTotal::default());
    // Of fork the target has faults of its own: it writes to pages that the child shares.
    let faults = readout.faults.unwrap().counted.unwrap();
    assert!(faults < 1000, "{faults}");
    assert_eq!(total(&readout, GrowthOperation::Fault, GrowthKind::Unknown).amount, faults);
}

/// The period follows the rate, and nothing is counted twice on the way.
#[test]
fn the_period_follows_the_rate() {
    let _loading = loading();
    let mut grow = Native::start("grow");
    let mut tracer = GrowthTracer::load(grow.pid(), GrowthLimits::default()).unwrap();
    tracer.attach_faults(FaultPeriod::Adaptive).unwrap();
    let period = |tracer: &GrowthTracer| tracer.read().unwrap().faults.unwrap().period;
    let mut pages = grow.command("touch_reservation", 20 * MIB).pages;
    tracer.heartbeat(10.0).unwrap();
    assert_eq!(period(&tracer), 1, "512 per second");
    pages += grow.command("touch_reservation", 20 * MIB).pages;
    tracer.heartbeat(0.1).unwrap();
    assert_eq!(period(&tracer), 61, "51,200 per second");
    pages += grow.command("touch_reservation", 20 * MIB).pages;
    let counted = tracer.read().unwrap().faults.unwrap().counted.unwrap();
    assert!((pages..pages + 200).contains(&counted), "{counted} of {pages}");
    let blame = grow.blame(&tracer);
    let function = "touch_reservation";
    let blamed = of(&blame, GrowthOperation::Fault, GrowthKind::Unknown, function).amount;
    assert!(blamed.abs_diff(pages) < 3 * 61, "{blamed} of {pages}");
}

/// What a leak by malloc touches is blamed on who touches it; its honest twin touches nothing new.
#[test]
fn a_leak_by_malloc_differs_from_its_honest_twin() {
    let _loading = loading();
    let mut grow = Native::start("grow");
    let mut tracer = GrowthTracer::load(grow.pid(), GrowthLimits::default()).unwrap();
    tracer.attach_faults(every_fault()).unwrap();
    let leaked = grow.command("leak_malloc", 4 * MIB).pages;
    grow.command("honest_malloc", 4 * MIB);
    let blame = grow.blame(&tracer);
    let of = |function| of(&blame, GrowthOperation::Fault, GrowthKind::Unknown, function).amount;
    // One page in 16 is touched by malloc itself.
    let leak = of("leak_malloc");
    assert!((leaked * 15 / 16..=leaked).contains(&leak), "{leak} of {leaked}: {blame:#?}");
    assert!(of("honest_malloc") <= 16, "{blame:#?}");
}

#[test]
fn growth_of_a_rust_program_is_blamed_on_its_functions() {
    let _loading = loading();
    let mut hoard = Native::start("hoard");
    let mut tracer = GrowthTracer::load(hoard.pid(), GrowthLimits::default()).unwrap();
    tracer.attach_faults(every_fault()).unwrap();
    tracer.attach_mappings().unwrap();
    hoard.command("hoard", 4 * MIB);
    hoard.command("honest", 4 * MIB);
    hoard.command("large", 4 * MIB);
    hoard.command("deep", MIB);
    let blame = hoard.blame(&tracer);
    let of = |function| of(&blame, GrowthOperation::Fault, GrowthKind::Unknown, function).amount;
    let pages = MIB / PAGE_BYTES;
    // malloc touches the first page of each piece of 16 before `hoard` does; `large` is a mapping of
    // its own, which memset touches: its caller is found though it has no frame.
    assert!((4 * pages * 15 / 16..=4 * pages).contains(&of("5hoard5hoard")), "{blame:#?}");
    assert_eq!(of("5hoard5large"), 4 * pages, "{blame:#?}");
    assert!(of("5hoard6honest") <= 16, "{blame:#?}");
    assert!((pages..=pages + 20).contains(&of("5hoard7descend")), "{blame:#?}");
}

#[test]
fn the_target_is_unharmed() {
    let _loading = loading();
    let (mut grow, mut tracer) = mapped();
    tracer.attach_faults(every_fault()).unwrap();
    let watch = support::Observer::of(grow.process.pid());
    for _ in 0..200 {
        grow.command("spike", MIB);
    }
    drop(tracer);
    grow.command("spike", MIB);
    assert_eq!(watch.offences(), Vec::<String>::new());
    assert!(grow.end().success());
}

/// Names of our programs that the kernel has.
fn loaded_programs() -> Vec<String> {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let ours = |line: &&str| line.contains("bpf_prog_") && line.contains("mapping_call");
    symbols.lines().filter(ours).map(str::to_owned).collect()
}

/// Not a test: what the next one starts and kills.
#[test]
#[ignore = "run by everything_is_gone_after_kill_9"]
fn holds_until_killed() {
    let Ok(pid) = std::env::var(HELD_PID) else { return };
    let mut tracer = GrowthTracer::load(pid.parse().unwrap(), GrowthLimits::default()).unwrap();
    tracer.attach_faults(every_fault()).unwrap();
    tracer.attach_mappings().unwrap();
    eprintln!("attached");
    loop {
        std::thread::park();
    }
}

#[test]
fn everything_is_gone_after_kill_9() {
    let _alone = LOADED.write().unwrap_or_else(PoisonError::into_inner);
    let mut grow = Native::start("grow");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "holds_until_killed", "--nocapture"]);
    command.env(HELD_PID, grow.pid().to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut holder = Guard(command.spawn().unwrap());
    let mut lines = BufReader::new(holder.0.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "attached"));
    grow.command("spike", MIB);
    assert_eq!(loaded_programs().len(), 1);
    drop(holder);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !loaded_programs().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", loaded_programs());
        std::thread::sleep(Duration::from_millis(20));
    }
    grow.command("spike", MIB);
    assert!(grow.end().success());
}
