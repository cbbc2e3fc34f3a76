//! Which contexts the program itself can still cancel: their addresses in; what became of their cancel
//! functions out.
//!
//! `WithCancel` and `WithCancelCause` give back a closure: two words, its code and the context
//! (context/context.go; runtime/runtime2.go `funcval`, the captured variable behind it). It lies in the
//! heap, since they are not inlined, and stays as long as anybody has it. Once it is collected, only the
//! end of its parent can end the context. It is called lost only if no allocated object could be it, and
//! left only if one surely is. Non-goals: who has it; constructors that were inlined (their callers need
//! no closure); `AfterFunc`, whose functions are meant to be dropped; deadlines.

use std::collections::HashSet;

use super::{
    ContextReader, ContextType, Holder, MemoryError, Runtime, Spans, span_walk::visit_spans,
    spans::Span, visit_children,
};

/// Bytes of such a closure.
const CLOSURE_BYTES: u64 = 16;
/// Children of a holder that are looked at.
const CHILDREN_MAX: usize = 64;
/// How often the bits of a span are read that is swept meanwhile.
const TRIES: usize = 3;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CancelFuncs {
    /// Contexts to whose cancel function the program still has a closure.
    left: HashSet<u64>,
    /// Those to which some object of that size leads, which may be it or not.
    unclear: HashSet<u64>,
    /// A closure was seen of any context: so they do lie in such spans.
    any: bool,
}

impl CancelFuncs {
    /// Searches the heap for the cancel functions, whose code begins at one of `entries`, of
    /// `contexts`. They must have been uncancelled since `reader` was made, and in their place for two
    /// collections, or at least so long that their constructors have returned. None if nothing was
    /// asked for, or not all of the heap could be searched while `go_on` says so; if a collection ended
    /// since `reader` was made, which may have freed what was there; or if not one such closure was
    /// seen, of whatever context: then they lie elsewhere in this build.
    ///
    /// # Errors
    /// The heap was not located, or the memory is closed.
    pub fn search(
        reader: &ContextReader<'_, '_>,
        entries: &HashSet<u64>,
        contexts: &HashSet<u64>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Self>, MemoryError> {
        if contexts.is_empty() {
            return Ok(None);
        }
        let runtime = reader.runtime;
        runtime.view.refresh();
        let mut found = Self::default();
        let walk = visit_spans(&runtime.view, &reader.spans, go_on, |address, span| {
            if span.object_bytes == CLOSURE_BYTES && !span.pointer_free {
                found.look_into(runtime, (address, span), entries, contexts)?;
            }
            Ok(())
        })?;
        let told = walk.complete && walk.dropped == 0 && found.any && reader.spans.are_current()?;
        Ok(told.then_some(found))
    }

    /// Whether the program can still cancel one of the contexts that were searched for; none where
    /// that can't be told.
    pub fn has(&self, context: u64) -> Option<bool> {
        match (self.left.contains(&context), self.unclear.contains(&context)) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        }
    }

    /// Notes to which of `contexts` the objects of a span lead, which is described at `address`.
    fn look_into(
        &mut self,
        runtime: &Runtime<'_>,
        (address, span): (u64, &Span),
        entries: &HashSet<u64>,
        contexts: &HashSet<u64>,
    ) -> Result<(), MemoryError> {
        let words = runtime.view.words(span.start, span.objects as usize * 2)?;
        let objects = || words.chunks_exact(2).map(|object| (object[0], object[1])).enumerate();
        self.any = self.any || objects().any(|(_, (code, _))| entries.contains(&code));
        let mut hits =
            objects().filter(|(_, (_, captured))| contexts.contains(captured)).peekable();
        if hits.peek().is_none() {
            return Ok(());
        }
        let allocated = allocated(runtime, address)?;
        for (slot, (code, captured)) in hits {
            match allocated.get(slot) {
                Some(false) => {}
                Some(true) if entries.contains(&code) => {
                    self.left.insert(captured);
                }
                Some(true) | None => {
                    self.unclear.insert(captured);
                }
            }
        }
        Ok(())
    }
}

/// Which slots of the span described at `address` are allocated, by the last collection; empty where
/// that is not known: before it is swept garbage counts as allocated, and while it is, its bits may be
/// of either collection.
fn allocated(runtime: &Runtime<'_>, address: u64) -> Result<Vec<bool>, MemoryError> {
    for _ in 0..TRIES {
        runtime.view.refresh();
        let spans = Spans::read(runtime)?;
        let Some(span) = spans.span(address)?.filter(|span| spans.is_swept(span)) else { break };
        let allocated = spans.allocated(&span)?;
        runtime.view.refresh();
        // What was given out meanwhile was not asked for.
        if spans.are_current()? && spans.span(address)?.is_some_and(|now| now.is_swept_as(&span)) {
            return Ok(allocated);
        }
    }
    Ok(Vec::new())
}

/// Of a holder's children, what became of their cancel functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildFuncs {
    /// Children of `WithCancel` and `WithCancelCause` of which it can be told.
    pub looked_at: u64,
    /// Of these, those that only the end of their holder can still end.
    pub lost: u64,
}

impl ChildFuncs {
    /// Counts up what was `found` of `children`.
    pub fn count(found: &CancelFuncs, children: &[u64]) -> Self {
        let has: Vec<bool> = children.iter().filter_map(|child| found.has(*child)).collect();
        let lost = has.iter().filter(|has| !**has).count() as u64;
        Self { looked_at: has.len() as u64, lost }
    }
}

/// Some children of `holder` that were made by `WithCancel` or `WithCancelCause`, and are not
/// cancelled. One that is only just being made is in the map before it has a function.
///
/// # Errors
/// The memory is closed, or too much was read.
pub fn cancellable_children(
    reader: &ContextReader<'_, '_>,
    holder: &Holder,
) -> Result<Vec<u64>, MemoryError> {
    let field = holder.address.wrapping_add(reader.at.cancel_ctx.children);
    let mut entries = Vec::new();
    let walked = reader.runtime.view.u64(field).and_then(|map| {
        visit_children(reader.runtime, map, &mut |entry| {
            entries.push(entry);
            entries.len() < CHILDREN_MAX
        })
    });
    match walked {
        // It changes under the reader; those that were seen are as good.
        Ok(_) | Err(MemoryError::Unmapped { .. } | MemoryError::NotRecognised(_)) => {}
        Err(error) => return Err(error),
    }
    let mut children = Vec::new();
    for entry in entries {
        let name = reader.types.of_itab(reader.runtime, entry.itab)?;
        let kind = name.and_then(|name| ContextType::named(&name));
        if kind != Some(ContextType::Cancel) {
            continue;
        }
        match reader.object(entry.data, kind) {
            Ok(Some(object)) if !object.cancelled => children.push(entry.data),
            Ok(_) | Err(MemoryError::Unmapped { .. } | MemoryError::NotRecognised(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

#[cfg(test)]
#[path = "cancel_funcs_tests.rs"]
mod tests;
