//! The families of goroutines that are known, found in a live process. As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{collections::BTreeMap, fs::File};

use leaktrace::{
    binary::Frame,
    memory::goroutines::{CodeFrames, Goroutines, Limits, Options},
    signatures::Families,
    symbolize::{Mappings, Symbolizer},
};
use support::{GO_VERSIONS, served::Served};

/// What `tests/workloads/served/families.go` leaves behind.
const BODIES: u64 = 7;
const IDLE: u64 = 5;
const WATCHERS: u64 = 9;

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
