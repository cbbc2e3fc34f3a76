//! The nearest ancestor that can be cancelled: a parent in, the holder or why there is none out.

use serde::Serialize;

use super::{ContextReader, ContextType};
use crate::memory::{MemoryError, children::child_count};

/// Parents without children of their own that are passed at most: values, mostly. Requests carry
/// tens; a chain that grows by one with each use is a leak by itself.
const PARENTS_MAX: usize = 4096;

/// An interface value: two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// The itab; 0 for nil.
    pub itab: u64,
    /// Where the value lies.
    pub data: u64,
}

/// A context that keeps its descendants alive until it is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Where it lies.
    pub address: u64,
    /// Its type in Go.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// How many children it has.
    pub children: u64,
}

/// The end of a chain of parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ancestor {
    /// It can be cancelled, and holds its children until then.
    Holder(Holder),
    /// It can never be cancelled, and holds nobody.
    Root {
        /// Its type in Go; `nil` for none.
        #[serde(rename = "type")]
        type_name: String,
    },
    /// It can't be told.
    Unknown {
        /// Why.
        why: String,
    },
}

impl ContextReader<'_, '_> {
    /// The nearest ancestor that can be cancelled, from `parent` on.
    ///
    /// # Errors
    /// The memory is closed, or too much was read.
    pub fn ancestor(&self, parent: Interface) -> Result<Ancestor, MemoryError> {
        match self.follow(parent) {
            Err(MemoryError::Unmapped { address }) => {
                Ok(Ancestor::Unknown { why: format!("no memory at {address:#x}") })
            }
            other => other,
        }
    }

    fn follow(&self, mut parent: Interface) -> Result<Ancestor, MemoryError> {
        for _ in 0..PARENTS_MAX {
            if parent.itab == 0 {
                return Ok(Ancestor::Root { type_name: "nil".to_owned() });
            }
            let Some(name) = self.types.of_itab(self.runtime, parent.itab)? else {
                return Ok(Ancestor::Unknown { why: "a parent of unknown type".to_owned() });
            };
            if let Some(kind) = ContextType::named(&name) {
                return self.holder(parent.data, kind);
            }
            let next = match &*name {
                "*context.valueCtx" => self.at.value_ctx.context,
                "context.stopCtx" => self.at.stop_ctx.context,
                "context.backgroundCtx" | "context.todoCtx" | "context.withoutCancelCtx" => {
                    return Ok(Ancestor::Root { type_name: name.as_ref().to_owned() });
                }
                _ => return Ok(foreign(&name)),
            };
            parent = self.interface(parent.data.wrapping_add(next))?;
        }
        Ok(Ancestor::Unknown { why: format!("more than {PARENTS_MAX} parents without a holder") })
    }

    fn holder(&self, address: u64, kind: ContextType) -> Result<Ancestor, MemoryError> {
        let field = address.wrapping_add(self.at.cancel_ctx.children);
        let map = self.runtime.view.u64(field)?;
        let children = child_count(self.runtime, map)?;
        Ok(Ancestor::Holder(Holder { address, type_name: kind.name(), children }))
    }
}

/// A goroutine waits for such a parent, unless its own `Done` is that of a context within.
fn foreign(name: &str) -> Ancestor {
    Ancestor::Unknown { why: format!("its parent is a {name}, of the program's own") }
}
