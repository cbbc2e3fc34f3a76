//! What names cost on a big program (`BIG`): opening, looking up functions by name, and frames of
//! many addresses, beside `go tool addr2line` (`GO`) and blazesym on its unstripped twin
//! (`BIG_SYMBOLS`), in one run. Run by `cargo xtask bench`.
//!
//! Non-goals: passing or failing.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use blazesym::symbolize::{
    Input, Symbolizer,
    source::{Elf as ElfSource, Source},
};
use leaktrace::{
    binary::{Blocks, BuildInfo, Elf, GoBinary},
    probe::ContextFacts,
};

const REPETITIONS: usize = 5;
const PCS: usize = 200_000;
/// The others take minutes for as many.
const PCS_OTHERS: usize = 20_000;
/// Functions that some evidence needs; a few are not linked in.
const NAMES: [&str; 20] = [
    "context.(*cancelCtx).propagateCancel",
    "context.(*cancelCtx).cancel",
    "context.WithCancel",
    "context.WithTimeout",
    "context.WithDeadlineCause",
    "context.AfterFunc",
    "runtime.newproc",
    "runtime.newproc1",
    "runtime.goexit0",
    "runtime.gdestroy",
    "runtime.mProf_FlushLocked",
    "runtime.mProf_Flush",
    "runtime.stkbucket",
    "runtime.forEachGRace",
    "runtime.allgadd",
    "runtime.allocmcache",
    "runtime.profilealloc",
    "runtime.(*mcache).refill",
    "main.main",
    "no.such.function",
];

fn main() -> Result<()> {
    let path = |name| std::env::var_os(name).map(PathBuf::from).context(name);
    let (big, twin, go) = (path("BIG")?, path("BIG_SYMBOLS")?, path("GO")?);
    let size_mb = std::fs::metadata(&big)?.len() as f64 / 1e6;
    let rss_before = rss_bytes()?;
    let opened = Opened::new(&big)?;
    println!(
        "names on a program of {size_mb:.0} MB with {} functions (median of {REPETITIONS})",
        opened.go.table.function_count()
    );
    row("open", median(|| Opened::new(&big).map(drop))?, "");
    row("open, find the probe points and where cancel is inlined", median(|| facts(&big))?, "");
    row("20 functions by name", median(|| opened.find())?, "");
    let pcs = opened.pcs(PCS)?;
    println!("\nframes of addresses all over the program, inlined ones too");
    let frames = opened.count_frames(pcs.clone())?;
    let elapsed = median(|| Opened::new(&big)?.count_frames(pcs.clone()).map(drop))?;
    rate("leaktrace, opening and sorting included", pcs.len(), frames, elapsed);
    let grown = rss_bytes()?.saturating_sub(rss_before);
    let (few, begin) = (&pcs[..PCS_OTHERS], Instant::now());
    let frames = go_addr2line(&go, &twin, few)?;
    rate("go tool addr2line (no inlined frames)", few.len(), frames, begin.elapsed());
    let begin = Instant::now();
    let frames = blazesym(&twin, few)?;
    rate("blazesym by DWARF, unstripped", few.len(), frames, begin.elapsed());
    let mib = grown as f64 / f64::from(1 << 20);
    println!("\nown memory after all of leaktrace's rows    {mib:>8.1} MiB more than before");
    Ok(())
}

fn row(what: &str, elapsed: Duration, note: &str) {
    println!("{what:<58} {:>8.1} ms{note}", elapsed.as_secs_f64() * 1e3);
}

fn rate(what: &str, pcs: usize, frames: usize, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    println!(
        "{what:<42} {:>10.0} pcs/s  {:>10.0} frames/s",
        pcs as f64 / seconds,
        frames as f64 / seconds
    );
}

struct Opened {
    file: Blocks,
    elf: Elf,
    go: GoBinary,
}

impl Opened {
    fn new(path: &Path) -> Result<Self> {
        let file = Blocks::new(File::open(path)?);
        let elf = Elf::read(&file)?;
        let build = BuildInfo::read(&file, &elf)?;
        let go = GoBinary::read(&file, &elf, &build)?;
        Ok(Self { file, elf, go })
    }

    fn find(&self) -> Result<()> {
        let found = self.go.table.find(&self.file, &NAMES)?;
        ensure!(found.len() > NAMES.len() / 2, "found {} of the functions", found.len());
        Ok(())
    }

    /// Addresses spread over all functions, in no order, the same in every run.
    fn pcs(&self, count: usize) -> Result<Vec<u64>> {
        let functions = self.go.table.functions(&self.file).collect::<Result<Vec<_>, _>>()?;
        let mut state = 0x1eaf_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below.max(1)
        };
        let pc = |_| {
            let function = &functions[random(functions.len() as u64) as usize];
            function.entry + 1 + random(function.end - function.entry - 1)
        };
        Ok((0..count).map(pc).collect())
    }

    /// As the symbolizer does it: in the order of the tables.
    fn count_frames(&self, mut pcs: Vec<u64>) -> Result<usize> {
        pcs.sort_unstable();
        let mut frames = 0;
        for pc in pcs {
            frames += self.go.table.frames(&self.file, pc)?.len();
        }
        Ok(frames)
    }
}

fn facts(path: &Path) -> Result<()> {
    let opened = Opened::new(path)?;
    let facts = ContextFacts::read(&opened.file, &opened.elf, &opened.go)?;
    ensure!(facts.create.is_some(), "no context functions");
    Ok(())
}

fn go_addr2line(go: &Path, program: &Path, pcs: &[u64]) -> Result<usize> {
    let mut command = Command::new(go);
    command.args(["tool", "addr2line"]).arg(program).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("can't run go tool addr2line")?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let input: String = pcs.iter().map(|pc| format!("{:#x}\n", pc - 1)).collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().ok().context("the writer panicked")??;
    ensure!(output.status.success(), "go tool addr2line failed");
    Ok(output.stdout.iter().filter(|byte| **byte == b'\n').count() / 2)
}

fn blazesym(program: &Path, pcs: &[u64]) -> Result<usize> {
    let symbolizer = Symbolizer::builder().enable_demangling(false).build();
    let source = Source::Elf(ElfSource::new(program));
    let pcs: Vec<_> = pcs.iter().map(|pc| pc - 1).collect();
    let found = symbolizer.symbolize(&source, Input::VirtOffset(&pcs))?;
    Ok(found.iter().filter_map(|found| found.as_sym()).map(|sym| 1 + sym.inlined.len()).sum())
}

fn rss_bytes() -> Result<u64> {
    let status = procfs::process::Process::myself()?.status()?;
    Ok(status.vmrss.context("no VmRSS")? * 1024)
}

fn median(mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..REPETITIONS {
        let begin = Instant::now();
        work()?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times[REPETITIONS / 2])
}
