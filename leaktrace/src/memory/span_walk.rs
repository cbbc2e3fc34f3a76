//! All spans of a heap, one after the other: the heap's list in, spans with objects out.
//!
//! Non-goals: what lies in them.

use super::{MemoryError, Spans, View, spans::Span};

/// Spans whose addresses are read at once.
const SPANS_PER_READ: u64 = 1024;
/// Spans in all: 1 TiB of pages of 8 KiB.
const SPANS_MAX: u64 = 1 << 27;

/// How far the walk came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SpanWalk {
    /// Spans of the heap.
    pub spans: u64,
    /// Of these, those that were visited, with or without objects.
    pub seen: u64,
    /// Those that could not be read.
    pub dropped: u64,
    /// All were visited.
    pub complete: bool,
}

/// Visits the spans, each with where it is described, until all are seen or `go_on` gives `false`, which
/// is asked from time to time.
///
/// # Errors
/// The list can't be read at all, or the memory is closed. A span that can't be read is dropped, also
/// where `visit` finds that out; with too much read it ends early.
pub(super) fn visit_spans(
    view: &View<'_>,
    spans: &Spans<'_, '_>,
    go_on: &dyn Fn() -> bool,
    mut visit: impl FnMut(u64, &Span) -> Result<(), MemoryError>,
) -> Result<SpanWalk, MemoryError> {
    let (_, count) = spans.list()?;
    let mut walk = SpanWalk { spans: count, ..SpanWalk::default() };
    let mut next = 0;
    while next < count.min(SPANS_MAX) && go_on() {
        let piece = (count - next).min(SPANS_PER_READ);
        let (list, _) = spans.list()?;
        let visited = match view.words(list.wrapping_add(next * 8), piece as usize) {
            Ok(addresses) => visit_piece(spans, &addresses, &mut walk, &mut visit),
            Err(MemoryError::Unmapped { .. }) => {
                walk.dropped += piece;
                Ok(())
            }
            Err(error) => Err(error),
        };
        match visited {
            // What was found so far is as true.
            Err(MemoryError::TooMuch) => return Ok(walk),
            other => other?,
        }
        next += piece;
    }
    walk.complete = next == count;
    Ok(walk)
}

/// Visits the spans described at `addresses`.
fn visit_piece(
    spans: &Spans<'_, '_>,
    addresses: &[u64],
    walk: &mut SpanWalk,
    visit: &mut impl FnMut(u64, &Span) -> Result<(), MemoryError>,
) -> Result<(), MemoryError> {
    for address in addresses {
        walk.seen += 1;
        let span = spans.span(*address);
        match span.and_then(|span| span.map_or(Ok(()), |span| visit(*address, &span))) {
            Err(MemoryError::Unmapped { .. }) => walk.dropped += 1,
            other => other?,
        }
    }
    Ok(())
}
