//! A tree of v2 cgroups as files in a folder: where this machine has none, and deeper than any.

use std::{
    fs,
    path::{Path, PathBuf},
};

use procfs::{FromBufRead as _, ProcessCGroups, process::MountInfos};

use super::{CgroupLimit, CgroupSample, CgroupVersion, Hierarchies, LEVELS_MAX};

/// A folder that is removed with its guard.
struct Tree(PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Tree {
    fn new(name: &str) -> Self {
        let folder = format!("leaktrace-cgroups-{name}-{}", std::process::id());
        let this = Self(std::env::temp_dir().join(folder));
        this.cgroup("", &[("memory.stat", "anon 500\nfile 300\ninactive_file 100\n")]);
        this
    }

    /// A cgroup with what each but the root has, and these files.
    fn cgroup(&self, path: &str, files: &[(&str, &str)]) {
        let folder = self.0.join(path);
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write("cgroup.procs", "");
        if !path.is_empty() {
            write("cgroup.type", "domain\n");
        }
        for (name, text) in files {
            write(name, text);
        }
    }

    fn mounted(&self) -> Hierarchies {
        let folder = Path::new(&self.0).to_str().unwrap();
        let mounts = format!("30 24 0:26 / {folder} rw - cgroup2 cgroup2 rw\n");
        Hierarchies::of(&MountInfos::from_buf_read(mounts.as_bytes()).unwrap())
            .with_unified_memory()
    }

    fn sample(&self, path: &str) -> Option<CgroupSample> {
        let cgroups = ProcessCGroups::from_buf_read(format!("0::{path}\n").as_bytes()).unwrap();
        CgroupSample::of(&cgroups, &self.mounted())
    }
}

#[test]
fn each_ancestor_of_a_v2_cgroup_is_read_with_its_limits() {
    let tree = Tree::new("limits");
    tree.cgroup("pods", &[("memory.current", "900\n"), ("memory.max", "1000\n")]);
    let pressure = "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=4\n";
    let files = [("memory.max", "max\n"), ("memory.high", "800\n"), ("memory.pressure", pressure)];
    tree.cgroup("pods/a", &files);
    let sample = tree.sample("/pods/a").unwrap();
    assert_eq!(sample.version, CgroupVersion::V2);
    let limits: Vec<_> =
        sample.levels.iter().map(|level| (level.path.as_str(), level.max, level.high)).collect();
    let expected = [
        ("/pods/a", Some(CgroupLimit::Unlimited), Some(CgroupLimit::Bytes(800))),
        ("/pods", Some(CgroupLimit::Bytes(1000)), None),
        ("/", None, None),
    ];
    assert_eq!(limits, expected);
    let roots: Vec<_> = sample.levels.iter().map(|level| level.is_root).collect();
    assert_eq!(roots, [false, false, true]);
    assert_eq!(sample.pressure.unwrap().full.total_us, 4);
}

/// What a container sees at the top of its own cgroup namespace has a type, as only the root has
/// none.
#[test]
fn the_top_of_a_namespace_is_not_the_root() {
    let tree = Tree::new("top");
    let (version, top) = CgroupSample::read_top(&tree.mounted()).unwrap();
    assert_eq!((version, top.is_root), (CgroupVersion::V2, true));
    assert_eq!(top.stat.anon_bytes, Some(500));
    fs::write(tree.0.join("cgroup.type"), "domain\n").unwrap();
    assert!(!CgroupSample::read_top(&tree.mounted()).unwrap().1.is_root);
}

/// A cgroup that was removed while its process still runs, and one that never was.
#[test]
fn a_cgroup_without_files_is_a_level_without_figures() {
    let tree = Tree::new("gone");
    let sample = tree.sample("/gone (deleted)").unwrap();
    assert_eq!(sample.levels.len(), 2);
    assert_eq!((sample.levels[0].usage_bytes, sample.levels[0].max), (None, None));
    assert!(!sample.levels[0].is_root && sample.levels[1].is_root);
}

#[test]
fn a_tree_without_end_is_cut_and_counted() {
    let tree = Tree::new("deep");
    let sample = tree.sample(&"/x".repeat(LEVELS_MAX + 9)).unwrap();
    assert_eq!((sample.levels.len(), sample.levels_dropped), (LEVELS_MAX, 10));
}
