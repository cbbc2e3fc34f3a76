//! Which contexts the program itself can still cancel: their addresses in; those to which a cancel
//! function is left, out.
//!
//! `WithCancel` and its like give back a closure: two words, its code and the context
//! (context/context.go; runtime/runtime2.go `funcval`, the captured variable behind it). It lies in the
//! heap, since they are not inlined, and stays as long as anybody has it. Once it is collected, only the
//! end of its parent can end the context. Any object of two words of which the second is the context
//! counts as one, so that a function is never taken for lost that is not. Non-goals: who has it;
//! constructors that were inlined (their callers need no closure); `AfterFunc`, whose functions are
//! meant to be dropped.

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

/// Which of `contexts`, all of which have been there for two collections, can still be cancelled by
/// their own function. None if not all of the heap could be searched while `go_on` says so.
///
/// # Errors
/// The heap was not located, or the memory is closed.
pub fn with_cancel_funcs(
    reader: &ContextReader<'_, '_>,
    contexts: &HashSet<u64>,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<HashSet<u64>>, MemoryError> {
    let mut found = HashSet::new();
    if contexts.is_empty() {
        return Ok(Some(found));
    }
    let runtime = reader.runtime;
    let walk = visit_spans(&runtime.view, &reader.spans, go_on, |address, span| {
        if span.object_bytes != CLOSURE_BYTES || span.pointer_free {
            return Ok(());
        }
        let hits = hits(runtime, span, contexts)?;
        if !hits.is_empty() {
            let allocated = allocated(runtime, address)?;
            // What is not known may be allocated.
            let is_left = |index: usize| allocated.get(index).copied().unwrap_or(true);
            let left = hits.into_iter().filter(|(index, _)| is_left(*index));
            found.extend(left.map(|(_, context)| context));
        }
        Ok(())
    })?;
    Ok((walk.complete && walk.dropped == 0).then_some(found))
}

/// Of a holder's children, what became of their cancel functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildFuncs {
    /// Children of `WithCancel` and its like that were looked at.
    pub looked_at: u64,
    /// Of these, those that only the end of their holder can still end. One that is just being made has
    /// none yet.
    pub lost: u64,
}

/// What became of the cancel functions of some children of each of `holders`; none as
/// [`with_cancel_funcs`].
///
/// # Errors
/// As [`with_cancel_funcs`].
pub fn child_funcs(
    reader: &ContextReader<'_, '_>,
    holders: &[Holder],
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Vec<ChildFuncs>>, MemoryError> {
    let children = holders.iter().map(|holder| children(reader, holder));
    let children = children.collect::<Result<Vec<_>, _>>()?;
    let all = children.iter().flatten().copied().collect();
    let found = with_cancel_funcs(reader, &all, go_on)?;
    let of_found = |found: HashSet<u64>| {
        let of_holder = |children: &Vec<u64>| ChildFuncs {
            looked_at: children.len() as u64,
            lost: children.iter().filter(|child| !found.contains(child)).count() as u64,
        };
        children.iter().map(of_holder).collect()
    };
    Ok(found.map(of_found))
}

/// Some children of `holder` that were made by `WithCancel` or its like, and are not cancelled.
fn children(reader: &ContextReader<'_, '_>, holder: &Holder) -> Result<Vec<u64>, MemoryError> {
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
            Ok(_) | Err(MemoryError::Unmapped { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

/// The slots of `span` whose objects would lead to one of `contexts`, and to which.
fn hits(
    runtime: &Runtime<'_>,
    span: &Span,
    contexts: &HashSet<u64>,
) -> Result<Vec<(usize, u64)>, MemoryError> {
    let words = runtime.view.words(span.start, span.objects as usize * 2)?;
    let captured = words.chunks_exact(2).map(|object| object[1]);
    Ok(captured.enumerate().filter(|(_, captured)| contexts.contains(captured)).collect())
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
        if spans.are_current()? {
            return Ok(allocated);
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::with_cancel_funcs;
    use crate::memory::{
        ContextReader,
        testing::{HEAP_OBJECT, Made, SWEEPGEN},
    };

    const CONTEXTS: [u64; 4] = [0x1000, 0x2000, 0x3000, 0x4000];

    /// Page 0 has closures, of which the first four slots are taken; page 1 objects without pointers
    /// of the same size, page 2 larger ones.
    fn made(mut made: Made) -> Made {
        made.span(0, 16, 4, &[]);
        made.span(1, 16, 4, &[]);
        made.without_pointers(1);
        made.span(2, 32, 4, &[]);
        let closure = |slot: u64| HEAP_OBJECT + slot * 16;
        made.memory.put_words(closure(1), &[0x40_1000, CONTEXTS[0]]);
        // Freed, but not given out again.
        made.memory.put_words(closure(6), &[0x40_1000, CONTEXTS[1]]);
        made.memory.put_words(HEAP_OBJECT + 0x2000, &[0x40_1000, CONTEXTS[2]]);
        made.memory.put_words(HEAP_OBJECT + 0x4000, &[0x40_1000, CONTEXTS[3]]);
        made
    }

    fn found(made: Made, go_on: bool) -> Option<Vec<u64>> {
        let (memory, addresses) = made.finish();
        let (runtime, types) = (memory.runtime(&addresses), memory.types());
        let reader = ContextReader::new(&runtime, &types).unwrap();
        let found = with_cancel_funcs(&reader, &HashSet::from(CONTEXTS), &|| go_on).unwrap();
        found.map(|found| {
            let mut found: Vec<_> = found.into_iter().collect();
            found.sort_unstable();
            found
        })
    }

    #[test]
    fn a_function_is_left_as_long_as_its_closure_is_allocated() {
        for heap in Made::every_version() {
            assert_eq!(found(made(heap), true).unwrap(), [CONTEXTS[0]]);
        }
    }

    #[test]
    fn half_a_search_tells_nothing() {
        for heap in Made::every_version() {
            assert_eq!(found(made(heap), false), None);
        }
        for heap in Made::every_version() {
            let mut heap = made(heap);
            let start = Made::span_address(0) + heap.layout.heap.span.start_addr;
            heap.memory.put_words(start, &[0x1234_0000]);
            assert_eq!(found(heap, true), None);
        }
    }

    #[test]
    fn in_a_span_that_is_not_swept_everything_may_be_allocated() {
        for heap in Made::every_version() {
            let mut heap = made(heap);
            heap.sweepgen(0, SWEEPGEN - 2);
            assert_eq!(found(heap, true).unwrap(), CONTEXTS[..2]);
        }
    }
}
