//! Recorded files of v1 and v2 cgroups.

use super::{level_v1, level_v2};
use crate::snapshot::{CgroupLevel, CgroupLimit, CgroupStat};

/// Recorded with 64 MiB as the limit and a process that was killed there; some lines left out.
const V1: [(&str, &str); 5] = [
    ("memory.usage_in_bytes", "67051520\n"),
    ("memory.limit_in_bytes", "67108864\n"),
    ("memory.kmem.usage_in_bytes", "618496\n"),
    ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
    (
        "memory.stat",
        "cache 4096\nrss 60000000\ninactive_file 1\nhierarchical_memory_limit 67108864\n\
         hierarchical_memsw_limit 9223372036854771712\ntotal_cache 278528\ntotal_rss 66154496\n\
         total_inactive_file 204800\ntotal_active_file 73728\n",
    ),
];

const V2: [(&str, &str); 8] = [
    ("memory.current", "1200000000\n"),
    ("memory.max", "2147483648\n"),
    ("memory.high", "max\n"),
    ("memory.swap.current", "0\n"),
    ("memory.swap.max", "0\n"),
    ("memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 0\n"),
    (
        "memory.stat",
        "anon 900000000\nfile 250000000\nkernel 40000000\nkernel_stack 1000\npagetables 3000000\n\
         sock 4096\nshmem 0\ninactive_anon 5\ninactive_file 150000000\nactive_file 100000000\n\
         slab_reclaimable 20000000\nslab_unreclaimable 10000000\nslab 30000000\n",
    ),
    (
        "memory.pressure",
        "some avg10=1.50 avg60=0.20 avg300=0.00 total=391926\n\
         full avg10=1.00 avg60=0.10 avg300=0.00 total=291926\n",
    ),
];

fn reader(files: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    |name| files.iter().find(|file| file.0 == name).map(|file| file.1.to_owned())
}

#[test]
fn a_v1_cgroup() {
    let level = level_v1("/a".to_owned(), reader(&V1));
    assert_eq!(level.usage_bytes, Some(67_051_520));
    assert_eq!(level.max, Some(CgroupLimit::Bytes(64 << 20)));
    assert_eq!((level.oom_kills, level.oom_kill_disabled), (Some(1), Some(false)));
    let expected = CgroupStat {
        anon_bytes: Some(66_154_496),
        file_bytes: Some(278_528),
        inactive_file_bytes: Some(204_800),
        active_file_bytes: Some(73_728),
        kernel_bytes: Some(618_496),
        hierarchical_limit: Some(CgroupLimit::Bytes(64 << 20)),
        ..CgroupStat::default()
    };
    assert_eq!(level.stat, expected);
    assert_eq!(level.working_set_bytes(), Some(67_051_520 - 204_800));
    assert_eq!(level.unreclaimable_bytes(), Some(67_051_520 - 204_800 - 73_728));
}

#[test]
fn a_v2_cgroup() {
    let level = level_v2("/a".to_owned(), reader(&V2));
    assert_eq!(level.max, Some(CgroupLimit::Bytes(2 << 30)));
    assert_eq!(level.high, Some(CgroupLimit::Unlimited));
    assert_eq!((level.swap_bytes, level.swap_max), (Some(0), Some(CgroupLimit::Bytes(0))));
    assert_eq!((level.oom_kills, level.oom_kill_disabled), (Some(2), None));
    assert_eq!(level.stat.kernel_bytes, Some(40_000_000));
    assert_eq!(level.stat.slab_bytes, Some(30_000_000));
    assert_eq!(level.stat.pagetables_bytes, Some(3_000_000));
    assert_eq!(level.working_set_bytes(), Some(1_050_000_000));
    assert_eq!(level.unreclaimable_bytes(), Some(930_000_000));
    assert_eq!(level.pressure.unwrap().some.total_us, 391_926);
}

#[test]
fn what_is_missing_or_broken_is_absent_and_not_zero() {
    for level in [level_v1("/".to_owned(), |_| None), level_v2("/".to_owned(), |_| None)] {
        assert_eq!((level.usage_bytes, level.max, level.oom_kills), (None, None, None));
        assert_eq!(level.stat, CgroupStat::default());
        assert_eq!((level.working_set_bytes(), level.unreclaimable_bytes()), (None, None));
    }
    for text in ["", "\n", "-1\n", "99999999999999999999999\n", "abc\n", "oom_kill\n"] {
        let level = level_v2("/".to_owned(), |_| Some(text.to_owned()));
        assert_eq!((level.usage_bytes, level.max, level.oom_kills), (None, None, None), "{text:?}");
    }
}

/// Pages of 4 and of 64 KiB.
#[test]
fn no_limit_is_no_limit_on_v1() {
    for text in ["9223372036854771712", "9223372036854710272"] {
        let level = level_v1("/".to_owned(), |_| Some(text.to_owned()));
        assert_eq!(level.max, Some(CgroupLimit::Unlimited));
    }
}

#[test]
fn the_working_set_is_never_below_zero() {
    let level = CgroupLevel { usage_bytes: Some(1), ..level_v1("/".to_owned(), reader(&V1)) };
    assert_eq!((level.working_set_bytes(), level.unreclaimable_bytes()), (Some(0), Some(0)));
}
