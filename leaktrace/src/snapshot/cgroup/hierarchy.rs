//! Where cgroups are: our own mounts and a process's cgroup paths in, folders out.
//!
//! Non-goals: what is in the folders.

use std::path::{Path, PathBuf};

use procfs::{
    CpuInfo, Current as _, ProcessCGroups,
    process::{MountInfos, Process},
};

use super::CgroupVersion;

/// The controller's name.
const MEMORY: &str = "memory";

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// The cgroup that is mounted, from the root of our cgroup namespace.
    root: String,
    folder: PathBuf,
}

/// The cgroup hierarchies that are mounted where we run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    memory_v1: Vec<Mount>,
    unified: Vec<Mount>,
    /// The unified hierarchy has the memory controller.
    unified_has_memory: bool,
    /// Processors of the machine.
    pub(super) cpus: Option<usize>,
}

/// A cgroup that can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPlace {
    /// Of its hierarchy.
    pub version: CgroupVersion,
    mount: Mount,
    /// Names from the mounted cgroup down.
    below: Vec<String>,
}

impl Hierarchies {
    /// Looks at our own mounts; nothing is found where they cannot be read.
    pub fn find() -> Self {
        let mounts = Process::myself().and_then(|myself| myself.mountinfo());
        let mut found = mounts.map_or_else(|_| Self::default(), |mounts| Self::of(&mounts));
        found.cpus = CpuInfo::current().ok().map(|cpus| cpus.num_cores());
        found.unified_has_memory = found.unified.iter().any(|mount| {
            let controllers = std::fs::read_to_string(mount.folder.join("cgroup.controllers"));
            controllers.is_ok_and(|list| list.split_whitespace().any(|name| name == MEMORY))
        });
        found
    }

    /// From the mounts of a process in our own mount and cgroup namespaces.
    pub fn of(mounts: &MountInfos) -> Self {
        let mut found = Self::default();
        for mount in mounts {
            let list = match mount.fs_type.as_str() {
                "cgroup" if mount.super_options.contains_key(MEMORY) => &mut found.memory_v1,
                "cgroup2" => &mut found.unified,
                _ => continue,
            };
            // `/..` is above the root of our cgroup namespace: paths are not relative to it.
            if parts(&mount.root).is_some() {
                let folder = PathBuf::from(unescaped(&mount.mount_point.to_string_lossy()));
                list.push(Mount { root: unescaped(&mount.root), folder });
            }
        }
        // What shows more ancestors comes first.
        for list in [&mut found.memory_v1, &mut found.unified] {
            list.sort_by_key(|mount| mount.root.len());
        }
        found
    }

    /// The same, as if the unified hierarchy had the memory controller.
    #[cfg(test)]
    pub(super) fn with_unified_memory(self) -> Self {
        Self { unified_has_memory: true, ..self }
    }

    /// The memory cgroup of a process: v1's where memory is there, else v2's.
    pub fn memory_of(&self, cgroups: &ProcessCGroups) -> Option<CgroupPlace> {
        let legacy = cgroups
            .0
            .iter()
            .find(|cgroup| cgroup.controllers.iter().any(|controller| controller == MEMORY));
        match legacy {
            Some(cgroup) => place(CgroupVersion::V1, &self.memory_v1, &cgroup.pathname),
            None if self.unified_has_memory => self.unified_of(cgroups),
            None => None,
        }
    }

    /// The v2 cgroup of a process, with or without the memory controller.
    pub fn unified_of(&self, cgroups: &ProcessCGroups) -> Option<CgroupPlace> {
        let unified =
            |hierarchy: u32, controllers: &[String]| hierarchy == 0 && controllers.is_empty();
        let cgroup = cgroups.0.iter().find(|each| unified(each.hierarchy, &each.controllers))?;
        place(CgroupVersion::V2, &self.unified, &cgroup.pathname)
    }

    /// The highest memory cgroup that is mounted.
    pub fn memory_top(&self) -> Option<CgroupPlace> {
        let v2 = self.unified.first().filter(|_| self.unified_has_memory);
        let (version, mount) = match self.memory_v1.first() {
            Some(mount) => (CgroupVersion::V1, mount),
            None => (CgroupVersion::V2, v2?),
        };
        Some(CgroupPlace { version, mount: mount.clone(), below: Vec::new() })
    }
}

impl CgroupPlace {
    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        self.folder_of(self.below.len())
    }

    /// Path and folder of this cgroup and of those above it, this one first.
    pub fn upwards(&self) -> Vec<(String, PathBuf)> {
        let level = |depth: usize| {
            let root = self.mount.root.trim_end_matches('/');
            let path = format!("{root}/{}", self.below[..depth].join("/"));
            let path = if path.len() > 1 { path.trim_end_matches('/') } else { &path };
            (path.to_owned(), self.folder_of(depth))
        };
        (0..=self.below.len()).rev().map(level).collect()
    }

    fn folder_of(&self, depth: usize) -> PathBuf {
        self.below[..depth].iter().fold(self.mount.folder.clone(), |folder, name| folder.join(name))
    }
}

/// Finds `path` below one of `mounts`.
fn place(version: CgroupVersion, mounts: &[Mount], path: &str) -> Option<CgroupPlace> {
    let path = parts(path)?;
    mounts.iter().find_map(|mount| {
        let below = path.strip_prefix(parts(&mount.root)?.as_slice())?;
        let below = below.iter().map(|&name| name.to_owned()).collect();
        Some(CgroupPlace { version, mount: mount.clone(), below })
    })
}

/// The names of an absolute path; none of one that leads out of our namespace.
fn parts(path: &str) -> Option<Vec<&str>> {
    let names: Vec<_> =
        path.strip_prefix('/')?.split('/').filter(|name| !name.is_empty()).collect();
    let leads_out = |name: &&str| matches!(*name, ".." | ".") || Path::new(name).is_absolute();
    (!names.iter().any(leads_out)).then_some(names)
}

/// mountinfo writes space, tab, newline and backslash as three octal digits (`seq_path` in
/// fs/proc_namespace.c).
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
#[path = "hierarchy_tests.rs"]
mod tests;
