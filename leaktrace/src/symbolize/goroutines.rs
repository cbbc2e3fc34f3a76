//! Names for goroutines: addresses of a stack, of a creator, of a first function in, what a
//! goroutine dump would call them out.

use super::{Symbolizer, unknown};
use crate::{
    binary::Frame,
    memory::goroutines::{Goroutine, Goroutines},
};

/// Functions of the runtime that were not called but put on the stack by a signal: the address
/// below them is that of an instruction, not of a return (runtime/preempt.go, runtime/signal_unix.go).
const INJECTED: [&str; 2] = ["runtime.asyncPreempt", "runtime.sigpanic"];

/// First functions in package runtime that run the program's code all the same
/// (`runtime.isSystemGoroutine`, runtime/traceback.go).
const PROGRAMS_OWN: [&str; 3] = ["runtime.main", "runtime.corostart", "runtime.handleAsyncEvent"];

/// One line of a goroutine's stack.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StackLine {
    /// Live address within the call.
    pub pc: u64,
    /// The same from the entry of the function that holds it; none outside Go functions.
    pub offset: Option<u64>,
    /// What stands there.
    #[serde(flatten)]
    pub frame: Frame,
}

/// Whether the runtime counts a goroutine as its own, by the name of its first function. It takes
/// the one that runs finalizers and cleanups for the program's while that runs some; this doesn't.
pub fn is_system_goroutine(start_function: &str) -> bool {
    start_function.starts_with("runtime.") && !PROGRAMS_OWN.contains(&start_function)
}

impl Symbolizer<'_> {
    /// Those of the program, without the runtime's own.
    pub fn own_goroutines<'g>(&mut self, goroutines: &'g Goroutines) -> Vec<&'g Goroutine> {
        let mut starts: Vec<_> = goroutines.list.iter().map(|one| one.start_pc).collect();
        starts.sort_unstable();
        starts.dedup();
        starts.retain(|start| !is_system_goroutine(&self.start_function(*start).function));
        let own = |one: &&Goroutine| starts.binary_search(&one.start_pc).is_ok();
        goroutines.list.iter().filter(own).collect()
    }

    /// The lines of a goroutine's stack, innermost first: as `runtime.CallersFrames` has them, with
    /// inlined calls and without wrappers.
    pub fn stack_lines(&mut self, pcs: &[u64]) -> Vec<StackLine> {
        let mut lines: Vec<StackLine> = Vec::new();
        for pc in pcs {
            let inner = lines.last().map(|line| &*line.frame.function);
            let interrupted = inner.is_some_and(|name| INJECTED.contains(&name));
            let exact = interrupted || self.entry(*pc) == Some(*pc);
            let return_pc = if exact { pc.wrapping_add(1) } else { *pc };
            lines.extend(self.lines(return_pc));
        }
        lines
    }

    fn lines(&mut self, return_pc: u64) -> Vec<StackLine> {
        let frames = self.frames(&[return_pc]);
        let entry = self.entry(return_pc.wrapping_sub(1));
        let inlined = self.inlined_pcs(return_pc).unwrap_or_default();
        let line = |(index, frame)| {
            let logical = inlined.get(index).copied().unwrap_or(return_pc);
            let pc = logical.wrapping_sub(1);
            StackLine { pc, offset: entry.and_then(|entry| pc.checked_sub(entry)), frame }
        };
        frames.into_iter().enumerate().map(line).collect()
    }

    /// A live return address for each frame at `return_pc`.
    fn inlined_pcs(&self, return_pc: u64) -> Option<Vec<u64>> {
        let address = self.mappings.in_executable(return_pc)?;
        let pcs = self.go?.table.logical_pcs(self.file, address).ok()?;
        Some(pcs.into_iter().map(|pc| pc.wrapping_add(self.mappings.bias())).collect())
    }

    /// The live entry of the Go function that covers the live address `pc`.
    fn entry(&self, pc: u64) -> Option<u64> {
        let address = self.mappings.in_executable(pc)?;
        let entry = self.go?.table.entry_of(self.file, address).ok().flatten()?;
        Some(entry.wrapping_add(self.mappings.bias()))
    }

    /// Where a goroutine was made: the line of the `go` statement with the name of the function
    /// that it was compiled into, as in a goroutine dump. None for the runtime's first goroutines.
    pub fn creator(&mut self, creator_pc: u64) -> Option<Frame> {
        if creator_pc == 0 {
            return None;
        }
        let frames = self.frames(&[creator_pc]);
        let (inner, outer) = (frames.first()?, frames.last()?);
        Some(Frame { file: inner.file.clone(), line: inner.line, ..outer.clone() })
    }

    /// What a goroutine began with; for `go f(x)`, which begins in a wrapper, it is `f`.
    pub fn start_function(&mut self, start_pc: u64) -> Frame {
        let unwrapped = self.unwrapped(start_pc).unwrap_or(start_pc);
        let frames = self.frames(&[unwrapped.wrapping_add(1)]);
        let own = frames.into_iter().next_back();
        own.unwrap_or_else(|| unknown(self.mappings.describe(start_pc)))
    }

    fn unwrapped(&self, start_pc: u64) -> Option<u64> {
        let address = self.mappings.in_executable(start_pc)?;
        let started = self.go?.table.unwrapped(self.file, address).ok()?;
        Some(started.wrapping_add(self.mappings.bias()))
    }
}

#[cfg(test)]
mod tests {
    use super::is_system_goroutine;

    #[test]
    fn the_runtimes_own_goroutines_are_known_by_name() {
        for own in ["runtime.bgsweep", "runtime.gcBgMarkWorker", "runtime.runfinq"] {
            assert!(is_system_goroutine(own), "{own}");
        }
        for other in ["runtime.main", "runtime.corostart", "main.main.func1", "runtime/pprof.x"] {
            assert!(!is_system_goroutine(other), "{other}");
        }
    }
}
