//! What would work on a target: plain values, and their text.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::text::wrap;
use crate::{
    binary::{Execution, Spot},
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
    /// The version that the program's makers gave it.
    pub version: Option<String>,
    /// Where that version stands.
    pub version_from: Option<String>,
    /// Go functions in its tables.
    pub functions: Option<u64>,
    /// Kernel, rights and evidence, one by one.
    pub checks: Vec<Check>,
    /// Where a trace would attach.
    pub probes: Vec<Probe>,
    /// The Go runtime's variables, by their addresses.
    pub variables: Vec<Variable>,
    /// The functions that were asked for.
    pub lookups: Vec<Lookup>,
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

/// A variable of the Go runtime.
#[derive(Debug, Clone, Serialize)]
pub struct Variable {
    /// Its name in the runtime's source.
    pub name: &'static str,
    /// Its address, without load bias; none when it could not be proven.
    pub vaddr: Option<u64>,
    /// The proof, or what is missing.
    pub why: String,
}

/// A function that was asked for by name.
#[derive(Debug, Clone, Serialize)]
pub struct Lookup {
    /// The name.
    pub function: String,
    /// Address of its first instruction, without load bias; none when it is not there.
    pub entry: Option<u64>,
    /// Source file and the line on which it begins.
    pub source: Option<String>,
    /// Offset of the instruction behind its stack check, or why it has none.
    pub probe: Answer<Place>,
    /// Offsets of the instructions by which it returns, or why they are not known.
    pub returns: Answer<Vec<Place>>,
    /// Functions that have it inlined.
    pub inlined_into: Vec<String>,
}

/// What was found, or why not.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Answer<T> {
    /// Found.
    Known(T),
    /// Not found.
    Unknown {
        /// The reason.
        unknown: String,
    },
}

impl<T, E: fmt::Display> From<Result<T, E>> for Answer<T> {
    fn from(found: Result<T, E>) -> Self {
        match found {
            Ok(value) => Self::Known(value),
            Err(why) => Self::Unknown { unknown: why.to_string() },
        }
    }
}

/// An instruction of a function.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Place {
    /// Bytes from the function's entry.
    pub offset: u64,
    /// How the kernel runs it when it is probed.
    pub execution: Execution,
}

impl From<Spot> for Place {
    fn from(spot: Spot) -> Self {
        Self { offset: spot.offset, execution: spot.execution }
    }
}

const fn word(execution: Execution) -> &'static str {
    match execution {
        Execution::Emulated => "emulated",
        Execution::SingleStepped => "single-stepped",
    }
}

impl Lookup {
    fn text(&self, out: &mut String) {
        let Some(entry) = self.entry else {
            let _ = writeln!(out, "  {}: no function of its own", self.function);
            return self.inlined_text(out);
        };
        let source = self.source.as_deref().unwrap_or("?");
        let _ = writeln!(out, "  {} at {entry:#x}  {source}", self.function);
        match &self.probe {
            Answer::Known(place) => {
                let how = word(place.execution);
                let _ = writeln!(out, "    behind the stack check: +{:#x}  {how}", place.offset);
            }
            Answer::Unknown { unknown } => wrap(out, "    no probe:", unknown),
        }
        match &self.returns {
            Answer::Known(places) => {
                let offsets: Vec<_> = places.iter().map(|p| format!("+{:#x}", p.offset)).collect();
                wrap(out, "    returns:", &offsets.join(" "));
            }
            Answer::Unknown { unknown } => wrap(out, "    returns unknown:", unknown),
        }
        self.inlined_text(out);
    }

    fn inlined_text(&self, out: &mut String) {
        if !self.inlined_into.is_empty() {
            wrap(out, "    inlined into:", &self.inlined_into.join(", "));
        }
    }
}

impl Diagnosis {
    /// For a terminal of 100 columns.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.subject);
        let functions = self.functions.map(|count| format!("{count} Go functions"));
        let facts = [&self.version, &self.kind, &self.go_version, &self.module, &functions];
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
            let how = word(probe.execution);
            let _ = writeln!(out, "    {function} +{offset:#x}  {file_offset:#x}  {how}");
        }
        if !self.lookups.is_empty() {
            out.push('\n');
        }
        self.lookups.iter().for_each(|lookup| lookup.text(&mut out));
        out
    }
}
