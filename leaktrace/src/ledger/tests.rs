//! Ledgers of samples made by hand.

use super::{Group, How, Ledger, LedgerGrowth, Part};
use crate::{
    memory::{ArenaUse, MappedPieces, Resident, RuntimeCounters},
    snapshot::{
        Figures, GoSample, KernelSample, MappingKind, MappingRow, MappingsSample, ResidentSample,
    },
};

const MIB: u64 = 1 << 20;

/// Mappings of these kinds, with MiB that are resident and MiB of them that are anonymous.
fn mappings(rows: &[(MappingKind, u64, u64)]) -> MappingsSample {
    let mut sample = MappingsSample::default();
    for (kind, rss_mib, anonymous_mib) in rows {
        let figures = Figures {
            rss_bytes: rss_mib * MIB,
            anonymous_bytes: anonymous_mib * MIB,
            ..Figures::default()
        };
        sample.total.add(&figures);
        sample.rows.push(MappingRow { kind: *kind, name: None, mappings: 1, figures });
    }
    sample
}

fn sample(rows: &[(MappingKind, u64, u64)], go: Option<GoSample>) -> ResidentSample {
    ResidentSample { mappings: mappings(rows), go, ..ResidentSample::default() }
}

/// A heap with 50 MiB live, 30 MiB since, and more mapped than these.
const fn counters() -> RuntimeCounters {
    RuntimeCounters {
        gc_percent: 100,
        memory_limit_bytes: None,
        next_gc_bytes: 100 * MIB,
        heap_marked_bytes: 50 * MIB,
        heap_live_bytes: 80 * MIB,
        heap_in_use_bytes: 90 * MIB,
        heap_free_bytes: 10 * MIB,
        heap_released_bytes: 0,
        stacks_bytes: 5 * MIB,
        mapped_ready_bytes: 110 * MIB,
        runtime_bytes: 6 * MIB,
        processors: 2,
        gc_cycles: 3,
        gc_cycles_forced: 0,
        last_gc_unix_ns: 0,
        gc_pause_total_ns: 0,
    }
}

fn exclusive(mib: u64) -> Resident {
    Resident { exclusive_bytes: mib * MIB, shared_bytes: 0 }
}

fn arenas() -> ArenaUse {
    ArenaUse {
        live: exclusive(40),
        fresh: exclusive(20),
        unswept: exclusive(15),
        gaps: exclusive(5),
        stacks: exclusive(5),
        collector: exclusive(1),
        idle: exclusive(10),
        live_object_bytes: 45 * MIB,
        ..ArenaUse::default()
    }
}

fn mib(ledger: &Ledger) -> Vec<(Part, i64)> {
    ledger.lines.iter().map(|line| (line.what, line.bytes / MIB as i64)).collect()
}

fn sum(ledger: &Ledger) -> i64 {
    ledger.lines.iter().map(|line| line.bytes).sum()
}

#[test]
fn a_native_process_is_split_by_its_mappings() {
    let rows = [
        (MappingKind::Executable, 10, 2),
        (MappingKind::ExecutableBss, 3, 3),
        (MappingKind::Library, 8, 1),
        (MappingKind::File, 20, 4),
        (MappingKind::Brk, 30, 30),
        (MappingKind::MallocHeap, 6, 6),
        (MappingKind::Anonymous, 7, 7),
        (MappingKind::ThreadStack, 2, 2),
        (MappingKind::Memfd, 9, 0),
        (MappingKind::SharedMemory, 1, 0),
    ];
    let ledger = Ledger::new(&sample(&rows, None));
    let expected = [
        (Part::Anonymous, 7),
        (Part::Files, 31),
        (Part::ExecutableData, 5),
        (Part::LibraryData, 1),
        (Part::Brk, 30),
        (Part::MallocHeaps, 6),
        (Part::ThreadStacks, 2),
        (Part::SharedMemory, 10),
    ];
    for (part, bytes) in expected {
        // What was changed of a private file mapping is anonymous memory too.
        let more = if part == Part::Anonymous { 4 } else { 0 };
        let found: i64 =
            mib(&ledger).iter().filter(|(what, _)| *what == part).map(|(_, bytes)| bytes).sum();
        assert_eq!(found, bytes + more, "{part:?}: {ledger:#?}");
    }
    assert_eq!((ledger.unexplained_bytes, sum(&ledger)), (0, 96 * MIB as i64));
}

