//! All evidence in, the verdict out.

use std::collections::HashMap;

use super::{
    RssGrowth, RssShape, SiteEvidence, SiteJudgement, SiteState, State, Verdict,
    explained::{explained, leaking_bytes},
    past::NEW_WINDOWS,
    reasons,
    site::{TWO_COLLECTIONS_S, floor_per_s, judge, least_floor_per_s},
};
use crate::{
    display::rate,
    history::{History, SiteSeries},
    snapshot::{ContextNature, ContextSample, HoldingSample},
};

/// Shorter windows say nothing at all.
pub const WINDOW_MIN_S: f64 = 10.0;
/// "No leak" from contexts needs this.
pub const NO_LEAK_WINDOW_MIN_S: f64 = 20.0;
/// "No leak" from the RSS alone needs this.
const NO_LEAK_RSS_WINDOW_MIN_S: f64 = 300.0;
/// From this share of lost probe hits on, nothing is claimed with confidence.
const LOSS_RATIO_MAX: f64 = 0.01;
/// How far the RSS of a healthy Go daemon swings within minutes while its heap fills and is
/// collected: seen on a kubelet of 110 MiB.
const COLLECTED_HEAP_NOISE_BYTES: f64 = 10.0 * 1024.0 * 1024.0;
/// The probability with which a leak at the floor would have been seen.
pub const FLOOR_CONFIDENCE: f64 = 0.95;

/// What the verdict is made from.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The series.
    pub history: &'a History,
    /// Births of the tracked survivors by site, in seconds since the start; none when contexts
    /// could not be counted.
    pub births_s: Option<&'a HashMap<u64, Vec<f64>>>,
    /// What the contexts of the sites are by their making, where known.
    pub natures: &'a HashMap<u64, ContextNature>,
    /// What keeps a sample of the outstanding contexts, by site; none of a site of which nothing was
    /// read.
    pub holdings: &'a HashMap<u64, HoldingSample>,
    /// Every way to release a context is probed.
    pub releases_complete: bool,
    /// The heap is garbage-collected: it grows for a while without leaking.
    pub garbage_collected: bool,
    /// Age of the process when tracing began, in seconds, where known.
    pub uptime_at_start_s: Option<f64>,
}

impl Evidence<'_> {
    /// The process may still be filling up what it means to keep: see `NEW_WINDOWS`.
    pub fn is_young(&self) -> bool {
        let young_s = NEW_WINDOWS * self.history.duration_s();
        self.uptime_at_start_s.is_none_or(|uptime_s| uptime_s < young_s)
    }
}

/// Weighs the evidence.
pub fn assess(evidence: &Evidence<'_>) -> Verdict {
    let history = evidence.history;
    let series = history.series(|process| process.rss_anon_bytes);
    let rss_noise_bytes = noise_bytes(evidence, &series);
    let rss = RssGrowth::of(&series, rss_noise_bytes);
    let sites = judge_sites(evidence);
    let mut verdict = Verdict {
        floor_contexts_per_s: floor_contexts_per_s(evidence, &sites),
        horizon_contexts_s: may_leak(&sites).map(|site| site.horizon_s).reduce(f64::max),
        floor_bytes_per_s: rss.map(|rss| rss.floor_bytes_per_s),
        sites,
        rss,
        rss_noise_bytes,
        ..Verdict::default()
    };
    if history.duration_s() < WINDOW_MIN_S {
        verdict.reasons.push(format!(
            "the window of {:.1} s is too short to tell growth from noise: trace for at least 20 s",
            history.duration_s()
        ));
        return verdict;
    }
    match history.contexts() {
        Some(contexts) if contexts.probe_hits > 0 => from_contexts(evidence, &mut verdict),
        Some(_) => {
            verdict.reasons.push("no context was created or cancelled in the window".to_owned());
            from_rss(history, &mut verdict);
        }
        None => from_rss(history, &mut verdict),
    }
    if let Some(contexts) = history.contexts() {
        weaken_by_loss(contexts, &mut verdict);
    }
    verdict.contexts_leak = verdict.state == State::Leak;
    verdict
}

