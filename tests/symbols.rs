//! Functions, lines and inlined frames of real Go executables, each way of building them, against
//! what the Go runtime of the same executable says about its own addresses, and what Go's `nm` and
//! `addr2line` say about the file. Needs no root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{collections::BTreeSet, fs::File, process::Command};

use leaktrace::binary::{Blocks, BuildInfo, Elf, Frame, FuncInfo, GoBinary};
use serde_json::Value;
use support::{
    GO_VERSIONS,
    truth::{Answer, addr2line, ask_program, text_symbols},
    workload_path, write_results,
};

/// The kinds of build that run here and can be asked about themselves.
const RUNNABLE: [&str; 7] = ["", "-pie", "-symbols", "-cgo", "-cgo-pie", "-stripped", "-bare"];
/// Those of another architecture: only Go's tools can be asked.
const FOREIGN: [&str; 3] = ["-arm64", "-arm64-pie", "-arm64-symbols"];
/// Addresses per function, and bytes between them, at least.
const ADDRESSES_MAX: u64 = 8;
const STEP: u64 = 7;

/// The stack that goes through C.
const FROM_C: &str = "from C";
/// What `nm` lists as code and what is none: the linker's marks for its begin and end.
const MARKERS: [&str; 2] = ["runtime.text", "runtime.etext"];

/// One executable as leaktrace reads it.
struct Subject {
    version: &'static str,
    kind: &'static str,
    build: String,
    file: Blocks,
    go: GoBinary,
    functions: Vec<FuncInfo>,
}

/// What was compared, for the support table.
#[derive(Default, serde::Serialize)]
struct Compared {
    go: &'static str,
    build: &'static str,
    arch: &'static str,
    /// Who was asked about the addresses.
    oracle: &'static str,
    /// Functions in the table, each of which was asked about.
    functions: usize,
    addresses: usize,
    /// 0: the oracle has no names of inlined calls.
    inlined_frames: usize,
    /// Whole stacks that equal the runtime's.
    stacks: usize,
    mismatches: usize,
}

impl Subject {
    fn open(version: &'static str, kind: &'static str) -> Self {
        let build = format!("go{version}{kind}");
        let file = Blocks::new(File::open(workload_path(&build)).unwrap());
        let elf = Elf::read(&file).unwrap();
        let info = BuildInfo::read(&file, &elf).unwrap();
        assert_eq!(info.version.to_string(), format!("go{version}"), "{build}");
        let go = GoBinary::read(&file, &elf, &info).unwrap();
        let functions: Vec<_> = go.table.functions(&file).map(Result::unwrap).collect();
        assert!(functions.len() > 2000, "{build}: {} functions", functions.len());
        Self { version, kind, build, file, go, functions }
    }

    fn main(&self) -> u64 {
        self.functions.iter().find(|function| function.name == "main.main").unwrap().entry
    }

    fn frames(&self, pc: u64) -> Vec<Frame> {
        let frames = self.go.table.frames(&self.file, pc);
        frames.unwrap_or_else(|error| panic!("{} {pc:#x}: {error}", self.build))
    }

    /// Return addresses all over every function, padding included. Not the one behind its last
    /// byte, which `runtime.CallersFrames` takes for the next function's first.
    fn questions(&self) -> Vec<(&FuncInfo, u64)> {
        let addresses = |function: &FuncInfo| {
            let step = STEP.max((function.end - function.entry) / ADDRESSES_MAX);
            (function.entry + 1..function.end).step_by(step as usize).take(ADDRESSES_MAX as usize)
        };
        let of = |function| addresses(function).map(move |pc| (function, pc));
        self.functions.iter().flat_map(of).collect()
    }

