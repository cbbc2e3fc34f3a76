//! `cargo xtask demo`: traces a program that leaks and its honest twin, and checks that leaktrace
//! tells them apart and names the guilty line.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    command::{Guard, cargo, run as run_command},
    go, paths, setup,
    workloads::{self, Link},
};

/// The source file that leaks, and the mark on its guilty line.
const GUILTY_FILE: &str = "podsync.go";
const GUILTY_MARK: &str = "// leak: podsync";

/// Builds everything, traces both twins, and fails unless both verdicts are right.
pub fn run() -> Result<()> {
    require_root()?;
    setup::rust()?;
    let workload = workloads::build(&go::demo_toolchain()?, Link::Fixed)?;
    run_command(cargo().args(["build", "--release", "-p", "leaktrace"]))?;
    fs::create_dir_all(folder()).with_context(|| format!("can't make {}", folder().display()))?;

    println!("\n=== 1 of 2: each sync forgets a cancel function (kubernetes#139823) ===\n");
    let leaky = trace(&workload, "leaky")?;
    expect_leak(&leaky, guilty_line()?)?;
    println!("\n=== 2 of 2: the same program with the fix ===\n");
    let fixed = trace(&workload, "fixed")?;
    expect_no_leak(&fixed)?;
    println!("\nBoth verdicts are right. The reports are in {}", folder().display());
    Ok(())
}

fn require_root() -> Result<()> {
    let uid = fs::metadata("/proc/self").context("can't read /proc/self")?.uid();
    ensure!(
        uid == 0,
        "the demo loads BPF programs; run it as root, e.g. with: sudo -E cargo xtask demo"
    );
    Ok(())
}

fn folder() -> PathBuf {
    paths::target().join("demo")
}

/// Traces one twin from its start and returns the JSON report.
fn trace(workload: &Path, mode: &str) -> Result<Value> {
    let report = folder().join(format!("{mode}.json"));
    if report.exists() {
        fs::remove_file(&report).with_context(|| format!("can't remove {}", report.display()))?;
    }
    let mut target = start(workload, mode)?;
    let mut leaktrace = Command::new(paths::target().join("release/leaktrace"));
    leaktrace.args(["trace", "--pid", &target.0.id().to_string()]);
    // Each ends by itself, after about a minute.
    run_command(leaktrace.arg("-o").arg(&report))?;
    drop(target.0.stdin.take());
    target.0.wait().context("can't wait for the workload to end")?;
    let text = fs::read_to_string(&report)
        .with_context(|| format!("leaktrace wrote no report to {}", report.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", report.display()))
}

/// Starts one twin and waits until it says that it is ready.
fn start(workload: &Path, mode: &str) -> Result<Guard> {
    let mut command = Command::new(workload);
    command.args(["podsync", "-mode", mode]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.spawn().with_context(|| format!("can't start {}", workload.display()))?;
    let mut guard = Guard(child);
    let stdout = guard.0.stdout.take().context("the workload has no stdout")?;
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    lines.read_line(&mut line).context("can't read what the workload says")?;
    ensure!(line.starts_with("ready "), "the workload said `{}` instead of ready", line.trim());
    // Its last words need a reader, or it would die of SIGPIPE.
    std::thread::spawn(move || lines.lines().count());
    Ok(guard)
}

fn guilty_line() -> Result<u64> {
    let path = paths::workload_source().join(GUILTY_FILE);
    let text =
        fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let number = text.lines().position(|line| line.ends_with(GUILTY_MARK));
    let number = number.with_context(|| format!("{} has no `{GUILTY_MARK}`", path.display()))?;
    Ok(number as u64 + 1)
}

fn state(report: &Value) -> &str {
    report.pointer("/verdict/state").and_then(Value::as_str).unwrap_or("missing")
}

/// The sites that a report calls leaks.
fn leaking_sites(report: &Value) -> impl Iterator<Item = &Value> {
    let sites = report.pointer("/contexts/sites").and_then(Value::as_array);
    sites.into_iter().flatten().filter(|site| site["verdict"] == "leak")
}

fn expect_leak(report: &Value, line: u64) -> Result<()> {
    let state = state(report);
    ensure!(state == "leak", "the leaky program was called `{state}`, not `leak`");
    if !leaking_sites(report).any(|site| names(site, line)) {
        bail!("no leaking site in the report names {GUILTY_FILE}:{line}");
    }
    match leaking_sites(report).find(|site| !names(site, line)) {
        Some(innocent) => bail!("an innocent site was called a leak: {innocent}"),
        None => Ok(()),
    }
}

fn expect_no_leak(report: &Value) -> Result<()> {
    let state = state(report);
    ensure!(state == "no_leak", "the fixed program was called `{state}`, not `no_leak`");
    match leaking_sites(report).next() {
        Some(innocent) => bail!("an innocent site was called a leak: {innocent}"),
        None => Ok(()),
    }
}

/// Whether one of a site's frames is the guilty line.
fn names(site: &Value, line: u64) -> bool {
    site["frames"].as_array().into_iter().flatten().any(|frame| {
        let file = frame["file"].as_str().unwrap_or_default();
        frame["line"] == line && Path::new(file).ends_with(GUILTY_FILE)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{expect_leak, expect_no_leak, guilty_line};

    fn report(state: &str, site_verdict: &str, line: u64) -> Value {
        let frames = json!([
            { "function": "context.WithCancel", "file": "context/context.go", "line": 240 },
            { "function": "main.x", "file": "leaktrace.example/workload/podsync.go", "line": line },
        ]);
        json!({
            "verdict": { "state": state },
            "contexts": { "sites": [{ "verdict": site_verdict, "frames": frames }] },
        })
    }

    #[test]
    fn the_leaky_twin_is_judged_by_its_line() {
        assert!(expect_leak(&report("leak", "leak", 7), 7).is_ok());
        assert!(expect_leak(&report("leak", "leak", 8), 7).is_err());
        assert!(expect_leak(&report("leak", "no_leak", 7), 7).is_err());
        assert!(expect_leak(&report("suspect", "leak", 7), 7).is_err());
        assert!(expect_leak(&json!({}), 7).is_err());
    }

    #[test]
    fn the_fixed_twin_has_no_leak_at_all() {
        assert!(expect_no_leak(&report("no_leak", "no_leak", 7)).is_ok());
        assert!(expect_no_leak(&report("no_leak", "leak", 7)).is_err());
        assert!(expect_no_leak(&report("inconclusive", "no_leak", 7)).is_err());
    }

    #[test]
    fn the_guilty_line_is_marked() {
        assert!(guilty_line().is_ok());
    }
}