fn judge_sites(evidence: &Evidence<'_>) -> Vec<(u64, SiteJudgement)> {
    let (Some(births), Some(contexts)) = (evidence.births_s, evidence.history.contexts()) else {
        return Vec::new();
    };
    let history = evidence.history;
    let times_s = history.times_s();
    let released_before: Vec<u64> =
        history.points().iter().map(|point| point.released_untracked).collect();
    let known = history.sites().iter().filter(|(site, _)| !ContextSample::is_overflow(**site));
    let judged = known.map(|(site, series)| {
        let judgement = judge(&SiteEvidence {
            times_s: &times_s,
            created: &series.created,
            outstanding: &series.outstanding,
            latest: &series.latest,
            births_s: births.get(site).map_or(&[], Vec::as_slice),
            sample_divisor: contexts.sample_divisor,
            nature: evidence.natures.get(site).copied().unwrap_or_default(),
            holding: evidence.holdings.get(site),
            uptime_s: evidence.uptime_at_start_s,
            held_before: held_before(evidence, *site, series),
            released_before: &released_before,
            window_s: history.duration_s(),
        });
        (*site, judgement)
    });
    judged.collect()
}

/// Children of the ancestor that holds most of the site's contexts, but for those that the site made
/// in the window; of others there may be some among them.
fn held_before(evidence: &Evidence<'_>, site: u64, series: &SiteSeries) -> Option<u64> {
    let holder = evidence.holdings.get(&site)?.holder.as_ref()?;
    Some(holder.children.saturating_sub(series.latest.outstanding))
}

/// By how much the RSS of the process may swing without meaning anything. A heap that has not been
/// collected twice may double without leaking (GOGC=100).
fn noise_bytes(evidence: &Evidence<'_>, series: &[(f64, f64)]) -> f64 {
    let first = series.first().map_or(0.0, |(_, bytes)| *bytes);
    match evidence.garbage_collected {
        false => 0.0,
        true if evidence.history.duration_s() < TWO_COLLECTIONS_S => {
            first.max(COLLECTED_HEAP_NOISE_BYTES)
        }
        true => COLLECTED_HEAP_NOISE_BYTES,
    }
}

/// The sites whose contexts something may hold.
fn may_leak(sites: &[(u64, SiteJudgement)]) -> impl Iterator<Item = &SiteJudgement> {
    let unheld = [SiteState::Collectable, SiteState::HeldByOthers, SiteState::KeptByOthers];
    sites.iter().map(|(_, site)| site).filter(move |site| !unheld.contains(&site.state))
}

/// The rate at which any site would have been seen to leak with 95 % probability; none where nothing was
/// made.
fn floor_contexts_per_s(evidence: &Evidence<'_>, sites: &[(u64, SiteJudgement)]) -> Option<f64> {
    let divisor = evidence.history.contexts()?.sample_divisor;
    let window_s = evidence.history.duration_s();
    let least = (!sites.is_empty()).then(|| least_floor_per_s(window_s, divisor))?;
    let floors = may_leak(sites).map(|site| floor_per_s(site, window_s, divisor));
    Some(floors.collect::<Option<Vec<_>>>()?.into_iter().fold(least, f64::max))
}

fn from_contexts(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    if !evidence.releases_complete {
        verdict.reasons.push(
            "some releases can't be seen in this build, so what looks outstanding may have been \
             released"
                .to_owned(),
        );
        withdraw_sites(verdict);
        return from_rss(evidence.history, verdict);
    }
    let doubts = reasons::doubts(&verdict.sites);
    let leaking: Vec<_> =
        verdict.sites.iter().filter(|(_, site)| site.state == SiteState::Leak).copied().collect();
    if leaking.is_empty() {
        no_site_leaks(evidence, &doubts, verdict);
    } else {
        some_site_leaks(evidence, &leaking, verdict);
    }
    verdict.reasons.extend(doubts.into_iter().map(|(_, why)| why));
    verdict.reasons.extend(reasons::doubtful_holder(&verdict.sites, evidence.holdings));
    if verdict.state >= State::Suspect && evidence.holdings.is_empty() {
        verdict.reasons.push(
            "whether an ancestor further up holds these contexts is not looked up (pinned: \
             unknown): those that only their creator knew are freed by the garbage collector and \
             cost nothing"
                .to_owned(),
        );
    }
}

fn some_site_leaks(
    evidence: &Evidence<'_>,
    leaking: &[(u64, SiteJudgement)],
    verdict: &mut Verdict,
) {
    verdict.state = State::Leak;
    let leak = |(id, site): &(u64, SiteJudgement)| reasons::leak(site, evidence.holdings.get(id));
    let surest = leaking.iter().map(|(_, site)| site.leak_probability).fold(0.0, f64::max);
    verdict.confidence_ratio = surest;
    verdict.reasons.extend(leaking.iter().map(leak));
    verdict.reasons.extend(reasons::without_releases(evidence, leaking));
    let bytes = leaking_bytes(evidence, verdict);
    verdict.explained = explained(evidence, &bytes);
    verdict.reasons.push(reasons::rss_beside_leak(verdict, &bytes));
}

