//! Memory that the kernel keeps for a process and its cgroup, which is no part of RSS: page tables,
//! slab, kernel stacks, socket buffers.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst (memory.stat), cgroup-v1/memory.rst. Cgroups are
//! looked for where systemd and all container runtimes mount them. Non-goals: limits.

use std::{fs, path::Path};

use procfs::process::Process;
use serde::{Deserialize, Serialize};

/// Where cgroups are mounted: v2, v2 beside v1, and v1's memory controller.
const V2: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const V1: &str = "/sys/fs/cgroup/memory";
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
    /// Socket buffers of its cgroup (v1: of TCP).
    pub cgroup_socket_bytes: Option<u64>,
}

impl KernelSample {
    /// Reads the figures of `process`.
    pub fn read(process: &Process) -> Self {
        let status = process.status().ok();
        let page_tables = status.and_then(|status| status.vmpte);
        let mut sample =
            Self { page_tables_bytes: page_tables.map(|kib| kib * KIB), ..Self::default() };
        let Ok(groups) = process.cgroups() else { return sample };
        for group in &groups {
            if group.pathname == "/" || group.pathname.split('/').any(|part| part == "..") {
                continue;
            }
            if group.hierarchy == 0 {
                sample.read_v2(&group.pathname);
            } else if group.controllers.iter().any(|controller| controller == "memory") {
                sample.read_v1(&group.pathname);
            }
        }
        sample
    }

    fn read_v2(&mut self, path: &str) {
        let stat = |root: &&str| fs::read_to_string(format!("{root}{path}/memory.stat")).ok();
        if let Some(stat) = V2.iter().find_map(stat) {
            self.take_v2(&stat);
        }
    }

    fn take_v2(&mut self, stat: &str) {
        let field = |name: &str| {
            let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(key, _)| *key == name)?.1.parse::<u64>().ok()
        };
        // `kernel` is there since 5.18; before, it is the sum of what there was.
        let parts = ["slab", "kernel_stack", "pagetables", "percpu"];
        let sum = || parts.iter().filter_map(|part| field(part)).reduce(u64::saturating_add);
        self.cgroup_kernel_bytes = field("kernel").or_else(sum);
        self.cgroup_slab_bytes = field("slab");
        self.cgroup_socket_bytes = field("sock");
    }

    fn read_v1(&mut self, path: &str) {
        let folder = Path::new(V1).join(path.trim_start_matches('/'));
        let file = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
        self.cgroup_kernel_bytes = file("memory.kmem.usage_in_bytes");
        self.cgroup_socket_bytes = file("memory.kmem.tcp.usage_in_bytes");
    }
}

#[cfg(test)]
mod tests {
    use procfs::process::Process;

    use super::KernelSample;

    #[test]
    fn old_and_new_kernels_tell_the_same() {
        let mut new = KernelSample::default();
        new.take_v2("anon 5\nkernel 900\nkernel_stack 100\npagetables 20\nsock 7\nslab 300\n");
        assert_eq!((new.cgroup_kernel_bytes, new.cgroup_slab_bytes), (Some(900), Some(300)));
        assert_eq!(new.cgroup_socket_bytes, Some(7));
        let mut old = KernelSample::default();
        old.take_v2("anon 5\nkernel_stack 100\nslab 300\n");
        assert_eq!((old.cgroup_kernel_bytes, old.cgroup_socket_bytes), (Some(400), None));
        let mut none = KernelSample::default();
        none.take_v2("anon 5\nkernel x\n");
        assert_eq!(none, KernelSample::default());
    }

    #[test]
    fn this_process_has_page_tables() {
        let sample = KernelSample::read(&Process::myself().unwrap());
        assert!(sample.page_tables_bytes.is_some_and(|bytes| bytes > 0), "{sample:?}");
    }
}
