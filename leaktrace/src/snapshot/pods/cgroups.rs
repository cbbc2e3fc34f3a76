//! Pods by their cgroups: a cgroup file system in, the number of pod cgroups out.
//!
//! The kubelet names them in two ways (pkg/kubelet/cm/cgroup_manager_linux.go and
//! pod_container_manager_linux.go), with three folders for the three classes of service:
//! `kubepods/burstable/podUID` with the driver cgroupfs, and
//! `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice` with systemd; below a
//! `cgroupRoot` if it has one.

use std::path::{Path, PathBuf};

use super::{
    PodCount, PodsUnknown,
    folders::{Folders, Root},
};

/// Where the kernel's interface is.
const CGROUPS: &str = "/sys/fs/cgroup";
/// What is there with cgroup v2 only.
const V2: &str = "cgroup.controllers";
/// Hierarchies of v1 in which the kubelet makes cgroups, the surest first.
const V1: [&str; 3] = ["memory", "pids", "systemd"];
/// How deep the cgroup of all pods may be: `docker/ID/kubelet/kubepods`, of a node in a container
/// that sees the cgroups of its host.
const DEPTH_MAX: usize = 4;
/// Cgroups that are looked at to find it.
const LOOKED_AT_MAX: usize = 4096;
/// Classes of service below it.
const CLASSES: [&str; 2] = ["burstable", "besteffort"];

/// Counts the pods that have a cgroup.
pub fn count(root: &Root) -> Result<PodCount, PodsUnknown> {
    let hierarchy = hierarchy(root);
    let search = Search::run(root, &hierarchy)?;
    let mut best: Option<(PathBuf, Pods)> = None;
    for place in search.found {
        let pods = pods(root, &place)?;
        match &best {
            // One that a kubelet with another driver left behind is empty.
            Some(_) if pods.count == 0 => {}
            Some((one, known)) if known.count > 0 => {
                return Err(PodsUnknown::SeveralCgroups { one: one.clone(), other: place });
            }
            _ => best = Some((place, pods)),
        }
    }
    let unknown = PodsUnknown::NoCgroup { place: hierarchy, looked_at: search.looked_at };
    let (place, pods) = best.ok_or(unknown)?;
    let how = format!("pod cgroups in {}", place.display());
    Ok(PodCount { count: pods.count, at_least: pods.more, how })
}

/// The hierarchy that has the kubelet's cgroups.
fn hierarchy(root: &Root) -> PathBuf {
    let cgroups = Path::new(CGROUPS);
    if root.has(&cgroups.join(V2)) {
        return cgroups.to_owned();
    }
    let v1 = V1.iter().map(|controller| cgroups.join(controller)).find(|path| root.has(path));
    v1.unwrap_or_else(|| cgroups.to_owned())
}

/// A search for the cgroups of all pods.
struct Search {
    /// Those least deep: deeper ones are of kubelets within pods.
    found: Vec<PathBuf>,
    /// Others that were looked at.
    looked_at: usize,
}

impl Search {
    fn run(root: &Root, hierarchy: &Path) -> Result<Self, PodsUnknown> {
        let mut search = Self { found: Vec::new(), looked_at: 0 };
        let mut level = search.below(hierarchy, root.folders(hierarchy)?);
        for _ in 1..DEPTH_MAX {
            if !search.found.is_empty() {
                break;
            }
            let mut next = Vec::new();
            for parent in level {
                if search.looked_at > LOOKED_AT_MAX {
                    return Ok(search);
                }
                // Cgroups come and go.
                if let Ok(folders) = root.folders(&parent) {
                    next.extend(search.below(&parent, folders));
                }
            }
            level = next;
        }
        Ok(search)
    }

    /// The cgroups of one that are not what is searched.
    fn below(&mut self, parent: &Path, folders: Folders) -> Vec<PathBuf> {
        let paths = folders.names.into_iter().map(|name| (is_of_pods(&name), parent.join(name)));
        let (found, others): (Vec<_>, Vec<_>) = paths.partition(|(of_pods, _)| *of_pods);
        self.found.extend(found.into_iter().map(|(_, path)| path));
        self.looked_at += others.len();
        others.into_iter().map(|(_, path)| path).collect()
    }
}

/// Whether a cgroup is the parent of all pods'. systemd puts the names of its parents before its
/// own: `kubelet-kubepods.slice`.
fn is_of_pods(name: &str) -> bool {
    let slice = name.strip_suffix(".slice");
    let last = slice.map(|slice| slice.rsplit_once('-').map_or(slice, |(_, last)| last));
    last.unwrap_or(name) == "kubepods"
}

/// Whether a cgroup is that of one class of service.
fn is_class(name: &str) -> bool {
    let last = name.strip_suffix(".slice").and_then(|slice| slice.rsplit_once('-'));
    CLASSES.contains(&last.map_or(name, |(_, last)| last))
}

/// Whether a cgroup is a pod's.
fn is_pod(name: &str) -> bool {
    let uid = match name.strip_suffix(".slice") {
        // systemd's names have `_` for the `-` of the UID.
        Some(slice) => slice.rsplit_once('-').and_then(|(_, last)| last.strip_prefix("pod")),
        None => name.strip_prefix("pod"),
    };
    uid.is_some_and(|uid| !uid.is_empty())
}

/// Pods below the parent of all.
#[derive(Default)]
struct Pods {
    count: u64,
    more: bool,
}

fn pods(root: &Root, parent: &Path) -> Result<Pods, PodsUnknown> {
    let mut pods = Pods::default();
    let top = root.folders(parent)?;
    pods.more |= top.more;
    for name in &top.names {
        if is_class(name) {
            let class = root.folders(&parent.join(name))?;
            pods.more |= class.more;
            pods.count += class.names.iter().filter(|name| is_pod(name)).count() as u64;
        } else if is_pod(name) {
            pods.count += 1;
        }
    }
    Ok(pods)
}

#[cfg(test)]
mod tests {
    use super::{is_class, is_of_pods, is_pod};

    const UID: &str = "0b36e0a5-8f7b-4a5c-9d8e-2f8a1c3b4d5e";

    #[test]
    fn names_of_both_drivers_are_known() {
        let escaped = UID.replace('-', "_");
        for parent in ["kubepods", "kubepods.slice", "kubelet-kubepods.slice", "a-b-kubepods.slice"]
        {
            assert!(is_of_pods(parent), "{parent}");
        }
        for class in ["burstable", "kubepods-besteffort.slice", "kubelet-kubepods-burstable.slice"]
        {
            assert!(is_class(class), "{class}");
        }
        let pods = [
            format!("pod{UID}"),
            format!("kubepods-pod{escaped}.slice"),
            format!("kubelet-kubepods-besteffort-pod{escaped}.slice"),
            "poda1b2c3d4e5f60718293a4b5c6d7e8f90".to_owned(),
        ];
        for pod in &pods {
            assert!(is_pod(pod) && !is_class(pod) && !is_of_pods(pod), "{pod}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for other in
            ["system.slice", "kubepods-burstable.slice", "pods", "pod", "podman-1.slice", ""]
        {
            assert!(!is_of_pods(other), "{other}");
        }
        for other in
            ["kubepods-pod.slice", "cri-containerd-0123.scope", "pod", "system.slice", ".slice"]
        {
            assert!(!is_pod(other), "{other}");
        }
        assert!(!is_class("guaranteed"));
    }
}
