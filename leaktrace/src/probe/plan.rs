//! Facts in, probe points out.

use std::fmt;

use super::facts::{CANCEL, CREATE, CodeFacts, ContextFacts};
use crate::binary::{Execution, Machine};

/// The BPF program for a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A context is created; it is the receiver.
    ContextCreate,
    /// A context is cancelled; it is the receiver.
    ContextRelease,
    /// A context is cancelled; it is the first variable that the closure captured.
    ContextReleaseClosure,
}

impl Program {
    /// Its name in the BPF object.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ContextCreate => "context_create",
            Self::ContextRelease => "context_release",
            Self::ContextReleaseClosure => "context_release_closure",
        }
    }
}

/// One place to attach one of the programs `P` to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbePoint<P = Program> {
    /// What runs there.
    pub program: P,
    /// The probed function.
    pub function: String,
    /// Offset of the probed instruction, behind the stack check, from the entry.
    pub offset: u64,
    /// How that instruction runs when it is probed.
    pub execution: Execution,
    /// Where that instruction lies in the file.
    pub file_offset: u64,
    /// Its virtual address, without load bias.
    pub vaddr: u64,
}

/// A piece of evidence that can't be had, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unavailable {
    /// The evidence.
    pub what: String,
    /// The reason, with the way out where there is one.
    pub why: String,
}

impl Unavailable {
    /// `what` is unavailable because of `why`.
    pub fn new(what: &str, why: impl fmt::Display) -> Self {
        Self { what: what.to_owned(), why: why.to_string() }
    }
}

/// What to attach, and what will be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Probe points; empty when contexts can't be counted.
    pub points: Vec<ProbePoint>,
    /// Probe points in code for another processor: known, and not to be attached.
    pub foreign_points: Vec<ProbePoint>,
    /// Missing evidence.
    pub unavailable: Vec<Unavailable>,
    /// Every path by which a context is released has its point. Without that, a context that was
    /// released may look outstanding.
    pub releases_complete: bool,
}

impl Plan {
    /// The plan of an executable for `machine`, as `host` can carry it out.
    #[must_use]
    pub fn on(mut self, machine: Machine, host: Machine) -> Self {
        if machine != host && !self.points.is_empty() {
            let why = format!("the executable is for {machine}; this leaktrace traces {host} only");
            self.unavailable.push(Unavailable::new("contexts", why));
            self.foreign_points = std::mem::take(&mut self.points);
        }
        self
    }
}

/// Plans the probes for counting contexts. Creation without release (or the reverse) says
/// nothing, so both are planned or neither.
pub fn plan(facts: &ContextFacts) -> Plan {
    let mut plan = Plan::default();
    let create = point(Program::ContextCreate, CREATE, facts.create.as_ref());
    let cancel = point(Program::ContextRelease, CANCEL, facts.cancel.as_ref());
    match (create, cancel) {
        (Ok(create), Ok(cancel)) => plan.points.extend([create, cancel]),
        (Err(why), _) | (_, Err(why)) => {
            plan.unavailable.push(Unavailable::new("contexts", why));
            return plan;
        }
    }
    plan.releases_complete = true;
    for inlining in &facts.cancel_inlined_into {
        match outer_point(inlining) {
            Ok(point) => plan.points.push(point),
            Err(why) => {
                plan.releases_complete = false;
                plan.unavailable.push(Unavailable::new("some context releases", why));
            }
        }
    }
    plan
}

/// The point behind the stack check of the function `name`.
pub(super) fn point<P>(
    program: P,
    name: &str,
    code: Option<&CodeFacts>,
) -> Result<ProbePoint<P>, String> {
    let code = code.ok_or_else(|| format!("{name} is not in the executable"))?;
    let code = &code.code;
    let spot = code.behind_stack_check().map_err(|error| format!("{name}: {error}"))?;
    Ok(ProbePoint {
        program,
        function: code.function.name.clone(),
        offset: spot.offset,
        execution: spot.execution,
        file_offset: code.file_offset + spot.offset,
        vaddr: code.function.entry + spot.offset,
    })
}

/// A function that has `cancel` inlined: where does it hold the context? Known for the methods
/// whose receiver embeds the `cancelCtx` at offset 0 and for the closures returned as
/// `CancelFunc`, whose first captured variable it is (Go 1.21 to 1.27).
fn outer_point(inlining: &CodeFacts) -> Result<ProbePoint, String> {
    let name = &inlining.code.function.name;
    let program = match name.as_str() {
        "context.(*timerCtx).cancel" | "context.(*afterFuncCtx).cancel" => Program::ContextRelease,
        closure if is_cancel_closure(closure) && inlining.source.ends_with(CONTEXT_FILE) => {
            Program::ContextReleaseClosure
        }
        _ => return Err(format!("{CANCEL} was inlined into {name}, where it can't be followed")),
    };
    point(program, name, Some(inlining))
}

