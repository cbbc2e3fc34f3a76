//! Real processes for the end-to-end tests: workloads to trace and leaktrace itself.
//!
//! Every process started here is killed when its guard is dropped, so that a failing test leaves
//! nothing behind.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod native;
pub mod rates;
pub mod served;
pub mod truth;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The Go versions whose workloads `cargo xtask test` builds.
pub const GO_VERSIONS: [&str; 7] =
    ["1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.3", "1.27.3"];

/// The version for tests that need only one.
pub const GO: &str = "go1.26.3";

/// The workload built as `build` says: `go1.26.3`, or `go1.26.3-pie`.
pub fn workload_path(build: &str) -> PathBuf {
    program_path(build, "workload")
}

/// A program by the folder it was built into.
pub fn program_path(build: &str, name: &str) -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/workloads");
    let folder = std::env::var_os("LEAKTRACE_WORKLOADS").map_or(default, PathBuf::from);
    let path = folder.join(build).join(name);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`", path.display());
    path
}

/// Leaves what a test has found for `cargo xtask support`, which sets where.
pub fn write_results(name: &str, results: &impl serde::Serialize) {
    let Some(folder) = std::env::var_os("LEAKTRACE_RESULTS") else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let json = serde_json::to_string_pretty(results).unwrap();
    std::fs::write(Path::new(&folder).join(name), json).unwrap();
}

/// Number of the line that ends in `mark` in a workload's source file.
pub fn marked_line(file: &str, mark: &str) -> u64 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/workloads/go").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().position(|line| line.ends_with(mark));
    line.unwrap_or_else(|| panic!("{file} has no line that ends in `{mark}`")) as u64 + 1
}

/// A child that does not outlive its guard.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guard {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

/// A running workload and its side of the conversation.
pub struct Workload {
    pub process: Guard,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Workload {
    /// Starts `build`'s workload and waits until it is ready.
    pub fn start(build: &str, arguments: &[&str]) -> Self {
        Self::start_at(&workload_path(build), arguments)
    }

    pub fn start_at(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut this = Self { process: Guard(child), stdin, stdout };
        assert_eq!(this.line(), format!("ready pid={}", this.pid()));
        this
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Lets a workload begin that was started with `-wait`.
    pub fn begin(&mut self) {
        self.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert_eq!(self.line(), "started");
    }

    /// Waits until the work is over; gives what the workload says it did.
    pub fn truth(&mut self) -> Value {
        let line = self.line();
        let json = line.strip_prefix("done ");
        serde_json::from_str(json.unwrap_or_else(|| panic!("`{line}` is no truth"))).unwrap()
    }

    /// Ends it; gives its last words and its exit status.
    pub fn end(mut self) -> (String, ExitStatus) {
        drop(self.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (rest, self.process.0.wait().unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

/// A process that is not Go and keeps 10 MiB more every second.
pub fn growing_python() -> Guard {
    let program = "import time\nkept = []\nprint('ready', flush=True)\n\
                   while True:\n    kept.append(bytearray(1 << 20))\n    time.sleep(0.1)";
    let mut command = Command::new("python3");
    let mut python = Guard(command.args(["-c", program]).stdout(Stdio::piped()).spawn().unwrap());
    // Behind this line no wrapper script is on its way to executing the real python any more.
    let mut line = String::new();
    BufReader::new(python.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    python
}

/// A running `leaktrace trace --json`.
pub struct Trace {
    pub process: Guard,
    stderr: JoinHandle<String>,
}

impl Trace {
    /// Traces `pid` and waits until the probes are attached.
    pub fn of(pid: u32, arguments: &[&str]) -> Self {
        let pid = pid.to_string();
        Self::start(&[&["--pid", &pid], arguments].concat())
    }

    /// Starts `leaktrace trace` with these arguments and `--json`, and waits until it traces.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = leaktrace();
        command.args(["trace", "--json"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let process = Guard(child);
        let mut first = String::new();
        stderr.read_line(&mut first).unwrap();
        assert!(first.starts_with("tracing "), "leaktrace said: {first}");
        let rest = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { process, stderr: rest }
    }

    /// Ends it as Ctrl-C does; gives its report.
    pub fn interrupt(self) -> Value {
        self.process.signal(Signal::INT);
        self.report()
    }

    /// Waits for its end; gives its report.
    pub fn report(self) -> Value {
        self.report_and_progress().0
    }

    /// Waits for its end; gives its report, and what it told meanwhile.
    pub fn report_and_progress(mut self) -> (Value, String) {
        let mut json = String::new();
        self.process.0.stdout.take().unwrap().read_to_string(&mut json).unwrap();
        let status = self.process.0.wait().unwrap();
        let stderr = self.stderr.join().unwrap();
        assert!(status.success(), "{status}: {stderr}");
        let report = serde_json::from_str(&json);
        (report.unwrap_or_else(|error| panic!("{error}: {json}\n{stderr}")), stderr)
    }
}

/// The program under test.
pub fn leaktrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leaktrace"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// The sites of a report that were made at `file:line`, wherever their call chain began.
pub fn sites_at<'a>(report: &'a Value, file: &str, line: u64) -> Vec<&'a Value> {
    let names = |frame: &Value| {
        Path::new(frame["file"].as_str().unwrap()).ends_with(file) && frame["line"] == line
    };
    let sites = report["contexts"]["sites"].as_array().unwrap();
    let made_there = |site: &&Value| {
        let frames = site["frames"].as_array().unwrap();
        let package = |frame: &&Value| frame["function"].as_str().unwrap().starts_with("context.");
        frames.iter().find(|frame| !package(frame)).is_some_and(names)
    };
    sites.iter().filter(made_there).collect()
}

/// The sum of one count over sites.
pub fn sum(sites: &[&Value], field: &str) -> u64 {
    sites.iter().map(|site| site[field].as_u64().unwrap()).sum()
}

pub fn state(report: &Value) -> &str {
    report["verdict"]["state"].as_str().unwrap()
}

/// Looks at a process over and over, from beside it, until told to stop.
pub struct Observer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Observer {
    /// Collects every thread state and TracerPid that is not as it should be.
    pub fn of(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut looks = 0;
            let mut offences = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                looks += 1;
                offences.extend(offences_of(pid));
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(looks > 100, "only {looks} looks");
            offences
        });
        Self { stop, thread }
    }

    pub fn offences(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn offences_of(pid: u32) -> Vec<String> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let statuses =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    let bad = |line: &&str| {
        (line.starts_with("TracerPid:") && !line.ends_with("\t0"))
            || (line.starts_with("State:") && (line.contains("T (") || line.contains("t (")))
    };
    statuses
        .flat_map(|status| status.lines().filter(bad).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}
