//! Call chains as pprof has them: return addresses in, call instructions with their frames out.
//!
//! Non-goals: reading names.

use super::{Symbolizer, bytes, unknown};
use crate::binary::Frame;

/// Where every goroutine ends: no caller.
const OUTERMOST: &str = "runtime.goexit";
/// Packages that allocate on behalf of their callers.
const RUNTIME: [&str; 2] = ["runtime.", "internal/runtime/"];

/// A call instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// An address within it.
    pub address: u64,
    /// What was inlined there, innermost first, and at last the function that holds it.
    pub frames: Vec<Frame>,
}

impl Symbolizer<'_> {
    /// The calls of a chain of return addresses as frame pointers give it: one address for each
    /// call, whatever was inlined there.
    pub fn calls(&mut self, return_pcs: &[u64]) -> Vec<Call> {
        let mut calls = Vec::new();
        for pc in return_pcs {
            let frames = self.known(*pc);
            // A wrapper has no frames: the runtime does not show it.
            if !frames.is_empty() && !is_outermost(&frames) {
                calls.push(Call { address: pc.wrapping_sub(1), frames });
            }
        }
        calls
    }

    /// The calls of a chain as the runtime's profilers keep it: inlined calls have addresses of
    /// their own ("logical" ones), except that the last address may stand for several. Source:
    /// `appendLocsForStack` (runtime/pprof/proto.go).
    pub fn logical_calls(&mut self, return_pcs: &[u64]) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        for (index, pc) in return_pcs.iter().enumerate() {
            let mut frames = self.known(*pc);
            if frames.is_empty() {
                // A wrapper that the profiler kept: it is what called.
                frames.push(unknown(self.mappings.describe(*pc)));
            }
            if index + 1 < return_pcs.len() {
                frames.truncate(1);
            }
            if is_outermost(&frames) {
                continue;
            }
            let inlined_into_this =
                |call: &&mut Call| call.frames.last().is_some_and(|f| f.inlined);
            match calls.last_mut().filter(inlined_into_this) {
                Some(call) => call.frames.append(&mut frames),
                None => calls.push(Call { address: pc.wrapping_sub(1), frames }),
            }
        }
        calls
    }

    /// The same, without the runtime's own calls at the inner end, unless there are no others:
    /// what they allocate is their caller's. Source: `writeHeapProto` (runtime/pprof/protomem.go).
    pub fn allocation_calls(&mut self, return_pcs: &[u64]) -> Vec<Call> {
        let user = return_pcs.iter().position(|pc| !self.is_runtime(*pc));
        self.logical_calls(&return_pcs[user.unwrap_or(0)..])
    }

    /// As `runtime.FuncForPC` tells it: by the address itself, not by the call before it.
    fn is_runtime(&mut self, return_pc: u64) -> bool {
        let frames = self.known(return_pc.wrapping_add(1));
        let function = frames.first().map(|frame| &*frame.function);
        function.is_some_and(|name| RUNTIME.iter().any(|package| name.starts_with(package)))
    }

    /// The frames at `return_pc`; none for a wrapper. They are remembered as long as there is
    /// room, and what is given out is not counted: callers don't keep it.
    fn known(&mut self, return_pc: u64) -> Vec<Frame> {
        if let Some(known) = self.cache.get(&return_pc) {
            return known.clone();
        }
        let frames = self.resolve(return_pc);
        if let Some(left) = self.bytes_left.checked_sub(frames.iter().map(bytes).sum()) {
            self.bytes_left = left;
            self.cache.insert(return_pc, frames.clone());
        }
        frames
    }
}

fn is_outermost(frames: &[Frame]) -> bool {
    frames.first().is_some_and(|frame| &*frame.function == OUTERMOST)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::Call;
    use crate::{
        binary::{Blocks, Elf, Frame, GoBinary, Machine, PcLnTab},
        symbolize::{Mappings, Symbolizer},
    };

    /// What a chain of return addresses gives when `known` are the frames of addresses; a `+`
    /// marks what was inlined into the next.
    fn named(
        known: &[(u64, &[&str])],
        chain: impl Fn(&mut Symbolizer<'_>) -> Vec<Call>,
    ) -> Vec<String> {
        let (file, go) = (Blocks::new(Vec::new()), GoBinary { table: PcLnTab::for_test() });
        let elf = Elf::for_test(Machine::Amd64, false, Vec::new());
        let mappings = Mappings::for_test();
        let open = Box::new(|_: &_| File::open("/dev/null"));
        let mut symbolizer = Symbolizer::new(&file, &elf, Some(&go), &mappings, open);
        let frame = |name: &&str| Frame {
            function: name.trim_start_matches('+').into(),
            file: "x.go".into(),
            line: 1,
            start_line: 1,
            inlined: name.starts_with('+'),
        };
        for (pc, names) in known {
            // As by the call before it, so by the address itself.
            for at in [*pc, pc + 1] {
                symbolizer.cache.insert(at, names.iter().map(frame).collect());
            }
        }
        let text = |call: Call| {
            let functions: Vec<_> = call.frames.iter().map(|frame| &*frame.function).collect();
            format!("{:#x} {}", call.address, functions.join(" "))
        };
        chain(&mut symbolizer).into_iter().map(text).collect()
    }

    const KNOWN: [(u64, &[&str]); 6] = [
        (0x100, &["runtime.mallocgc"]),
        (0x200, &["+main.inner", "+main.middle", "main.outer"]),
        (0x300, &["+main.middle", "main.outer"]),
        (0x400, &["main.outer"]),
        (0x500, &["runtime.main"]),
        (0x600, &["runtime.goexit"]),
    ];

    #[test]
    fn logical_addresses_of_one_call_are_one_call() {
        let stack = [0x100, 0x200, 0x300, 0x400, 0x500, 0x600];
        let calls = named(&KNOWN, |symbolizer| symbolizer.allocation_calls(&stack));
        assert_eq!(calls, ["0x1ff main.inner main.middle main.outer", "0x4ff runtime.main"]);
        let physical = named(&KNOWN, |symbolizer| symbolizer.calls(&[0x100, 0x200, 0x500, 0x600]));
        assert_eq!(physical[0], "0xff runtime.mallocgc");
        assert_eq!(physical[1..], calls);
    }

    #[test]
    fn what_a_cut_stack_ends_in_is_whole() {
        let calls = named(&KNOWN, |symbolizer| symbolizer.logical_calls(&[0x100, 0x200]));
        assert_eq!(calls[1], "0x1ff main.inner main.middle main.outer");
        let calls = named(&KNOWN, |symbolizer| symbolizer.logical_calls(&[0x200, 0x300]));
        assert_eq!(calls, ["0x1ff main.inner main.middle main.outer"]);
    }

    #[test]
    fn the_runtime_is_shown_where_nothing_else_is() {
        let calls = named(&KNOWN, |symbolizer| symbolizer.allocation_calls(&[0x100, 0x500]));
        assert_eq!(calls, ["0xff runtime.mallocgc", "0x4ff runtime.main"]);
        let nothing = named(&KNOWN, |symbolizer| symbolizer.allocation_calls(&[]));
        assert!(nothing.is_empty());
    }

    #[test]
    fn an_address_of_nothing_has_a_frame() {
        let calls = named(&[], |symbolizer| symbolizer.allocation_calls(&[0, 0x1234, u64::MAX]));
        assert_eq!(calls.len(), 3);
        assert_eq!(calls[1], "0x1233 0x1234");
    }
}
