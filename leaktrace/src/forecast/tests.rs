//! Forecasts from values whose truth can be worked out by hand.

use super::{Consequence, EVICTION_THRESHOLD_BYTES, Forecast, LimitKind, Observations, forecast};
use crate::snapshot::{
    CgroupLevel, CgroupLimit, CgroupSample, CgroupStat, CgroupVersion, NodeSample, RootSample,
};

const MIB: u64 = 1 << 20;
/// The kubelet of kubernetes/kubernetes#139823 leaks about 49 KiB/s.
const LEAK_PER_S: f64 = 49.0 * 1024.0;

/// A line of `per_s` from 118.2 MiB, every 5 s for a minute.
fn line(per_s: f64) -> Vec<(f64, f64)> {
    (0..13).map(|i| f64::from(i) * 5.0).map(|t| (t, 118.2 * MIB as f64 + per_s * t)).collect()
}

/// A node of 2 GiB with so much left at the end, which loses `per_s`.
fn nodes(left_mib: u64, per_s: f64) -> Vec<(f64, NodeSample)> {
    let node = |t: f64| {
        let used_bytes = (2048 - left_mib) * MIB - (per_s * (60.0 - t)) as u64;
        let root = RootSample {
            version: CgroupVersion::V1,
            usage_bytes: used_bytes + 300 * MIB,
            usage_older_bytes: None,
            inactive_file_bytes: 300 * MIB,
        };
        let available = 2048 * MIB - used_bytes;
        NodeSample {
            capacity_bytes: Some(2048 * MIB),
            available_bytes: Some(available),
            root: Some(root),
            ..NodeSample::default()
        }
    };
    line(0.0).into_iter().map(|(t, _)| (t, node(t))).collect()
}

fn level(path: &str, max_mib: Option<u64>, used_mib: u64) -> CgroupLevel {
    let stat = CgroupStat {
        inactive_file_bytes: Some(10 * MIB),
        active_file_bytes: Some(0),
        ..CgroupStat::default()
    };
    CgroupLevel {
        path: path.to_owned(),
        is_root: false,
        usage_bytes: Some((used_mib + 10) * MIB),
        max: Some(max_mib.map_or(CgroupLimit::Unlimited, |mib| CgroupLimit::Bytes(mib * MIB))),
        high: Some(CgroupLimit::Unlimited),
        swap_bytes: None,
        swap_max: None,
        stat,
        oom_kills: Some(0),
        oom_kill_disabled: None,
        pressure: None,
    }
}

fn cgroups(levels: Vec<CgroupLevel>) -> Vec<(f64, CgroupSample)> {
    let version = CgroupVersion::V2;
    vec![(
        60.0,
        CgroupSample { version, levels, fuzz_bytes: None, levels_dropped: 0, pressure: None },
    )]
}

fn of(
    rss_anon: &[(f64, f64)],
    nodes: &[(f64, NodeSample)],
    cgroups: &[(f64, CgroupSample)],
) -> Forecast {
    forecast(&Observations {
        rss_anon,
        noise_bytes: 0.0,
        nodes,
        cgroups,
        eviction_threshold_bytes: EVICTION_THRESHOLD_BYTES,
    })
}

fn assumes(forecast: &Forecast, what: &str) -> bool {
    forecast.assumptions.iter().any(|assumption| assumption.contains(what))
}

fn within(found: f64, expected: f64) -> bool {
    (found - expected).abs() < expected * 1e-6 + 1e-6
}

#[test]
fn eviction_comes_a_hundred_mebibytes_before_the_end() {
    let found = of(&line(LEAK_PER_S), &nodes(600, LEAK_PER_S), &[]);
    let (eviction, oom) = (found.eviction.unwrap(), found.oom.unwrap());
    let seconds = |mib: u64| (mib * MIB) as f64 / LEAK_PER_S;
    assert!(within(eviction.earliest_s, seconds(500)), "{eviction:?}");
    assert!(within(eviction.latest_s.unwrap(), seconds(500)), "{eviction:?}");
    assert!(within(oom.earliest_s, seconds(600)), "{oom:?}");
    assert!(assumes(&found, "the target's growth explains"), "{found:?}");
    assert!(assumes(&found, "memory.available < 100Mi"));
}

