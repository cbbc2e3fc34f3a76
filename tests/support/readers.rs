//! Every reader of executables on one file, and what holds whatever that file says.

#![allow(dead_code, reason = "each test file uses a part of it")]

use leaktrace::{
    binary::{
        Blocks, BuildInfo, Elf, Frame, FunctionCode, GoBinary, Machine, ProgramVersion,
        RuntimeVariable, Witnesses,
    },
    probe::{ContextFacts, Plan, ProbePoint, plan},
};

/// `INLINE_DEPTH_MAX` of the reader, and the function itself.
const FRAMES_MAX: usize = 257;
/// Of each chain; all of all chains would be more memory than a single answer may take.
const FRAMES_KEPT: usize = 8;
/// Names and paths of 4096 bytes, each of which may become a replacement character.
const TEXT_BYTES_MAX: usize = 3 * 4097;

/// What the whole chain says about a file.
pub struct Answer {
    pub plan: Result<Plan, String>,
    pub frames: Vec<Frame>,
    /// Names of the types behind the itabs that were asked for.
    pub types: Vec<String>,
}

impl Answer {
    /// No probe, and the reason why.
    pub fn refuses(&self) -> bool {
        self.plan.as_ref().map_or_else(
            |why| !why.is_empty(),
            |plan| plan.points.is_empty() && !plan.unavailable.is_empty(),
        )
    }

    pub fn is_whole(&self) -> bool {
        self.plan.as_ref().is_ok_and(|plan| plan.points.len() >= 2) && !self.frames.is_empty()
    }
}

/// Runs every reader over `file`, and panics where an answer is one that no file may cause.
pub fn read_all(file: &Blocks, pcs: &[u64], itabs: &[u64]) -> Answer {
    let (frames, types) = (Vec::new(), Vec::new());
    let mut answer = Answer { plan: Err(String::new()), frames, types };
    let plan = read_chain(file, pcs, itabs, &mut answer);
    answer.plan = plan.map_err(|error| format!("{error:#}"));
    assert!(answer.refuses() || answer.plan.as_ref().is_ok_and(|plan| plan.points.len() >= 2));
    answer
}

fn read_chain(
    file: &Blocks,
    pcs: &[u64],
    itabs: &[u64],
    answer: &mut Answer,
) -> anyhow::Result<Plan> {
    let elf = Elf::read(file)?;
    elf.build_id.iter().for_each(|id| check_text(id));
    elf.sections.iter().for_each(|section| check_text(&section.name));
    let build = BuildInfo::read(file, &elf)?;
    [&build.path, &build.module].into_iter().flatten().for_each(|text| check_text(text));
    let go = GoBinary::read(file, &elf, &build)?;
    // A part that can't be read does not keep the next from being read.
    for pc in pcs {
        let frames = go.table.frames(file, *pc).map(checked).unwrap_or_default();
        answer.frames.extend(frames.into_iter().take(FRAMES_KEPT));
    }
    for itab in itabs {
        answer.types.extend(go.table.itab_type(file, &elf, *itab).unwrap_or_default());
    }
    answer.types.iter().for_each(|name| check_text(name));
    let plan = plan(&ContextFacts::read(file, &elf, &go)?).on(elf.machine, Machine::Amd64);
    check_plan(file, &elf, &plan);
    // Whatever these say, the plan stands.
    let _ = check_more(file, &elf, &build, &go, pcs);
    Ok(plan)
}

/// What only the doctor and the symbolizer ask for.
fn check_more(
    file: &Blocks,
    elf: &Elf,
    build: &BuildInfo,
    go: &GoBinary,
    pcs: &[u64],
) -> anyhow::Result<()> {
    for pc in pcs {
        if let Ok(Some(found)) = elf.symbol(file, *pc) {
            check_text(&found.name);
        }
    }
    if let Some(found) = ProgramVersion::read(file, elf, build, go)? {
        check_text(&found.version);
    }
    let witnesses = Witnesses::read(file, elf, go)?;
    for variable in RuntimeVariable::ALL {
        if let Ok(located) = witnesses.locate(variable) {
            assert!(go.table.data().contains(&located.vaddr), "{located:?}");
        }
    }
    for function in go.table.find(file, &["main.main", "runtime.newproc1"])? {
        let code = FunctionCode::read(file, elf, function)?;
        let end = code.bytes.len() as u64;
        let returns = code.returns().unwrap_or_default();
        assert!(returns.iter().all(|spot| spot.offset < end), "{returns:?}");
    }
    Ok(())
}

fn checked(frames: Vec<Frame>) -> Vec<Frame> {
    assert!(frames.len() <= FRAMES_MAX, "{} frames", frames.len());
    for frame in &frames {
        check_text(&frame.function);
        check_text(&frame.file);
    }
    // The outermost one is a real function, unless that is a wrapper, which is left out.
    let inner = frames.split_last().map_or(&[][..], |(_, inner)| inner);
    assert!(inner.iter().all(|frame| frame.inlined), "{frames:?}");
    frames
}

/// Foreign text is short, and no terminal obeys it.
fn check_text(text: &str) {
    assert!(text.len() <= TEXT_BYTES_MAX, "{} bytes of text", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn check_plan(file: &Blocks, elf: &Elf, plan: &Plan) {
    assert!(plan.points.is_empty() || plan.points.len() >= 2, "{plan:?}");
    assert!(!plan.releases_complete || plan.unavailable.is_empty(), "{plan:?}");
    plan.points.iter().for_each(|point| check_point(file, elf, point));
    for missing in &plan.unavailable {
        assert!(!missing.what.is_empty() && !missing.why.is_empty(), "{missing:?}");
        assert!(!missing.why.contains(char::is_control), "{missing:?}");
    }
}

/// A point is code, and `push %rbp` as Go's assembler writes it: the kernel emulates that one
/// byte, and single-steps the same instruction with prefixes.
fn check_point(file: &Blocks, elf: &Elf, point: &ProbePoint) {
    assert_eq!(elf.machine, Machine::Amd64, "{point:?}");
    check_text(&point.function);
    let is_code = elf.segments.iter().filter(|segment| segment.executable).any(|segment| {
        let within = point.vaddr.wrapping_sub(segment.vaddr);
        within < segment.file_bytes && point.file_offset == segment.file_offset + within
    });
    assert!(is_code, "{point:?} is no code of {elf:?}");
    let code = file.vec(point.file_offset, 1, "the probed code").unwrap();
    assert_eq!(code, [0x55], "{point:?}");
}
