//! Contexts and who holds them: addresses in; for each, what it is, whether it is still allocated,
//! and what keeps it, out.
//!
//! Source: context/context.go. A context that nobody cancels is kept alive by the children map of
//! its nearest cancellable ancestor, by its timer, or by the goroutine that waits for a foreign
//! parent; otherwise only by the program's own data. Non-goals: whether the latter keep it.

mod ancestors;
mod retained;
mod standings;

use serde::Serialize;

use super::{Allocation, MemoryError, Runtime, Spans, Types, children::child_count};
use crate::binary::layout::contexts::Contexts;

pub use ancestors::{Ancestor, Holder, Interface};
pub use standings::{Holding, Standing};

/// `hasMonotonic` (time/time.go): the seconds are in the first word.
const HAS_MONOTONIC: u64 = 1 << 63;
/// Bits of nanoseconds (`nsecShift`) and of seconds in the first word of a `time.Time`.
const NANOSECOND_BITS: u32 = 30;
const SECONDS_MASK: u64 = (1 << 33) - 1;
/// Seconds from 1885, and from year 1, to 1970 (time/time.go `wallToInternal`, `unixToInternal`).
const YEAR_1885_TO_UNIX_S: i64 = 2_682_288_000;
const YEAR_1_TO_UNIX_S: i64 = 62_135_596_800;

/// A cancellable type of package context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextType {
    /// `cancelCtx`: `WithCancel`.
    Cancel,
    /// `timerCtx`: `WithTimeout`, `WithDeadline`.
    Timer,
    /// `afterFuncCtx`: `AfterFunc`.
    AfterFunc,
}

impl ContextType {
    /// From the name of a pointer to it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "*context.cancelCtx" => Some(Self::Cancel),
            "*context.timerCtx" => Some(Self::Timer),
            "*context.afterFuncCtx" => Some(Self::AfterFunc),
            _ => None,
        }
    }

    /// The name of a pointer to it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "*context.cancelCtx",
            Self::Timer => "*context.timerCtx",
            Self::AfterFunc => "*context.afterFuncCtx",
        }
    }
}

/// A context as it lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ContextObject {
    /// Where.
    pub address: u64,
    /// Its type.
    pub kind: ContextType,
    /// `err` is set.
    pub cancelled: bool,
    /// `Done` was called.
    pub done_made: bool,
    /// Address of the children map; 0 for none.
    pub children_map: u64,
    /// How many children it has.
    pub children: u64,
    /// What it was made from.
    pub parent: Interface,
    /// When its timer fires, nanoseconds since 1970; none without a timer.
    pub deadline_unix_ns: Option<i64>,
    /// Bytes of its size class.
    pub object_bytes: u64,
    /// The last collection is taken into account; otherwise it may be garbage already.
    pub swept: bool,
}

/// Reads contexts out of a process's memory.
pub struct ContextReader<'r, 'a> {
    pub(super) runtime: &'r Runtime<'a>,
    pub(super) types: &'r Types<'r>,
    pub(super) spans: Spans<'r, 'a>,
    pub(super) at: &'static Contexts,
}

impl<'r, 'a> ContextReader<'r, 'a> {
    /// A reader of the memory as it is from now on.
    ///
    /// # Errors
    /// The heap was not located, or the memory can't be read.
    pub fn new(runtime: &'r Runtime<'a>, types: &'r Types<'r>) -> Result<Self, MemoryError> {
        let (spans, at) = (Spans::read(runtime)?, runtime.layout.contexts);
        Ok(Self { runtime, types, spans, at })
    }

