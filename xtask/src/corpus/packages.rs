//! Which Debian packages make up the corpus: one row per suite and architecture.
//!
//! Chosen for their builders: each Go version that leaktrace knows built one of them, and Go 1.19,
//! which it must refuse, built bookworm's.

/// Packages of one suite for one architecture.
pub struct Source {
    /// Debian's code name of the suite.
    pub suite: &'static str,
    /// Debian's name of the architecture.
    pub arch: &'static str,
    /// Names of binary packages.
    pub packages: &'static [&'static str],
}

/// Daemons that run for months on a node, where leaks hurt.
const DAEMONS: [&str; 5] =
    ["containerd", "etcd-server", "prometheus", "prometheus-node-exporter", "docker.io"];

/// The daemons, other big programs, and some that a Go before the suite's own built.
const MANY: [&str; 14] = [
    "containerd",
    "etcd-server",
    "prometheus",
    "prometheus-node-exporter",
    "docker.io",
    "kubectl",
    "consul",
    "caddy",
    "gh",
    "syncthing",
    "podman",
    "runc",
    "certspotter",
    "debiman",
];

const ARM64: [&str; 4] = ["containerd", "etcd-server", "prometheus-node-exporter", "runc"];

/// The corpus, in the order in which it is shown.
pub const SOURCES: [Source; 7] = [
    Source { suite: "bookworm", arch: "amd64", packages: &DAEMONS },
    Source { suite: "bookworm-backports", arch: "amd64", packages: &["golang-1.22-go"] },
    Source { suite: "trixie", arch: "amd64", packages: &MANY },
    Source { suite: "trixie-backports", arch: "amd64", packages: &["golang-1.25-go"] },
    Source { suite: "sid", arch: "amd64", packages: &MANY },
    Source { suite: "trixie", arch: "arm64", packages: &ARM64 },
    Source { suite: "sid", arch: "arm64", packages: &ARM64 },
];
