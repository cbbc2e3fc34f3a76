//! The node's memory as the kubelet and the kernel count it: meminfo and the root cgroup in, plain
//! values out.
//!
//! Non-goals: allocatable and reserved memory, which the kubelet's configuration decides.

use procfs::{Current as _, Meminfo};
use serde::{Deserialize, Serialize};

use super::{CgroupLevel, CgroupSample, CgroupVersion, Hierarchies, PressureSample};

/// The node at one instant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeSample {
    /// MemTotal: what the kubelet calls the capacity.
    pub capacity_bytes: Option<u64>,
    /// MemFree.
    pub free_bytes: Option<u64>,
    /// MemAvailable: the kernel's estimate of what can be had without swapping.
    pub available_bytes: Option<u64>,
    /// SwapTotal.
    pub swap_total_bytes: Option<u64>,
    /// SwapFree.
    pub swap_free_bytes: Option<u64>,
    /// The root cgroup; none when our mounts or our namespace do not show it.
    pub root: Option<RootSample>,
    /// `/proc/pressure/memory`.
    pub pressure: Option<PressureSample>,
}

/// The root cgroup's usage, by the rules that kubelets have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSample {
    /// Whose rule.
    pub version: CgroupVersion,
    /// v1: `memory.usage_in_bytes`. v2, where the root has no `memory.current`: `anon` + `file`
    /// of its `memory.stat` (libcontainer fs2/memory.go, `rootStatsFromMeminfo`, since
    /// opencontainers/runc#3933).
    pub usage_bytes: u64,
    /// v2 before that change: MemTotal - MemFree (`statsFromMeminfo`), with kernel memory.
    pub usage_older_bytes: Option<u64>,
    /// `inactive_file` of the root's `memory.stat`.
    pub inactive_file_bytes: u64,
}

impl NodeSample {
    /// Reads the node's figures.
    pub fn read(hierarchies: &Hierarchies) -> Self {
        let top = CgroupSample::read_top(hierarchies);
        let pressure = PressureSample::read_node();
        Meminfo::current().map_or_else(
            |_| Self { pressure, ..Self::default() },
            |meminfo| Self { pressure, ..Self::of(&meminfo, top.as_ref()) },
        )
    }

    /// From meminfo (procfs has already turned kB into bytes) and the top of the hierarchy.
    fn of(meminfo: &Meminfo, top: Option<&(CgroupVersion, CgroupLevel)>) -> Self {
        let used = meminfo.mem_total.saturating_sub(meminfo.mem_free);
        Self {
            capacity_bytes: Some(meminfo.mem_total),
            free_bytes: Some(meminfo.mem_free),
            available_bytes: meminfo.mem_available,
            swap_total_bytes: Some(meminfo.swap_total),
            swap_free_bytes: Some(meminfo.swap_free),
            root: top.and_then(|(version, level)| root(*version, level, used)),
            pressure: None,
        }
    }

    /// The kubelet's eviction signal `memory.available`, (least, most) as the rules differ:
    /// capacity less the root cgroup's working set (pkg/kubelet/eviction/helpers.go,
    /// `makeSignalObservations`; pkg/kubelet/stats/helper.go; kubernetes.io, "Node-pressure
    /// Eviction").
    pub fn kubelet_available_bytes(&self) -> Option<[u64; 2]> {
        let (capacity, root) = (self.capacity_bytes?, self.root?);
        let available = |usage_bytes: u64| {
            capacity.saturating_sub(usage_bytes.saturating_sub(root.inactive_file_bytes))
        };
        let now = available(root.usage_bytes);
        let older = root.usage_older_bytes.map_or(now, available);
        Some([now.min(older), now.max(older)])
    }
}

