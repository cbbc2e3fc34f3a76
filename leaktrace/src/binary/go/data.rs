//! The runtime's own variables in a stripped executable: a name in, an address and its proof out.
//!
//! A variable has no name left, but functions do, and they refer to it. Which reference of which
//! function it is was found by comparing unstripped builds of Go 1.21 to 1.27 for amd64 and arm64
//! with their symbol tables. Profile-guided builds of the runtime inline otherwise, and shift the
//! references of some functions: so at least two witnesses, and more than half of those that are
//! there, must agree. Non-goals: reading the variables.

use std::ops::Range;

use super::GoBinary;
use crate::binary::{BinaryError, Blocks, Elf, FunctionCode};

/// A variable of package runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeVariable {
    /// `mbuckets`: the heap profile's list (runtime/mprof.go).
    HeapProfile,
    /// `mProfCycle`: the heap profile's cycle (runtime/mprof.go).
    HeapProfileCycle,
    /// `MemProfileRate`: bytes per sample, 0 when profiling is off (runtime/mprof.go).
    HeapProfileRate,
    /// `allglen`: how many goroutines there are (runtime/proc.go).
    GoroutineCount,
    /// `allgptr`: where they are (runtime/proc.go).
    Goroutines,
    /// `allm`: the list of threads (runtime/proc.go).
    Threads,
    /// `mheap_`: spans and arenas (runtime/mheap.go).
    Heap,
    /// `gcController`: what the collector goes by (runtime/mgcpacer.go).
    GcController,
    /// `memstats`: counters (runtime/mstats.go).
    Statistics,
    /// `gomaxprocs`: how many goroutines run at once (runtime/runtime2.go).
    Processors,
}

/// A function, and which of its references: counted from the first or, below zero, from the last.
type Witness = (&'static str, i32);

impl RuntimeVariable {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::HeapProfile,
        Self::HeapProfileCycle,
        Self::HeapProfileRate,
        Self::GoroutineCount,
        Self::Goroutines,
        Self::Threads,
        Self::Heap,
        Self::GcController,
        Self::Statistics,
        Self::Processors,
    ];

    /// Its name in the runtime's source.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeapProfile => "runtime.mbuckets",
            Self::HeapProfileCycle => "runtime.mProfCycle",
            Self::HeapProfileRate => "runtime.MemProfileRate",
            Self::GoroutineCount => "runtime.allglen",
            Self::Goroutines => "runtime.allgptr",
            Self::Threads => "runtime.allm",
            Self::Heap => "runtime.mheap_",
            Self::GcController => "runtime.gcController",
            Self::Statistics => "runtime.memstats",
            Self::Processors => "runtime.gomaxprocs",
        }
    }

    const fn witnesses(self) -> &'static [Witness] {
        match self {
            Self::HeapProfile => &[("runtime.mProf_FlushLocked", 0), ("runtime.stkbucket", -5)],
            Self::HeapProfileCycle => &[
                ("runtime.mProf_Flush", 0),
                ("runtime.mProf_Free", 0),
                ("runtime.mProf_PostSweep", 0),
            ],
            Self::HeapProfileRate => &[("runtime.allocmcache", -1), ("runtime.profilealloc", -1)],
            Self::GoroutineCount => &[("runtime.forEachGRace", 0), ("runtime.allgadd", -2)],
            Self::Goroutines => &[("runtime.forEachGRace", 1), ("runtime.allgadd", -4)],
            Self::Threads => &[("runtime.schedtrace", -3), ("runtime.mexit", 3)],
            Self::Heap => &[
                ("runtime.(*mcentral).grow", -1),
                ("runtime.(*mcache).allocLarge", 0),
                ("runtime.(*sweepLocked).sweep.func1", 1),
                ("runtime.(*mspan).setUserArenaChunkToFault.func1", 0),
                ("runtime.(*p).destroy.func1", -1),
            ],
            Self::GcController => &[
                ("runtime.(*mcache).releaseAll", -1),
                ("runtime.(*mcache).refill", -1),
                ("runtime.gcTrigger.test", -2),
                ("runtime.(*mspan).setUserArenaChunkToFault", -1),
                ("runtime.gcControllerCommit", 1),
            ],
            Self::Statistics => &[
                ("runtime.(*mcache).releaseAll", -2),
                ("runtime.(*mcache).refill", -6),
                ("runtime.(*mcache).allocLarge", 1),
                ("runtime.(*mspan).setUserArenaChunkToFault", -2),
            ],
            Self::Processors => &[
                ("runtime.procresize", 0),
                ("runtime.(*scavengerState).init.func4", 0),
                ("runtime.gcBgMarkStartWorkers", 4),
            ],
        }
    }
}

/// Where a variable lies, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its address, without load bias.
    pub vaddr: u64,
    /// What each function refers to.
    pub proof: String,
}

/// A variable that could not be located.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// Witnesses that are not as they should be.
    #[error("too few functions that refer to it were recognised: {0}")]
    TooFew(String),
    /// The witnesses name different addresses.
    #[error("the functions that refer to it disagree: {0}")]
    Disagree(String),
}

/// The functions that refer to variables, read once for all of them.
pub struct Witnesses {
    functions: Vec<FunctionCode>,
    /// Where variables lie.
    data: Range<u64>,
}