#[test]
fn a_line_is_there_once() {
    let rows = [(MappingKind::File, 20, 4), (MappingKind::Anonymous, 7, 7)];
    let ledger = Ledger::new(&sample(&rows, None));
    assert_eq!(ledger.bytes(Part::Anonymous), 11 * MIB as i64);
    let mut parts: Vec<_> = ledger.lines.iter().map(|line| line.what).collect();
    parts.sort_unstable();
    parts.dedup();
    assert_eq!(parts.len(), ledger.lines.len());
}

#[test]
fn a_go_heap_is_split_by_its_pages() {
    let rows = [(MappingKind::GoArena, 98, 98), (MappingKind::Anonymous, 20, 20)];
    let malloc =
        MappedPieces { pieces: 1, mapped_bytes: 12 * MIB, resident: exclusive(12), complete: true };
    let go = GoSample { counters: counters(), arenas: Some(arenas()), malloc: Some(malloc) };
    let ledger = Ledger::new(&sample(&rows, Some(go)));
    let expected = [
        // 5 MiB of 15 that are not swept are what the counters miss in the spans that are.
        (Part::GoLive, 45),
        (Part::GoGarbage, 30),
        (Part::GoGaps, 5),
        (Part::GoIdle, 10),
        (Part::GoStacks, 5),
        // 1 MiB of the collector's in the arenas, 5 of 6 that the counters admit outside.
        (Part::GoRuntime, 6),
        (Part::MallocPieces, 12),
        (Part::Anonymous, 3),
        (Part::Unexplained, 2),
    ];
    assert_eq!(mib(&ledger), expected);
    assert_eq!(sum(&ledger), ledger.rss_bytes as i64);
}

#[test]
fn the_page_of_zeros_counts_only_where_rss_has_room_for_it() {
    let shared = |mib| Resident { exclusive_bytes: 0, shared_bytes: mib * MIB };
    let pages = ArenaUse { live: shared(40), idle: exclusive(10), ..ArenaUse::default() };
    for (rss_mib, live) in [(10, 0), (50, 40), (30, 20), (60, 40)] {
        let go = GoSample { counters: counters(), arenas: Some(pages.clone()), malloc: None };
        let ledger = Ledger::new(&sample(&[(MappingKind::GoArena, rss_mib, rss_mib)], Some(go)));
        assert_eq!(ledger.bytes(Part::GoLive), live * MIB as i64, "{rss_mib}");
        let unexplained = rss_mib as i64 - 10 - live;
        assert_eq!(ledger.unexplained_bytes, unexplained * MIB as i64, "{rss_mib}");
    }
}

/// Counters count what is mapped: what is not resident shows below zero, and is not hidden.
#[test]
fn without_the_page_map_the_unexplained_may_be_negative() {
    let go = GoSample { counters: counters(), arenas: None, malloc: None };
    let ledger = Ledger::new(&sample(&[(MappingKind::GoArena, 60, 60)], Some(go)));
    assert_eq!(ledger.bytes(Part::GoLive), 50 * MIB as i64);
    assert_eq!(ledger.unexplained_bytes, (60 - 105) * MIB as i64);
    assert_eq!(sum(&ledger), 60 * MIB as i64);
    assert_eq!(ledger.lines[0].how, How::Counters);
}

#[test]
fn names_of_the_runtimes_mappings_are_believed() {
    let rows = [(MappingKind::GoRuntime, 3, 3), (MappingKind::Anonymous, 20, 20)];
    let go = GoSample { counters: counters(), arenas: Some(ArenaUse::default()), malloc: None };
    let ledger = Ledger::new(&sample(&rows, Some(go)));
    assert_eq!(mib(&ledger)[..2], [(Part::GoRuntime, 3), (Part::Anonymous, 20)]);
    assert_eq!((ledger.unexplained_bytes, ledger.lines[0].how), (0, How::Smaps));
}

/// The runtime counts 6 MiB and has 2 in memory; the index of its arenas is mapped besides.
#[test]
fn what_is_mapped_beyond_the_runtimes_counters_is_others() {
    let cases = [
        // Nobody else, then 3 and 40 MiB of others, all touched.
        (38, 2, 0),
        (41, 5, 3),
        (78, 42, 40),
        // 1000 MiB set aside, of which 1 and 40 are touched.
        (1038, 3, 0),
        (1038, 42, 36),
    ];
    for (mapped_mib, rss_mib, others) in cases {
        let go = GoSample { counters: counters(), arenas: None, malloc: None };
        let mut sample = sample(&[(MappingKind::Anonymous, rss_mib, rss_mib)], Some(go));
        sample.mappings.rows[0].figures.mapped_bytes = mapped_mib * MIB;
        let ledger = Ledger::new(&sample);
        let found = ledger.bytes(Part::Anonymous) / MIB as i64;
        assert_eq!(found, others, "{mapped_mib} {rss_mib}: {ledger:#?}");
        assert_eq!(ledger.bytes(Part::GoRuntime) / MIB as i64, rss_mib as i64 - others);
    }
}

