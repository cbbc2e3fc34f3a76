//! Workloads without a runtime, and the functions that are blamed for what they do.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    num::NonZeroU32,
    path::PathBuf,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use leaktrace::{
    binary::{Blocks, Elf},
    bpf::{GrowthOrigin, GrowthTracer},
};
use leaktrace_common::{GrowthCounters, GrowthKind, GrowthOperation};

use super::{Guard, program_path};

/// What a command says that it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    pub map_bytes: u64,
    pub unmap_bytes: u64,
    pub discard_bytes: u64,
    pub pages: u64,
}

/// A running program of `tests/workloads/native`.
pub struct Native {
    pub process: Guard,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    file: Blocks,
    elf: Elf,
}

/// What one function was blamed for, by the innermost function of the program in the chain.
#[derive(Debug)]
pub struct Blame {
    pub operation: GrowthOperation,
    pub kind: GrowthKind,
    pub function: String,
    pub counters: GrowthCounters,
}

impl Native {
    pub fn start(name: &str) -> Self {
        let program = path(name);
        let mut command = Command::new(&program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let file = Blocks::new(File::open(program).unwrap());
        let elf = Elf::read(&file).unwrap();
        let process = Guard(child);
        let mut this = Self { process, stdin, stdout: BufReader::new(stdout), file, elf };
        assert_eq!(this.line(), "ready");
        this
    }

    pub fn pid(&self) -> NonZeroU32 {
        NonZeroU32::new(self.process.pid()).unwrap()
    }

    /// Has a command done.
    pub fn command(&mut self, name: &str, bytes: u64) -> Done {
        writeln!(self.stdin, "{name} {bytes}").unwrap();
        let line = self.line();
        assert!(line.starts_with("ok "), "{name}: `{line}`");
        let figure = |key: &str| {
            let mut words = line.split(' ').filter_map(|word| word.split_once('='));
            words.find(|(name, _)| *name == key).map_or(0, |(_, value)| value.parse().unwrap())
        };
        Done {
            map_bytes: figure("map"),
            unmap_bytes: figure("unmap"),
            discard_bytes: figure("discard"),
            pages: figure("pages"),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Ends it as it would end by itself.
    pub fn end(self) -> std::process::ExitStatus {
        let Self { mut process, stdin, .. } = self;
        drop(stdin);
        process.0.wait().unwrap()
    }

    /// Everything traced so far.
    pub fn blame(&self, tracer: &GrowthTracer) -> Vec<Blame> {
        let origins = tracer.origins().unwrap();
        let blame = |site: leaktrace::bpf::GrowthSiteReadout| {
            let origin = &origins[&site.site];
            Blame {
                operation: origin.operation,
                kind: origin.kind,
                function: self.innermost(origin),
                counters: site.counters,
            }
        };
        tracer.read().unwrap().sites.into_iter().map(blame).collect()
    }

    fn innermost(&self, origin: &GrowthOrigin) -> String {
        // Behind a call may lie the next function already; the first is no return address.
        let addresses = origin.pcs.iter().enumerate().map(|(at, pc)| pc - u64::from(at > 0));
        let name = |address| self.elf.symbol(&self.file, address).unwrap();
        let found = addresses.into_iter().find_map(name);
        found.map_or_else(|| "?".to_owned(), |found| found.name)
    }
}

/// The path of a native workload.
pub fn path(name: &str) -> PathBuf {
    program_path("native", name)
}

/// Calls and amount of what `function` did of a kind, over all of its sites.
pub fn of(
    blame: &[Blame],
    operation: GrowthOperation,
    kind: GrowthKind,
    function: &str,
) -> GrowthCounters {
    let matching = blame.iter().filter(|blame| {
        (blame.operation, blame.kind) == (operation, kind) && blame.function.contains(function)
    });
    matching.fold(GrowthCounters::default(), |sum, blame| GrowthCounters {
        calls: sum.calls + blame.counters.calls,
        amount: sum.amount + blame.counters.amount,
        released_bytes: sum.released_bytes + blame.counters.released_bytes,
        last_address: blame.counters.last_address,
    })
}
