//! pc -> source frames, after aggregation: a few hundred addresses in, names out.
//!
//! Non-goals: the hot path. A pc outside the executable is shown as mapping+offset, never
//! guessed.

mod mappings;

pub use mappings::{Mapping, Mappings};

use std::collections::HashMap;

use crate::{
    binary::{Blocks, Frame, GoBinary},
    snapshot::ContextKind,
};

/// Everything needed to name addresses of one process.
pub struct Symbolizer<'a> {
    file: &'a Blocks,
    go: &'a GoBinary,
    mappings: &'a Mappings,
    cache: HashMap<u64, Vec<Frame>>,
}

impl<'a> Symbolizer<'a> {
    /// For the process that runs `go` (in `file`), mapped as `mappings` say.
    pub fn new(file: &'a Blocks, go: &'a GoBinary, mappings: &'a Mappings) -> Self {
        Self { file, go, mappings, cache: HashMap::new() }
    }

    /// The frames of a call chain of return addresses, innermost first.
    pub fn frames(&mut self, return_pcs: &[u64]) -> Vec<Frame> {
        return_pcs.iter().flat_map(|pc| self.resolve(*pc).to_vec()).collect()
    }

    fn resolve(&mut self, return_pc: u64) -> &[Frame] {
        let (file, go, mappings) = (self.file, self.go, self.mappings);
        self.cache.entry(return_pc).or_insert_with(|| {
            let in_executable = mappings.in_executable(return_pc);
            // A broken table must not cost the report: the address itself remains.
            let known = in_executable.then(|| go.table.frames(file, return_pc - mappings.bias()));
            match known {
                Some(Ok(frames)) => frames,
                _ => vec![Frame {
                    function: mappings.describe(return_pc),
                    file: "?".to_owned(),
                    line: 0,
                    inlined: false,
                }],
            }
        })
    }
}

/// How contexts of a site end, by the constructor that made them.
pub fn context_kind(frames: &[Frame]) -> ContextKind {
    let constructor = frames.iter().find(|frame| !frame.inlined);
    match constructor.map(|frame| frame.function.as_str()) {
        Some("context.WithDeadlineCause") => ContextKind::Timer,
        Some("context.AfterFunc") => ContextKind::AfterFunc,
        _ => ContextKind::Cancel,
    }
}

/// The frame to blame: the first outside package context.
pub fn creator(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().find(|frame| !frame.function.starts_with("context.")).or(frames.first())
}

#[cfg(test)]
mod tests {
    use super::{context_kind, creator};
    use crate::{binary::Frame, snapshot::ContextKind};

    fn frames(functions: &[(&str, bool)]) -> Vec<Frame> {
        let frame = |(function, inlined): &(&str, bool)| Frame {
            function: (*function).to_owned(),
            file: "x.go".to_owned(),
            line: 1,
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
        let timeout = frames(&[
            ("context.WithDeadlineCause", false),
            ("context.WithTimeout", false),
            ("main.f", false),
        ]);
        assert_eq!(context_kind(&timeout), ContextKind::Timer);
        assert_eq!(context_kind(&frames(&[("context.AfterFunc", false)])), ContextKind::AfterFunc);
    }

    #[test]
    fn the_creator_is_the_first_caller_outside_the_package() {
        let chain = frames(&[("context.WithCancel", false), ("main.f", true), ("main.g", false)]);
        assert_eq!(creator(&chain).unwrap().function, "main.f");
        assert_eq!(creator(&frames(&[("context.x", false)])).unwrap().function, "context.x");
        assert_eq!(creator(&[]), None);
    }
}
