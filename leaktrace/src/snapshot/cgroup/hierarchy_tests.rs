//! Recorded mounts and cgroup paths of v1, v2 and hybrid systems.

use procfs::{FromBufRead as _, ProcessCGroups, process::MountInfos};

use super::Hierarchies;
use crate::snapshot::CgroupVersion;

/// Recorded on a hybrid system whose unified hierarchy has no controllers.
const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
const HYBRID_PROCESS: &str = "\
9:name=systemd:/
4:memory:/system.slice/kubelet.service
1:cpu:/
0::/init
";
/// systemd 249 and later.
const V2: &str = "\
24 30 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";
const V2_PROCESS: &str = "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope\n";

fn hierarchies(text: &str) -> Hierarchies {
    Hierarchies::of(&MountInfos::from_buf_read(text.as_bytes()).unwrap())
}

fn cgroups(text: &str) -> ProcessCGroups {
    ProcessCGroups::from_buf_read(text.as_bytes()).unwrap()
}

/// Path and folder of each level.
fn levels(mounts: &Hierarchies, process: &str) -> Option<Vec<(String, String)>> {
    let place = mounts.memory_of(&cgroups(process))?;
    let text =
        |(path, folder): (String, std::path::PathBuf)| (path, folder.to_str().unwrap().to_owned());
    Some(place.upwards().into_iter().map(text).collect())
}

fn pairs(expected: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    Some(expected.iter().map(|(path, at)| ((*path).to_owned(), (*at).to_owned())).collect())
}

#[test]
fn hybrid_memory_is_v1_and_pressure_v2() {
    let mounts = hierarchies(HYBRID);
    assert_eq!(
        levels(&mounts, HYBRID_PROCESS),
        pairs(&[
            ("/system.slice/kubelet.service", "/sys/fs/cgroup/memory/system.slice/kubelet.service"),
            ("/system.slice", "/sys/fs/cgroup/memory/system.slice"),
            ("/", "/sys/fs/cgroup/memory"),
        ])
    );
    let process = cgroups(HYBRID_PROCESS);
    assert_eq!(mounts.memory_of(&process).unwrap().version, CgroupVersion::V1);
    let unified = mounts.unified_of(&process).unwrap().folder();
    assert_eq!(unified.to_str(), Some("/sys/fs/cgroup/unified/init"));
    let top = mounts.memory_top().unwrap();
    assert_eq!(
        (top.version, top.folder().to_str()),
        (CgroupVersion::V1, Some("/sys/fs/cgroup/memory"))
    );
}

#[test]
fn v2_has_memory_only_with_its_controller() {
    let mounts = hierarchies(V2);
    assert_eq!(levels(&mounts, V2_PROCESS), None);
    assert!(mounts.memory_top().is_none());
    let mounts = mounts.with_unified_memory();
    let found = levels(&mounts, V2_PROCESS).unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(found[3], ("/".to_owned(), "/sys/fs/cgroup".to_owned()));
    assert_eq!(mounts.memory_top().unwrap().version, CgroupVersion::V2);
}

/// Seen from inside a cgroup namespace, processes outside lie above its root.
#[test]
fn a_cgroup_outside_of_our_namespace_is_absent() {
    let mounts = hierarchies(V2).with_unified_memory();
    for path in ["/..", "/../../system.slice/a.service", "/a/../b", "relative", ""] {
        assert_eq!(levels(&mounts, &format!("0::{path}\n")), None, "{path}");
    }
    // A mount that shows what is above our namespace is of no use for paths inside.
    let outside = "35 31 0:32 /../.. /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    assert_eq!(levels(&hierarchies(outside), HYBRID_PROCESS), None);
}

/// A container of Docker on v1 has its own cgroup mounted, and sees the path from the host's root.
#[test]
fn a_mount_of_a_part_shows_that_part_only() {
    let container = "\
35 31 0:32 /docker/4f2a /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory
";
    let mounts = hierarchies(container);
    assert_eq!(
        levels(&mounts, "4:memory:/docker/4f2a/child\n"),
        pairs(&[
            ("/docker/4f2a/child", "/sys/fs/cgroup/memory/child"),
            ("/docker/4f2a", "/sys/fs/cgroup/memory"),
        ])
    );
    assert_eq!(levels(&mounts, "4:memory:/docker/4f2ab\n"), None);
    assert_eq!(levels(&mounts, "4:memory:/\n"), None);
}

#[test]
fn controllers_that_share_a_hierarchy_and_odd_folders_are_found() {
    let text = "35 31 0:32 / /mnt/my\\040cgroups rw - cgroup none rw,cpu,memory\n";
    let found = levels(&hierarchies(text), "4:cpu,memory:/a\n").unwrap();
    assert_eq!(found[0].1, "/mnt/my cgroups/a");
    assert_eq!(levels(&Hierarchies::default(), HYBRID_PROCESS), None);
}
