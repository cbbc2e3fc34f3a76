//! Where goroutines start and end: facts about a binary in, probe points out.
//!
//! A start is seen where a `go` statement calls the runtime, on the stack of whoever starts: so its
//! whole call chain is there. (The runtime's own `newproc1` behind it runs on another stack.) An end
//! is seen where the runtime takes leave of the goroutine, which still knows where it was started.

use super::{
    facts::{CodeFacts, code_facts},
    plan::{ProbePoint, Unavailable, point},
};
use crate::{
    binary::{BinaryError, Blocks, BuildInfo, Elf, GoBinary, Machine},
    display::printable,
};

/// What every `go` statement calls (runtime/proc.go).
const START: &str = "runtime.newproc";
/// What makes a goroutine for `iter.Pull`, from Go 1.22 (runtime/coro.go).
const START_COROUTINE: &str = "runtime.newcoro";
/// What such a goroutine begins with.
const COROUTINE: &str = "runtime.corostart";
/// The last that runs for a goroutine that returned, on the scheduler's stack.
const EXIT: &str = "runtime.goexit0";
/// What `EXIT` calls from Go 1.22, as does the end of a coroutine.
const DESTROY: &str = "runtime.gdestroy";

/// From `gopc` to `startpc` in `runtime.g`, as the BPF programs read both at once; so in all of Go
/// 1.21 to 1.27.
const STARTPC_BEHIND_GOPC_BYTES: u64 = 16;

/// The first Go version that has [`DESTROY`], and coroutines.
const DESTROY_SINCE_MINOR: u32 = 22;

/// The runtime's functions for starts and ends, as this binary has them.
#[derive(Debug, Clone, Default)]
pub struct GoroutineFacts {
    /// Minor version N of Go 1.N.
    pub minor: u32,
    /// Offset of `gopc` in `runtime.g`, by the version.
    pub gopc: u64,
    /// Offset of `startpc`.
    pub startpc: u64,
    /// Experiments that it was built with and that may change `runtime.g`.
    pub experiments: Vec<String>,
    /// `runtime.newproc`, if linked in.
    pub start: Option<CodeFacts>,
    /// `runtime.newcoro`, if linked in.
    pub start_coroutine: Option<CodeFacts>,
    /// Entry of `runtime.corostart`, without load bias.
    pub coroutine_vaddr: Option<u64>,
    /// `runtime.goexit0`, if linked in.
    pub exit: Option<CodeFacts>,
    /// `runtime.gdestroy`, if linked in.
    pub destroy: Option<CodeFacts>,
    /// Functions that have `runtime.gdestroy` inlined (builds with profile-guided optimisation).
    pub destroy_inlined_into: Vec<String>,
}

impl GoroutineFacts {
    /// Collects the facts.
    ///
    /// # Errors
    /// The tables are broken.
    pub fn read(
        file: &Blocks,
        elf: &Elf,
        go: &GoBinary,
        build: &BuildInfo,
    ) -> Result<Self, BinaryError> {
        let layout = go.table.layout();
        let g = &layout.goroutines.g;
        let experiments =
            build.version.memory_experiments().into_iter().map(str::to_owned).collect();
        let (minor, gopc, startpc) = (layout.minor, g.gopc, g.startpc);
        let mut facts = Self { minor, gopc, startpc, experiments, ..Self::default() };
        let names = [START, START_COROUTINE, COROUTINE, EXIT, DESTROY];
        for function in go.table.find(file, &names)? {
            let found = code_facts(file, elf, go, function)?;
            match found.code.function.name.as_str() {
                START => facts.start = Some(found),
                START_COROUTINE => facts.start_coroutine = Some(found),
                COROUTINE => facts.coroutine_vaddr = Some(found.code.function.entry),
                EXIT => facts.exit = Some(found),
                _ => facts.destroy = Some(found),
            }
        }
        let inlining = go.table.find_inlining(file, &[DESTROY])?;
        facts.destroy_inlined_into = inlining.into_iter().map(|function| function.name).collect();
        Ok(facts)
    }
}

/// The BPF program for a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoroutineProgram {
    /// A goroutine is started with the function value that is the first argument.
    Start,
    /// A coroutine is made.
    CoroutineStart,
    /// The goroutine that is the first argument ends.
    End,
}

impl GoroutineProgram {
    /// Its name in the BPF object.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "goroutine_start",
            Self::CoroutineStart => "coroutine_start",
            Self::End => "goroutine_end",
        }
    }
}

/// One place to attach to.
pub type GoroutinePoint = ProbePoint<GoroutineProgram>;

