//! Goroutines that only the probes saw, since they end before the next reading: counts by site in,
//! rows of the table out.
//!
//! Non-goals: judging; what lives so shortly does not add up.

use std::cmp::Reverse;

use super::{
    goroutine_rates::{RatesFindings, site_section},
    goroutine_sites::{Ages, GoroutineSite, GoroutineSites},
};
use crate::{
    memory::goroutines::Creation,
    snapshot::{OTHER_SITES, SiteRates},
    symbolize::{Symbolizer, is_system_goroutine},
};

/// Rows at most: those that start most.
const ROWS_MAX: usize = 20;
/// At least this share of those that started must have ended.
const ENDED_RATIO: f64 = 0.9;
/// The word for such a site, where others have a verdict.
pub const BRIEF: &str = "brief";

impl GoroutineSites {
    /// Adds sites whose goroutines no reading saw alive, below all others.
    pub(super) fn add_brief(&mut self, found: &RatesFindings<'_>, symbolizer: &mut Symbolizer<'_>) {
        // Beyond so many statements memory lumps them together: then nobody knows who was seen.
        if self.seen.contains(&OTHER_SITES) {
            return;
        }
        let is_new = |site: &(&Creation, &SiteRates)| !self.seen.contains(site.0);
        let mut brief: Vec<_> = found.rates.sites.iter().filter(is_new).collect();
        // One of which no start was seen was there before, and ended before it was read.
        // Those that did not end as they started may be alive still: that is no short life.
        brief.retain(|(site, rates)| {
            let ends = rates.ended.estimate >= ENDED_RATIO * rates.started.estimate;
            rates.started.seen > 0 && site.creator_pc != 0 && ends
        });
        brief.retain(|(site, _)| {
            !is_system_goroutine(&symbolizer.start_function(site.start_pc).function)
        });
        brief.sort_by_key(|(site, rates)| (Reverse(rates.started.estimate as u64), **site));
        self.sites_total += brief.len() as u64;
        let rows = brief.into_iter().take(ROWS_MAX);
        self.sites.extend(rows.map(|(site, rates)| row(*site, rates, found, symbolizer)));
    }
}

fn row(
    site: Creation,
    rates: &SiteRates,
    found: &RatesFindings<'_>,
    symbolizer: &mut Symbolizer<'_>,
) -> GoroutineSite {
    let start = symbolizer.start_function(site.start_pc);
    GoroutineSite {
        id: format!("{:x}-{:x}", site.creator_pc, site.start_pc),
        creation: Some(site),
        creator: symbolizer.creator(site.creator_pc),
        // A wrapper has no name.
        start: Some(start).filter(|start| &*start.file != "?"),
        live: 0,
        live_first: 0,
        growth_per_s: None,
        growth_interval: None,
        started: rates.started.estimate.round() as u64,
        ended: rates.ended.estimate.round() as u64,
        ended_before: 0,
        ages: Ages::default(),
        stack_bytes: 0,
        stack_bytes_each: 0,
        growth_bytes_per_s: None,
        states: Vec::new(),
        stacks: Vec::new(),
        stacks_total: 0,
        usual_lifetime_s: None,
        horizon_s: 0.0,
        old: 0,
        rates: Some(site_section(found, site, symbolizer)),
        advice: Vec::new(),
        verdict: BRIEF,
    }
}