    /// All functions and all chains of inlined calls, as the program itself has them.
    fn compare_with_runtime(&self) -> Compared {
        let questions = self.questions();
        let addresses: Vec<_> = questions.iter().map(|(_, pc)| *pc).collect();
        let answers = ask_program(&self.build, self.main(), &addresses);
        let mut inlined_frames = 0;
        let mut mismatches = Vec::new();
        for ((function, pc), answers) in questions.iter().zip(&answers) {
            // The runtime shows no wrapper in a stack, but names it when asked about it alone.
            let shown = |answer: &&Answer| answer.inlined || !function.wrapper;
            let expected: Vec<_> = answers.iter().filter(shown).collect();
            let found = self.frames(*pc);
            let pcs = self.go.table.logical_pcs(&self.file, *pc).unwrap();
            let same = |((answer, frame), pc): ((&&Answer, &Frame), &u64)| {
                answer.pc == *pc && self.is_same(answer, frame)
            };
            if found.len() != expected.len() || !expected.iter().zip(&found).zip(&pcs).all(same) {
                let name = &function.name;
                mismatches.push(format!("{pc:#x} in {name}: {expected:?}, not {found:?}"));
            }
            inlined_frames += found.iter().filter(|frame| frame.inlined).count();
        }
        assert!(inlined_frames > 2000, "{}: {inlined_frames} inlined frames", self.build);
        assert_none(&self.build, &mismatches);
        Compared {
            oracle: "the program itself",
            addresses: addresses.len(),
            inlined_frames,
            stacks: self.compare_stacks(),
            ..self.compared()
        }
    }

    fn is_same(&self, answer: &Answer, frame: &Frame) -> bool {
        // The runtime takes the offset of the first name, 0, for no name at all.
        let nameless = answer.function.is_empty() && *frame.function == *self.functions[0].name;
        (nameless || *answer.function == *frame.function)
            && *answer.file == *frame.file
            && (answer.line, answer.start_line) == (frame.line, frame.start_line)
            && answer.inlined == frame.inlined
    }

    /// Whole stacks from physical return addresses: every frame, the inlined ones too.
    fn compare_stacks(&self) -> usize {
        let output = Command::new(workload_path(&self.build)).arg("callers").output().unwrap();
        let truth: Value = serde_json::from_slice(&output.stdout).unwrap();
        let bias = truth["main"].as_u64().unwrap() - self.main();
        let stacks = truth["stacks"].as_array().unwrap();
        let from_c = stacks.iter().filter(|stack| stack["name"] == FROM_C).count();
        let cgo = self.kind.starts_with("-cgo");
        assert!(stacks.len() > 15 && from_c == usize::from(cgo), "{}", self.build);
        for stack in stacks {
            let name = format!("{} {}", self.build, stack["name"]);
            let physical = stack["physical"].as_array().unwrap().iter();
            let pcs = physical.map(|pc| pc.as_u64().unwrap().wrapping_sub(bias));
            let found: Vec<_> = pcs.flat_map(|pc| self.frames(pc)).collect();
            let mut found: Vec<_> = found.iter().map(described).collect();
            let logical = stack["logical"].as_array().unwrap();
            let mut logical: Vec<_> = logical.iter().map(logical_frame).collect();
            if stack["name"] == FROM_C {
                cut_at_c(&mut found);
                cut_at_c(&mut logical);
            }
            assert_eq!(found, logical, "{name}");
        }
        stacks.len()
    }

    /// Every name and address as in the symbol table, which only the twin still has.
    fn compare_with_nm(&self, twin: &str) {
        let symbols = text_symbols(self.version, &format!("go{}{twin}", self.version));
        let expected: BTreeSet<_> = symbols
            .iter()
            .filter(|(_, name)| !MARKERS.contains(&name.as_str()))
            .map(|(address, name)| (*address, without_convention(name)))
            .collect();
        assert_eq!(expected.len() + MARKERS.len(), symbols.len(), "{}", self.build);
        // The linker has no middle dot in ELF symbols: Go's for types within functions.
        let named = |function: &FuncInfo| (function.entry, function.name.replace('·', "."));
        let found: BTreeSet<_> = self.functions.iter().map(named).collect();
        assert_eq!(found.len(), self.functions.len(), "{}: no two are alike", self.build);
        let differences = found.symmetric_difference(&expected);
        let differences: Vec<_> = differences.map(|(at, name)| format!("{at:#x} {name}")).collect();
        assert_none(&self.build, &differences);
        let dotted = self.functions.iter().filter(|function| function.name.contains('·')).count();
        assert!(dotted <= 2, "{}: {dotted} names with a middle dot", self.build);
    }

