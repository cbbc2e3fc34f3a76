//! What would work on a target: plain values, and their text.

use std::fmt::Write as _;

use serde::Serialize;

use super::text::wrap;
use crate::{
    binary::Execution,
    probe::{ProbePoint, Program},
};

/// The doctor's findings.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// `SCHEMA_VERSION`.
    pub schema_version: u32,
    /// Process or file.
    pub subject: String,
    /// Processor and kind of executable.
    pub kind: Option<String>,
    /// GNU build id in hex, else Go's.
    pub build_id: Option<String>,
    /// Go version from the build information.
    pub go_version: Option<String>,
    /// Main module and version.
    pub module: Option<String>,
    /// Go functions in its tables.
    pub functions: Option<u64>,
    /// Kernel, rights and evidence, one by one.
    pub checks: Vec<Check>,
    /// Where a trace would attach.
    pub probes: Vec<Probe>,
}

/// One thing that works or does not.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What it is about.
    pub what: String,
    /// Whether it works.
    pub ok: bool,
    /// How, or why not, with the way out.
    pub why: String,
}

impl Check {
    /// From what was found, or what is missing.
    pub fn new(what: &str, found: Result<String, String>) -> Self {
        let ok = found.is_ok();
        Self { what: what.to_owned(), ok, why: found.unwrap_or_else(|why| why) }
    }
}

/// One place where a trace would attach.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// create, release or release_closure.
    pub program: &'static str,
    /// The probed function.
    pub function: String,
    /// Offset of the probed instruction from the function's entry.
    pub offset: u64,
    /// Its virtual address, without load bias.
    pub vaddr: u64,
    /// Where it lies in the file.
    pub file_offset: u64,
    /// How the kernel runs the probed instruction.
    pub execution: Execution,
}

impl From<&ProbePoint> for Probe {
    fn from(point: &ProbePoint) -> Self {
        Self {
            program: match point.program {
                Program::ContextCreate => "create",
                Program::ContextRelease => "release",
                Program::ContextReleaseClosure => "release_closure",
            },
            function: point.function.clone(),
            offset: point.offset,
            vaddr: point.vaddr,
            file_offset: point.file_offset,
            execution: point.execution,
        }
    }
}

impl Diagnosis {
    /// For a terminal of 100 columns.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.subject);
        let functions = self.functions.map(|count| format!("{count} Go functions"));
        let facts = [&self.kind, &self.go_version, &self.module, &functions];
        let facts: Vec<_> = facts.into_iter().flatten().map(String::as_str).collect();
        let _ = writeln!(out, "{}\n", facts.join("  "));
        for check in &self.checks {
            let mark = if check.ok { "yes" } else { "NO " };
            wrap(&mut out, &format!("  {mark}  {:<18}", check.what), &check.why);
        }
        if !self.probes.is_empty() {
            let _ = writeln!(out, "\n  probes: function, offset, file offset, execution");
        }
        for probe in &self.probes {
            let Probe { function, offset, file_offset, .. } = probe;
            let how = match probe.execution {
                Execution::Emulated => "emulated",
                Execution::SingleStepped => "single-stepped",
            };
            let _ = writeln!(out, "    {function} +{offset:#x}  {file_offset:#x}  {how}");
        }
        out
    }
}
