//! pc -> source frames, after aggregation: a few hundred addresses in, names out.
//!
//! Non-goals: the hot path. Code that is not Go has the name of its ELF symbol, if there is one;
//! else it is shown as mapping+offset, never guessed.

mod calls;
mod goroutines;
mod libraries;
mod mappings;

pub use calls::Call;
pub use goroutines::{StackLine, is_system_goroutine};
pub use libraries::Open;
pub use mappings::{Mapping, Mappings};

use std::collections::HashMap;

use libraries::Libraries;

use crate::{
    binary::{Blocks, Elf, Frame, GoBinary},
    snapshot::{ContextKind, ContextParent},
};

/// Memory for all frames given out: several times what the sites of a real program need. Beyond
/// it, addresses are not named.
const FRAMES_BYTES_MAX: usize = 64 << 20;

/// Everything needed to name addresses of one process.
pub struct Symbolizer<'a> {
    file: &'a Blocks,
    elf: &'a Elf,
    go: Option<&'a GoBinary>,
    mappings: &'a Mappings,
    libraries: Libraries<'a>,
    cache: HashMap<u64, Vec<Frame>>,
    bytes_left: usize,
}

impl<'a> Symbolizer<'a> {
    /// For the process that runs `file`, which may be a Go program, mapped as `mappings` say; `open`
    /// opens what else it has mapped.
    pub fn new(
        file: &'a Blocks,
        elf: &'a Elf,
        go: Option<&'a GoBinary>,
        mappings: &'a Mappings,
        open: Open<'a>,
    ) -> Self {
        let (cache, bytes_left) = (HashMap::new(), FRAMES_BYTES_MAX);
        Self { file, elf, go, mappings, libraries: Libraries::new(open), cache, bytes_left }
    }

    /// The name of the dynamic type behind a live itab; none if it is not in the file.
    pub fn itab_type(&self, itab: u64) -> Option<String> {
        let itab = self.mappings.in_file(itab)?;
        self.go?.table.itab_type(self.file, self.elf, itab).ok().flatten()
    }

    /// Reads the names of many return addresses in one go, in the order of their tables: several
    /// times faster than in any other.
    pub fn read_ahead(&mut self, mut return_pcs: Vec<u64>) {
        return_pcs.sort_unstable();
        return_pcs.dedup();
        for pc in return_pcs {
            let frames = self.resolve(pc);
            match self.bytes_left.checked_sub(frames.iter().map(bytes).sum()) {
                Some(left) => self.bytes_left = left,
                None => return,
            }
            self.cache.insert(pc, frames);
        }
    }

    /// The frames of a call chain of return addresses, innermost first.
    pub fn frames(&mut self, return_pcs: &[u64]) -> Vec<Frame> {
        return_pcs.iter().flat_map(|pc| self.affordable(*pc)).collect()
    }

    /// The frames of `return_pc`, or the bare address when too much was given out already.
    fn affordable(&mut self, return_pc: u64) -> Vec<Frame> {
        let known = self.cache.remove(&return_pc);
        let mut frames = known.unwrap_or_else(|| self.resolve(return_pc));
        match self.bytes_left.checked_sub(frames.iter().map(bytes).sum()) {
            Some(left) => self.bytes_left = left,
            None => frames = vec![unknown(format!("{return_pc:#x}"))],
        }
        self.cache.insert(return_pc, frames.clone());
        frames
    }

    fn resolve(&mut self, return_pc: u64) -> Vec<Frame> {
        // A broken table must not cost the report: the address itself remains.
        let go = self.go_frames(return_pc);
        go.unwrap_or_else(|| vec![self.other_frame(return_pc)])
    }

    /// None if it is not in a Go function.
    fn go_frames(&self, return_pc: u64) -> Option<Vec<Frame>> {
        let address = self.mappings.in_executable(return_pc)?;
        let table = &self.go?.table;
        let is_go = table.covers(self.file, address).ok()?;
        if is_go { table.frames(self.file, address).ok() } else { None }
    }

    /// Code that is not Go: in the executable's C part, or in a library.
    fn other_frame(&mut self, return_pc: u64) -> Frame {
        let call = return_pc.wrapping_sub(1);
        let symbol = match (self.mappings.in_executable(call), self.mappings.in_library(call)) {
            (Some(vaddr), _) => {
                self.elf.symbol(self.file, vaddr).ok().flatten().map(|found| found.name)
            }
            (None, Some((mapping, offset))) => self.libraries.symbol(mapping, offset),
            (None, None) => None,
        };
        let place = self.mappings.describe(return_pc);
        match symbol {
            Some(name) => Frame { file: place.into(), ..unknown(name) },
            None => unknown(place),
        }
    }
}

fn bytes(frame: &Frame) -> usize {
    size_of::<Frame>() + frame.function.len() + frame.file.len()
}

fn unknown(function: String) -> Frame {
    Frame { function: function.into(), file: "?".into(), line: 0, start_line: 0, inlined: false }
}

/// How contexts of a site end, by the constructor that made them.
pub fn context_kind(frames: &[Frame]) -> ContextKind {
    let constructor = frames.iter().find(|frame| !frame.inlined);
    match constructor.map(|frame| &*frame.function) {
        Some("context.WithDeadlineCause") => ContextKind::Timer,
        Some("context.AfterFunc") => ContextKind::AfterFunc,
        _ => ContextKind::Cancel,
    }
}

