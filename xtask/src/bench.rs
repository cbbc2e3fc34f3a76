//! `cargo xtask bench`: what probes and the start of a trace cost, as ratios in one run.
//!
//! Builds the churn workload and a big program (80 MB, 70,000 functions, made up here), then runs
//! leaktrace's benchmark. Non-goals: passing or failing on a figure.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    command::{cargo, run as run_command},
    go::{self, Toolchain},
    native, paths, served, setup,
    workloads::{self, Link},
};

const PACKAGES: usize = 35;
const FUNCTIONS_PER_PACKAGE: usize = 2060;

/// Builds everything and prints the tables.
pub fn run() -> Result<()> {
    setup::rust()?;
    let toolchain = go::demo_toolchain()?;
    let churn = workloads::build(&toolchain, Link::WithSymbols)?;
    let served = served::build(&toolchain)?;
    let grow = native::build()?;
    let [big, symbols] = build_big(&toolchain)?;
    let mut bench = cargo();
    bench.args(["bench", "-p", "leaktrace"]);
    bench.args(["--bench", "probes", "--bench", "symbols", "--bench", "inspect"]);
    bench.args(["--bench", "goroutines", "--bench", "growth"]).env("GROW", grow);
    bench.env("CHURN", churn).env("BIG", big).env("BIG_SYMBOLS", symbols).env("SERVED", served);
    run_command(bench.env("GO", toolchain.path()))
}

/// The big program, stripped and not; built once, until its source changes with this file.
fn build_big(toolchain: &Toolchain) -> Result<[PathBuf; 2]> {
    let folder = paths::target().join("big");
    let source = package_source("p00");
    let is_current = fs::read_to_string(folder.join("p00/p.go")).is_ok_and(|old| old == source);
    if !is_current {
        eprintln!("building a program of 70,000 functions (some minutes, once)");
        write_source(&folder).with_context(|| format!("can't write into {}", folder.display()))?;
    }
    let build = |name: &str, linker_flags: &str| -> Result<PathBuf> {
        let program = folder.join(name);
        if is_current && program.exists() {
            return Ok(program);
        }
        let mut go = toolchain.command();
        go.current_dir(&folder).args(["build", "-trimpath", "-ldflags", linker_flags, "-o"]);
        run_command(go.arg(&program).arg("."))?;
        Ok(program)
    };
    Ok([build("big", "-s -w")?, build("big-symbols", "")?])
}

fn write_source(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("go.mod"), "module example.org/big\n\ngo 1.21\n")?;
    let mut main = "package main\n\nimport (\n\t\"context\"\n\t\"time\"\n".to_owned();
    let mut calls = String::new();
    for package in 0..PACKAGES {
        let name = format!("p{package:02}");
        fs::create_dir_all(folder.join(&name))?;
        fs::write(folder.join(&name).join("p.go"), package_source(&name))?;
        let _ = writeln!(main, "\t\"example.org/big/{name}\"");
        let _ = writeln!(calls, "\tsum += len({name}.Table)");
    }
    let _ = write!(
        main,
        ")\n\nfunc main() {{\n\tsum := 0\n{calls}\
         \tfor i := 0; i < 6000+sum%2; i++ {{\n\
         \t\t_, cancel := context.WithCancel(context.Background())\n\t\tcancel()\n\
         \t\ttime.Sleep(10 * time.Millisecond)\n\t}}\n}}\n"
    );
    fs::write(folder.join("main.go"), main)
}

/// Functions of about 900 bytes of code that the linker has to keep, with calls that are inlined.
fn package_source(name: &str) -> String {
    let mut source = format!(
        "package {name}\n\n\
         func put(m map[int]int, k, v int) {{ m[k] += v }}\n\n\
         func move(m map[int]int, s []int, from, to int) []int {{\n\
         \tput(m, to, m[from])\n\treturn append(s, cap(s))\n}}\n\n\
         var Table = []func(map[int]int, []int) []int{{\n"
    );
    for function in 0..FUNCTIONS_PER_PACKAGE {
        let _ = writeln!(source, "\tF{function},");
    }
    source.push_str("}\n");
    for function in 0..FUNCTIONS_PER_PACKAGE {
        let _ = write!(
            source,
            "\nfunc F{function}(m map[int]int, s []int) []int {{\n\
             \tfor i, v := range s {{\n\
             \t\tput(m, i+{function}, v)\n\
             \t\ts = append(s, m[v], v*{function}, len(m))\n\
             \t\tdelete(m, v-{function})\n\
             \t\ts = move(m, s, v-i, v-{function})\n\
             \t\tif v > {function} {{\n\t\t\ts = append(s, m[i]/(v+1), cap(s))\n\t\t}}\n\
             \t}}\n\treturn s\n}}\n"
        );
    }
    source
}
