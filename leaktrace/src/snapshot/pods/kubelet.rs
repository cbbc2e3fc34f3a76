//! Which program is a kubelet, and where it keeps its pods: names and arguments in.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Main packages that are kubelets or have one in them.
const PACKAGES: [&str; 4] = [
    "k8s.io/kubernetes/cmd/kubelet",
    // microk8s
    "k8s.io/kubernetes/cmd/kubelite",
    "github.com/k3s-io/k3s/cmd/server",
    "github.com/k3s-io/k3s/cmd/agent",
];
/// Names of executables that are.
const EXECUTABLES: [&str; 2] = ["kubelet", "kubelite"];
/// `--root-dir` where none is given (cmd/kubelet/app/options/options.go).
const ROOT_DIR: &str = "/var/lib/kubelet";
/// Of a command line; more than any kubelet's.
const ARGUMENT_BYTES_MAX: u64 = 1 << 18;

/// Whether a program is a kubelet, by its main package (as the build information has it) or by
/// the name of its executable.
pub fn is_kubelet(main_package: Option<&str>, executable: &Path) -> bool {
    let name = executable.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // The kernel shows one that was replaced by an update so.
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    main_package.is_some_and(|package| PACKAGES.contains(&package)) || EXECUTABLES.contains(&name)
}

/// The arguments in a file like `/proc/PID/cmdline`.
pub fn arguments(path: &Path) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(ARGUMENT_BYTES_MAX).read_to_end(&mut bytes)?;
    let arguments = bytes.split(|byte| *byte == 0);
    Ok(arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect())
}

/// Where a kubelet with these arguments keeps what it knows. The last one counts, and a
/// configuration file can't say it. k3s hands `--kubelet-arg root-dir=...` on.
pub fn root_dir(arguments: &[String]) -> &str {
    let flags = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let mut root = ROOT_DIR;
    for (index, argument) in arguments[..flags].iter().enumerate() {
        let next = || arguments.get(index + 1).map(String::as_str);
        let value = match argument.as_str() {
            "--root-dir" => next(),
            "--kubelet-arg" => next().and_then(root_of_pair),
            other => other
                .strip_prefix("--root-dir=")
                .or_else(|| root_of_pair(other.strip_prefix("--kubelet-arg=")?)),
        };
        root = value.filter(|value| !value.is_empty()).unwrap_or(root);
    }
    root
}

fn root_of_pair(pair: &str) -> Option<&str> {
    pair.trim_start_matches("--").strip_prefix("root-dir=")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_kubelet, root_dir};

    fn root(arguments: &str) -> String {
        let arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
        root_dir(&arguments).to_owned()
    }

    #[test]
    fn the_root_is_what_the_last_argument_says() {
        assert_eq!(root("kubelet --v=2"), "/var/lib/kubelet");
        assert_eq!(root("kubelet --root-dir=/data/kubelet --v 2"), "/data/kubelet");
        assert_eq!(root("kubelet --root-dir /data/kubelet"), "/data/kubelet");
        assert_eq!(root("kubelet --root-dir=/a --root-dir=/b"), "/b");
        assert_eq!(root("k3s server --kubelet-arg=root-dir=/k"), "/k");
        assert_eq!(root("k3s agent --kubelet-arg v=2 --kubelet-arg root-dir=/k"), "/k");
    }

    #[test]
    fn other_arguments_are_not_taken_for_it() {
        for arguments in
            ["", "kubelet --root-dir", "kubelet --root-dir=", "kubelet -- --root-dir=/x"]
        {
            assert_eq!(root(arguments), "/var/lib/kubelet", "{arguments}");
        }
        for arguments in
            ["kubelet --root-dirs=/x", "kubelet --kubelet-arg=v=2", "kubelet root-dir=/x"]
        {
            assert_eq!(root(arguments), "/var/lib/kubelet", "{arguments}");
        }
    }

    #[test]
    fn a_kubelet_is_known_by_its_package_or_its_name() {
        let known = |package, path| is_kubelet(package, Path::new(path));
        assert!(known(Some("k8s.io/kubernetes/cmd/kubelet"), "/opt/bin/agent"));
        assert!(known(Some("github.com/k3s-io/k3s/cmd/server"), "/usr/local/bin/k3s"));
        assert!(known(None, "/usr/bin/kubelet"));
        assert!(known(None, "/usr/bin/kubelet (deleted)"));
        assert!(!known(Some("k8s.io/kubernetes/cmd/kube-apiserver"), "/usr/bin/kube-apiserver"));
        assert!(!known(None, "/usr/bin/kubeletd"));
        assert!(!known(None, "/"));
    }
}