fn root(version: CgroupVersion, top: &CgroupLevel, used_bytes: u64) -> Option<RootSample> {
    let inactive_file_bytes = top.stat.inactive_file_bytes.filter(|_| top.is_root)?;
    let (usage_bytes, usage_older_bytes) = match version {
        CgroupVersion::V1 => (top.usage_bytes?, None),
        CgroupVersion::V2 => {
            (top.stat.anon_bytes?.saturating_add(top.stat.file_bytes?), Some(used_bytes))
        }
    };
    Some(RootSample { version, usage_bytes, usage_older_bytes, inactive_file_bytes })
}

#[cfg(test)]
mod tests {
    use procfs::{FromRead as _, Meminfo};

    use super::NodeSample;
    use crate::snapshot::{CgroupLevel, CgroupStat, CgroupVersion};

    /// MemTotal of the node in kubernetes/kubernetes#118916; the others are made up.
    const MEMINFO: &str = "\
MemTotal:        4014852 kB
MemFree:         1000000 kB
MemAvailable:    3100000 kB
Buffers:           10000 kB
Cached:          1500000 kB
SwapCached:            0 kB
Active:           500000 kB
Inactive:        1500000 kB
SwapTotal:        500000 kB
SwapFree:         400000 kB
Dirty:               100 kB
Writeback:             0 kB
Mapped:            90000 kB
Slab:             100000 kB
Committed_AS:    1200000 kB
VmallocTotal:   34359738367 kB
VmallocUsed:       15000 kB
VmallocChunk:          0 kB
";

    fn node(version: CgroupVersion, top: CgroupLevel) -> NodeSample {
        let meminfo = Meminfo::from_read(MEMINFO.as_bytes()).unwrap();
        NodeSample::of(&meminfo, Some(&(version, top)))
    }

    fn top(is_root: bool, usage_bytes: Option<u64>, stat: CgroupStat) -> CgroupLevel {
        CgroupLevel {
            path: "/".to_owned(),
            is_root,
            usage_bytes,
            max: None,
            high: None,
            swap_bytes: None,
            swap_max: None,
            stat,
            oom_kills: None,
            oom_kill_disabled: None,
            pressure: None,
        }
    }

    /// What a kubelet said of a node with cgroup v1 (kubernetes/kubernetes#118916): usageBytes
    /// 1406832640, workingSetBytes 928534528, availableBytes 3182673920.
    #[test]
    fn available_is_what_a_kubelet_says() {
        let inactive_file_bytes = Some(1_406_832_640 - 928_534_528);
        let stat = CgroupStat { inactive_file_bytes, ..CgroupStat::default() };
        let node = node(CgroupVersion::V1, top(true, Some(1_406_832_640), stat));
        assert_eq!(node.kubelet_available_bytes(), Some([3_182_673_920; 2]));
    }

    /// Two rules: with kernel memory, and without.
    #[test]
    fn on_v2_the_root_is_counted_by_both_rules() {
        let stat = CgroupStat {
            anon_bytes: Some(900_000 << 10),
            file_bytes: Some(1_500_000 << 10),
            inactive_file_bytes: Some(700_000 << 10),
            ..CgroupStat::default()
        };
        let node = node(CgroupVersion::V2, top(true, None, stat));
        let newer = 4_014_852 - (900_000 + 1_500_000 - 700_000);
        let older = 4_014_852 - (3_014_852 - 700_000);
        assert_eq!(node.kubelet_available_bytes(), Some([older << 10, newer << 10]));
    }

    #[test]
    fn without_the_root_nothing_is_said_of_the_kubelet() {
        let stat = CgroupStat { inactive_file_bytes: Some(1), ..CgroupStat::default() };
        let inside_a_namespace = node(CgroupVersion::V1, top(false, Some(5), stat));
        assert_eq!(inside_a_namespace.kubelet_available_bytes(), None);
        assert_eq!(inside_a_namespace.available_bytes, Some(3_100_000 << 10));
        let unread = node(CgroupVersion::V1, top(true, Some(5), CgroupStat::default()));
        assert_eq!(unread.kubelet_available_bytes(), None);
        assert_eq!(NodeSample::default().kubelet_available_bytes(), None);
    }
}
