//! What a program says about its own addresses, and what Go's tools say about a file: the truth
//! that leaktrace's reading of the same file is held against.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use super::{Guard, workload_path};

/// One frame as the Go runtime names it.
#[derive(Debug, serde::Deserialize)]
pub struct Answer {
    /// The return address that has this frame alone.
    pub pc: u64,
    pub function: String,
    pub file: String,
    pub line: u32,
    pub start_line: u32,
    pub inlined: bool,
}

/// Asks a running `build` about return addresses of its file: the frames of each, innermost
/// first, without load bias. `main` is where the file has `main.main`.
pub fn ask_program(build: &str, main: u64, addresses: &[u64]) -> Vec<Vec<Answer>> {
    let mut command = Command::new(workload_path(build));
    command.args(["callers", "-stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = Guard(command.spawn().unwrap());
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let bias = first["main"].as_u64().unwrap() - main;
    let mut stdin = program.0.stdin.take().unwrap();
    let questions = hex_lines(addresses.iter().map(|address| address + bias));
    // Pipes hold little: who only writes waits for someone to read.
    let asking = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let answers: Vec<_> = lines.map(|line| answer(&line.unwrap(), bias)).collect();
    asking.join().unwrap().unwrap();
    assert!(program.0.wait().unwrap().success(), "{build}");
    assert_eq!(answers.len(), addresses.len(), "{build}");
    answers
}

fn hex_lines(addresses: impl Iterator<Item = u64>) -> String {
    addresses.fold(String::new(), |mut lines, address| {
        writeln!(lines, "{address:#x}").unwrap();
        lines
    })
}

fn answer(line: &str, bias: u64) -> Vec<Answer> {
    let mut frames: Vec<Answer> = serde_json::from_str(line).unwrap();
    frames.iter_mut().for_each(|frame| frame.pc -= bias);
    frames
}

/// What `go tool nm` lists as code in `build`, by address.
pub fn text_symbols(version: &str, build: &str) -> BTreeSet<(u64, String)> {
    nm(version, build, "Tt").collect()
}

/// What `go tool nm` lists as variables in `build`, by name.
pub fn data_symbols(version: &str, build: &str) -> HashMap<String, u64> {
    nm(version, build, "DdBb").map(|(address, name)| (name, address)).collect()
}

/// Symbols of some kinds, by address.
fn nm(version: &str, build: &str, kinds: &str) -> impl Iterator<Item = (u64, String)> {
    let output = go_tool(version, "nm").arg(workload_path(build)).output().unwrap();
    assert!(output.status.success(), "{build}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let symbols: Vec<_> = text.lines().filter_map(|line| symbol(line, kinds)).collect();
    symbols.into_iter()
}

/// `  4027e0 T internal/cpu.cpuid.abi0`; names have spaces, and undefined ones have no address.
fn symbol(line: &str, kinds: &str) -> Option<(u64, String)> {
    let (address, rest) = line.trim_start().split_once(' ')?;
    let (kind, name) = rest.split_once(' ')?;
    let wanted = kinds.contains(kind);
    wanted.then(|| (u64::from_str_radix(address, 16).unwrap(), name.to_owned()))
}

/// What `go tool addr2line` says about addresses of `build`: the function whose code it is, and
/// `file:line` of the innermost call there.
pub fn addr2line(version: &str, build: &str, addresses: &[u64]) -> Vec<(String, String)> {
    let mut command = go_tool(version, "addr2line");
    command.arg(workload_path(build)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tool = Guard(command.spawn().unwrap());
    let mut stdin = tool.0.stdin.take().unwrap();
    let questions = hex_lines(addresses.iter().copied());
    let asking = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let mut lines = BufReader::new(tool.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut answers = Vec::new();
    while let Some(function) = lines.next() {
        answers.push((function, lines.next().unwrap()));
    }
    asking.join().unwrap().unwrap();
    assert!(tool.0.wait().unwrap().success(), "{build}");
    assert_eq!(answers.len(), addresses.len(), "{build}");
    answers
}

fn go_tool(version: &str, tool: &str) -> Command {
    let workload = workload_path(&format!("go{version}"));
    let folder = workload.parent().and_then(std::path::Path::parent).unwrap();
    let path = folder.join(format!("go{version}-tools")).join(tool);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`", path.display());
    Command::new(path)
}
