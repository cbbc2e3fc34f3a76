//! Goroutines in, by the rules of contexts: which `go` statements leave goroutines that never end,
//! and what that adds to a verdict.
//!
//! Contexts and goroutines are weighed by themselves; the graver answer counts. What was there before
//! and never ends is no leak: only those that begin in the window are survivors, and older ones that
//! end are set against them. Non-goals: names.

use std::collections::HashMap;

use super::{
    RssShape, SiteEvidence, SiteJudgement, SiteState, State, Verdict,
    combine::{FLOOR_CONFIDENCE, NO_LEAK_WINDOW_MIN_S, WINDOW_MIN_S},
    goroutine_reasons as reasons,
    site::{self, judge},
};
use crate::{
    history::{GoroutineHistory, GoroutineSeries},
    memory::goroutines::{Creation, Lost},
    snapshot::{ContextNature, GoroutineSurvey, OTHER_SITES},
};

/// Fewer readings than this give no slope.
const READINGS_MIN: usize = 5;
/// The readings must cover this share of the trace.
const COVERED_RATIO: f64 = 0.9;
/// From this share of goroutines that could not be read on, nothing is claimed.
const LOST_RATIO_MAX: f64 = 0.01;
/// The last third of the window must have left at least this share of what a third leaves on average.
const GOING_ON_RATIO: f64 = 0.3;
/// Leaks that have a sentence each: there may be as many as there are `go` statements.
const NAMED_MAX: usize = 3;

/// What is known of the goroutines.
#[derive(Debug, Clone, Copy)]
pub struct GoroutineEvidence<'a> {
    /// The series.
    pub history: &'a GoroutineHistory,
    /// When the survivors began that were not there at first, in seconds since the start.
    pub births_s: &'a HashMap<Creation, Vec<f64>>,
    /// What they do at the end.
    pub surveys: &'a HashMap<Creation, GoroutineSurvey>,
    /// What the process keeps may still be filling up: see `Evidence::is_young`.
    pub process_is_young: bool,
    /// For how long the process had been running when tracing began, in seconds, where known.
    pub uptime_s: Option<f64>,
    /// No context was made or cancelled in the window.
    pub contexts_are_idle: bool,
    /// Seconds from the start of the trace to the last reading of goroutines.
    pub window_s: f64,
    /// Length of the trace in seconds.
    pub trace_s: f64,
}

impl GoroutineEvidence<'_> {
    /// How a leaking site grows in bytes per second: of stacks, which were read from memory.
    pub fn growth_bytes_per_s(&self, site: Creation, judgement: &SiteJudgement) -> f64 {
        let latest = self.history.sites().get(&site).map(|series| &series.latest);
        let each = latest.map_or(0.0, |site| site.stack_bytes as f64 / site.live.max(1) as f64);
        judgement.grows().map_or(0.0, |growth| growth.per_s * each)
    }
}

/// Adds to `verdict` what the goroutines say.
pub fn weigh_goroutines(mut verdict: Verdict, evidence: &GoroutineEvidence<'_>) -> Verdict {
    verdict.goroutines = judge_sites(evidence);
    if evidence.trace_s < WINDOW_MIN_S {
        return verdict;
    }
    if evidence.history.times_s().len() < READINGS_MIN {
        let why = reasons::too_few(evidence.history.readings());
        return nothing_is_claimed(verdict, why);
    }
    if let Some(why) = too_lossy(evidence.history).or_else(|| too_early(evidence)) {
        return nothing_is_claimed(verdict, why);
    }
    verdict.floor_goroutines_per_s = floor_per_s(evidence, &verdict.goroutines);
    let horizons = verdict.goroutines.iter().map(|(_, site)| site.horizon_s);
    verdict.horizon_goroutines_s = horizons.reduce(f64::max);
    let leaking = leaking(&verdict);
    let doubts = reasons::doubts(&verdict.goroutines, evidence.process_is_young);
    let doubt = doubts.iter().map(|(state, _)| *state).max().unwrap_or(State::NoLeak);
    if !leaking.is_empty() {
        some_leak(evidence, &leaking, &mut verdict);
    } else if doubt > State::NoLeak {
        raise(&mut verdict, doubt);
    } else {
        none_leaks(evidence, &mut verdict);
    }
    verdict.reasons.extend(doubts.into_iter().map(|(_, why)| why));
    verdict
}

/// What looks like a leak is at most suspect, and no site is judged.
fn nothing_is_claimed(mut verdict: Verdict, why: String) -> Verdict {
    let is_leak = |state| matches!(state, SiteState::Leak | SiteState::NeverReleased);
    if verdict.goroutines.iter().any(|(_, site)| is_leak(site.state)) {
        raise(&mut verdict, State::Suspect);
    }
    for (_, site) in verdict.goroutines.iter_mut().filter(|(_, site)| is_leak(site.state)) {
        site.state = SiteState::Unresolved;
    }
    verdict.goroutines_untold = true;
    verdict.reasons.push(why);
    verdict
}

/// Why nothing is claimed where the readings end long before the trace.
fn too_early(evidence: &GoroutineEvidence<'_>) -> Option<String> {
    let covered = evidence.window_s >= COVERED_RATIO * evidence.trace_s;
    (!covered).then(|| reasons::too_early(evidence.window_s))
}

/// Those that leak, the fastest first.
fn leaking(verdict: &Verdict) -> Vec<(Creation, SiteJudgement)> {
    let leaks = verdict.goroutines.iter().filter(|(_, site)| site.state == SiteState::Leak);
    let mut leaking: Vec<_> = leaks.copied().collect();
    let per_s = |site: &SiteJudgement| site.grows().map_or(0.0, |growth| growth.per_s);
    leaking.sort_by(|(id, one), (other_id, other)| {
        per_s(other).total_cmp(&per_s(one)).then_with(|| id.cmp(other_id))
    });
    leaking
}

