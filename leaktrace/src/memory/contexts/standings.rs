//! What keeps contexts alive: addresses in; for each, who holds it and what it keeps itself, out.
//!
//! Non-goals: whether the program's own data keep what nobody in package context holds.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::{Ancestor, ContextObject, ContextReader, ContextType, Holder};
use crate::memory::{MemoryError, reach, visit_children};

/// Walks of one holder's map until it is given up: it changes too fast.
const WALKS_MAX: usize = 4;

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
    /// Of these, its share in the map of its holder.
    pub share_bytes: u64,
}

/// A context that a holder would hold: its place in the answer, and itself.
type Claim = (usize, ContextObject);

impl ContextReader<'_, '_> {
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
                return Ok((
                    Standing { address, holding, swept: true, retained_bytes: 0, share_bytes: 0 },
                    None,
                ));
            }
            Err(MemoryError::Unmapped { address: at }) => {
                let holding = unknown(format!("no memory at {at:#x}"));
                return Ok((
                    Standing { address, holding, swept: false, retained_bytes: 0, share_bytes: 0 },
                    None,
                ));
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
        Ok((
            Standing { address, holding, swept: object.swept, retained_bytes, share_bytes: 0 },
            claim,
        ))
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
                standing.share_bytes = share;
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

    /// Heap bytes of each of `contexts` with all that hangs on it and on none of the others; nothing
    /// behind `holders` belongs to them. None if there is too much to look at while `go_on` says so.
    ///
    /// # Errors
    /// The memory is closed, or too much was read.
    pub fn reached_bytes(
        &self,
        contexts: &[u64],
        holders: &HashSet<u64>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<u64>>, MemoryError> {
        let found = reach(self.runtime, &self.spans, contexts, holders, go_on)?;
        Ok(found.complete.then_some(found.exclusive_bytes))
    }
}

fn unknown(why: impl Into<String>) -> Holding {
    Holding::Unknown { why: why.into() }
}