    /// File and line of the innermost call, and whose code it is, as Go's addr2line has them.
    fn compare_with_addr2line(&self) -> Compared {
        let questions = self.questions();
        // It is asked about instructions, not about return addresses.
        let addresses: Vec<_> = questions.iter().map(|(_, pc)| *pc - 1).collect();
        let answers = addr2line(self.version, &self.build, &addresses);
        let mut mismatches = Vec::new();
        for ((function, pc), (name, expected)) in questions.iter().zip(&answers) {
            let found = self.frames(*pc);
            let same = match found.first() {
                // It has no lines, where addr2line reads a table that is not there.
                _ if function.name == "go:textfipsstart" => true,
                Some(frame) => *expected == place(frame),
                None => function.wrapper,
            };
            if *name != function.name || !same {
                mismatches
                    .push(format!("{pc:#x} in {}: {name} {expected}, {found:?}", function.name));
            }
        }
        assert_none(&self.build, &mismatches);
        Compared { oracle: "go tool addr2line", addresses: addresses.len(), ..self.compared() }
    }

    fn compared(&self) -> Compared {
        let arch = if self.kind.starts_with("-arm64") { "arm64" } else { "amd64" };
        let functions = self.functions.len();
        Compared { go: self.version, build: self.kind, arch, functions, ..Compared::default() }
    }
}

/// A frame as both sides have it in a stack.
type Described<'a> = (&'a str, &'a str, u64);

fn described(frame: &Frame) -> Described<'_> {
    (&frame.function, &frame.file, frame.line.into())
}

fn logical_frame(frame: &Value) -> Described<'_> {
    let text = |field: &str| frame[field].as_str().unwrap();
    (text("function"), text("file"), frame["line"].as_u64().unwrap())
}

/// Frame pointers do not lead back from C's stack to the goroutine's, which lies below it.
fn cut_at_c(frames: &mut Vec<Described<'_>>) {
    let callback = frames.iter().position(|(name, ..)| *name == "runtime.cgocallback").unwrap();
    frames.truncate(callback + 1);
}

/// The linker tells a function and its wrapper apart by their calling convention.
fn without_convention(symbol: &str) -> String {
    symbol.strip_suffix(".abi0").unwrap_or(symbol).to_owned()
}

/// `file:line` as addr2line prints it; between two functions it knows neither.
fn place(frame: &Frame) -> String {
    match (&*frame.file, frame.line) {
        ("?", 0) => ":-1".to_owned(),
        (file, line) => format!("{file}:{line}"),
    }
}

fn assert_none(build: &str, mismatches: &[String]) {
    let first = mismatches.iter().take(10).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(mismatches.is_empty(), "{build}: {} mismatches:\n{first}", mismatches.len());
}

/// Every kind of build of one Go version.
fn compare_all(version: &'static str) -> Vec<Compared> {
    let mut all = Vec::new();
    for kind in RUNNABLE {
        let subject = Subject::open(version, kind);
        if kind.is_empty() {
            subject.compare_with_nm("-symbols");
            subject.compare_with_addr2line();
        }
        all.push(subject.compare_with_runtime());
    }
    for kind in FOREIGN {
        let subject = Subject::open(version, kind);
        if kind == "-arm64" {
            subject.compare_with_nm("-arm64-symbols");
        }
        all.push(subject.compare_with_addr2line());
    }
    all
}

#[test]
fn functions_lines_and_inlining_are_the_truth_in_every_build() {
    let of_version = |version| std::thread::spawn(move || compare_all(version));
    let running: Vec<_> = GO_VERSIONS.into_iter().map(of_version).collect();
    let all: Vec<_> = running.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    write_results("symbols.json", &all);
}