impl Witnesses {
    /// Reads the code of all witnesses that the executable has.
    ///
    /// # Errors
    /// The tables are broken.
    pub fn read(file: &Blocks, elf: &Elf, go: &GoBinary) -> Result<Self, BinaryError> {
        let witnesses = RuntimeVariable::ALL.iter().flat_map(|variable| variable.witnesses());
        let names: Vec<_> = witnesses.map(|(function, _)| *function).collect();
        let found = go.table.find(file, &names)?;
        let read = |function| FunctionCode::read(file, elf, function);
        let functions = found.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { functions, data: go.table.data() })
    }

    /// Where `variable` lies.
    ///
    /// # Errors
    /// Fewer than two witnesses could be asked, or too many disagree: then nothing is known.
    pub fn locate(&self, variable: RuntimeVariable) -> Result<Located, LocateError> {
        let mut addresses = Vec::new();
        let mut told = Vec::new();
        for (function, reference) in variable.witnesses() {
            match self.ask(function, *reference) {
                Ok(vaddr) => {
                    addresses.push(vaddr);
                    told.push(format!("{function} refers to {vaddr:#x}"));
                }
                Err(why) => told.push(format!("{function} {why}")),
            }
        }
        let proof = told.join(", ");
        if addresses.len() < 2 {
            return Err(LocateError::TooFew(proof));
        }
        let votes = |vaddr: u64| addresses.iter().filter(|other| **other == vaddr).count();
        let elected = addresses.iter().find(|vaddr| votes(**vaddr) > addresses.len() / 2);
        match elected {
            Some(vaddr) => Ok(Located { vaddr: *vaddr, proof }),
            None => Err(LocateError::Disagree(proof)),
        }
    }

    fn ask(&self, function: &str, reference: i32) -> Result<u64, String> {
        let mut named = self.functions.iter().filter(|code| code.function.name == function);
        let code = named.next().ok_or("is not in the executable")?;
        let references = code.data_references().map_err(|why| why.to_string())?;
        let data: Vec<_> =
            references.into_iter().filter(|address| self.data.contains(address)).collect();
        let index = match usize::try_from(reference) {
            Ok(from_first) => Some(from_first),
            Err(_) => data.len().checked_sub(reference.unsigned_abs() as usize),
        };
        let found = index.and_then(|index| data.get(index)).copied();
        found.ok_or_else(|| "refers to fewer variables than it should".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{LocateError, RuntimeVariable, Witnesses};
    use crate::binary::{FuncInfo, FunctionCode, Machine};

    /// A function at `entry` that loads from `addresses`, in this order.
    fn function(name: &str, entry: u64, addresses: &[u64]) -> FunctionCode {
        // mov disp32(%rip),%rax
        let load = |(index, address): (usize, &u64)| {
            let next = entry + 7 * (index as u64 + 1);
            let [a, b, c, d] = (address.wrapping_sub(next) as i32).to_le_bytes();
            [0x48, 0x8b, 0x05, a, b, c, d]
        };
        let bytes = addresses.iter().enumerate().flat_map(load).collect();
        let (name, end, wrapper) = (name.to_owned(), entry + 0x100, false);
        let function = FuncInfo { name, entry, end, wrapper };
        FunctionCode { function, machine: Machine::Amd64, file_offset: 0, bytes }
    }

    const RATE: RuntimeVariable = RuntimeVariable::HeapProfileRate;

    fn rate(first: &[u64], second: &[u64]) -> Result<u64, LocateError> {
        let functions = vec![
            function("runtime.allocmcache", 0x1000, first),
            function("runtime.profilealloc", 0x2000, second),
        ];
        let witnesses = Witnesses { functions, data: 0x8000..0x9000 };
        witnesses.locate(RATE).map(|located| located.vaddr)
    }

    #[test]
    fn one_that_shifted_is_outvoted_by_two() {
        let functions = vec![
            function("runtime.mProf_Flush", 0x1000, &[0x8100]),
            function("runtime.mProf_Free", 0x2000, &[0x8200, 0x8100]),
            function("runtime.mProf_PostSweep", 0x3000, &[0x8100]),
        ];
        let witnesses = Witnesses { functions, data: 0x8000..0x9000 };
        let located = witnesses.locate(RuntimeVariable::HeapProfileCycle).unwrap();
        assert_eq!(located.vaddr, 0x8100);
        assert!(located.proof.contains("runtime.mProf_Free refers to 0x8200"), "{located:?}");
    }

    #[test]
    fn two_functions_agree_on_their_last_reference_to_a_variable() {
        // What lies outside the data, such as a constant, is no variable.
        assert_eq!(rate(&[0x8100, 0x8200, 0x7000], &[0x8200]), Ok(0x8200));
    }

    #[test]
    fn without_agreement_nothing_is_known() {
        assert!(matches!(rate(&[0x8100], &[0x8200]), Err(LocateError::Disagree(_))));
        assert!(matches!(rate(&[0x8100], &[]), Err(LocateError::TooFew(_))));
        let one = vec![function("runtime.allocmcache", 0x1000, &[0x8100])];
        let alone = Witnesses { functions: one, data: 0x8000..0x9000 }.locate(RATE).unwrap_err();
        let why = alone.to_string();
        assert!(why.contains("runtime.profilealloc is not in the executable"), "{why}");
    }
}
