//! Functions, lines and inlined frames of real Go executables, against what the Go runtime of
//! the same executable says about its own addresses. Needs no root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{fs::File, process::Command};

use leaktrace::binary::{Blocks, BuildInfo, Elf, Frame, GoBinary};
use serde_json::Value;
use support::{GO_VERSIONS, workload_path};

struct Subject {
    build: String,
    file: Blocks,
    go: GoBinary,
    /// What the program says about itself.
    truth: Value,
    bias: u64,
}

impl Subject {
    fn new(build: String) -> Self {
        let path = workload_path(&build);
        let output = Command::new(&path).arg("callers").output().unwrap();
        let truth: Value = serde_json::from_slice(&output.stdout).unwrap();
        let file = Blocks::new(File::open(path).unwrap());
        let elf = Elf::read(&file).unwrap();
        let info = BuildInfo::read(&file, &elf).unwrap();
        assert!(build.starts_with(&info.version.to_string()), "{build}: {}", info.version);
        let go = GoBinary::read(&file, &elf, &info).unwrap();
        let main = go.table.find(&file, &["main.main"]).unwrap();
        let bias = truth["main"].as_u64().unwrap() - main[0].entry;
        Self { build, file, go, truth, bias }
    }

    fn frames(&self, pc: &Value) -> Vec<Frame> {
        self.go.table.frames(&self.file, pc.as_u64().unwrap() - self.bias).unwrap()
    }

    /// Addresses all over the standard library: the innermost frame.
    fn check_entries(&self) {
        let entries = self.truth["entries"].as_array().unwrap();
        assert!(entries.len() > 5000, "{}: {}", self.build, entries.len());
        for entry in entries {
            let expected = &entry["frames"][0];
            let name = format!("{} {}", self.build, entry["pc"]);
            match self.frames(&entry["pc"]).first() {
                Some(found) => assert_same(found, expected, &name),
                None => self.assert_wrapper(entry, &name),
            }
        }
    }

    /// Only compiler-made wrappers have no frame; they are no function by name either.
    fn assert_wrapper(&self, entry: &Value, name: &str) {
        let pc = entry["pc"].as_u64().unwrap() - self.bias;
        let function = entry["frames"][0]["function"].as_str().unwrap();
        let found = self.go.table.find(&self.file, &[function]).unwrap();
        let covers = found.iter().any(|function| (function.entry..function.end).contains(&pc));
        assert!(!covers, "{name}: {function} has no frame");
    }

    /// Whole stacks from physical return addresses: every frame, the inlined ones too.
    fn check_stacks(&self) {
        let stacks = self.truth["stacks"].as_array().unwrap();
        assert!(stacks.len() > 10, "{}: {}", self.build, stacks.len());
        let mut inlined = 0;
        for stack in stacks {
            let name = format!("{} {}", self.build, stack["name"]);
            let physical = stack["physical"].as_array().unwrap();
            let found: Vec<_> = physical.iter().flat_map(|pc| self.frames(pc)).collect();
            let logical = stack["logical"].as_array().unwrap();
            let functions: Vec<_> = found.iter().map(|frame| &frame.function).collect();
            assert_eq!(found.len(), logical.len(), "{name}: {functions:#?}\n{logical:#?}");
            inlined += found.iter().filter(|frame| frame.inlined).count();
            found.iter().zip(logical).for_each(|(f, expected)| assert_same(f, expected, &name));
        }
        assert!(inlined > 5, "{}: only {inlined} inlined frames", self.build);
    }
}

fn assert_same(found: &Frame, expected: &Value, name: &str) {
    let found = (&*found.function, &*found.file, u64::from(found.line));
    let text = |field: &str| expected[field].as_str().unwrap();
    let expected = (text("function"), text("file"), expected["line"].as_u64().unwrap());
    assert_eq!(found, expected, "{name}");
}

#[test]
fn frames_equal_those_of_the_go_runtime() {
    for version in GO_VERSIONS {
        for link in ["", "-pie"] {
            let subject = Subject::new(format!("go{version}{link}"));
            subject.check_entries();
            subject.check_stacks();
        }
    }
}
