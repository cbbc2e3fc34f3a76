//! All evidence in, the verdict out.

use std::collections::HashMap;

use leaktrace_common::LIFETIME_BUCKETS;

use super::{
    RssGrowth, RssShape, SiteEvidence, SiteJudgement, SiteState, State, Verdict,
    site::{OLD_MIN, judge},
};
use crate::{
    history::History,
    model::{Slope, poisson_mean_for_at_least, quantile_ceiling_s, retained_heap_bytes},
    snapshot::{ContextKind, ContextSample},
    units::bytes,
};

/// Shorter windows say nothing at all.
const WINDOW_MIN_S: f64 = 10.0;
/// "No leak" from contexts needs this.
const NO_LEAK_WINDOW_MIN_S: f64 = 20.0;
/// "No leak" from the RSS alone needs this.
const NO_LEAK_RSS_WINDOW_MIN_S: f64 = 300.0;
/// Releases from which a usual lifetime of the whole process is taken.
const PROCESS_RELEASES_MIN: u64 = 50;
/// From this share of lost probe hits on, nothing is claimed with confidence.
const LOSS_RATIO_MAX: f64 = 0.01;
/// What leaves old contexts must show in the process's balance of creations and releases, which
/// also counts the releases of contexts made before tracing: at least this share of it.
const BALANCE_RATIO: f64 = 0.5;
/// How far the RSS of a healthy Go daemon swings within minutes while its heap fills and is
/// collected: seen on a kubelet of 110 MiB.
const COLLECTED_HEAP_NOISE_BYTES: f64 = 10.0 * 1024.0 * 1024.0;
/// The probability with which a leak at the floor would have been seen.
const FLOOR_CONFIDENCE: f64 = 0.95;

/// What the verdict is made from.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The series.
    pub history: &'a History,
    /// Births of the tracked survivors by site, in seconds since the start; none when contexts
    /// could not be counted.
    pub births_s: Option<&'a HashMap<u64, Vec<f64>>>,
    /// Kinds of the sites, where known.
    pub kinds: &'a HashMap<u64, ContextKind>,
    /// Every way to release a context is probed.
    pub releases_complete: bool,
    /// The heap is garbage-collected: it grows for a while without leaking.
    pub garbage_collected: bool,
}

/// Weighs the evidence.
pub fn assess(evidence: &Evidence<'_>) -> Verdict {
    let history = evidence.history;
    let noise_bytes = if evidence.garbage_collected { COLLECTED_HEAP_NOISE_BYTES } else { 0.0 };
    let rss = RssGrowth::of(&history.series(|process| process.rss_anon_bytes), noise_bytes);
    let sites = judge_sites(evidence);
    let mut verdict = Verdict {
        state: State::Inconclusive,
        confidence_ratio: 0.0,
        floor_contexts_per_s: floor_contexts_per_s(evidence, &sites),
        floor_bytes_per_s: rss.map(|rss| rss.floor_bytes_per_s),
        reasons: Vec::new(),
        sites,
        rss,
    };
    if history.duration_s() < WINDOW_MIN_S {
        verdict.reasons.push(format!(
            "the window of {:.1} s is too short to tell growth from noise: trace for at least 20 s",
            history.duration_s()
        ));
        return verdict;
    }
    match history.contexts() {
        Some(contexts) if contexts.probe_hits > 0 => {
            from_contexts(evidence, contexts, &mut verdict)
        }
        Some(_) => {
            verdict.reasons.push("no context was created or cancelled in the window".to_owned());
            from_rss(history, &mut verdict);
        }
        None => from_rss(history, &mut verdict),
    }
    if let Some(contexts) = history.contexts() {
        weaken_by_loss(contexts, &mut verdict);
    }
    verdict
}

