//! Outcomes in, tables out: what was right, how soon, how exactly, and whether the confidence is.
//!
//! Non-goals: words of the tables ([`super::page`]).

use super::outcome::{How, Outcome, Said};

/// Two-sided 95 % quantile of the normal distribution.
const Z_95: f64 = 1.959_964;
/// Lower bounds of the bins of confidence; narrower where most verdicts are.
const BINS: [f64; 7] = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99];
/// Times to the verdict are of leaks at least so fast, in objects per second.
const TIMED_MIN_PER_S: f64 = 1.0;

/// What an answer was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// The right answer, at the right place.
    Right,
    /// An honest program is called leaky.
    FalseLeak,
    /// An honest program is suspected.
    FalseSuspicion,
    /// A leak is called one at a place that does not leak.
    WrongSite,
    /// A leak above the stated floor was not called one.
    Missed,
    /// Nothing was claimed that could be right or wrong.
    Open,
}

impl Worth {
    /// Of `outcome`.
    pub fn of(outcome: &Outcome) -> Self {
        let suspicion_is_right = outcome.is_leaky && !outcome.is_counted;
        match outcome.said {
            Said::Leak if !outcome.is_leaky => Self::FalseLeak,
            Said::Leak if outcome.accused > 0 => Self::WrongSite,
            _ if outcome.missed > 0 => Self::Missed,
            Said::Leak => Self::Right,
            Said::Suspect if suspicion_is_right => Self::Right,
            Said::Suspect if !outcome.is_leaky => Self::FalseSuspicion,
            Said::NoLeak if !outcome.is_leaky => Self::Right,
            Said::Suspect | Said::NoLeak | Said::Inconclusive => Self::Open,
        }
    }

    /// For the table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::FalseLeak => "**false leak**",
            Self::FalseSuspicion => "false suspicion",
            Self::WrongSite => "**wrong site**",
            Self::Missed => "**missed**",
            Self::Open => "open",
        }
    }
}

/// Whether the benchmark fails for `outcome`: an honest program was called leaky, or a leak above
/// the stated floor was missed or placed wrongly.
pub fn is_failure(outcome: &Outcome) -> bool {
    matches!(Worth::of(outcome), Worth::FalseLeak | Worth::WrongSite | Worth::Missed)
}

/// Whether a verdict that claims something was right: of a leak that it is one and where, of no leak
/// that none is above the floor it states.
fn is_right(outcome: &Outcome) -> Option<bool> {
    match outcome.said {
        Said::Leak => Some(Worth::of(outcome) == Worth::Right),
        Said::NoLeak => Some(outcome.missed == 0),
        Said::Suspect | Said::Inconclusive => None,
    }
}

/// Outcomes that are summed up together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Every one.
    All,
    /// By how it was run.
    Run(How),
    /// Honest ones, and leaks that are counted one by one.
    Counted,
    /// Leaks that show in bytes only or end at a deadline: suspicions count as claims.
    Bytes,
}

impl Group {
    /// In the order of the table.
    pub const EACH: [Self; 6] = [
        Self::All,
        Self::Run(How::Live),
        Self::Run(How::Simulated),
        Self::Run(How::Recorded),
        Self::Counted,
        Self::Bytes,
    ];

    fn has(self, outcome: &Outcome) -> bool {
        match self {
            Self::All => true,
            Self::Run(how) => outcome.how == how,
            Self::Counted => outcome.is_counted || !outcome.is_leaky,
            Self::Bytes => outcome.is_leaky && !outcome.is_counted,
        }
    }
}

/// What a group of outcomes comes to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// How many, and how many of them leak.
    pub runs: usize,
    /// Of these.
    pub leaky: usize,
    /// Honest ones that were called leaky.
    pub false_leaks: usize,
    /// Honest ones that were suspected.
    pub false_suspicions: usize,
    /// Share of the claims of a leak that are of a program that leaks.
    pub precision: Option<f64>,
    /// Share of the leaky programs that were called so.
    pub recall: Option<f64>,
    /// Share of the leaks above the stated floor that were called so.
    pub recall_above_floor: Option<f64>,
    /// Share of the places called leaks that are.
    pub site_accuracy: Option<f64>,
    /// Of |rate / true rate - 1|: median and largest.
    pub rate_error: Option<[f64; 2]>,
    /// Seconds to the verdict of leaks found of 1 object/s or more: median, 90 %, longest.
    pub time_s: Option<[f64; 3]>,
    /// Share that ended by itself.
    pub settled: Option<f64>,
}

