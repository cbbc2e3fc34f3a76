//! What would work on a target, and what not: attaches nothing, loads nothing.
//!
//! In: a process or a file. Out: a diagnosis. Non-goals: tracing.

use std::path::PathBuf;

use anyhow::Result;

use super::executable::Executable;
use crate::{
    bpf,
    display::printable,
    probe::Plan,
    report::{Check, Diagnosis, Probe, SCHEMA_VERSION},
    target::{Identity, Selector, Watch, select},
};

/// What to examine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A running process.
    Process(Selector),
    /// An executable, running or not.
    File(PathBuf),
}

/// Examines the kernel, our rights and the subject.
///
/// # Errors
/// There is no such process or file.
pub fn examine(subject: &Subject) -> Result<Diagnosis> {
    let (name, executable) = match subject {
        Subject::File(path) => (path.display().to_string(), Executable::at(path)?),
        Subject::Process(selector) => {
            let process = select(selector)?;
            let identity = Identity::of(&process)?;
            let name = format!("{} (pid {})", identity.comm, identity.pid);
            (name, Executable::of(&Watch::new(process, identity))?)
        }
    };
    let mut checks: Vec<_> =
        bpf::requirements().into_iter().map(|need| Check::new(need.what, need.found)).collect();
    checks.extend(evidence(&executable));
    Ok(Diagnosis {
        schema_version: SCHEMA_VERSION,
        subject: printable(name.as_bytes()),
        kind: executable.kind(),
        build_id: executable.build_id(),
        go_version: executable.go_version(),
        module: executable.module(),
        functions: executable.function_count(),
        checks,
        probes: probes(executable.plan()),
    })
}

fn probes(plan: &Plan) -> Vec<Probe> {
    plan.points.iter().chain(&plan.foreign_points).map(Probe::from).collect()
}

/// The evidence that a trace would have, and what it would lack.
fn evidence(executable: &Executable) -> Vec<Check> {
    let plan = executable.plan();
    let mut checks =
        vec![Check::new("resident memory", Ok("read from /proc, for any process".to_owned()))];
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
