//! The report of one made-up trace, word for word: a change of the text or of the JSON schema
//! shows as a difference here. `UPDATE_GOLDEN=1 cargo test --test golden` accepts it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    time::{Duration, SystemTime},
};

use leaktrace::{
    binary::Frame,
    forecast::{Observations, forecast},
    history::History,
    memory::Holder,
    overhead::{Overhead, ProbeCost},
    probe::Unavailable,
    report::{
        Ending, FaultRow, GrowthSection, HeapTraffic, HeapTrafficSite, Inputs, MappingRow,
        MemorySection, NamedSite, Report, Target, TargetState, build, memory_section, render_json,
        render_text,
    },
    signatures::{Families, Program},
    snapshot::{
        ContextKind, ContextNature, ContextParent, ContextSample, Figures, HolderSample, Instant,
        MappingKind, MappingRow as SmapsRow, MappingsSample, NodeSample, OomSample, ProcessSample,
        ResidentSample, RollupSample, SiteSample, Snapshot,
    },
    verdict::{Evidence, assess},
};
use leaktrace_common::{LIFETIME_BUCKETS, lifetime_bucket};

const MIB: u64 = 1 << 20;
const LEAKY: u64 = 0xfeed_0000_0000_0001;
const HONEST: u64 = 0xbeef_0000_0000_0001;

fn instant(s: u64) -> Instant {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + s);
    Instant { monotonic_ns: (5000 + s) * 1_000_000_000, wall }
}

fn site(created: u64, released: u64) -> SiteSample {
    let mut lifetimes = [0; LIFETIME_BUCKETS];
    lifetimes[lifetime_bucket(3_000_000)] = released;
    let outstanding = created - released;
    SiteSample { created, released, collected: 0, outstanding, lifetimes }
}

/// A kubelet that keeps 48 of 50 contexts a second, beside 100 honest ones.
fn snapshot(s: u64) -> Snapshot {
    let sites = HashMap::from([(LEAKY, site(50 * s, 2 * s)), (HONEST, site(100 * s, 100 * s))]);
    let contexts = ContextSample {
        sites,
        released_untracked: 3,
        repeated_cancels: 7,
        probe_hits: 252 * s + 10,
        sample_divisor: 1,
        lost: Vec::new(),
    };
    let process = ProcessSample {
        rss_bytes: Some(118 * MIB + s * 48_000),
        rss_anon_bytes: Some(90 * MIB + s * 48_000),
        rss_file_bytes: Some(28 * MIB),
        rss_shmem_bytes: Some(0),
        vm_data_bytes: Some(400 * MIB),
        threads: Some(17),
        minor_faults: Some(100 * s),
        major_faults: Some(0),
        cpu_ticks: None,
    };
    let node = NodeSample {
        capacity_bytes: Some(2048 * MIB),
        available_bytes: Some(600 * MIB),
        ..NodeSample::default()
    };
    let contexts = Some(contexts);
    Snapshot { at: instant(s), process, node, cgroup: None, contexts, runtime: None }
}

fn frames(chain: &[(&str, &str, u32)]) -> Vec<Frame> {
    let frame = |(function, file, line): &(&str, &str, u32)| Frame {
        function: (*function).into(),
        file: (*file).into(),
        line: *line,
        start_line: line - 3,
        inlined: false,
    };
    chain.iter().map(frame).collect()
}

fn named(frames: Vec<Frame>, kind: ContextKind, parent: ContextParent) -> NamedSite {
    let parent_type = match parent {
        ContextParent::Cancellable => Some("*context.cancelCtx".to_owned()),
        _ => None,
    };
    let program = Program { module: Some("k8s.io/kubernetes"), version: Some("v1.36.2") };
    let families = Families::built_in();
    let found = families.match_context(&frames).into_iter();
    let advice = found.map(|family| family.advice(program)).collect();
    let nature = ContextNature { kind, parent, gives_cancel_func: kind != ContextKind::AfterFunc };
    NamedSite { frames, nature, parent_type, advice }
}

