//! How many pods a node has: folders and cgroups in, two counts with how they were had out.
//!
//! No API server is asked. The two differ: a pod that has ended keeps its folder for a while, and
//! a cgroup is there only while a pod runs. Non-goals: which pods they are, and what they use.

mod cgroups;
mod folders;
mod kubelet;
#[cfg(test)]
mod tests;

pub use kubelet::is_kubelet;

use std::{
    io,
    path::{Path, PathBuf},
};

use procfs::process::Process;
use rustix::io::Errno;

use folders::Root;

/// Where a kubelet's pods can be counted, in the file system as the kubelet sees it.
#[derive(Debug)]
pub struct PodPlaces {
    root: Root,
    /// The kubelet's folder of folders of pods.
    pods: PathBuf,
}

/// Pods, counted in one way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PodCount {
    /// How many there are.
    pub count: u64,
    /// There were more, but not all were counted.
    pub at_least: bool,
    /// How it was had: `folders in /var/lib/kubelet/pods`.
    pub how: String,
}

/// Why pods could not be counted in a way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodsUnknown {
    /// A folder can't be read.
    #[error("{}: {source}", place.display())]
    Unreadable {
        /// The folder.
        place: PathBuf,
        /// Why.
        source: Errno,
    },
    /// There is no cgroup of pods.
    #[error("no cgroup `kubepods` or `kubepods.slice` among {looked_at} in {}", place.display())]
    NoCgroup {
        /// The hierarchy.
        place: PathBuf,
        /// Cgroups that were looked at.
        looked_at: usize,
    },
    /// More than one cgroup has pods, and which of them are this kubelet's can't be told.
    #[error("pods in both {} and {}", one.display(), other.display())]
    SeveralCgroups {
        /// One of them.
        one: PathBuf,
        /// Another.
        other: PathBuf,
    },
}

/// The pods of a node at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSample {
    /// Folders of the kubelet: pods that it knows or has not cleaned up yet.
    pub folders: Result<PodCount, PodsUnknown>,
    /// Cgroups: pods that run.
    pub cgroups: Result<PodCount, PodsUnknown>,
}

impl PodPlaces {
    /// Where the pods of the kubelet `process` are: below its `--root-dir`. What it sees is looked
    /// at, as it may run in a container; later looks are the same even if the pid is given to
    /// another process.
    ///
    /// # Errors
    /// It has ended, or its root may not be looked at.
    pub fn of_kubelet(process: &Process) -> io::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{}", process.pid()));
        let root = Root::open(&folder.join("root"))?;
        let arguments = kubelet::arguments(&folder.join("cmdline"))?;
        let working = folder.join("cwd").read_link().unwrap_or_else(|_| PathBuf::from("/"));
        Ok(Self::new(root, &working.join(kubelet::root_dir(&arguments))))
    }

    fn new(root: Root, kubelet_root: &Path) -> Self {
        Self { root, pods: kubelet_root.join("pods") }
    }
}

impl PodSample {
    /// Counts now.
    pub fn read(places: &PodPlaces) -> Self {
        Self {
            folders: folders_of_pods(&places.root, &places.pods),
            cgroups: cgroups::count(&places.root),
        }
    }

    /// The count to go by: of running pods, else of folders.
    pub fn best(&self) -> Option<&PodCount> {
        self.cgroups.as_ref().or(self.folders.as_ref()).ok()
    }
}

/// As the kubelet itself finds pods on its disk: each folder is one (`listPodsFromDisk`,
/// pkg/kubelet/kubelet_getters.go).
fn folders_of_pods(root: &Root, pods: &Path) -> Result<PodCount, PodsUnknown> {
    let folders = root.folders(pods)?;
    Ok(PodCount {
        count: folders.names.len() as u64,
        at_least: folders.more,
        how: format!("folders in {}", pods.display()),
    })
}
