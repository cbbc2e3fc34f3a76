//! The families of goroutines that are known, found in a live process. As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{collections::BTreeMap, fs::File, path::Path};

use leaktrace::{
    binary::Frame,
    memory::goroutines::{CodeFrames, Goroutines, Limits, Options},
    signatures::Families,
    symbolize::{Mappings, Symbolizer},
};
use serde_json::Value;
use support::{GO_VERSIONS, Workload, leaktrace, served::Served, workload_path};

/// What `tests/workloads/served/families.go` leaves behind.
const BODIES: u64 = 7;
const IDLE: u64 = 5;
const WATCHERS: u64 = 9;

/// What `tests/workloads/kubelet/families.go` leaves behind, with the first words of what to check.
const STAND_INS: [(&str, u64, &str); 6] = [
    // Each registration is a pair.
    ("client-go: informer registrations", 2 * 3, "Find who calls AddEventHandler"),
    ("cadvisor: housekeeping", 5, "Fix the crash loop"),
    ("CRI streaming: exec, attach, logs, port-forward", 7, "Limit interactive use"),
    ("gRPC: client connections", 11 + 1, "Find who dials (grpc.NewClient, grpc.Dial)"),
    ("ttrpc: shim connections", 13, "Compare with the number of shims"),
    ("gRPC: calls without an answer", 17, "See which method and which server"),
];

/// How many goroutines of `served` look like each family most.
fn families(served: &Served) -> BTreeMap<String, u64> {
    let (watch, executable, look) = served.look();
    let (file, elf, go) = executable.go().unwrap();
    let maps = watch.process().maps().unwrap();
    let mappings = Mappings::new(&maps, &watch.identity().exe, elf).unwrap();
    let unwind = CodeFrames::new(file, &go.table, mappings.bias());
    let options = Options { unwind: Some(&unwind), limits: Limits::default() };
    let read = Goroutines::read(&look.runtime(), &options).unwrap();
    let open = Box::new(|_: &_| File::open("/dev/null"));
    let mut names = Symbolizer::new(file, elf, Some(go), &mappings, open);
    let (known, mut counts) = (Families::built_in(), BTreeMap::new());
    for one in &read.list {
        let lines = names.stack_lines(read.stack_of(one.stack));
        let frames: Vec<Frame> = lines.into_iter().map(|line| line.frame).collect();
        let start = names.start_function(one.start_pc);
        let found =
            known.match_stack(&frames, names.creator(one.creator_pc).as_ref(), Some(&start));
        let name = found.first().map_or("none", |family| &family.name);
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn goroutines_that_are_left_behind_are_known_by_their_families() {
    for version in GO_VERSIONS {
        let served = Served::start(version, "", &["families"]);
        let mut found = families(&served);
        // The runtime's, the program's own, and those that accept.
        found.remove("none").unwrap();
        let expected = [
            ("net/http: response bodies not closed", BODIES),
            // Every connection has one that writes, and an idle one waits for its server.
            ("net/http: client connections", BODIES + IDLE + IDLE),
            ("net/http: server connections and handlers", BODIES + IDLE),
            ("context: watchers of foreign contexts", WATCHERS),
        ];
        let expected: BTreeMap<_, _> =
            expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        assert_eq!(found, expected, "go{version}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// How many goroutines an inspection of a stand-in for a kubelet knows by each family, with its
/// advice.
fn inspected(program: &Path, folder: &Path) -> BTreeMap<(String, String), u64> {
    let flag = format!("--root-dir={}", folder.display());
    let workload = Workload::start_at(program, &[&flag, "families"]);
    let mut inspect = leaktrace();
    inspect.args(["inspect", "--json", "--pid", &workload.pid().to_string()]);
    let found: Value = serde_json::from_slice(&inspect.output().unwrap().stdout).unwrap();
    let mut counts = BTreeMap::new();
    for row in found["goroutines"]["groups"].as_array().unwrap() {
        // Of all that match, the most specific is first.
        let Some(advice) = row["advice"].as_array().and_then(|advice| advice.first()) else {
            continue;
        };
        let name = (text(&advice["family"]).to_owned(), text(&advice["check"]).to_owned());
        *counts.entry(name).or_default() += row["count"].as_u64().unwrap();
    }
    counts
}

/// Packages of the same paths and functions as those of the projects, in a running program.
#[test]
fn families_of_other_projects_are_named_with_their_advice() {
    let root = std::env::temp_dir().join(format!("leaktrace-families-{}", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    for version in GO_VERSIONS {
        let folder = workload_path(&format!("go{version}"));
        let program = folder.parent().unwrap().with_file_name(format!("go{version}-kubelet"));
        let found = inspected(&program.join("kubelet"), &root);
        let counts: BTreeMap<_, _> =
            found.iter().map(|((family, _), count)| (family.as_str(), *count)).collect();
        let expected = STAND_INS.map(|(family, count, _)| (family, count));
        assert_eq!(counts, BTreeMap::from(expected), "go{version}: {found:#?}");
        for (family, _, check) in STAND_INS {
            let says =
                |(name, advice): &(String, String)| name == family && advice.starts_with(check);
            assert!(found.keys().any(says), "go{version} {family}: {found:#?}");
        }
    }
    std::fs::remove_dir_all(root).unwrap();
}