/// Others on the node take 100 KiB/s: the earlier end is theirs too, the later the target's alone.
#[test]
fn a_node_that_fills_faster_gives_the_earlier_end() {
    let found = of(&line(LEAK_PER_S), &nodes(600, 3.0 * LEAK_PER_S), &[]);
    let eviction = found.eviction.unwrap();
    let room = (500 * MIB) as f64;
    assert!(within(eviction.earliest_s, room / (3.0 * LEAK_PER_S)), "{eviction:?}");
    assert!(within(eviction.latest_s.unwrap(), room / LEAK_PER_S), "{eviction:?}");
    assert!(assumes(&found, "others grow too"), "{found:?}");
}

#[test]
fn a_node_that_gets_emptier_may_never_be_full() {
    let found = of(&line(LEAK_PER_S), &nodes(600, -LEAK_PER_S), &[]);
    let eviction = found.eviction.unwrap();
    assert!(within(eviction.earliest_s, (500 * MIB) as f64 / LEAK_PER_S));
    assert_eq!(eviction.latest_s, None);
    assert!(assumes(&found, "others shrink"), "{found:?}");
}

#[test]
fn below_the_threshold_eviction_is_now() {
    let found = of(&line(LEAK_PER_S), &nodes(80, LEAK_PER_S), &[]);
    assert_eq!(found.eviction.unwrap().earliest_s, 0.0);
    assert_eq!(found.eviction.unwrap().latest_s, Some(0.0));
    assert!(found.oom.unwrap().earliest_s > 0.0);
}

#[test]
fn no_growth_is_no_deadline_and_too_few_points_are_no_forecast() {
    let limited = cgroups(vec![level("/a", Some(200), 120)]);
    let flat = of(&line(0.0), &nodes(600, 0.0), &limited);
    assert_eq!((flat.eviction, flat.oom), (None, None));
    assert!(flat.limits.is_empty() && assumes(&flat, "the target itself does not grow"));
    let few = of(&line(LEAK_PER_S)[..4], &nodes(600, LEAK_PER_S), &limited);
    assert_eq!((few.eviction, few.limits.len()), (None, 0));
    assert!(assumes(&few, "4 points of RssAnon are too few"));
}

#[test]
fn what_was_not_read_is_said() {
    let found = of(&line(LEAK_PER_S), &[], &[]);
    assert_eq!((found.eviction, found.oom), (None, None));
    assert!(assumes(&found, "node's memory was not read"));
    assert!(assumes(&found, "cgroups were not read"));
    let found = of(&line(LEAK_PER_S), &[(60.0, NodeSample::default())], &[]);
    assert!(assumes(&found, "the root cgroup cannot be seen"));
    assert!(assumes(&found, "MemAvailable was not read"));
}

/// The pod's limit is smaller than what its parent has left, but its parent's comes first.
#[test]
fn the_nearest_limit_comes_first_whichever_cgroup_has_it() {
    let levels = vec![
        level("/pods/a", Some(300), 120),
        level("/pods", Some(1000), 950),
        level("/", None, 1400),
    ];
    let found = of(&line(LEAK_PER_S), &nodes(600, LEAK_PER_S), &cgroups(levels));
    let names: Vec<_> = found.limits.iter().map(|limit| limit.cgroup.as_str()).collect();
    assert_eq!(names, ["/pods", "/pods/a"]);
    let first = found.first_limit().unwrap();
    assert_eq!((first.kind, first.consequence), (LimitKind::Max, Consequence::OomKill));
    assert_eq!(first.limit_bytes, 1000 * MIB);
    assert!(within(first.deadline.earliest_s, (50 * MIB) as f64 / LEAK_PER_S));
}