fn judge_sites(evidence: &Evidence<'_>) -> Vec<(u64, SiteJudgement)> {
    let (Some(births), Some(contexts)) = (evidence.births_s, evidence.history.contexts()) else {
        return Vec::new();
    };
    let history = evidence.history;
    let times_s = history.times_s();
    let process_lifetime_s = process_lifetime_s(history);
    let judged = history.sites().iter().map(|(site, series)| {
        let judgement = judge(&SiteEvidence {
            times_s: &times_s,
            created: &series.created,
            outstanding: &series.outstanding,
            latest: &series.latest,
            births_s: births.get(site).map_or(&[], Vec::as_slice),
            sample_divisor: contexts.sample_divisor,
            kind: evidence.kinds.get(site).copied().unwrap_or_default(),
            process_lifetime_s,
            window_s: history.duration_s(),
        });
        (*site, judgement)
    });
    judged.collect()
}

/// The usual lifetime over all sites, if enough was released.
fn process_lifetime_s(history: &History) -> Option<f64> {
    let mut sum = [0; LIFETIME_BUCKETS];
    for series in history.sites().values() {
        sum.iter_mut().zip(series.latest.lifetimes).for_each(|(sum, count)| *sum += count);
    }
    let enough = sum.iter().sum::<u64>() >= PROCESS_RELEASES_MIN;
    enough.then(|| quantile_ceiling_s(&sum, 0.99)).flatten()
}

/// The rate at which a site would have left `OLD_MIN` old contexts with 95 % probability.
fn floor_contexts_per_s(evidence: &Evidence<'_>, sites: &[(u64, SiteJudgement)]) -> Option<f64> {
    let judged = sites.iter().filter(|(_, site)| site.state != SiteState::Collectable);
    let longest = judged.map(|(_, site)| site.horizon_s).reduce(f64::max)?;
    let effective_s = evidence.history.duration_s() - longest;
    (effective_s > 0.0).then(|| poisson_mean_for_at_least(OLD_MIN) / effective_s)
}

fn from_contexts(evidence: &Evidence<'_>, contexts: &ContextSample, verdict: &mut Verdict) {
    if !evidence.releases_complete {
        verdict.reasons.push(
            "some releases can't be seen in this build, so what looks outstanding may have been \
             released"
                .to_owned(),
        );
        return from_rss(evidence.history, verdict);
    }
    let with = |state| verdict.sites.iter().filter(move |(_, site)| site.state == state);
    let leaking: Vec<_> = with(SiteState::Leak).map(|(_, site)| *site).collect();
    let doubtful: Vec<_> = [
        (SiteState::BoundedByDeadline, "grows, but its contexts end at their deadline"),
        (SiteState::ReleasedLate, "grows, but many of its old contexts are released in the end"),
        (SiteState::Unresolved, "grows, but its contexts usually live too long for this window"),
        (SiteState::Collectable, "grows, but the garbage collector frees its contexts"),
    ]
    .into_iter()
    .filter_map(|(state, why)| {
        let count = with(state).count();
        (count > 0).then(|| (state, format!("{count} site(s): {why}")))
    })
    .collect();
    if leaking.is_empty() {
        no_site_leaks(evidence, &doubtful, verdict);
    } else {
        some_site_leaks(evidence, contexts, &leaking, verdict);
    }
    verdict.reasons.extend(doubtful.into_iter().map(|(_, why)| why));
    verdict.reasons.push(
        "whether anybody holds a context is not looked up: one that only its creator knew is \
         freed by the garbage collector and costs nothing (pinned: unknown)"
            .to_owned(),
    );
}

