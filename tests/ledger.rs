//! The ledger against processes that know what they did: each takes memory of one kind at a time,
//! and that line must grow by it and no other. As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use leaktrace::{
    ledger::{Group, Ledger, LedgerGrowth, Part},
    session::Look,
    snapshot::{MappingKind, ResidentSample},
};
use procfs::process::Process;
use serde_json::Value;
use support::{
    GO_VERSIONS,
    served::{KINDS, Served},
    workload_path,
};

const MIB: i64 = 1 << 20;

/// What a line may be wrong by: 2 % of RSS, or 1 MiB.
fn tolerance(ledger: &Ledger) -> i64 {
    MIB.max(ledger.rss_bytes as i64 / 50)
}

fn ledger_of(pid: u32, look: Option<&Look>) -> (Ledger, ResidentSample) {
    let process = Process::new(pid as i32).unwrap();
    let runtime = look.map(Look::runtime);
    let sample = ResidentSample::read(&process, runtime.as_ref(), None).unwrap();
    let ledger = Ledger::new(&sample);
    let sum: i64 = ledger.lines.iter().map(|line| line.bytes).sum();
    assert_eq!(sum, ledger.rss_bytes as i64, "{ledger:#?}");
    assert_eq!(ledger.unavailable, [] as [String; 0]);
    (ledger, sample)
}