fn no_site_leaks(evidence: &Evidence<'_>, doubts: &[(State, String)], verdict: &mut Verdict) {
    verdict.state = doubts.iter().map(|(state, _)| *state).max().unwrap_or(State::NoLeak);
    let growing = verdict.rss.filter(|rss| rss.shape == RssShape::Growing);
    if let Some(rss) = growing {
        verdict.state = verdict.state.max(State::Suspect);
        verdict
            .reasons
            .push(format!("{}, and no context site explains it", reasons::grows_by(&rss)));
    }
    if verdict.state != State::NoLeak {
        return;
    }
    if evidence.history.duration_s() < NO_LEAK_WINDOW_MIN_S {
        verdict.state = State::Inconclusive;
        verdict.reasons.push("nothing grows, but the window is shorter than 20 s".to_owned());
        return;
    }
    let Some(floor) = verdict.floor_contexts_per_s else {
        verdict.state = State::Inconclusive;
        verdict.reasons.push(
            "no site has a usual lifetime that is known and short enough for this window"
                .to_owned(),
        );
        return;
    };
    verdict.confidence_ratio = FLOOR_CONFIDENCE;
    verdict.reasons.push(format!(
        "no site keeps contexts beyond their usual lifetime; a steady leak of {} contexts/s at one site \
         would have been seen with 95 % probability",
        rate(floor)
    ));
    if verdict.rss.is_some_and(|rss| rss.shape == RssShape::WarmUp) {
        verdict.reasons.push("the RSS grew, but slows down: warm-up".to_owned());
    }
}

/// Without contexts only the RSS speaks: it can raise a suspicion, never name a leak.
fn from_rss(history: &History, verdict: &mut Verdict) {
    let Some(rss) = verdict.rss else {
        verdict.reasons.push("the RSS could not be read often enough for a slope".to_owned());
        return;
    };
    match rss.shape {
        RssShape::Growing => {
            verdict.state = State::Suspect;
            verdict.reasons.push(format!(
                "{}; whether that ends is not known: what made it is under growth",
                reasons::grows_by(&rss)
            ));
        }
        RssShape::WarmUp => {
            verdict.reasons.push("the RSS grew, but slows down: warm-up".to_owned());
        }
        RssShape::Lately => verdict
            .reasons
            .push("the RSS has begun to grow only lately: trace for longer".to_owned()),
        RssShape::Steps | RssShape::Restarted => {
            verdict
                .reasons
                .push("the RSS moved in jumps, and does not grow between them".to_owned());
        }
        RssShape::Flat => {
            if history.duration_s() >= NO_LEAK_RSS_WINDOW_MIN_S {
                (verdict.state, verdict.confidence_ratio) = (State::NoLeak, FLOOR_CONFIDENCE);
            }
            // By how much it could have grown unseen is said with the series.
            verdict.reasons.push("the RSS does not grow beyond its own swing".to_owned());
        }
    }
}

/// No site is judged by counts that are not whole, nor is there a floor.
fn withdraw_sites(verdict: &mut Verdict) {
    let is_claim = |state| matches!(state, SiteState::Leak | SiteState::NeverReleased);
    for (_, site) in verdict.sites.iter_mut().filter(|(_, site)| is_claim(site.state)) {
        site.state = SiteState::Unresolved;
    }
    (verdict.floor_contexts_per_s, verdict.horizon_contexts_s) = (None, None);
}

/// A lossy trace claims nothing with confidence.
fn weaken_by_loss(contexts: &ContextSample, verdict: &mut Verdict) {
    let lost: u64 = contexts.lost.iter().map(|(_, count)| count).sum();
    if lost == 0 {
        return;
    }
    let ratio = lost as f64 / contexts.probe_hits.max(1) as f64;
    verdict.reasons.insert(0, format!("{lost} of {} events were lost", contexts.probe_hits));
    verdict.confidence_ratio *= 1.0 - ratio.min(1.0);
    if ratio > LOSS_RATIO_MAX {
        withdraw_sites(verdict);
        verdict.confidence_ratio = 0.0;
        verdict.state = match verdict.state {
            State::Leak => State::Suspect,
            State::NoLeak => State::Inconclusive,
            other => other,
        };
    }
}

#[cfg(test)]
#[path = "combine_tests.rs"]
mod tests;
