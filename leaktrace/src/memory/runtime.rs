//! A Go runtime in another process's memory: what every reader of it needs.

use std::collections::HashMap;

use super::{MemoryError, View};
use crate::binary::{Machine, RuntimeVariable, layout::Layout};

/// Where the runtime's variables lie in a process.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    known: HashMap<RuntimeVariable, Result<u64, String>>,
}

impl Addresses {
    /// From what was located in the executable, without load bias, or why not; `bias` is added.
    pub fn new(
        located: impl IntoIterator<Item = (RuntimeVariable, Result<u64, String>)>,
        bias: u64,
    ) -> Self {
        let live = |vaddr: Result<u64, String>| vaddr.map(|vaddr| vaddr.wrapping_add(bias));
        let known = located.into_iter().map(|(variable, vaddr)| (variable, live(vaddr)));
        Self { known: known.collect() }
    }

    /// The live address of `variable`.
    ///
    /// # Errors
    /// [`MemoryError::NotLocated`] with the reason.
    pub fn of(&self, variable: RuntimeVariable) -> Result<u64, MemoryError> {
        let name = variable.name();
        let missing = |why: &str| MemoryError::NotLocated { name, why: why.to_owned() };
        let known = self.known.get(&variable).ok_or_else(|| missing("it was not looked for"))?;
        known.as_ref().copied().map_err(|why| missing(why))
    }
}

/// A Go runtime, as one look sees it.
pub struct Runtime<'a> {
    /// The memory.
    pub view: View<'a>,
    /// The offsets of its version.
    pub layout: Layout,
    /// The processor.
    pub machine: Machine,
    /// Its variables.
    pub addresses: &'a Addresses,
}