/// Where the closures of the context package are written, also when they are inlined elsewhere:
/// somebody else's `WithCancel` captures something else.
const CONTEXT_FILE: &str = "context/context.go";

/// `context.WithCancel.func1`, or `pkg.F.WithCancel.func1` where WithCancel was inlined into F.
fn is_cancel_closure(name: &str) -> bool {
    let Some((function, closure)) = name.rsplit_once(".func") else { return false };
    let constructor = function.rsplit('.').next().unwrap_or_default();
    closure.bytes().all(|digit| digit.is_ascii_digit())
        && matches!(constructor, "WithCancel" | "WithCancelCause" | "WithDeadlineCause")
}

#[cfg(test)]
mod tests {
    use super::{CANCEL, CREATE, CodeFacts, ContextFacts, Program, plan};
    use crate::binary::{FuncInfo, FunctionCode, Machine};

    const CODE: [u8; 10] = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x5b, 0x55, 0x48, 0x89, 0xe5];

    fn code(name: &str, file_offset: u64) -> CodeFacts {
        let function =
            FuncInfo { name: name.to_owned(), entry: 0x40_0000, end: 0x40_0100, wrapper: false };
        let source = "/usr/local/go/src/context/context.go".to_owned();
        let (machine, bytes) = (Machine::Amd64, CODE.to_vec());
        CodeFacts { code: FunctionCode { function, machine, file_offset, bytes }, source }
    }

    fn facts(inlining: &[&str]) -> ContextFacts {
        ContextFacts {
            create: Some(code(CREATE, 0x1000)),
            cancel: Some(code(CANCEL, 0x2000)),
            cancel_inlined_into: inlining.iter().map(|name| code(name, 0x3000)).collect(),
        }
    }

    #[test]
    fn create_and_cancel_are_probed_behind_their_stack_checks() {
        let plan = plan(&facts(&[]));
        let points: Vec<_> = plan.points.iter().map(|p| (p.program, p.file_offset)).collect();
        let expected = [(Program::ContextCreate, 0x1006), (Program::ContextRelease, 0x2006)];
        assert_eq!(points, expected);
        assert!(plan.releases_complete && plan.unavailable.is_empty());
    }

    #[test]
    fn without_one_of_them_nothing_is_probed_and_the_reason_names_it() {
        let mut without = facts(&[]);
        without.cancel = None;
        let plan = plan(&without);
        assert!(plan.points.is_empty() && !plan.releases_complete);
        assert!(plan.unavailable[0].why.contains(CANCEL), "{:?}", plan.unavailable);
    }

    #[test]
    fn an_unknown_prologue_is_never_probed() {
        let mut odd = facts(&[]);
        odd.create.as_mut().unwrap().code.bytes = vec![0xc3];
        let plan = plan(&odd);
        assert!(plan.points.is_empty());
        assert!(plan.unavailable[0].why.contains("prologue"), "{:?}", plan.unavailable);
    }

    #[test]
    fn inlined_cancels_are_followed_where_the_context_is_known() {
        let plan = plan(&facts(&["context.(*timerCtx).cancel", "main.run.WithCancel.func1"]));
        let programs: Vec<_> = plan.points[2..].iter().map(|p| p.program).collect();
        assert_eq!(programs, [Program::ContextRelease, Program::ContextReleaseClosure]);
        assert!(plan.releases_complete);
    }

    #[test]
    fn a_closure_of_somebody_elses_with_cancel_is_not_followed() {
        let mut foreign = facts(&["own.WithCancel.func1"]);
        foreign.cancel_inlined_into[0].source = "own/with_cancel.go".to_owned();
        assert!(!plan(&foreign).releases_complete);
    }

    #[test]
    fn an_inlined_cancel_that_cannot_be_followed_makes_releases_incomplete() {
        let plan = plan(&facts(&["main.run"]));
        assert_eq!(plan.points.len(), 2);
        assert!(!plan.releases_complete);
        assert!(plan.unavailable[0].why.contains("main.run"), "{:?}", plan.unavailable);
    }

    #[test]
    fn code_for_another_processor_is_planned_but_never_attached() {
        let native = plan(&facts(&[])).on(Machine::Amd64, Machine::Amd64);
        assert_eq!((native.points.len(), native.foreign_points.len()), (2, 0));
        let foreign = plan(&facts(&[])).on(Machine::Arm64, Machine::Amd64);
        assert_eq!((foreign.points.len(), foreign.foreign_points.len()), (0, 2));
        assert!(foreign.unavailable[0].why.contains("arm64"), "{:?}", foreign.unavailable);
    }
}
