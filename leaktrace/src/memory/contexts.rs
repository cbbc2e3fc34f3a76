//! Contexts and who holds them: addresses in; for each, what it is, whether it is still allocated,
//! and what keeps it, out.
//!
//! Source: context/context.go. A context that nobody cancels is kept alive by the children map of
//! its nearest cancellable ancestor, by its timer, or by the goroutine that waits for a foreign
//! parent; otherwise only by the program's own data. Non-goals: whether the latter keep it.

mod ancestors;
mod retained;

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::{
    Allocation, MemoryError, Runtime, Spans, Types, children::child_count, visit_children,
};
use crate::binary::layout::contexts::Contexts;

pub use ancestors::{Ancestor, Holder, Interface};

/// Walks of one holder's map until it is given up: it changes too fast.
const WALKS_MAX: usize = 4;
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

/// What keeps a context alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// The children map of an ancestor, until one of them is cancelled.
    Held {
        /// The ancestor.
        holder: Holder,
    },
    /// Its timer, until then.
    HeldUntil {
        /// Nanoseconds since 1970.
        deadline_unix_ns: i64,
    },
    /// Nothing in package context: it is garbage, unless the program's own data keep it.
    Nobody,
    /// It was cancelled, and holds on to nothing.
    Cancelled,
    /// It was collected, or the address has been given to something else since.
    Freed,
    /// It can't be told.
    Unknown {
        /// Why.
        why: String,
    },
}

/// The answer for one context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The address asked for.
    pub address: u64,
    /// What keeps it.
    pub holding: Holding,
    /// The last collection is taken into account: it is not garbage that waits to be swept.
    pub swept: bool,
    /// Heap bytes that it keeps by itself; 0 once it is freed.
    pub retained_bytes: u64,
}

/// Reads contexts out of a process's memory.
pub struct ContextReader<'r, 'a> {
    pub(super) runtime: &'r Runtime<'a>,
    pub(super) types: &'r Types<'r>,
    pub(super) spans: Spans<'r, 'a>,
    pub(super) at: &'static Contexts,
}

/// A context that a holder would hold: its place in the answer, and itself.
type Claim = (usize, ContextObject);

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

    /// What `asked` are and who holds them, in the same order. Each holder's map is walked once.
    ///
    /// # Errors
    /// The memory is closed, or too much was read; a part that can't be read is `Unknown`.
    pub fn standings(
        &self,
        asked: &[(u64, Option<ContextType>)],
    ) -> Result<Vec<Standing>, MemoryError> {
        let mut standings = Vec::with_capacity(asked.len());
        let mut claims: HashMap<u64, (Holder, Vec<Claim>)> = HashMap::new();
        for (address, kind) in asked {
            let index = standings.len();
            let read = self.object(*address, *kind);
            let (standing, claim) = self.settle(*address, read)?;
            standings.push(standing);
            if let Some((object, holder)) = claim {
                let (_, members) = claims.entry(holder.address).or_insert((holder, Vec::new()));
                members.push((index, object));
            }
        }
        let mut claims: Vec<_> = claims.into_values().collect();
        claims.sort_by_key(|(holder, _)| holder.address);
        for (holder, members) in claims {
            self.settle_claims(&holder, &members, &mut standings)?;
        }
        Ok(standings)
    }

    /// What can be said without the holder's map, and who that would be.
    fn settle(
        &self,
        address: u64,
        read: Result<Option<ContextObject>, MemoryError>,
    ) -> Result<(Standing, Option<(ContextObject, Holder)>), MemoryError> {
        let object = match read {
            Ok(Some(object)) => object,
            Ok(None) => {
                let holding = Holding::Freed;
                return Ok((Standing { address, holding, swept: true, retained_bytes: 0 }, None));
            }
            Err(MemoryError::Unmapped { address: at }) => {
                let holding = unknown(format!("no memory at {at:#x}"));
                return Ok((Standing { address, holding, swept: false, retained_bytes: 0 }, None));
            }
            Err(error) => return Err(error),
        };
        let mut claim = None;
        let holding = match (object.cancelled, object.deadline_unix_ns) {
            (true, _) => Holding::Cancelled,
            (false, Some(deadline_unix_ns)) => Holding::HeldUntil { deadline_unix_ns },
            (false, None) => match self.ancestor(object.parent)? {
                Ancestor::Holder(holder) => {
                    claim = Some((object, holder));
                    unknown("its holder's children were not read")
                }
                Ancestor::Root { .. } => Holding::Nobody,
                Ancestor::Unknown { why } => Holding::Unknown { why },
            },
        };
        let retained_bytes = self.retained_bytes(&object)?;
        Ok((Standing { address, holding, swept: object.swept, retained_bytes }, claim))
    }

    /// Looks for the claimed contexts in the holder's map.
    fn settle_claims(
        &self,
        holder: &Holder,
        claims: &[Claim],
        standings: &mut [Standing],
    ) -> Result<(), MemoryError> {
        let (found, complete, share) = self.members(holder, claims)?;
        for (index, object) in claims {
            let Some(standing) = standings.get_mut(*index) else { continue };
            standing.holding = if found.contains(&object.address) {
                standing.retained_bytes = standing.retained_bytes.saturating_add(share);
                Holding::Held { holder: holder.clone() }
            } else if !complete {
                unknown("the children of its holder change too fast")
            } else {
                self.left_alone(object)?
            };
        }
        Ok(())
    }

    /// What a context is that its holder does not hold: it may have been cancelled meanwhile.
    fn left_alone(&self, object: &ContextObject) -> Result<Holding, MemoryError> {
        match self.object(object.address, Some(object.kind)) {
            Ok(None) => Ok(Holding::Freed),
            Ok(Some(now)) if now.cancelled => Ok(Holding::Cancelled),
            Ok(Some(_)) => Ok(Holding::Nobody),
            Err(MemoryError::Unmapped { address }) => {
                Ok(unknown(format!("no memory at {address:#x}")))
            }
            Err(error) => Err(error),
        }
    }

    /// Which of `claims` are in the holder's map, whether all of it was seen, and the bytes of the
    /// map for each child.
    fn members(
        &self,
        holder: &Holder,
        claims: &[Claim],
    ) -> Result<(HashSet<u64>, bool, u64), MemoryError> {
        let wanted: HashSet<u64> = claims.iter().map(|(_, object)| object.address).collect();
        let mut found = HashSet::new();
        let mut share = 0;
        let field = holder.address.wrapping_add(self.at.cancel_ctx.children);
        for _ in 0..WALKS_MAX {
            let walked = self.runtime.view.u64(field).and_then(|map| {
                visit_children(self.runtime, map, &mut |entry| {
                    if wanted.contains(&entry.data) {
                        found.insert(entry.data);
                    }
                    true
                })
            });
            let walk = match walked {
                Ok(walk) => walk,
                // It changes under the reader.
                Err(MemoryError::Unmapped { .. } | MemoryError::NotRecognised(_)) => continue,
                Err(error) => return Err(error),
            };
            share = walk.bytes / walk.count.max(1);
            if walk.complete || found.len() == wanted.len() {
                return Ok((found, true, share));
            }
        }
        Ok((found, false, share))
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

fn unknown(why: impl Into<String>) -> Holding {
    Holding::Unknown { why: why.into() }
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