#[test]
fn what_a_limit_does_is_told() {
    let high = CgroupLevel {
        high: Some(CgroupLimit::Bytes(150 * MIB)),
        oom_kill_disabled: Some(true),
        ..level("/a", Some(200), 120)
    };
    let found = of(&line(LEAK_PER_S), &[], &cgroups(vec![high]));
    let told: Vec<_> = found.limits.iter().map(|limit| (limit.kind, limit.consequence)).collect();
    let expected =
        [(LimitKind::High, Consequence::Throttling), (LimitKind::Max, Consequence::Stall)];
    assert_eq!(told, expected);
}

/// 30 MiB of active page cache may be reclaimed, 20 MiB of swap used; the later end has both.
#[test]
fn page_cache_and_swap_are_room_at_most() {
    let mut node = nodes(600, LEAK_PER_S);
    node.last_mut().unwrap().1.swap_free_bytes = Some(500 * MIB);
    let cached = CgroupLevel {
        stat: CgroupStat {
            inactive_file_bytes: Some(10 * MIB),
            active_file_bytes: Some(30 * MIB),
            ..CgroupStat::default()
        },
        swap_bytes: Some(5 * MIB),
        swap_max: Some(CgroupLimit::Bytes(25 * MIB)),
        ..level("/a", Some(200), 120)
    };
    let found = of(&line(LEAK_PER_S), &node, &cgroups(vec![cached]));
    let [least, most] = found.first_limit().unwrap().deadline.room_bytes;
    assert!(within(least, (80 * MIB) as f64) && within(most, (130 * MIB) as f64));
    assert!(assumes(&found, "may or may not swap"));
    let [least, most] = found.oom.unwrap().room_bytes;
    assert!(within(most - least, (500 * MIB) as f64));
}

/// Two CPUs may each have charged 64 pages ahead.
#[test]
fn figures_that_are_off_widen_the_room() {
    let mut limited = cgroups(vec![level("/a", Some(200), 120)]);
    let exact = of(&line(LEAK_PER_S), &[], &limited).limits[0].deadline;
    limited[0].1.fuzz_bytes = Some(MIB / 2);
    let fuzzy = of(&line(LEAK_PER_S), &[], &limited).limits[0].deadline;
    let half = (MIB / 2) as f64;
    assert!(within(exact.room_bytes[0] - fuzzy.room_bytes[0], half));
    assert!(within(fuzzy.room_bytes[1] - exact.room_bytes[1], half));
}

/// Teeth of 0, 8 and 16 MiB; the newest value is at the bottom of one: the limit may be met 16 MiB
/// earlier than by the line through the bottoms, not later.
#[test]
fn a_swing_is_taken_off_the_room_or_added_to_it() {
    let teeth = |phase: u32| {
        let tooth = move |i: u32| f64::from((i + phase) % 3) * (8 * MIB) as f64;
        let points =
            (0..60).map(move |i| (f64::from(i) * 5.0, 1e8 + 1e6 * f64::from(i) + tooth(i)));
        points.collect::<Vec<_>>()
    };
    let limited = cgroups(vec![level("/a", Some(200), 120)]);
    let room = |points: &[(f64, f64)]| {
        of(points, &[], &limited).limits[0].deadline.room_bytes.map(|bytes| bytes / MIB as f64)
    };
    let near = |found: f64, expected: f64| (found - expected).abs() < 1.0;
    let [least, most] = room(&teeth(1));
    assert!(near(least, 80.0 - 16.0) && near(most, 80.0), "at the bottom: {least} {most}");
    let [least, most] = room(&teeth(0));
    assert!(near(least, 80.0) && near(most, 80.0 + 16.0), "at the top: {least} {most}");
}

#[test]
fn a_forecast_survives_json() {
    let found =
        of(&line(LEAK_PER_S), &nodes(600, LEAK_PER_S), &cgroups(vec![level("/a", Some(200), 120)]));
    let json = serde_json::to_string(&found).unwrap();
    assert!(json.contains(r#""kind":"max","limit_bytes":209715200,"consequence":"oom_kill""#));
    assert_eq!(serde_json::from_str::<Forecast>(&json).unwrap().limits, found.limits);
}
