//! Pods counted in trees of folders as nodes have them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use procfs::process::Process;
use rustix::io::Errno;

use super::{PodPlaces, PodSample, PodsUnknown, folders::Root};

const UIDS: [&str; 3] = [
    "0b36e0a5-8f7b-4a5c-9d8e-2f8a1c3b4d5e",
    "11f4d7a2-1111-4222-8333-444455556666",
    "a1b2c3d4e5f60718293a4b5c6d7e8f90",
];

/// A root folder that is gone when the test is over.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let folder = format!("leaktrace-pods-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(folder);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn folder(&self, path: &str) -> &Self {
        fs::create_dir_all(self.0.join(path)).unwrap();
        self
    }

    fn file(&self, path: &str) -> &Self {
        fs::write(self.0.join(path), "").unwrap();
        self
    }

    fn v2(&self) -> &Self {
        self.folder("sys/fs/cgroup/system.slice/kubelet.service");
        self.file("sys/fs/cgroup/cgroup.controllers")
    }

    fn read(&self) -> PodSample {
        let root = Root::open(&self.0).unwrap();
        PodSample::read(&PodPlaces::new(root, Path::new("/var/lib/kubelet")))
    }

    /// The count of cgroups, with how it was had.
    fn cgroups(&self) -> (u64, String) {
        let count = self.read().cgroups.unwrap();
        assert!(!count.at_least);
        (count.count, count.how)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn folders_are_counted_and_nothing_else() {
    let tree = Tree::new("folders");
    for uid in UIDS {
        tree.folder(&format!("var/lib/kubelet/pods/{uid}/volumes/x"));
    }
    tree.file("var/lib/kubelet/pods/.lock").folder("var/lib/kubelet/plugins");
    symlink("/", tree.0.join("var/lib/kubelet/pods/link")).unwrap();
    let sample = tree.read();
    let count = sample.folders.clone().unwrap();
    assert_eq!((count.count, count.at_least), (3, false));
    assert_eq!(count.how, "folders in /var/lib/kubelet/pods");
    assert_eq!(sample.best(), Some(&count), "no cgroups are there");
}

#[test]
fn links_are_followed_within_the_kubelets_own_root() {
    let tree = Tree::new("links");
    tree.folder("data/kubelet/pods/one").folder("data/kubelet/pods/two").folder("var/lib");
    symlink("/data/kubelet", tree.0.join("var/lib/kubelet")).unwrap();
    assert_eq!(tree.read().folders.unwrap().count, 2);
    let escape = Tree::new("escape");
    escape.folder("var/lib/kubelet");
    symlink("../../../../../../proc/self/task", escape.0.join("var/lib/kubelet/pods")).unwrap();
    let unreadable =
        |source| PodsUnknown::Unreadable { place: "/var/lib/kubelet/pods".into(), source };
    assert_eq!(escape.read().folders, Err(unreadable(Errno::NOENT)));
}

#[test]
fn cgroups_of_systemd_are_counted_in_all_classes() {
    let tree = Tree::new("systemd");
    let [one, two, three] = UIDS.map(|uid| uid.replace('-', "_"));
    let top = "sys/fs/cgroup/kubepods.slice";
    tree.v2()
        .folder(&format!("{top}/kubepods-pod{one}.slice/cri-containerd-01.scope"))
        .folder(&format!(
            "{top}/kubepods-burstable.slice/kubepods-burstable-pod{two}.slice/x.scope"
        ))
        .folder(&format!("{top}/kubepods-besteffort.slice/kubepods-besteffort-pod{three}.slice"));
    tree.folder("var/lib/kubelet/pods/ended");
    assert_eq!(tree.cgroups(), (3, "pod cgroups in /sys/fs/cgroup/kubepods.slice".to_owned()));
    let sample = tree.read();
    assert_eq!(sample.best().unwrap().count, 3, "running pods go before folders");
    assert_eq!(sample.folders.unwrap().count, 1);
}

#[test]
fn cgroups_of_cgroupfs_are_counted_in_v1_and_v2() {
    let second = Tree::new("cgroupfs-v2");
    second.v2();
    let first = Tree::new("cgroupfs-v1");
    for controller in ["cpu", "memory", "unified"] {
        first.folder(&format!("sys/fs/cgroup/{controller}"));
    }
    for (tree, top) in [(&second, "kubepods"), (&first, "memory/kubepods")] {
        let top = format!("sys/fs/cgroup/{top}");
        tree.folder(&format!("{top}/pod{}/0123", UIDS[0]));
        tree.folder(&format!("{top}/burstable/pod{}", UIDS[1]));
        tree.folder(&format!("{top}/besteffort"));
        assert_eq!(tree.cgroups(), (2, format!("pod cgroups in /{top}")));
    }
}

#[test]
fn a_root_of_cgroups_is_found_and_nested_kubelets_are_left_out() {
    let tree = Tree::new("nested");
    let top = "sys/fs/cgroup/kubelet.slice/kubelet-kubepods.slice";
    let pod = format!("{top}/kubelet-kubepods-podx.slice");
    tree.v2().folder(&pod).folder(&format!("{pod}/y.scope/kubepods/podnested"));
    assert_eq!(tree.cgroups(), (1, format!("pod cgroups in /{top}")));
}

#[test]
fn a_cgroup_that_another_driver_left_is_looked_past_and_two_with_pods_are_not_added() {
    let tree = Tree::new("drivers");
    tree.v2().folder("sys/fs/cgroup/kubepods/burstable");
    tree.folder("sys/fs/cgroup/kubepods.slice/kubepods-podx.slice");
    assert_eq!(tree.cgroups(), (1, "pod cgroups in /sys/fs/cgroup/kubepods.slice".to_owned()));
    tree.folder("sys/fs/cgroup/kubepods/burstable/pody");
    let several = tree.read().cgroups.unwrap_err();
    let text = "pods in both /sys/fs/cgroup/kubepods and /sys/fs/cgroup/kubepods.slice";
    assert_eq!(several.to_string(), text);
}

#[test]
fn a_node_without_pods_has_none_and_one_without_cgroups_is_unknown() {
    let tree = Tree::new("empty");
    tree.v2().folder("sys/fs/cgroup/kubepods/burstable").folder("var/lib/kubelet/pods");
    assert_eq!(tree.cgroups().0, 0);
    assert_eq!(tree.read().folders.unwrap().count, 0);
    let other = Tree::new("other");
    other.v2();
    let unknown = other.read().cgroups.unwrap_err();
    assert!(matches!(unknown, PodsUnknown::NoCgroup { looked_at: 2, .. }), "{unknown}");
    assert_eq!(other.read().best(), None);
}

#[test]
fn a_search_for_cgroups_ends() {
    let tree = Tree::new("many");
    tree.v2();
    for n in 0..4200 {
        tree.folder(&format!("sys/fs/cgroup/user-{n}"));
    }
    tree.folder("sys/fs/cgroup/user-1/kubepods/podx");
    let unknown = tree.read().cgroups.unwrap_err();
    assert!(matches!(unknown, PodsUnknown::NoCgroup { looked_at: 4201, .. }), "{unknown}");
}

#[test]
fn a_live_process_has_a_root_and_arguments() {
    let places = PodPlaces::of_kubelet(&Process::myself().unwrap()).unwrap();
    assert_eq!(places.pods, Path::new("/var/lib/kubelet/pods"));
    // What it sees is this machine: both ways agree whether there is such a folder.
    let there = Path::new("/var/lib/kubelet/pods").is_dir();
    assert_eq!(PodSample::read(&places).folders.is_ok(), there);
}
