//! How much of the growth of the anonymous RSS the leaking sites explain: judgements and counters in,
//! a share with its interval out.

use super::{Evidence, SiteState, Verdict};
use crate::model::{
    Contribution, Explained, Pacing, Slope, Trend, explained_share, heap_headroom,
    retained_heap_bytes, trend,
};

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
