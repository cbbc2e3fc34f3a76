//! Starts and ends of goroutines as the probes saw them: counts in, rates and creators by site out,
//! and how far they agree with the goroutines that memory showed.
//!
//! Non-goals: which goroutines are alive.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::Serialize;

use super::goroutine_sites::GoroutineSites;
use crate::{
    binary::Frame,
    memory::goroutines::Creation,
    snapshot::{CreatorStack, GoroutineRates, Rate, Reconciled, SiteChange, SiteRates},
    symbolize::Symbolizer,
};

/// Call chains shown of a site: those that start most.
const CREATORS_MAX: usize = 4;
/// Under which reason differences are counted among the losses.
const UNRECONCILED: &str = "unreconciled";

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
    /// Whether the living changed as starts and ends say, all sites together; null where that could
    /// not be compared: while time is sampled, or in a trace of few readings.
    pub reconciled: Option<ReconciledSection>,
    /// Losses by reason; `unreconciled` are starts or ends that memory shows and no probe saw.
    pub lost: BTreeMap<String, u64>,
}

/// How far starts and ends agree with the goroutines that memory showed, over the same span.
#[derive(Debug, Clone, Serialize)]
pub struct ReconciledSection {
    /// From the first comparison to the last.
    pub seconds: f64,
    /// By how much the living changed.
    #[serde(flatten)]
    pub change: ChangeSection,
    /// Of what is unexplained, events that were lost, at least.
    pub lost: u64,
}

/// By how much the living changed, seen from both sides.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ChangeSection {
    /// By the goroutines that memory showed.
    pub by_memory: i64,
    /// By the probes: starts less ends.
    pub by_probes: i64,
    /// Starts and ends while memory was read, which may be in one of both only.
    pub in_between: u64,
    /// By how much more both differ. Of a site: positive where more are alive than the probes say;
    /// of all: the sum of the sites, without signs.
    pub unexplained: i64,
}

impl From<SiteChange> for ChangeSection {
    fn from(change: SiteChange) -> Self {
        let SiteChange { of_living, of_probes, in_between, unexplained } = change;
        Self { by_memory: of_living, by_probes: of_probes, in_between, unexplained }
    }
}

/// What the probes counted.
#[derive(Debug, Clone, Copy)]
pub struct RatesFindings<'a> {
    /// Starts and ends.
    pub rates: &'a GoroutineRates,
    /// Since the probes were there.
    pub seconds: f64,
    /// How far they agree with memory, and over how many seconds that was compared.
    pub reconciled: Option<&'a (Reconciled, f64)>,
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
    /// Whether its living changed as they say; null where that could not be compared.
    pub reconciled: Option<ChangeSection>,
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
    /// Adds what the probes counted, also at sites where no reading saw a goroutine.
    pub fn add_rates(&mut self, found: &RatesFindings<'_>, symbolizer: &mut Symbolizer<'_>) {
        self.rates = Some(section(found));
        for site in &mut self.sites {
            let Some(creation) = site.creation else { continue };
            site.rates = Some(site_section(found, creation, symbolizer));
        }
        self.add_brief(found, symbolizer);
    }
}

/// All sites together.
fn section(found: &RatesFindings<'_>) -> RatesSection {
    let RatesFindings { rates, seconds, reconciled } = *found;
    let per_s = |value: f64| found.per_s(value);
    let sum = |of: fn(&SiteRates) -> Rate| {
        let placed: f64 = rates.sites.values().map(|site| of(site).estimate).sum();
        per_s(placed + of(&rates.unplaced).estimate)
    };
    let unplaced = rates.unplaced.started.estimate + rates.unplaced.ended.estimate;
    let mut lost: BTreeMap<_, _> =
        rates.lost.iter().map(|(why, n)| (why.name().to_owned(), *n)).collect();
    let unreconciled = reconciled.map(|(found, _)| found.lost).filter(|lost| *lost > 0);
    lost.extend(unreconciled.map(|count| (UNRECONCILED.to_owned(), count)));
    RatesSection {
        how: how(rates),
        seconds,
        started_per_s: sum(|site| site.started),
        ended_per_s: sum(|site| site.ended),
        unplaced_per_s: per_s(unplaced),
        probe_hits: rates.probe_hits,
        cost_ratio: per_s(rates.cost_ns as f64 / 1e9),
        failure: rates.failure.clone(),
        reconciled: reconciled.map(|(found, seconds)| ReconciledSection {
            seconds: *seconds,
            change: found.total.into(),
            lost: found.lost,
        }),
        lost,
    }
}

/// One site.
pub(super) fn site_section(
    found: &RatesFindings<'_>,
    creation: Creation,
    symbolizer: &mut Symbolizer<'_>,
) -> SiteRatesSection {
    let counted = found.rates.site(creation);
    let chains = found.rates.stacks.values().filter(|stack| stack.site == creation);
    let change = found.reconciled.and_then(|(found, _)| found.sites.get(&creation));
    SiteRatesSection {
        started_per_s: found.per_s(counted.started.estimate),
        started_error_per_s: found.per_s(counted.started.error),
        ended_per_s: found.per_s(counted.ended.estimate),
        ended_error_per_s: found.per_s(counted.ended.error),
        reconciled: change.map(|change| (*change).into()),
        creators: creators(chains, found, symbolizer),
    }
}

impl RatesFindings<'_> {
    fn per_s(&self, value: f64) -> f64 {
        if self.seconds > 0.0 { value / self.seconds } else { 0.0 }
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
    found: &RatesFindings<'_>,
    symbolizer: &mut Symbolizer<'_>,
) -> Vec<Creator> {
    let mut chains: Vec<_> = chains.collect();
    chains.sort_by_key(|stack| (Reverse(stack.started.seen), &stack.pcs));
    let creator = |stack: &&CreatorStack| Creator {
        started_per_s: found.per_s(stack.started.estimate),
        frames: symbolizer.frames(&stack.pcs),
    };
    chains.iter().take(CREATORS_MAX).map(creator).collect()
}