/// Those that give a cancel function away for a context without a deadline: a closure, which lies in the
/// heap where they are called and not inlined (context/context.go; the others call one of these).
pub const GIVING_CANCEL_FUNCS: [&str; 2] = ["context.WithCancel", "context.WithCancelCause"];
/// The code of those closures.
pub const CANCEL_FUNCS: [&str; 2] = ["context.WithCancel.func1", "context.WithCancelCause.func1"];

/// Whether the constructor was called, and gives a cancel function away that lies in the heap.
pub fn gives_cancel_func(frames: &[Frame]) -> bool {
    let constructor = frames.iter().find(|frame| !frame.inlined);
    constructor.is_some_and(|frame| GIVING_CANCEL_FUNCS.contains(&&*frame.function))
}

/// What a parent of this type can do. Source: context/context.go; a `WithValue` or a type of
/// somebody else's hides what it hangs under.
pub fn context_parent(parent_type: Option<&str>) -> ContextParent {
    match parent_type {
        Some("context.backgroundCtx" | "context.todoCtx" | "context.withoutCancelCtx") => {
            ContextParent::Uncancellable
        }
        Some("*context.cancelCtx" | "*context.timerCtx" | "*context.afterFuncCtx") => {
            ContextParent::Cancellable
        }
        _ => ContextParent::Unknown,
    }
}

/// The constructor that the creator called: the outermost of the frames of package context at
/// the inner end. (Further out it may stand again, below a callback of `AfterFunc`.)
pub fn constructor(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().take_while(|frame| frame.function.starts_with("context.")).last()
}

/// The frame to blame: the first outside package context.
pub fn creator(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().find(|frame| !frame.function.starts_with("context.")).or(frames.first())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::{
        Mappings, Symbolizer, constructor, context_kind, context_parent, creator, gives_cancel_func,
    };
    use crate::{
        binary::{Blocks, Elf, Frame, GoBinary, Machine, PcLnTab},
        snapshot::{ContextKind, ContextParent},
    };

    fn frames(functions: &[(&str, bool)]) -> Vec<Frame> {
        let frame = |(function, inlined): &(&str, bool)| Frame {
            function: (*function).into(),
            file: "x.go".into(),
            line: 1,
            start_line: 1,
            inlined: *inlined,
        };
        functions.iter().map(frame).collect()
    }

    #[test]
    fn the_constructor_tells_the_kind() {
        let with_cancel = frames(&[
            ("context.withCancel", true),
            ("context.WithCancel", false),
            ("main.f", false),
        ]);
        assert_eq!(context_kind(&with_cancel), ContextKind::Cancel);
        assert!(gives_cancel_func(&with_cancel));
        // Built with a profile: its caller may do without a closure.
        let inlined = frames(&[("context.WithCancel", true), ("main.f", false)]);
        assert!(!gives_cancel_func(&inlined));
        let timeout = frames(&[
            ("context.WithDeadlineCause", false),
            ("context.WithTimeout", false),
            ("main.f", false),
        ]);
        assert_eq!(context_kind(&timeout), ContextKind::Timer);
        assert!(!gives_cancel_func(&timeout));
        let after = frames(&[("context.AfterFunc", false)]);
        assert_eq!(context_kind(&after), ContextKind::AfterFunc);
        assert!(!gives_cancel_func(&after));
    }

    #[test]
    fn only_known_parents_are_judged() {
        let parent = |name| context_parent(Some(name));
        assert_eq!(parent("context.backgroundCtx"), ContextParent::Uncancellable);
        assert_eq!(parent("*context.timerCtx"), ContextParent::Cancellable);
        for hiding in ["*context.valueCtx", "context.stopCtx", "main.myContext"] {
            assert_eq!(parent(hiding), ContextParent::Unknown, "{hiding}");
        }
        assert_eq!(context_parent(None), ContextParent::Unknown);
    }

    #[test]
    fn the_creator_is_the_first_caller_outside_the_package() {
        let chain = frames(&[("context.WithCancel", false), ("main.f", true), ("main.g", false)]);
        assert_eq!(&*creator(&chain).unwrap().function, "main.f");
        assert_eq!(&*creator(&frames(&[("context.x", false)])).unwrap().function, "context.x");
        assert_eq!(creator(&[]), None);
    }

    #[test]
    fn a_callback_of_the_package_further_out_is_not_the_constructor() {
        let chain = frames(&[
            ("context.withCancel", true),
            ("context.WithCancel", false),
            ("main.callback", false),
            ("context.(*afterFuncCtx).cancel.func1", false),
        ]);
        assert_eq!(&*constructor(&chain).unwrap().function, "context.WithCancel");
        assert_eq!(constructor(&chain[2..]), None);
    }

    #[test]
    fn frames_that_would_fill_the_memory_are_not_named() {
        let (file, go) = (Blocks::new(Vec::new()), GoBinary { table: PcLnTab::for_test() });
        let (elf, mappings) =
            (Elf::for_test(Machine::Amd64, false, Vec::new()), Mappings::for_test());
        let mut symbolizer = Symbolizer::new(
            &file,
            &elf,
            Some(&go),
            &mappings,
            Box::new(|_| File::open("/dev/null")),
        );
        symbolizer.bytes_left = 1000;
        symbolizer.cache.insert(0x1234, frames(&[("x".repeat(600).as_str(), false)]));
        let functions: Vec<_> =
            symbolizer.frames(&[0x1234, 0x1234]).into_iter().map(|f| f.function).collect();
        assert_eq!(functions, ["x".repeat(600).into(), "0x1234".into()]);
    }
}