    /// The context at `address`; none if no object of that size is allocated there. Of contexts
    /// of one size the `kind` tells them apart; without it their fields do.
    ///
    /// # Errors
    /// Its memory can't be read.
    pub fn object(
        &self,
        address: u64,
        kind: Option<ContextType>,
    ) -> Result<Option<ContextObject>, MemoryError> {
        let Allocation::Allocated { swept, object_bytes, offset: 0 } =
            self.spans.object(address)?
        else {
            return Ok(None);
        };
        let Some(kind) = self.kind(address, object_bytes, kind)? else { return Ok(None) };
        let parent = self.interface(address.wrapping_add(self.at.cancel_ctx.context))?;
        // Every context has a parent; without one this is another object by now.
        if self.types.of_itab(self.runtime, parent.itab)?.is_none() {
            return Ok(None);
        }
        let field = |offset: u64| self.runtime.view.u64(address.wrapping_add(offset));
        let at = &self.at.cancel_ctx;
        let children_map = field(at.children)?;
        Ok(Some(ContextObject {
            address,
            kind,
            cancelled: field(at.err)? != 0,
            done_made: field(at.done)? != 0,
            children_map,
            children: child_count(self.runtime, children_map)?,
            parent,
            deadline_unix_ns: self.deadline(address, kind)?,
            object_bytes,
            swept,
        }))
    }

    /// Whether a context of package context lies at `address`: less to read than [`Self::object`].
    ///
    /// # Errors
    /// Its memory can't be read.
    pub fn is_context(&self, address: u64) -> Result<bool, MemoryError> {
        let Allocation::Allocated { object_bytes, offset: 0, .. } = self.spans.object(address)?
        else {
            return Ok(false);
        };
        if ![self.at.cancel_ctx.bytes, self.at.timer_ctx.bytes].contains(&object_bytes) {
            return Ok(false);
        }
        let itab = self.runtime.view.u64(address.wrapping_add(self.at.cancel_ctx.context))?;
        Ok(self.types.of_itab(self.runtime, itab)?.is_some())
    }

    /// The type of the context at `address`, of `object_bytes`; none if it can't be one.
    fn kind(
        &self,
        address: u64,
        object_bytes: u64,
        known: Option<ContextType>,
    ) -> Result<Option<ContextType>, MemoryError> {
        let small = self.at.cancel_ctx.bytes;
        let large = self.at.timer_ctx.bytes;
        if object_bytes == small {
            let fits = known.is_none_or(|kind| kind == ContextType::Cancel);
            return Ok(fits.then_some(ContextType::Cancel));
        }
        if object_bytes != large {
            return Ok(None);
        }
        Ok(match known {
            Some(ContextType::Cancel) => None,
            Some(kind) => Some(kind),
            None => Some(self.kind_by_fields(address)?),
        })
    }

    /// Of the two types in the larger class, `timerCtx` has a deadline, whose first word is never
    /// small; `afterFuncCtx` has the waiters of a `sync.Once` there, of which there are none or few.
    fn kind_by_fields(&self, address: u64) -> Result<ContextType, MemoryError> {
        let field = |offset: u64| self.runtime.view.u64(address.wrapping_add(offset));
        let at = &self.at.timer_ctx;
        let (timer, wall) = (field(at.timer)?, field(at.deadline_wall)?);
        let once = timer as u32 <= 1;
        let is_timer = wall & HAS_MONOTONIC != 0 || !once;
        Ok(if is_timer { ContextType::Timer } else { ContextType::AfterFunc })
    }

    /// The deadline of a context that a timer holds.
    fn deadline(&self, address: u64, kind: ContextType) -> Result<Option<i64>, MemoryError> {
        let field = |offset: u64| self.runtime.view.u64(address.wrapping_add(offset));
        let at = &self.at.timer_ctx;
        if kind != ContextType::Timer || field(at.timer)? == 0 {
            return Ok(None);
        }
        Ok(Some(unix_ns(field(at.deadline_wall)?, field(at.deadline_ext)?)))
    }

    fn interface(&self, address: u64) -> Result<Interface, MemoryError> {
        let view = &self.runtime.view;
        Ok(Interface { itab: view.u64(address)?, data: view.u64(address.wrapping_add(8))? })
    }
}

/// Nanoseconds since 1970 of a `time.Time` by its first two words (time/time.go).
fn unix_ns(wall: u64, ext: u64) -> i64 {
    let nanoseconds = (wall & ((1 << NANOSECOND_BITS) - 1)) as i64;
    let seconds = if wall & HAS_MONOTONIC != 0 {
        (wall >> NANOSECOND_BITS & SECONDS_MASK) as i64 - YEAR_1885_TO_UNIX_S
    } else {
        (ext as i64).saturating_sub(YEAR_1_TO_UNIX_S)
    };
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

#[cfg(test)]
#[path = "contexts_tests.rs"]
mod tests;