/// What the BPF programs must know to read a goroutine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoroutineLayout {
    /// Offset of `gopc` in `runtime.g`; `startpc` is the second word behind it.
    pub gopc: u64,
    /// Entry of `runtime.corostart`, without load bias; none where coroutines are not linked in.
    pub coroutine_vaddr: Option<u64>,
}

/// What to attach to count goroutines, and what will be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoroutinePlan {
    /// Probe points; empty when goroutines can't be counted.
    pub points: Vec<GoroutinePoint>,
    /// Probe points in code for another processor: known, and not to be attached.
    pub foreign_points: Vec<GoroutinePoint>,
    /// There with the points.
    pub layout: Option<GoroutineLayout>,
    /// Missing evidence.
    pub unavailable: Vec<Unavailable>,
}

/// What can't be had.
const GOROUTINES: &str = "starts and ends of goroutines";
const COROUTINES: &str = "starts and ends of coroutines";

impl GoroutinePlan {
    /// The plan of an executable for `machine`, as `host` can carry it out.
    #[must_use]
    pub fn on(mut self, machine: Machine, host: Machine) -> Self {
        if machine != host && !self.points.is_empty() {
            let why = format!("the executable is for {machine}; this leaktrace traces {host} only");
            self.unavailable.push(Unavailable::new(GOROUTINES, why));
            self.foreign_points = std::mem::take(&mut self.points);
        }
        self
    }
}

/// Plans the probes. Starts without ends (or the reverse) can't be reconciled with anything, so
/// both are planned or neither; so for coroutines.
pub fn plan_goroutines(facts: &GoroutineFacts) -> GoroutinePlan {
    let mut plan = GoroutinePlan::default();
    match (
        layout_of(facts),
        point(GoroutineProgram::Start, START, facts.start.as_ref()),
        ends(facts),
    ) {
        (Ok(layout), Ok(start), Ok((ends, coroutines_end))) => {
            plan.layout = Some(layout);
            plan.points.push(start);
            plan.points.extend(ends);
            if let Err(why) = coroutines(facts, coroutines_end).map(|more| plan.points.extend(more))
            {
                plan.unavailable.push(Unavailable::new(COROUTINES, why));
            }
        }
        (Err(why), ..) | (_, Err(why), _) | (.., Err(why)) => {
            plan.unavailable.push(Unavailable::new(GOROUTINES, why));
        }
    }
    plan
}

fn layout_of(facts: &GoroutineFacts) -> Result<GoroutineLayout, String> {
    if !facts.experiments.is_empty() {
        let experiments = printable(facts.experiments.join(",").as_bytes());
        return Err(format!(
            "built with GOEXPERIMENT={experiments}: how its memory is laid out is not known"
        ));
    }
    let (gopc, coroutine_vaddr) = (facts.gopc, facts.coroutine_vaddr);
    if facts.startpc != gopc + STARTPC_BEHIND_GOPC_BYTES {
        return Err("runtime.g has startpc where it is not looked for".to_owned());
    }
    Ok(GoroutineLayout { gopc, coroutine_vaddr })
}

/// The points where goroutines end, and whether coroutines pass them too.
fn ends(facts: &GoroutineFacts) -> Result<(Vec<GoroutinePoint>, bool), String> {
    let end = |name, code: &Option<CodeFacts>| point(GoroutineProgram::End, name, code.as_ref());
    if facts.minor < DESTROY_SINCE_MINOR {
        return Ok((vec![end(EXIT, &facts.exit)?], false));
    }
    // Coroutines end in a function that does other things too: with DESTROY inlined there, its
    // probe would count too many.
    let inlining = &facts.destroy_inlined_into;
    let coroutines_pass = inlining.iter().all(|into| into == EXIT);
    if !inlining.iter().any(|into| into == EXIT) {
        return Ok((vec![end(DESTROY, &facts.destroy)?], coroutines_pass));
    }
    let mut points = vec![end(EXIT, &facts.exit)?];
    if coroutines_pass && facts.destroy.is_some() {
        points.push(end(DESTROY, &facts.destroy)?);
    }
    Ok((points, coroutines_pass))
}

