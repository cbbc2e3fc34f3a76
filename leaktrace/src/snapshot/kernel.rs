//! Memory that the kernel keeps for a process and its cgroup, which is no part of RSS: page tables,
//! slab, kernel stacks, socket buffers.
//!
//! Non-goals: finding the cgroup.

use procfs::process::Process;
use serde::{Deserialize, Serialize};

use super::{CgroupSample, CgroupStat};

const KIB: u64 = 1024;

/// The kernel's own memory for a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSample {
    /// Page tables of the process (VmPTE).
    pub page_tables_bytes: Option<u64>,
    /// What its cgroup, unless that is the root, is charged for the kernel: slab, stacks, page
    /// tables and more, without socket buffers.
    pub cgroup_kernel_bytes: Option<u64>,
    /// Of that, slab.
    pub cgroup_slab_bytes: Option<u64>,
    /// Socket buffers of its cgroup; v2 only.
    pub cgroup_socket_bytes: Option<u64>,
}

impl KernelSample {
    /// Reads the figures of `process`, which is in `cgroup`.
    pub fn read(process: &Process, cgroup: Option<&CgroupSample>) -> Self {
        let page_tables = process.status().ok().and_then(|status| status.vmpte);
        let own = cgroup.and_then(|cgroup| cgroup.levels.first()).filter(|level| !level.is_root);
        let stat = own.map(|level| level.stat).unwrap_or_default();
        Self { page_tables_bytes: page_tables.map(|kib| kib * KIB), ..Self::of_cgroup(&stat) }
    }

    /// `kernel` is there since 5.18; before, it is the sum of what there was.
    fn of_cgroup(stat: &CgroupStat) -> Self {
        let parts = [stat.slab_bytes, stat.pagetables_bytes];
        let sum = parts.into_iter().flatten().reduce(u64::saturating_add);
        Self {
            page_tables_bytes: None,
            cgroup_kernel_bytes: stat.kernel_bytes.or(sum),
            cgroup_slab_bytes: stat.slab_bytes,
            cgroup_socket_bytes: stat.sock_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use procfs::process::Process;

    use super::{CgroupStat, KernelSample};

    #[test]
    fn old_and_new_kernels_tell_the_same() {
        let (slab_bytes, pagetables_bytes) = (Some(300), Some(20));
        let old = CgroupStat { slab_bytes, pagetables_bytes, ..CgroupStat::default() };
        let new = CgroupStat { kernel_bytes: Some(900), sock_bytes: Some(7), ..old };
        let sample = KernelSample::of_cgroup(&new);
        assert_eq!((sample.cgroup_kernel_bytes, sample.cgroup_slab_bytes), (Some(900), Some(300)));
        assert_eq!(sample.cgroup_socket_bytes, Some(7));
        assert_eq!(KernelSample::of_cgroup(&old).cgroup_kernel_bytes, Some(320));
        assert_eq!(KernelSample::of_cgroup(&CgroupStat::default()), KernelSample::default());
    }

    #[test]
    fn this_process_has_page_tables() {
        let sample = KernelSample::read(&Process::myself().unwrap(), None);
        assert!(sample.page_tables_bytes.is_some_and(|bytes| bytes > 0), "{sample:?}");
        assert_eq!(sample.cgroup_kernel_bytes, None);
    }
}