fn names() -> HashMap<u64, NamedSite> {
    let kubelet = "k8s.io/kubernetes/pkg/kubelet";
    let leaky = frames(&[
        ("context.WithCancel", "context/context.go", 241),
        (
            &format!("{kubelet}.(*podWorkers).startPodSync"),
            &format!("{kubelet}/pod_workers.go"),
            1155,
        ),
        (
            &format!("{kubelet}.(*podWorkers).podWorkerLoop"),
            &format!("{kubelet}/pod_workers.go"),
            1233,
        ),
        ("runtime.goexit", "runtime/asm_amd64.s", 1771),
    ]);
    let honest = frames(&[
        ("context.WithDeadlineCause", "context/context.go", 643),
        ("context.WithTimeout", "context/context.go", 704),
        ("google.golang.org/grpc.newClientStream", "google.golang.org/grpc/stream.go", 212),
    ]);
    HashMap::from([
        (LEAKY, named(leaky, ContextKind::Cancel, ContextParent::Cancellable)),
        (HONEST, named(honest, ContextKind::Timer, ContextParent::Unknown)),
    ])
}

fn target() -> Target {
    let some = |text: &str| Some(text.to_owned());
    Target {
        pid: 1234,
        start_time: some("2027-01-07T05:00:00Z"),
        uptime_s: Some(703_000.0),
        comm: "kubelet".to_owned(),
        exe: "/usr/bin/kubelet".to_owned(),
        build_id: some("0123abcd"),
        go_version: some("go1.26.3"),
        module: some("k8s.io/kubernetes@v1.36.2"),
        version: some("v1.36.2"),
        version_from: some("the linker flags in the build information"),
        unit: some("kubelet.service"),
        cgroup: some("/system.slice/kubelet.service"),
        state: TargetState::Running,
    }
}

fn heap() -> HeapTraffic {
    let site = |function: &str, growth: f64, alloc: f64| HeapTrafficSite {
        frames: frames(&[(function, "example.org/x/y.go", 12)]),
        in_use_bytes: 9 * MIB,
        in_use_objects: 100_000,
        alloc_bytes_per_s: alloc,
        alloc_objects_per_s: alloc / 64.0,
        growth_bytes_per_s: Some(growth),
        growth_interval: Some([growth - 1000.0, growth + 1000.0]),
    };
    HeapTraffic {
        how: "read from memory: the runtime's own sample, one byte in 524288".to_owned(),
        rate_bytes: 524_288,
        in_use_bytes: 61 * MIB,
        alloc_bytes_per_s: 5e6,
        alloc_objects_per_s: 70_000.0,
        growth_bytes_per_s: Some(23_000.0),
        growth_interval: Some([15_000.0, 31_000.0]),
        sites_total: 812,
        sites: vec![site("context.withCancel", 23_000.0, 24_000.0), site("y.churn", 12.0, 4.9e6)],
    }
}

fn growth() -> GrowthSection {
    let chain = frames(&[
        ("runtime.memclrNoHeapPointers", "runtime/memclr_amd64.s", 93),
        ("example.org/x/y.churn", "example.org/x/y.go", 12),
        ("main.main", "main.go", 7),
    ]);
    GrowthSection {
        faults: Some(700),
        faults_unsampled: Some(3),
        unsure_threads: 0,
        fault_sites: vec![FaultRow {
            id: format!("{LEAKY:016x}"),
            frames: chain.clone(),
            faults: 690,
            bytes: 690 * 4096,
            ratio: 0.99,
            how: "sampled, one in about 17".to_owned(),
            kind: Some("anonymous"),
        }],
        mmap_bytes: Some(64 * MIB),
        munmap_bytes: Some(MIB),
        brk_bytes: Some(0),
        discarded_bytes: Some(2 * MIB),
        mapping_sites: vec![MappingRow {
            id: format!("{HONEST:016x}"),
            frames: chain,
            operation: "map",
            kind: "anonymous",
            calls: 1,
            bytes: 64 * MIB,
            net_bytes: Some(63 * MIB),
        }],
        lost: BTreeMap::new(),
    }
}