/// Sums up those of `group`.
pub fn figures(outcomes: &[Outcome], group: Group) -> Figures {
    let all: Vec<&Outcome> = outcomes.iter().filter(|outcome| group.has(outcome)).collect();
    let count = |is: &dyn Fn(&Outcome) -> bool| all.iter().filter(|outcome| is(outcome)).count();
    let sum = |of: &dyn Fn(&Outcome) -> usize| all.iter().map(|outcome| of(outcome)).sum::<usize>();
    let claims_of_leaks = count(&|outcome| outcome.is_leaky && is_claim(outcome));
    let leaky = count(&|outcome| outcome.is_leaky);
    let (found, missed) = (sum(&|outcome| outcome.found_above), sum(&|outcome| outcome.missed));
    let (placed, accused) = (sum(&|outcome| outcome.found), sum(&|outcome| outcome.accused));
    let errors = sorted(all.iter().filter_map(|outcome| outcome.rate_error));
    Figures {
        runs: all.len(),
        leaky,
        false_leaks: count(&|outcome| Worth::of(outcome) == Worth::FalseLeak),
        false_suspicions: count(&|outcome| Worth::of(outcome) == Worth::FalseSuspicion),
        precision: share(claims_of_leaks, count(&is_claim)),
        recall: share(claims_of_leaks, leaky),
        recall_above_floor: share(found, found + missed),
        site_accuracy: share(placed, placed + accused),
        rate_error: quantile(&errors, 0.5).zip(quantile(&errors, 1.0)).map(|(one, two)| [one, two]),
        time_s: quantiles(&sorted(all.iter().filter_map(|outcome| time_s(outcome)))),
        settled: share(count(&|outcome| outcome.is_settled), all.len()),
    }
}

/// How long the verdict took, of leaks that were found and are fast enough to be timed.
fn time_s(outcome: &Outcome) -> Option<f64> {
    let is_found = outcome.said == Said::Leak && outcome.found > 0;
    (is_found && outcome.leaked_per_s >= TIMED_MIN_PER_S).then_some(outcome.ended_s)
}

/// A leak was claimed; of what shows in bytes only, a suspicion is one.
fn is_claim(outcome: &Outcome) -> bool {
    let is_suspicion = outcome.said == Said::Suspect && outcome.is_leaky && !outcome.is_counted;
    outcome.said == Said::Leak || is_suspicion
}

fn share(part: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The smallest value that at least a share of `q` does not exceed; of two in the middle the lower.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn quantiles(sorted: &[f64]) -> Option<[f64; 3]> {
    Some([quantile(sorted, 0.5)?, quantile(sorted, 0.9)?, quantile(sorted, 1.0)?])
}

/// Verdicts of about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Confidence from here on, up to the next bin.
    pub from: f64,
    /// Where the next begins.
    pub to: f64,
    /// Verdicts.
    pub count: usize,
    /// Their mean confidence.
    pub stated: f64,
    /// Share of them that is right.
    pub right: f64,
    /// Its 95 % interval (Wilson 1927).
    pub interval: [f64; 2],
}

/// How sure verdicts were, and how often right.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The bins that hold a verdict.
    pub bins: Vec<Bin>,
    /// Mean of (confidence - right)^2, where right is 1 or 0 (G. W. Brier, "Verification of forecasts
    /// expressed in terms of probability", Monthly Weather Review 78, 1950).
    pub brier: Option<f64>,
}

/// Calibration of the verdicts that said `said`.
pub fn calibration(outcomes: &[Outcome], said: Said) -> Calibration {
    let claims = outcomes.iter().filter(|outcome| outcome.said == said);
    let claims: Vec<(f64, bool)> =
        claims.filter_map(|outcome| Some((outcome.confidence, is_right(outcome)?))).collect();
    let bounds = BINS.into_iter().zip(BINS.into_iter().skip(1).chain([f64::INFINITY]));
    let error = |(stated, right): &(f64, bool)| (stated - f64::from(u8::from(*right))).powi(2);
    Calibration {
        bins: bounds.filter_map(|bounds| bin(&claims, bounds)).collect(),
        brier: (!claims.is_empty())
            .then(|| claims.iter().map(error).sum::<f64>() / claims.len() as f64),
    }
}

fn bin(claims: &[(f64, bool)], (from, to): (f64, f64)) -> Option<Bin> {
    let inside = claims.iter().filter(|(stated, _)| (from..to).contains(stated));
    let inside: Vec<_> = inside.collect();
    let count = inside.len();
    let right = inside.iter().filter(|(_, right)| *right).count();
    Some(Bin {
        from,
        to: to.min(1.0),
        count,
        stated: inside.iter().map(|(stated, _)| stated).sum::<f64>() / count as f64,
        right: share(right, count)?,
        interval: wilson_interval(right as f64, count as f64),
    })
}

/// 95 % interval of a proportion (E. B. Wilson, JASA 22, 1927).
fn wilson_interval(hits: f64, trials: f64) -> [f64; 2] {
    let (z2, p) = (Z_95 * Z_95, hits / trials);
    let centre = p + z2 / (2.0 * trials);
    let spread = Z_95 * (p * (1.0 - p) / trials + z2 / (4.0 * trials * trials)).sqrt();
    [centre - spread, centre + spread].map(|bound| (bound / (1.0 + z2 / trials)).clamp(0.0, 1.0))
}

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;