/// Makes the answer at least as grave as `state`, of which nobody can be sure.
fn raise(verdict: &mut Verdict, state: State) {
    if state > verdict.state {
        (verdict.state, verdict.confidence_ratio) = (state, 0.0);
    }
}

fn some_leak(
    evidence: &GoroutineEvidence<'_>,
    leaking: &[(Creation, SiteJudgement)],
    verdict: &mut Verdict,
) {
    let surest = leaking.iter().map(|(_, site)| site.leak_probability).fold(0.0, f64::max);
    let contexts_leak = verdict.state == State::Leak;
    let known = if contexts_leak { verdict.confidence_ratio } else { 0.0 };
    (verdict.state, verdict.confidence_ratio) = (State::Leak, known.max(surest));
    let named = leaking.iter().take(NAMED_MAX);
    let mut why: Vec<_> =
        named.map(|(id, site)| reasons::leak(site, evidence.surveys.get(id))).collect();
    why.extend(reasons::more(leaking.len().saturating_sub(NAMED_MAX)));
    if leaking.iter().any(|(_, site)| site.usual_lifetime_s.is_none()) {
        why.push(reasons::none_ended(leaking.iter().any(|(_, site)| site.is_new)));
    }
    let grow = leaking.iter().map(|(id, site)| evidence.growth_bytes_per_s(*id, site));
    why.push(reasons::stacks(grow.sum()));
    if contexts_leak {
        verdict.reasons.extend(why);
        verdict.reasons.push(reasons::both());
    } else {
        verdict.reasons.splice(0..0, why);
    }
}

fn none_leaks(evidence: &GoroutineEvidence<'_>, verdict: &mut Verdict) {
    let Some(floor) = verdict.floor_goroutines_per_s else { return };
    verdict.reasons.push(reasons::none_leaks(floor));
    // Without contexts these are all the evidence there is, beside the RSS.
    let flat = verdict.rss.is_none_or(|rss| rss.shape != RssShape::Growing);
    let long = evidence.window_s >= NO_LEAK_WINDOW_MIN_S;
    if verdict.state == State::Inconclusive && evidence.contexts_are_idle && flat && long {
        (verdict.state, verdict.confidence_ratio) = (State::NoLeak, FLOOR_CONFIDENCE);
    }
}

/// Why nothing is claimed where too many could not be read.
fn too_lossy(history: &GoroutineHistory) -> Option<String> {
    let Lost { slots_beyond_limit, slots_unreadable, invalid, torn, .. } = *history.lost();
    let lost = [slots_beyond_limit, slots_unreadable, invalid, torn]
        .into_iter()
        .fold(0, u64::saturating_add);
    let live = history.live().last().copied().unwrap_or(0);
    let ratio = lost as f64 / live.saturating_add(lost).max(1) as f64;
    (ratio > LOST_RATIO_MAX).then(|| reasons::lossy(lost, live))
}

fn judge_sites(evidence: &GoroutineEvidence<'_>) -> Vec<(Creation, SiteJudgement)> {
    let known = evidence.history.sites().iter().filter(|(site, _)| **site != OTHER_SITES);
    known.map(|(site, series)| (*site, judge_site(evidence, *site, series))).collect()
}

fn judge_site(
    evidence: &GoroutineEvidence<'_>,
    site: Creation,
    series: &GoroutineSeries,
) -> SiteJudgement {
    let births_s = evidence.births_s.get(&site).map_or(&[][..], Vec::as_slice);
    let mut judgement = judge(&SiteEvidence {
        times_s: evidence.history.times_s(),
        created: &series.started,
        outstanding: &series.live,
        latest: &series.latest.as_site(),
        births_s,
        sample_divisor: 1,
        nature: ContextNature::default(),
        holding: None,
        uptime_s: evidence.uptime_s,
        held_before: series.live.first().copied(),
        released_before: &series.ended_before,
        window_s: evidence.window_s,
    });
    let grows = judgement.growth.is_some_and(|growth| growth.low > 0.0);
    match judgement.state {
        SiteState::Leak | SiteState::NeverReleased if !goes_on(evidence, births_s) => {
            judgement.state = SiteState::Stopped;
        }
        // Of goroutines also the old ones are counted.
        SiteState::Balanced if !grows => judgement.state = SiteState::Clean,
        _ => {}
    }
    judgement
}

/// Whether the last third of the window has left survivors as the others have: those that were there at
/// first, which may be many at once, are not among them.
fn goes_on(evidence: &GoroutineEvidence<'_>, births_s: &[f64]) -> bool {
    let late_s = 2.0 / 3.0 * evidence.window_s;
    let late = births_s.iter().filter(|birth_s| **birth_s >= late_s).count();
    late as f64 >= GOING_ON_RATIO * births_s.len() as f64 / 3.0
}

/// The rate at which any site would have been seen to leak with 95 % probability.
fn floor_per_s(
    evidence: &GoroutineEvidence<'_>,
    sites: &[(Creation, SiteJudgement)],
) -> Option<f64> {
    let floors = sites.iter().map(|(_, site)| site::floor_per_s(site, evidence.window_s, 1));
    floors.collect::<Option<Vec<_>>>()?.into_iter().reduce(f64::max)
}

#[cfg(test)]
#[path = "goroutines_tests.rs"]
mod tests;