/// Lines in MiB, for messages.
fn told(ledger: &Ledger) -> String {
    let line = |line: &leaktrace::ledger::Line| {
        format!("{} {:.2}", line.what.label(), line.bytes as f64 / MIB as f64)
    };
    ledger.lines.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// Every line has grown by what `expected` says, or not at all; but for the Go runtime's own, of
/// which only the counters know.
fn assert_grew(name: &str, first: &Ledger, last: &Ledger, expected: &[(Part, i64)]) {
    let growth = LedgerGrowth::between(first, last);
    let asked = |part: Part| !matches!(part.group(), Group::Kernel | Group::GoRuntime);
    for line in growth.lines.iter().filter(|line| asked(line.what)) {
        let by = expected.iter().find(|(part, _)| *part == line.what).map_or(0, |(_, by)| *by);
        let wrong = (line.grew_bytes - by).abs();
        assert!(
            wrong <= tolerance(last),
            "{name}: {:?} grew by {} and not {by}: {} -> {}",
            line.what,
            line.grew_bytes,
            told(first),
            told(last)
        );
    }
    for (part, by) in expected.iter().filter(|(_, by)| *by > 2 * tolerance(last)) {
        let grew = last.bytes(*part) - first.bytes(*part);
        assert!((grew - by).abs() <= tolerance(last), "{name}: {part:?} grew by {grew}");
    }
}

/// A Go program of which a ledger is made before and after each command.
struct Go {
    served: Served,
    look: Look,
    name: String,
    last: Ledger,
    truth: Value,
}

impl Go {
    fn start(version: &str, kind: &str) -> Self {
        let mut served = Served::start(version, kind, &["ledger"]);
        served.command("gc");
        let truth = served.command("stats");
        let (_watch, _executable, look) = served.look();
        let (last, _) = ledger_of(served.pid(), Some(&look));
        Self { served, look, name: format!("go{version}{kind}"), last, truth }
    }

    /// Sends a command, after which the lines must have grown as `expected` says.
    fn does(&mut self, command: &str, expected: &[(Part, i64)]) {
        let counted = self.runtime_bytes();
        let before = self.sends(command);
        let (name, slack) = (&self.name, tolerance(&self.last));
        let grew = self.last.bytes(Part::GoRuntime) - before.bytes(Part::GoRuntime);
        let most = (self.runtime_bytes() - counted).max(0) + slack;
        assert!((-slack..most).contains(&grew), "{name} {command}: Go runtime grew by {grew}");
        assert_grew(&format!("{} {command}", self.name), &before, &self.last, expected);
        self.compare(command);
    }

    /// Sends a command; gives the ledger before it.
    fn sends(&mut self, command: &str) -> Ledger {
        let answer = self.served.command(command);
        self.truth = if answer.is_null() { self.served.command("stats") } else { answer };
        let (ledger, _) = ledger_of(self.served.pid(), Some(&self.look));
        if std::env::var_os("LEDGER_PRINT").is_some() {
            eprintln!("{} {command}: {}", self.name, told(&ledger));
        }
        std::mem::replace(&mut self.last, ledger)
    }

    /// What the runtime has ever mapped for itself.
    fn runtime_bytes(&self) -> i64 {
        ["MSpanSys", "MCacheSys", "BuckHashSys", "GCSys", "OtherSys"]
            .iter()
            .map(|field| self.says(field))
            .sum()
    }

    fn says(&self, field: &str) -> i64 {
        self.truth[field].as_i64().unwrap()
    }

    /// Lines against what the runtime says: never more than is mapped.
    fn compare(&self, command: &str) {
        let most = [
            (&[Part::GoLive, Part::GoGarbage][..], self.says("HeapAlloc")),
            (&[Part::GoLive, Part::GoGarbage, Part::GoGaps], self.says("HeapInuse")),
            (&[Part::GoIdle], self.says("HeapIdle") - self.says("HeapReleased")),
            (&[Part::GoStacks], self.says("StackInuse")),
        ];
        for (parts, most) in most {
            let bytes: i64 = parts.iter().map(|part| self.last.bytes(*part)).sum();
            let name = &self.name;
            assert!(
                bytes <= most + MIB,
                "{name} {command}: {parts:?} {bytes} of {most}: {}",
                told(&self.last)
            );
        }
    }
}

#[test]
fn each_kind_of_go_memory_grows_its_own_line() {
    for version in GO_VERSIONS {
        for kind in KINDS {
            let mut go = Go::start(version, kind);
            // It takes 4 MiB before what it does not touch.
            go.does("untouched 64", &[(Part::GoGarbage, 4 * MIB)]);
            go.does("live 48", &[(Part::GoGarbage, 48 * MIB)]);
            go.does("gc", &[(Part::GoGarbage, -52 * MIB), (Part::GoLive, 52 * MIB)]);
            go.does("garbage 40", &[(Part::GoGarbage, 40 * MIB)]);
            // What it writes is read and not written, and never in memory.
            go.does("file 16", &[(Part::Files, 16 * MIB)]);
        }
    }
}

#[test]
fn an_idle_heap_is_told_from_one_in_use_until_it_is_given_back() {
    for version in GO_VERSIONS {
        for kind in KINDS {
            let mut go = Go::start(version, kind);
            go.does("live 16", &[(Part::GoGarbage, 16 * MIB)]);
            let live = [(Part::GoGarbage, -16 * MIB), (Part::GoLive, 16 * MIB)];
            go.does("spike 64", &[&live[..], &[(Part::GoIdle, 64 * MIB)]].concat());
            let idle = go.says("HeapIdle") - go.says("HeapReleased");
            let found = go.last.bytes(Part::GoIdle);
            let name = format!("{}: {found} of {idle}: {}", go.name, told(&go.last));
            assert!((found - idle).abs() < MIB, "{name}");
            go.sends("free");
            assert!(go.last.bytes(Part::GoIdle) < MIB, "{name} -> {}", told(&go.last));
        }
    }
}

#[test]
fn stacks_of_goroutines_are_a_line() {
    for version in GO_VERSIONS {
        for kind in KINDS {
            let mut go = Go::start(version, kind);
            let before = go.says("StackInuse");
            let first = go.sends("goroutines 20000");
            let in_use = go.says("StackInuse") - before;
            // 5,000 bytes and what is below them fit into 8 KiB, no stack into less.
            assert!(in_use >= 20_000 * 8192, "{}: {in_use}", go.name);
            let grew = go.last.bytes(Part::GoStacks) - first.bytes(Part::GoStacks);
            let wrong = (grew - in_use).abs();
            assert!(wrong <= tolerance(&go.last), "{}: {grew} of {in_use}", go.name);
            let growth = LedgerGrowth::between(&first, &go.last);
            assert_eq!(growth.answer, Group::GoroutineStacks, "{}: {growth:#?}", go.name);
        }
    }
}

/// The collector reads a slice of pointers that nobody ever wrote: the page of zeros stands for it.
#[test]
fn what_the_collector_read_of_untouched_memory_is_not_resident() {
    for version in GO_VERSIONS {
        let mut go = Go::start(version, "");
        go.does("pointers 64", &[(Part::GoLive, 4 * MIB)]);
        assert!(go.says("HeapAlloc") > 68 * MIB);
    }
}

/// Two goroutines allocate as fast as they can, and collections go on all the time. Spans and
/// mappings are read one after the other, so that much may happen in between: that shows as
/// unexplained, and is told, and readings that agree come by.
#[test]
fn a_busy_heap_is_explained_too() {
    for version in GO_VERSIONS {
        let mut served = Served::start(version, "", &["heap", "-churn", "2"]);
        let (_watch, _executable, look) = served.look();
        let ledgers: Vec<_> = (0..20).map(|_| ledger_of(served.pid(), Some(&look)).0).collect();
        let agrees = |ledger: &Ledger| ledger.unexplained_bytes.abs() <= tolerance(ledger);
        let told: Vec<_> = ledgers.iter().map(told).collect();
        assert!(ledgers.iter().any(agrees), "go{version}: {told:#?}");
        served.command("stop");
        let (ledger, _) = ledger_of(served.pid(), Some(&look));
        assert!(agrees(&ledger), "go{version}, at rest: {}", self::told(&ledger));
    }
}

#[test]
fn memory_of_c_beside_a_flat_go_heap_is_native() {
    for version in GO_VERSIONS {
        let mut go = Go::start(version, "-cgo");
        go.does("malloc 32", &[(Part::MallocPieces, 32 * MIB)]);
        go.does("map 3", &[(Part::Anonymous, 3 * MIB)]);
        go.does("map 32", &[(Part::Anonymous, 32 * MIB)]);
        let first = go.sends("mallocsmall 32");
        let growth = LedgerGrowth::between(&first, &go.last);
        assert_eq!(growth.answer, Group::Native, "{}: {growth:#?}", go.name);
        let native = growth.groups[0].grew_bytes;
        assert!((native - 32 * MIB).abs() <= tolerance(&go.last), "{}: {growth:#?}", go.name);
    }
}

/// A native program that takes memory of one kind per command.
struct Parts {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Parts {
    fn start() -> Self {
        let program = workload_path(support::GO);
        let program = program.parent().unwrap().with_file_name("ledger").join("parts");
        let mut command = Command::new(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut this = Self { child, stdin, stdout };
        assert_eq!(this.line(), format!("ready pid={}", this.child.id()));
        this
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn command(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
        assert_eq!(self.line(), "ok");
    }

    fn ledger(&self) -> (Ledger, ResidentSample) {
        ledger_of(self.child.id(), None)
    }
}

#[test]
fn each_kind_of_native_memory_grows_its_own_line() {
    let cases = [
        ("brk", Some(Part::Brk), Some(MappingKind::Brk), Group::Native),
        ("anon", Some(Part::Anonymous), Some(MappingKind::Anonymous), Group::Native),
        ("untouched", None, None, Group::None),
        ("shared", Some(Part::SharedMemory), Some(MappingKind::SharedMemory), Group::SharedMemory),
        ("memfd", Some(Part::SharedMemory), Some(MappingKind::Memfd), Group::SharedMemory),
        ("sysv", Some(Part::SharedMemory), Some(MappingKind::SharedMemory), Group::SharedMemory),
        ("file", Some(Part::Files), Some(MappingKind::File), Group::Files),
        ("thread", Some(Part::ThreadStacks), Some(MappingKind::ThreadStack), Group::ThreadStacks),
        // Without a guard page below, only its stack pointer tells.
        ("bare", Some(Part::ThreadStacks), Some(MappingKind::ThreadStack), Group::ThreadStacks),
        ("data", Some(Part::ExecutableData), Some(MappingKind::Executable), Group::Native),
        ("bss", Some(Part::ExecutableData), Some(MappingKind::ExecutableBss), Group::Native),
    ];
    let mut parts = Parts::start();
    let (mut last, mut sample) = parts.ledger();
    for (command, part, kind, group) in cases {
        parts.command(&format!("{command} 16"));
        let (ledger, after) = parts.ledger();
        let expected = part.map(|part| (part, 16 * MIB));
        assert_grew(command, &last, &ledger, expected.as_slice());
        assert_eq!(ledger.unexplained_bytes, 0, "{command}: {}", told(&ledger));
        let growth = LedgerGrowth::between(&last, &ledger);
        assert_eq!(growth.answer, group, "{command}: {growth:#?}");
        let rows = after.mappings.growth_since(&sample.mappings);
        let biggest = rows.iter().find(|row| row.rss_grew_bytes >= 8 * MIB).map(|row| row.kind);
        assert_eq!(biggest, kind, "{command}: {rows:#?}");
        (last, sample) = (ledger, after);
    }
}

#[test]
fn open_files_are_counted_by_kind() {
    let mut parts = Parts::start();
    let (_, before) = parts.ledger();
    parts.command("fds 7");
    let (_, after) = parts.ledger();
    let more = |kind: &str| {
        let count = |sample: &ResidentSample| {
            sample.files.as_ref().unwrap().kinds.get(kind).copied().unwrap_or(0)
        };
        count(&after) - count(&before)
    };
    assert_eq!([more("eventfd"), more("pipe"), more("socket"), more("file")], [7, 14, 7, 0]);
}