#[test]
fn absurd_figures_are_survived() {
    let absurd = Resident { exclusive_bytes: u64::MAX, shared_bytes: u64::MAX };
    let pages = ArenaUse { live: absurd, unswept: absurd, idle: absurd, ..ArenaUse::default() };
    let counters = RuntimeCounters {
        heap_marked_bytes: u64::MAX,
        heap_live_bytes: 1,
        runtime_bytes: u64::MAX,
        ..counters()
    };
    for arenas in [Some(pages), None] {
        let malloc = Some(MappedPieces {
            pieces: 1,
            mapped_bytes: u64::MAX,
            resident: absurd,
            complete: false,
        });
        let go = GoSample { counters, arenas, malloc };
        let rows = [(MappingKind::GoArena, 1, 1), (MappingKind::Anonymous, 1, 1)];
        let ledger = Ledger::new(&sample(&rows, Some(go)));
        assert!(ledger.unexplained_bytes <= 0, "{ledger:#?}");
    }
}

fn native(rows: &[(MappingKind, u64, u64)], kernel_mib: u64) -> Ledger {
    let kernel = KernelSample {
        page_tables_bytes: Some(kernel_mib * MIB / 2),
        cgroup_kernel_bytes: Some(kernel_mib * MIB),
        ..KernelSample::default()
    };
    Ledger::new(&ResidentSample { kernel, ..sample(rows, None) })
}

#[test]
fn one_word_says_where_it_went() {
    let first = native(&[(MappingKind::Brk, 10, 10), (MappingKind::File, 5, 0)], 1);
    let last = native(&[(MappingKind::Brk, 40, 40), (MappingKind::File, 15, 0)], 1);
    let growth = LedgerGrowth::between(&first, &last);
    assert_eq!((growth.answer, growth.answer_ratio), (Group::Native, Some(0.75)));
    assert_eq!(growth.lines[0].grew_bytes, 30 * MIB as i64);
    assert_eq!(growth.rss_grew_bytes, 40 * MIB as i64);
    let still = LedgerGrowth::between(&last, &last);
    assert_eq!((still.answer, still.answer_ratio), (Group::None, None));
    let back = LedgerGrowth::between(&last, &first);
    assert_eq!((back.answer, back.rss_grew_bytes), (Group::None, -40 * MIB as i64));
}

/// What the kernel keeps for the cgroup may be for any of its processes.
#[test]
fn of_the_kernels_memory_only_the_page_tables_are_the_process_s() {
    let rows = [(MappingKind::Brk, 10, 10)];
    let growth = LedgerGrowth::between(&native(&rows, 2), &native(&rows, 22));
    assert_eq!((growth.answer, growth.answer_ratio), (Group::Kernel, Some(1.0)));
    assert_eq!(growth.groups[0].grew_bytes, 10 * MIB as i64);
    let of_cgroup = growth.lines.iter().find(|line| line.what == Part::CgroupKernel).unwrap();
    assert_eq!(of_cgroup.grew_bytes, 20 * MIB as i64);
}

/// Live bytes that came with as much room for garbage are the Go heap; a spike that is over is idle.
#[test]
fn the_collectors_room_belongs_to_the_live_heap() {
    let heap = |live: u64, idle: u64| {
        let arenas =
            ArenaUse { live: exclusive(live), idle: exclusive(idle), ..ArenaUse::default() };
        let go = GoSample { counters: counters(), arenas: Some(arenas), malloc: None };
        Ledger::new(&sample(&[(MappingKind::GoArena, live + idle, live + idle)], Some(go)))
    };
    let grown = |from: &Ledger, to: &Ledger| {
        let growth = LedgerGrowth::between(from, to);
        (growth.answer, growth.answer_ratio)
    };
    assert_eq!(grown(&heap(10, 5), &heap(20, 18)), (Group::GoHeap, Some(20.0 / 23.0)));
    assert_eq!(grown(&heap(10, 5), &heap(10, 69)), (Group::GoIdle, Some(1.0)));
    assert_eq!(grown(&heap(10, 5), &heap(14, 69)).0, Group::GoIdle);
}