/// The point where coroutines start, if they are linked in.
fn coroutines(facts: &GoroutineFacts, ends: bool) -> Result<Option<GoroutinePoint>, String> {
    if facts.start_coroutine.is_none() {
        return Ok(None);
    }
    if !ends {
        return Err(format!("{DESTROY} was inlined where it can't be followed"));
    }
    if facts.coroutine_vaddr.is_none() {
        return Err(format!("{COROUTINE} is not in the executable"));
    }
    point(GoroutineProgram::CoroutineStart, START_COROUTINE, facts.start_coroutine.as_ref())
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::{
        COROUTINE, CodeFacts, DESTROY, EXIT, GoroutineFacts, GoroutineProgram, START,
        START_COROUTINE, plan_goroutines,
    };
    use crate::binary::{FuncInfo, FunctionCode, Machine};

    const CODE: [u8; 10] = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x5b, 0x55, 0x48, 0x89, 0xe5];

    fn code(name: &str, file_offset: u64) -> Option<CodeFacts> {
        let function =
            FuncInfo { name: name.to_owned(), entry: 0x40_0000, end: 0x40_0100, wrapper: false };
        let source = "/usr/local/go/src/runtime/proc.go".to_owned();
        let (machine, bytes) = (Machine::Amd64, CODE.to_vec());
        Some(CodeFacts { code: FunctionCode { function, machine, file_offset, bytes }, source })
    }

    fn facts(minor: u32, destroy_inlined_into: &[&str]) -> GoroutineFacts {
        let destroys = minor > 21;
        GoroutineFacts {
            minor,
            gopc: 280,
            startpc: 296,
            experiments: Vec::new(),
            start: code(START, 0x1000),
            start_coroutine: code(START_COROUTINE, 0x2000).filter(|_| destroys),
            coroutine_vaddr: destroys.then_some(0x40_0000),
            exit: code(EXIT, 0x3000),
            destroy: code(DESTROY, 0x4000).filter(|_| destroys),
            destroy_inlined_into: destroy_inlined_into.iter().map(|&into| into.into()).collect(),
        }
    }

    fn points(facts: &GoroutineFacts) -> Vec<(GoroutineProgram, u64)> {
        let plan = plan_goroutines(facts);
        plan.points.iter().map(|point| (point.program, point.file_offset)).collect()
    }

    const STARTS: (GoroutineProgram, u64) = (GoroutineProgram::Start, 0x1006);
    const COROUTINES: (GoroutineProgram, u64) = (GoroutineProgram::CoroutineStart, 0x2006);
    const EXITS: (GoroutineProgram, u64) = (GoroutineProgram::End, 0x3006);
    const DESTROYS: (GoroutineProgram, u64) = (GoroutineProgram::End, 0x4006);

    #[test]
    fn every_end_is_seen_once() {
        assert_eq!(points(&facts(21, &[])), [STARTS, EXITS]);
        assert_eq!(points(&facts(26, &[])), [STARTS, DESTROYS, COROUTINES]);
        assert_eq!(points(&facts(26, &[EXIT])), [STARTS, EXITS, DESTROYS, COROUTINES]);
    }

    #[test]
    fn coroutines_whose_end_is_hidden_are_not_counted_and_named() {
        for inlined in [&["runtime.coroswitch_m"][..], &[EXIT, "runtime.coroswitch_m"]] {
            let plan = plan_goroutines(&facts(26, inlined));
            assert_eq!(plan.points.len(), 2, "{inlined:?}");
            assert!(plan.unavailable[0].what.contains("coroutines"), "{:?}", plan.unavailable);
        }
        let mut without = facts(26, &[]);
        without.coroutine_vaddr = None;
        let plan = plan_goroutines(&without);
        assert!(plan.unavailable[0].why.contains(COROUTINE), "{:?}", plan.unavailable);
    }

    #[test]
    fn without_one_of_them_nothing_is_probed_and_the_reason_names_it() {
        let mut without = facts(26, &[]);
        without.destroy = None;
        let plan = plan_goroutines(&without);
        assert!(plan.points.is_empty() && plan.layout.is_none());
        assert!(plan.unavailable[0].why.contains(DESTROY), "{:?}", plan.unavailable);
        let mut odd = facts(21, &[]);
        odd.start.as_mut().unwrap().code.bytes = vec![0xc3];
        let plan = plan_goroutines(&odd);
        assert!(plan.points.is_empty());
        assert!(plan.unavailable[0].why.contains("prologue"), "{:?}", plan.unavailable);
    }

    #[test]
    fn another_memory_layout_is_never_guessed() {
        let plan = plan_goroutines(&GoroutineFacts { startpc: 288, ..facts(26, &[]) });
        assert!(plan.unavailable[0].why.contains("startpc"), "{:?}", plan.unavailable);
        let experiments = vec!["arenas".to_owned()];
        let plan = plan_goroutines(&GoroutineFacts { experiments, ..facts(26, &[]) });
        assert!(plan.points.is_empty());
        assert!(plan.unavailable[0].why.contains("arenas"), "{:?}", plan.unavailable);
    }

    #[test]
    fn code_for_another_processor_is_planned_but_never_attached() {
        let foreign = plan_goroutines(&facts(26, &[])).on(Machine::Arm64, Machine::Amd64);
        assert_eq!((foreign.points.len(), foreign.foreign_points.len()), (0, 3));
        assert!(foreign.unavailable[0].why.contains("arm64"), "{:?}", foreign.unavailable);
    }
}
