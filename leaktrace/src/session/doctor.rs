//! What would work on a target, and what not: attaches nothing, loads nothing.
//!
//! In: a process or a file. Out: a diagnosis. Non-goals: tracing.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{executable::Executable, identify};
use crate::{
    binary::{Blocks, Elf, FuncInfo, FunctionCode, GoBinary, RuntimeVariable, Spot, Witnesses},
    bpf,
    display::printable,
    probe::Plan,
    report::{Answer, Check, Diagnosis, Lookup, Place, Probe, SCHEMA_VERSION, Variable},
    target::{Selector, Watch, select},
};

/// What to examine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A running process.
    Process(Selector),
    /// An executable, running or not.
    File(PathBuf),
}

/// Examines the kernel, our rights and the subject, and looks up `functions` in it.
///
/// # Errors
/// There is no such process or file, or no functions can be looked up in it.
pub fn examine(subject: &Subject, functions: &[String]) -> Result<Diagnosis> {
    let (name, executable) = match subject {
        Subject::File(path) => (path.display().to_string(), Executable::at(path)?),
        Subject::Process(selector) => {
            let process = select(selector)?;
            let identity = identify(&process)?;
            let name = format!("{} (pid {})", identity.comm, identity.pid);
            (name, Executable::of(&Watch::new(process, identity))?)
        }
    };
    let mut checks: Vec<_> =
        bpf::requirements().into_iter().map(|need| Check::new(need.what, need.found)).collect();
    let variables = variables(&executable);
    checks.extend(evidence(&executable, &variables));
    Ok(Diagnosis {
        schema_version: SCHEMA_VERSION,
        subject: printable(name.as_bytes()),
        kind: executable.kind(),
        build_id: executable.build_id(),
        go_version: executable.go_version(),
        module: executable.module(),
        version: executable.program_version().map(|found| found.version.clone()),
        version_from: executable.program_version().map(|found| found.proof.clone()),
        functions: executable.function_count(),
        checks,
        probes: probes(executable.plan()),
        variables,
        lookups: look_up(&executable, functions)?,
    })
}

fn probes(plan: &Plan) -> Vec<Probe> {
    plan.points.iter().chain(&plan.foreign_points).map(Probe::from).collect()
}

/// The runtime's variables; none for what is no Go program of a known version.
fn variables(executable: &Executable) -> Vec<Variable> {
    let Some((file, elf, go)) = executable.go() else { return Vec::new() };
    let witnesses = Witnesses::read(file, elf, go);
    let locate = |variable: RuntimeVariable| {
        let located = match &witnesses {
            Ok(witnesses) => witnesses.locate(variable).map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        let vaddr = located.as_ref().ok().map(|located| located.vaddr);
        let why = located.map_or_else(|why| why, |located| located.proof);
        Variable { name: variable.name(), vaddr, why }
    };
    RuntimeVariable::ALL.into_iter().map(locate).collect()
}

fn look_up(executable: &Executable, names: &[String]) -> Result<Vec<Lookup>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let parts = executable.go().context("its Go functions are not known")?;
    let (file, _, go) = parts;
    let asked: Vec<_> = names.iter().map(String::as_str).collect();
    let found = go.table.find(file, &asked)?;
    let look = |name: &&str| {
        let inlining = go.table.find_inlining(file, &[*name])?;
        let inlined_into = inlining.into_iter().map(|function| function.name).collect();
        let lookup = match found.iter().find(|function| function.name == *name) {
            Some(function) => described(parts, function)?,
            None => missing(name),
        };
        Ok(Lookup { inlined_into, ..lookup })
    };
    asked.iter().map(look).collect()
}

fn described((file, elf, go): (&Blocks, &Elf, &GoBinary), function: &FuncInfo) -> Result<Lookup> {
    let code = FunctionCode::read(file, elf, function.clone())?;
    let frame = go.table.frames(file, function.entry + 1)?.pop();
    let places = |spots: Vec<Spot>| spots.into_iter().map(Place::from).collect();
    Ok(Lookup {
        function: function.name.clone(),
        entry: Some(function.entry),
        source: frame.map(|frame| format!("{}:{}", frame.file, frame.start_line)),
        probe: code.behind_stack_check().map(Place::from).into(),
        returns: code.returns().map(places).into(),
        inlined_into: Vec::new(),
    })
}

fn missing(name: &str) -> Lookup {
    let unknown = "no such function".to_owned();
    Lookup {
        function: printable(name.as_bytes()),
        entry: None,
        source: None,
        probe: Answer::Unknown { unknown: unknown.clone() },
        returns: Answer::Unknown { unknown },
        inlined_into: Vec::new(),
    }
}

/// The evidence that a trace would have, and what it would lack.
fn evidence(executable: &Executable, variables: &[Variable]) -> Vec<Check> {
    let plan = executable.plan();
    let mut checks =
        vec![Check::new("resident memory", Ok("read from /proc, for any process".to_owned()))];
    checks.extend(growth());
    if let Some(count) = executable.function_count() {
        let how = format!("{count} Go functions with lines and inlined calls");
        checks.push(Check::new("function names", Ok(how)));
        checks.push(Check::new("runtime variables", located(variables)));
    }
    if !plan.points.is_empty() {
        let how = match plan.releases_complete {
            true => "every creation and release is probed",
            false => "some releases can't be seen: no leak of contexts would be claimed",
        };
        checks.push(Check::new("contexts", Ok(how.to_owned())));
    }
    let missing = plan.unavailable.iter();
    checks.extend(missing.map(|missing| Check::new(&missing.what, Err(missing.why.clone()))));
    checks
}

/// Whether growth could be traced by call chain.
fn growth() -> [Check; 2] {
    let faults = bpf::page_faults_available().map_err(|why| why.to_string());
    let calls = bpf::mapping_calls_available().map_err(|why| why.to_string());
    let sampled = || "sampled by call chain, for any process, at no cost to others".to_owned();
    let counted =
        || "counted with --growth all; every system call of the node is slower then".to_owned();
    [
        Check::new("growth by page faults", faults.map(|()| sampled())),
        Check::new("growth by mapping calls", calls.map(|()| counted())),
    ]
}

fn located(variables: &[Variable]) -> Result<String, String> {
    let missing = variables.iter().filter(|variable| variable.vaddr.is_none());
    let missing: Vec<_> =
        missing.map(|variable| format!("{}: {}", variable.name, variable.why)).collect();
    if missing.is_empty() {
        return Ok(format!("{} located, each by functions that refer to it", variables.len()));
    }
    Err(missing.join("; "))
}
