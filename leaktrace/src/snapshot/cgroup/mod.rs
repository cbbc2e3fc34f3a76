//! The memory cgroups of a process: `/proc/PID/cgroup` and the cgroups' files in, plain values
//! out, on cgroup v1, v2 and hybrid systems.
//!
//! Where the hierarchies are is read from our own mounts, never assumed. Non-goals: other
//! controllers; cgroups that cannot be seen from our own cgroup namespace, which are absent.

mod files;
mod hierarchy;

pub use hierarchy::{CgroupPlace, Hierarchies};

use std::{fs, path::Path};

use procfs::{ProcessCGroups, process::Process};
use serde::{Deserialize, Serialize};

use super::PressureSample;

/// A path of a cgroup has fewer parts than this: the kernel's own limit is INT_MAX
/// (cgroup.max.depth), systemd's and Kubernetes' trees have under ten.
const LEVELS_MAX: usize = 64;
/// `MEMCG_CHARGE_BATCH` (include/linux/memcontrol.h): pages that a CPU charges ahead, and changes
/// that it may keep to itself when statistics are read. Older kernels have half as many.
const BATCH_PAGES: u64 = 64;

/// Which interface a cgroup has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupVersion {
    /// Documentation/admin-guide/cgroup-v1/memory.rst.
    V1,
    /// Documentation/admin-guide/cgroup-v2.rst.
    V2,
}

/// A limit that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupLimit {
    /// v2 `max`; v1 about 2^63, which no machine has.
    Unlimited,
    /// In bytes.
    Bytes(u64),
}

/// From `memory.stat`, descendants included (v1: the `total_` lines). Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupStat {
    /// Anonymous: v2 `anon`, v1 `total_rss`.
    pub anon_bytes: Option<u64>,
    /// Page cache with tmpfs: v2 `file`, v1 `total_cache`.
    pub file_bytes: Option<u64>,
    /// Page cache that is reclaimed first.
    pub inactive_file_bytes: Option<u64>,
    /// Page cache that is reclaimed next.
    pub active_file_bytes: Option<u64>,
    /// All kernel memory: v2 `kernel` (Linux 5.18), v1 `memory.kmem.usage_in_bytes`.
    pub kernel_bytes: Option<u64>,
    /// v2 only.
    pub slab_bytes: Option<u64>,
    /// v2 only.
    pub slab_reclaimable_bytes: Option<u64>,
    /// Buffers of sockets; v2 only.
    pub sock_bytes: Option<u64>,
    /// v2 only, Linux 5.11.
    pub pagetables_bytes: Option<u64>,
    /// v1 `hierarchical_memory_limit`: the lowest limit from here to the root.
    pub hierarchical_limit: Option<CgroupLimit>,
}

/// One cgroup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CgroupLevel {
    /// From the root of the hierarchy, as our cgroup namespace has it.
    pub path: String,
    /// The root of the whole hierarchy, not only of our namespace.
    pub is_root: bool,
    /// v2 `memory.current` (the root has none), v1 `memory.usage_in_bytes`.
    pub usage_bytes: Option<u64>,
    /// Beyond this, the OOM killer: v2 `memory.max`, v1 `memory.limit_in_bytes`.
    pub max: Option<CgroupLimit>,
    /// Beyond this, reclaim and throttling: v2 `memory.high`.
    pub high: Option<CgroupLimit>,
    /// v2 `memory.swap.current`.
    pub swap_bytes: Option<u64>,
    /// v2 `memory.swap.max`.
    pub swap_max: Option<CgroupLimit>,
    /// `memory.stat`.
    pub stat: CgroupStat,
    /// Processes killed in it: v2 `memory.events` (descendants included), v1
    /// `memory.oom_control` (its own only, Linux 4.13).
    pub oom_kills: Option<u64>,
    /// v1 `oom_kill_disable`: at the limit its processes stop instead of being killed.
    pub oom_kill_disabled: Option<bool>,
    /// v2 `memory.pressure`.
    pub pressure: Option<PressureSample>,
}

impl CgroupLevel {
    /// What kubelet and cadvisor call the working set: usage without `inactive_file`, at least 0
    /// (cadvisor container/libcontainer/handler.go, `setMemoryStats`).
    pub fn working_set_bytes(&self) -> Option<u64> {
        Some(self.usage_bytes?.saturating_sub(self.stat.inactive_file_bytes?))
    }

    /// What no reclaim gives back: usage without page cache on the file lists (tmpfs is not on
    /// them) and without reclaimable slabs, at least 0.
    pub fn unreclaimable_bytes(&self) -> Option<u64> {
        let slab = self.stat.slab_reclaimable_bytes.unwrap_or(0);
        let reclaimable = self.stat.active_file_bytes?.saturating_add(slab);
        Some(self.working_set_bytes()?.saturating_sub(reclaimable))
    }

    fn read(path: String, folder: &Path, version: CgroupVersion) -> Self {
        let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let mut level = match version {
            CgroupVersion::V1 => files::level_v1(path, text),
            CgroupVersion::V2 => files::level_v2(path, text),
        };
        // Only the root has the first; only the root lacks the second.
        level.is_root = match version {
            CgroupVersion::V1 => folder.join("release_agent").exists(),
            CgroupVersion::V2 => {
                folder.join("cgroup.procs").exists() && !folder.join("cgroup.type").exists()
            }
        };
        level
    }
}

/// A process's memory cgroup and those above it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CgroupSample {
    /// Of the hierarchy that has the memory controller.
    pub version: CgroupVersion,
    /// The process's own cgroup first, then its ancestors as far as they can be seen.
    pub levels: Vec<CgroupLevel>,
    /// By how much usage and statistics may be off: each CPU charges pages ahead and counts some
    /// of its own.
    pub fuzz_bytes: Option<u64>,
    /// Ancestors that were left out because there are too many.
    pub levels_dropped: u64,
    /// Pressure in the process's v2 cgroup, also where memory is v1.
    pub pressure: Option<PressureSample>,
}

impl CgroupSample {
    /// Reads the memory cgroups of `process`; none where they cannot be found from here.
    pub fn read(process: &Process, hierarchies: &Hierarchies) -> Option<Self> {
        Self::of(&process.cgroups().ok()?, hierarchies)
    }

    fn of(cgroups: &ProcessCGroups, hierarchies: &Hierarchies) -> Option<Self> {
        let place = hierarchies.memory_of(cgroups)?;
        let version = place.version;
        let all = place.upwards();
        let levels_dropped = all.len().saturating_sub(LEVELS_MAX) as u64;
        let levels = all
            .into_iter()
            .take(LEVELS_MAX)
            .map(|(path, folder)| CgroupLevel::read(path, &folder, version))
            .collect();
        let unified = hierarchies.unified_of(cgroups);
        let pressure = unified.and_then(|place| {
            PressureSample::parse(&fs::read(place.folder().join("memory.pressure")).ok()?)
        });
        let fuzz_bytes = hierarchies
            .cpus
            .map(|cpus| (cpus as u64).saturating_mul(BATCH_PAGES * procfs::page_size()));
        Some(Self { version, levels, fuzz_bytes, levels_dropped, pressure })
    }

    /// Reads the top of the memory hierarchy, as far up as our mounts show.
    pub fn read_top(hierarchies: &Hierarchies) -> Option<(CgroupVersion, CgroupLevel)> {
        let place = hierarchies.memory_top()?;
        let level = CgroupLevel::read("/".to_owned(), &place.folder(), place.version);
        Some((place.version, level))
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
