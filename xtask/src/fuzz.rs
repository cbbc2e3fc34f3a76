//! `cargo xtask fuzz`: looks for executables and memory that the readers mishandle, guided by
//! coverage.
//!
//! What is tried comes from `tests/fuzz/corpus`; what is found new stays under `target/` unless it
//! is to be kept. The rustc of this repository does it: libFuzzer needs its unstable flags, not a
//! nightly one. No sanitizer: the readers have no unsafe code, and memory is counted exactly.

use std::{
    env::consts,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    command::{cargo, run as run_command},
    paths, setup, test, tools, workloads,
};

/// A fuzz target.
struct Target {
    name: &'static str,
    /// The longest input in bytes.
    input_max: u32,
}

/// Real executables as patches of 14 bytes; small files as they are; memory as patches of 16.
const TARGETS: [Target; 3] = [
    Target { name: "patched", input_max: 512 },
    Target { name: "whole", input_max: 4096 },
    Target { name: "memory", input_max: 512 },
];
/// As in tests/hostile.rs.
const SECONDS_PER_INPUT: u32 = 5;
/// The honest executables (17 MB) and libFuzzer's own tables; each input's share is bounded by
/// the targets themselves.
const RSS_MAX_MIB: u32 = 512;

/// Arguments of `fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// How long each target runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Add what was found to the corpus in the repository, and leave out of it what adds nothing
    #[arg(long)]
    keep: bool,
}

/// Runs every target, the first that finds something ends it.
pub fn run(args: &Args) -> Result<()> {
    setup::rust()?;
    tools::ensure_cargo_fuzz()?;
    test::build_workloads()?;
    build()?;
    for target in &TARGETS {
        fuzz(target, args.minutes)?;
        if args.keep {
            keep(target)?;
        }
    }
    Ok(())
}

/// Optimised, instrumented, and with checks of overflow. Following comparisons costs more than it
/// finds: what an input must hold to get further, the honest programs hold already. Measured on
/// `patched` in 75 s: 113 inputs/s and 1303 places in the code with it, 1489 and 1731 without.
fn build() -> Result<()> {
    let mut build = cargo();
    build.args(["fuzz", "build", "--fuzz-dir", "tests/fuzz", "--sanitizer", "none"]);
    build.arg("--no-trace-compares");
    build.args(["--target", &triple(), "--target-dir"]).arg(made().join("build"));
    run_command(build.env("RUSTC_BOOTSTRAP", "1"))
}

fn triple() -> String {
    format!("{}-unknown-linux-gnu", consts::ARCH)
}

/// The program that cargo-fuzz made of `target`.
fn program(target: &Target) -> PathBuf {
    made().join("build").join(triple()).join("release").join(target.name)
}

fn libfuzzer(target: &Target) -> Command {
    let mut fuzz = Command::new(program(target));
    fuzz.current_dir(paths::root()).env("LEAKTRACE_WORKLOADS", workloads::folder());
    fuzz
}

/// The folder for everything that fuzzing makes.
fn made() -> PathBuf {
    paths::target().join("fuzz")
}

/// What is kept in the repository: `corpus`, or `seeds`.
fn kept(what: &str, target: &Target) -> PathBuf {
    paths::root().join("tests/fuzz").join(what).join(target.name)
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))
}

/// libFuzzer writes what is new into the first folder, and only reads the others.
fn fuzz(target: &Target, minutes: u64) -> Result<()> {
    let found = made().join("corpus").join(target.name);
    let crashes = made().join("crashes").join(target.name);
    make_folder(&found)?;
    make_folder(&crashes)?;
    let mut fuzz = libfuzzer(target);
    fuzz.arg(found).arg(kept("corpus", target)).arg(kept("seeds", target));
    fuzz.arg(format!("-max_total_time={}", minutes * 60));
    fuzz.arg(format!("-timeout={SECONDS_PER_INPUT}"));
    fuzz.arg(format!("-rss_limit_mb={RSS_MAX_MIB}"));
    fuzz.arg(format!("-max_len={}", target.input_max));
    fuzz.arg(format!("-artifact_prefix={}/", crashes.display()));
    // Long inputs from the start: each patch counts, and the hand-made programs are long.
    fuzz.args(["-len_control=0", "-print_final_stats=1"]);
    run_command(&mut fuzz).with_context(|| way_on(target, &crashes))
}

/// What to do with an input that was found.
fn way_on(target: &Target, crashes: &Path) -> String {
    let (name, folder, program) = (target.name, crashes.display(), program(target));
    let (program, workloads) = (program.display(), workloads::folder());
    format!(
        "the input that made {name} panic, or take too long or too much memory, lies in {folder}\n\
         read it again with: LEAKTRACE_WORKLOADS={} {program} FILE\n\
         make it a regression test: copy it to tests/fuzz/seeds/{name}, see `cargo test --test \
         fuzz_corpus` fail, mend the reader, and add a unit test beside it",
        workloads.display()
    )
}

/// Replaces the kept corpus by the smallest inputs that cover all of what is known.
fn keep(target: &Target) -> Result<()> {
    let (found, small) = (made().join("corpus"), made().join("small"));
    let (found, small) = (found.join(target.name), small.join(target.name));
    if small.exists() {
        fs::remove_dir_all(&small).with_context(|| format!("can't remove {}", small.display()))?;
    }
    make_folder(&small)?;
    let corpus = kept("corpus", target);
    let mut merge = libfuzzer(target);
    merge.arg(&small).arg(&corpus).arg(found).arg(kept("seeds", target));
    // One input for each place in the code, not for each number of times it ran.
    run_command(merge.args(["-merge=1", "-use_counters=0"]))?;
    replace(&corpus, &small)
}

fn replace(corpus: &Path, by: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        fs::remove_dir_all(corpus)?;
        fs::create_dir_all(corpus)?;
        for entry in fs::read_dir(by)? {
            let path = entry?.path();
            fs::copy(&path, corpus.join(path.file_name().unwrap_or_default()))?;
        }
        Ok(())
    };
    copy().with_context(|| format!("can't write {}", corpus.display()))
}
