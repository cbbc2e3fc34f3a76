//! `cargo xtask`: what cargo cannot say by itself. Typed command in, the tools of this repository
//! run, exit status out.
//!
//! Everything made here lies under `target/`, but for rust-src and bpf-linker, which belong to the
//! user's toolchain. Non-goals: packaging, and anything that plain `cargo` does as well.

mod accuracy;
mod bare;
mod bench;
mod command;
mod corpus;
mod demo;
mod fuzz;
mod go;
mod kubelet;
mod layers;
mod layouts;
mod lint;
mod native;
mod parts;
mod paths;
mod player;
mod served;
mod setup;
mod support;
mod test;
mod tools;
mod workloads;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tasks for those who work on leaktrace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing need: rust-src, bpf-linker, Go.
    Setup(setup::Args),
    /// Trace a leaky program and its honest twin, and check both verdicts (as root).
    Demo,
    /// Run all tests, with workloads built by every Go version.
    Test(test::Args),
    /// Write what the last full test run proved into README and docs.
    Support,
    /// Measure what probes and the start of a trace cost (as root).
    Bench,
    /// Say how often the verdict is right, over programs whose truth is known.
    Accuracy(accuracy::Args),
    /// Look for executables that the readers mishandle, for some minutes.
    Fuzz(fuzz::Args),
    /// Check the readers on Go programs from Debian packages (needs a network once).
    Corpus,
    /// Check formatting, clippy, layers and the workloads' Go code.
    Lint,
    /// Check which module imports which, where `unsafe` is, and how long files are.
    Layers,
    /// Derive the layout of Go's runtime from the DWARF of every Go version.
    Layouts(layouts::Args),
}

fn main() -> ExitCode {
    match run(Xtask::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup(args) => setup::run(&args),
        Task::Demo => demo::run(),
        Task::Test(args) => test::run(&args),
        Task::Support => support::run(),
        Task::Bench => bench::run(),
        Task::Accuracy(args) => accuracy::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Corpus => corpus::run(),
        Task::Lint => lint::run(),
        Task::Layers => layers::run(),
        Task::Layouts(args) => layouts::run(&args),
    }
}
