//! How much of the growth of the anonymous RSS the leaking sites explain: judgements and counters in,
//! a share with its interval out.

use super::{Evidence, SiteState, State, Verdict, reasons};
use crate::{
    history::GoroutineSeries,
    model::{
        Contribution, Explained, Pacing, Slope, Trend, explained_by_parts, explained_share,
        heap_headroom, retained_heap_bytes, theil_sen, trend,
    },
};

/// Stacks up to this lie several to a page.
const PAGE_BYTES: u64 = 4096;
/// Of a longer stack, so much has surely been touched: it got its size since half of it was not
/// enough (`newstack` and `copystack`, runtime/stack.go, copy to the end of one twice as long), or
/// since the average goroutine needed more than half (`gcComputeStartingStackSize`).
const TOUCHED_RATIO_MIN: f64 = 0.5;
/// Nothing is collected among stacks: each byte stands for itself.
const NO_ROOM: [f64; 2] = [1.0; 2];

/// What leaking sites add to the live heap.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LeakingBytes {
    /// Bytes per second.
    pub per_s: f64,
    /// The size of each site's contexts was read from memory, with what hangs on them.
    pub all_read: bool,
    contributions: Vec<Contribution>,
}

/// Of the sites that leak by `verdict`.
pub fn leaking_bytes(evidence: &Evidence<'_>, verdict: &Verdict) -> LeakingBytes {
    let mut leaking = LeakingBytes { all_read: true, ..LeakingBytes::default() };
    for (id, site) in verdict.sites.iter().filter(|(_, site)| site.state == SiteState::Leak) {
        let Some(growth) = site.grows() else { continue };
        let holding = evidence.holdings.get(id);
        let read = holding.and_then(|holding| holding.bytes_each());
        let kind = evidence.natures.get(id).copied().unwrap_or_default().kind;
        let each = read.unwrap_or_else(|| retained_heap_bytes(kind)) as f64;
        leaking.per_s += growth.per_s * each;
        leaking.all_read &= holding.is_some_and(|holding| holding.reached_bytes.is_some());
        leaking.contributions.push(Contribution { growth_per_s: growth, bytes_each: [each; 2] });
    }
    leaking
}

/// The share of the growth that `leaking` explains; none without the collector's figures, or where
/// the RSS does not surely grow.
pub fn explained(evidence: &Evidence<'_>, leaking: &LeakingBytes) -> Option<Explained> {
    let resident = resident_trend(evidence)?.slope;
    explained_share(&leaking.contributions, headroom(evidence)?, resident)
}

/// Adds to `verdict`, in which contexts and goroutines are weighed, what the stacks of leaking
/// goroutines explain: their bytes at each reading, without the room that a heap has on top.
pub fn explain_with_stacks(evidence: &Evidence<'_>, mut verdict: Verdict) -> Verdict {
    let stacks = leaking_stacks(evidence, &verdict);
    let (Some(rss), Some(resident)) = (verdict.rss, resident_trend(evidence)) else {
        return verdict;
    };
    if stacks.is_empty() || verdict.state != State::Leak {
        return verdict;
    }
    let with_heap = verdict.contexts_leak;
    let heap = if with_heap { leaking_bytes(evidence, &verdict) } else { LeakingBytes::default() };
    // Without the collector's figures nothing can be said of the heap, nor of both.
    let Some(room) = headroom(evidence).or((!with_heap).then_some(NO_ROOM)) else {
        return verdict;
    };
    let parts = [(heap.contributions.as_slice(), room), (stacks.as_slice(), NO_ROOM)];
    verdict.explained = explained_by_parts(&parts, resident.slope);
    let why = verdict.explained.map(|share| reasons::explained_by_stacks(&rss, share, with_heap));
    verdict.reasons.extend(why);
    verdict
}

/// How the stacks of each leaking `go` statement grow.
fn leaking_stacks(evidence: &Evidence<'_>, verdict: &Verdict) -> Vec<Contribution> {
    let history = evidence.history.goroutines();
    let leaks = verdict.goroutines.iter().filter(|(_, site)| site.state == SiteState::Leak);
    let series = leaks.filter_map(|(id, _)| history.sites().get(id));
    series.filter_map(|series| stack_growth(history.times_s(), series)).collect()
}

fn stack_growth(times_s: &[f64], series: &GoroutineSeries) -> Option<Contribution> {
    let bytes = series.stack_bytes.iter().map(|bytes| *bytes as f64);
    let points: Vec<_> = times_s.iter().copied().zip(bytes).collect();
    let each = series.latest.stack_bytes.checked_div(series.latest.live)?;
    let touched = if each <= PAGE_BYTES { 1.0 } else { TOUCHED_RATIO_MIN };
    Some(Contribution { growth_per_s: theil_sen(&points)?, bytes_each: [touched, 1.0] })
}

/// The share that `live_growth`, of all live heap bytes, explains.
pub fn explained_by_heap(evidence: &Evidence<'_>, live_growth: Slope) -> Option<Explained> {
    let contribution = Contribution { growth_per_s: live_growth, bytes_each: [1.0; 2] };
    let resident = resident_trend(evidence)?.slope;
    explained_share(&[contribution], headroom(evidence)?, resident)
}

/// Resident bytes for each live one, as the collector paced in this window.
pub fn headroom(evidence: &Evidence<'_>) -> Option<[f64; 2]> {
    let points = evidence.history.points().iter();
    let mut read = points.filter_map(|point| Some((point.at_s, Pacing::from(&point.runtime?))));
    let (first_s, first) = read.next()?;
    let (last_s, last) = read.next_back().unwrap_or((first_s, first));
    Some(heap_headroom(&first, &last, last_s - first_s))
}

fn resident_trend(evidence: &Evidence<'_>) -> Option<Trend> {
    trend(&evidence.history.series(|process| process.rss_anon_bytes), 0.0)
}

#[cfg(test)]
#[path = "explained_tests.rs"]
mod tests;