fn some_site_leaks(
    evidence: &Evidence<'_>,
    contexts: &ContextSample,
    leaking: &[SiteJudgement],
    verdict: &mut Verdict,
) {
    let old: u64 = leaking.iter().map(|site| site.old).sum();
    let surest = leaking.iter().map(|site| site.never_released_ratio).fold(0.0, f64::max);
    verdict.state = State::Leak;
    verdict.confidence_ratio = surest;
    verdict.reasons.push(format!(
        "{old} contexts of {} site(s) have outlived {:.1} s, far more than is usual there, and \
         more come in every part of the window",
        leaking.len(),
        leaking.iter().map(|site| site.horizon_s).fold(0.0, f64::max),
    ));
    let balance = balance(evidence.history, contexts);
    if (balance as f64) < BALANCE_RATIO * old as f64 {
        verdict.state = State::Suspect;
        verdict.confidence_ratio = 0.0;
        verdict.reasons.push(format!(
            "but the process released {} contexts made before tracing began, so that its total \
             only changed by {balance}",
            contexts.released_untracked
        ));
    }
    verdict.reasons.push(rss_beside_leak(evidence, verdict));
}

/// Creations less everything released or collected, whenever it was made.
fn balance(history: &History, contexts: &ContextSample) -> i64 {
    let outstanding: u64 = history.sites().values().map(|s| s.latest.outstanding).sum();
    outstanding as i64 - contexts.released_untracked as i64
}

/// How the RSS fits to the leaking contexts.
fn rss_beside_leak(evidence: &Evidence<'_>, verdict: &Verdict) -> String {
    let bytes_per_s = verdict
        .sites
        .iter()
        .filter(|(_, site)| site.state == SiteState::Leak)
        .map(|(id, site)| {
            let kind = evidence.kinds.get(id).copied().unwrap_or_default();
            site.growth.map_or(0.0, |g| g.per_s) * retained_heap_bytes(kind) as f64
        })
        .sum::<f64>();
    match verdict.rss {
        None => "the RSS could not be read often enough for a slope".to_owned(),
        Some(rss) if rss.floor_bytes_per_s > bytes_per_s && rss.shape == RssShape::Flat => format!(
            "the RSS can't confirm it: growth below {}/s is lost in its noise in this window",
            bytes(rss.floor_bytes_per_s)
        ),
        Some(rss) if rss.shape == RssShape::Flat => {
            "the RSS does not grow yet: the heap still has room".to_owned()
        }
        Some(rss) => grows_by(&rss),
    }
}

fn no_site_leaks(evidence: &Evidence<'_>, doubtful: &[(SiteState, String)], verdict: &mut Verdict) {
    let worst = doubtful.iter().map(|(state, _)| match state {
        SiteState::BoundedByDeadline | SiteState::ReleasedLate => State::Suspect,
        SiteState::Unresolved => State::Inconclusive,
        _ => State::NoLeak,
    });
    verdict.state = worst.max().unwrap_or(State::NoLeak);
    let growing = verdict.rss.filter(|rss| rss.shape == RssShape::Growing);
    if let Some(rss) = growing {
        verdict.state = verdict.state.max(State::Suspect);
        verdict.reasons.push(format!("{}, and no context site explains it", grows_by(&rss)));
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
        "no site keeps contexts beyond their usual lifetime; a leak of {floor:.2} contexts/s at \
         one site would have been seen with 95 % probability"
    ));
    if verdict.rss.is_some_and(|rss| rss.shape == RssShape::WarmUp) {
        verdict.reasons.push("the RSS grew, but slows down: warm-up".to_owned());
    }
}

fn grows_by(rss: &RssGrowth) -> String {
    let Slope { per_s, low, high } = rss.slope;
    format!("anonymous RSS grows by {}/s ({} to {})", bytes(per_s), bytes(low), bytes(high))
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
            verdict.reasons.push(format!("{}; where is not known", grows_by(&rss)));
        }
        RssShape::WarmUp => {
            verdict.reasons.push("the RSS grew, but slows down: warm-up".to_owned());
        }
        RssShape::Flat => {
            if history.duration_s() >= NO_LEAK_RSS_WINDOW_MIN_S {
                verdict.state = State::NoLeak;
            }
            verdict.reasons.push(format!(
                "the RSS does not grow by more than {}/s, which this window could tell",
                bytes(rss.floor_bytes_per_s)
            ));
        }
    }
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