fn memory() -> MemorySection {
    let sample = |anonymous_bytes: u64| {
        let row = |kind, name: Option<&str>, rss_bytes, anonymous_bytes| SmapsRow {
            kind,
            name: name.map(str::to_owned),
            mappings: 1,
            figures: Figures { rss_bytes, anonymous_bytes, ..Figures::default() },
        };
        let rows = vec![
            row(MappingKind::Anonymous, None, anonymous_bytes, anonymous_bytes),
            row(MappingKind::Executable, Some("/usr/bin/kubelet"), 28 * MIB, 0),
        ];
        let rss_bytes = anonymous_bytes + 28 * MIB;
        let total = Figures { rss_bytes, anonymous_bytes, ..Figures::default() };
        let mappings = MappingsSample { rows, total, mappings: 2, ..MappingsSample::default() };
        ResidentSample { mappings, threads: (17, 0), ..ResidentSample::default() }
    };
    memory_section(&sample(90 * MIB), &sample(93 * MIB), 60.0)
}

fn report() -> Report {
    let mut history = History::new(instant(0));
    (0..=12).for_each(|reading| history.push(snapshot(reading * 5)));
    let births_s = HashMap::from([(LEAKY, (0..2880).map(|i| f64::from(i) / 48.0).collect())]);
    let names = names();
    let natures = names.iter().map(|(site, name)| (*site, name.nature)).collect();
    let verdict = assess(&Evidence {
        history: &history,
        births_s: Some(&births_s),
        natures: &natures,
        holdings: &HashMap::new(),
        releases_complete: true,
        garbage_collected: true,
        uptime_at_start_s: Some(702_940.0),
    });
    let nodes: Vec<_> =
        history.points().iter().map(|point| (point.at_s, point.node.clone())).collect();
    let rollup = |anonymous_bytes| RollupSample {
        rss_bytes: anonymous_bytes + 28 * MIB,
        pss_bytes: anonymous_bytes + 27 * MIB,
        anonymous_bytes,
        swap_bytes: 0,
    };
    build(Inputs {
        target: target(),
        history: &history,
        ending: Ending::TimeUp,
        verdict,
        names,
        holdings: HashMap::new(),
        holders: vec![HolderSample {
            holder: Holder {
                address: 0xc000_1234_0000,
                type_name: "*context.cancelCtx",
                children: 383_127,
            },
            growth_per_s: Some(48.0),
        }],
        rollups: [Some(rollup(90 * MIB)), Some(rollup(93 * MIB))],
        heap: Some(heap()),
        goroutines: None,
        pods: None,
        growth: Some(growth()),
        memory: Some(memory()),
        explained_by_heap: None,
        heap_headroom: Some([2.0, 2.0]),
        forecast: forecast(&Observations {
            rss_anon: &history.series(|process| process.rss_anon_bytes),
            noise_bytes: 0.0,
            nodes: &nodes,
            cgroups: &[],
            eviction_threshold_bytes: 100 * MIB,
        }),
        oom: OomSample::default(),
        overhead: Overhead {
            cpu_ratio: Some(0.003),
            rss_bytes: Some(8 * MIB),
            rss_peak_bytes: Some(23 * MIB),
            map_bytes: 14 * MIB,
            probe_hits: 15_130,
            estimated_target_slowdown_ratio: 0.000_25,
            probes: vec![ProbeCost::contexts(15_130)],
        },
        unavailable: vec![Unavailable::new("an example", "made up for this test")],
    })
}

#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().zip(expected.lines()).enumerate();
    for (number, (found, golden)) in lines {
        assert_eq!(found, golden, "{name}:{}; see the head of this file", number + 1);
    }
    assert_eq!(text.len(), expected.len(), "{name} ends differently");
}

#[test]
fn the_text_report() {
    let text = anstream::adapter::strip_str(&render_text(&report())).to_string();
    let long: Vec<_> = text.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "{long:#?}");
    assert_golden("leak.txt", &text);
}

#[test]
fn the_json_report() {
    assert_golden("leak.json", &render_json(&report()).unwrap());
}
