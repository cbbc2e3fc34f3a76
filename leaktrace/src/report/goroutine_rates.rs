//! Starts and ends of goroutines as the probes saw them: counts in, rates and creators by site out.
//!
//! Non-goals: which goroutines are alive.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::Serialize;

use super::goroutine_sites::GoroutineSites;
use crate::{
    binary::Frame,
    snapshot::{CreatorStack, GoroutineRates, Rate},
    symbolize::Symbolizer,
};

/// Call chains shown of a site: those that start most.
const CREATORS_MAX: usize = 4;

/// What the probes counted, all sites together.
#[derive(Debug, Clone, Serialize)]
pub struct RatesSection {
    /// counted, or sampled in time with the share that was observed.
    pub how: String,
    /// Since the probes were there.
    pub seconds: f64,
    /// Goroutines started per second.
    pub started_per_s: f64,
    /// Goroutines ended per second.
    pub ended_per_s: f64,
    /// Of the two, those whose site is not known.
    pub unplaced_per_s: f64,
    /// Runs of the probes.
    pub probe_hits: u64,
    /// What the target lost to them, of one CPU: hits times their measured cost.
    pub cost_ratio: f64,
    /// Why nothing is counted any more.
    pub failure: Option<String>,
    /// Losses by reason.
    pub lost: BTreeMap<String, u64>,
}

/// What the probes counted at one site.
#[derive(Debug, Clone, Serialize)]
pub struct SiteRatesSection {
    /// Started per second.
    pub started_per_s: f64,
    /// Standard error of it; 0 when all were counted.
    pub started_error_per_s: f64,
    /// Ended per second, also those that were there before.
    pub ended_per_s: f64,
    /// Standard error of it.
    pub ended_error_per_s: f64,
    /// Who starts them, most first.
    pub creators: Vec<Creator>,
}

/// A call chain that starts goroutines.
#[derive(Debug, Clone, Serialize)]
pub struct Creator {
    /// Started per second.
    pub started_per_s: f64,
    /// The `go` statement first.
    pub frames: Vec<Frame>,
}

impl GoroutineSites {
    /// Adds what the probes counted in `seconds`.
    pub fn add_rates(
        &mut self,
        rates: &GoroutineRates,
        seconds: f64,
        symbolizer: &mut Symbolizer<'_>,
    ) {
        let per_s = |value: f64| if seconds > 0.0 { value / seconds } else { 0.0 };
        let sum = |of: fn(&crate::snapshot::SiteRates) -> Rate| {
            let placed: f64 = rates.sites.values().map(|site| of(site).estimate).sum();
            per_s(placed + of(&rates.unplaced).estimate)
        };
        let unplaced = rates.unplaced.started.estimate + rates.unplaced.ended.estimate;
        self.rates = Some(RatesSection {
            how: how(rates),
            seconds,
            started_per_s: sum(|site| site.started),
            ended_per_s: sum(|site| site.ended),
            unplaced_per_s: per_s(unplaced),
            probe_hits: rates.probe_hits,
            cost_ratio: per_s(rates.cost_ns as f64 / 1e9),
            failure: rates.failure.clone(),
            lost: rates.lost.iter().map(|(why, n)| (why.name().to_owned(), *n)).collect(),
        });
        for site in &mut self.sites {
            let Some(creation) = site.creation else { continue };
            let counted = rates.site(creation);
            let chains = rates.stacks.values().filter(|stack| stack.site == creation);
            site.rates = Some(SiteRatesSection {
                started_per_s: per_s(counted.started.estimate),
                started_error_per_s: per_s(counted.started.error),
                ended_per_s: per_s(counted.ended.estimate),
                ended_error_per_s: per_s(counted.ended.error),
                creators: creators(chains, seconds, symbolizer),
            });
        }
    }
}

fn how(rates: &GoroutineRates) -> String {
    if rates.failure.is_some() {
        return "counted until that failed".to_owned();
    }
    rates.sampling.filter(|sampling| sampling.windows > 0).map_or_else(
        || match rates.sampling {
            None => "counted".to_owned(),
            Some(_) => "counted until the budget was spent".to_owned(),
        },
        |sampling| {
            let share = sampling.observed_ns as f64 / sampling.span_ns.max(1) as f64 * 100.0;
            format!(
                "beyond the budget sampled in {} windows, {share:.1} % of that time",
                sampling.windows
            )
        },
    )
}

fn creators<'s>(
    chains: impl Iterator<Item = &'s CreatorStack>,
    seconds: f64,
    symbolizer: &mut Symbolizer<'_>,
) -> Vec<Creator> {
    let mut chains: Vec<_> = chains.collect();
    chains.sort_by_key(|stack| (Reverse(stack.started.seen), &stack.pcs));
    let creator = |stack: &&CreatorStack| Creator {
        started_per_s: if seconds > 0.0 { stack.started.estimate / seconds } else { 0.0 },
        frames: symbolizer.frames(&stack.pcs),
    };
    chains.iter().take(CREATORS_MAX).map(creator).collect()
}
