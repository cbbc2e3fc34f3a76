//! How long things live when many still do: ages and ends in, the share that lives on out.
//!
//! What `never_released` is compared with where ages are known exactly. Non-goals: lifetimes known to a
//! factor of two only.

use super::{Share, proportion::exact_share};

/// Two-sided 95 % quantile of the normal distribution.
const Z_95: f64 = 1.959_964;

/// One life, or several of the same age.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Life {
    /// Age in seconds at its end, or by now.
    pub age_s: f64,
    /// It has ended; otherwise it lived when last seen (censored on the right).
    pub ended: bool,
    /// The age at which it came into sight: 0 for what was seen being born. What ended earlier
    /// would not have been seen (truncated on the left).
    pub entered_s: f64,
    /// So many lives; 0 or more.
    pub weight: f64,
}

impl Life {
    /// Of one that was seen being born.
    pub const fn new(age_s: f64, ended: bool) -> Self {
        Self { age_s, ended, entered_s: 0.0, weight: 1.0 }
    }

    fn is_sound(&self) -> bool {
        self.age_s.is_finite() && self.entered_s.is_finite() && self.weight > 0.0
    }
}

/// The share that lives on, after an age at which some ended.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    age_s: f64,
    share: Share,
}

/// Which share lives on at which age.
#[derive(Debug, Clone, PartialEq)]
pub struct Survival {
    steps: Vec<Step>,
    lives: f64,
    ended: Vec<(f64, f64)>,
    oldest_s: f64,
}

impl Survival {
    /// E. L. Kaplan and P. Meier, "Nonparametric estimation from incomplete observations", JASA 53
    /// (1958); variance by M. Greenwood (1926), interval of log(-log S), which stays within 0 and
    /// 1: J. D. Kalbfleisch and R. L. Prentice, "The statistical analysis of failure time data"
    /// (1980), 1.3. Where that has no width (none ended, or all), the binomial one of Clopper and
    /// Pearson takes its place. What is not finite is left out.
    pub fn of(lives: &[Life]) -> Self {
        let mut lives: Vec<_> = lives.iter().filter(|life| life.is_sound()).copied().collect();
        lives.sort_by(|one, other| one.age_s.total_cmp(&other.age_s));
        let mut survival = Self {
            steps: Vec::new(),
            lives: lives.iter().map(|life| life.weight).sum(),
            ended: ends(&lives),
            oldest_s: lives.last().map_or(0.0, |life| life.age_s),
        };
        let mut entries: Vec<_> = lives.iter().map(|life| (life.entered_s, life.weight)).collect();
        entries.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut ratio, mut greenwood) = (1.0, 0.0);
        let (mut entered, mut left) = (Running::new(&entries), 0.0);
        let mut gone = lives.iter().peekable();
        for &(age_s, ends) in &survival.ended {
            while let Some(life) = gone.next_if(|life| life.age_s < age_s) {
                left += life.weight;
            }
            // What ends at birth was there to end.
            let at_risk = entered.below(age_s.max(f64::MIN_POSITIVE)) - left;
            ratio *= (1.0 - ends / at_risk).max(0.0);
            greenwood += ends / (at_risk * (at_risk - ends));
            let share = log_log(ratio, greenwood, survival.lives);
            survival.steps.push(Step { age_s, share });
        }
        survival
    }

    /// The share that lives on at this age.
    pub fn at(&self, age_s: f64) -> Share {
        let after = self.steps.partition_point(|step| step.age_s <= age_s);
        let step = after.checked_sub(1).and_then(|index| self.steps.get(index));
        step.map_or_else(|| exact_share(self.lives, self.lives), |step| step.share)
    }

    /// The share that never ended as far as was seen: the level at the greatest age. It is the
    /// share that never ends only if lives that end were watched long enough. Its product with the number of
    /// lives is the sum over the survivors of S(oldest) / S(age), a young one counting with the
    /// chance that it is one of those: B. Efron, "The two sample problem with censored data",
    /// Proc. 5th Berkeley Symp. 4 (1967).
    pub fn plateau(&self) -> Share {
        self.at(f64::INFINITY)
    }
}

/// How many ended at each age at which any did; `lives` by age.
fn ends(lives: &[Life]) -> Vec<(f64, f64)> {
    let mut ends: Vec<(f64, f64)> = Vec::new();
    for life in lives.iter().filter(|life| life.ended) {
        match ends.last_mut() {
            Some((age_s, weight)) if *age_s == life.age_s => *weight += life.weight,
            _ => ends.push((life.age_s, life.weight)),
        }
    }
    ends
}

/// The weight of what entered below an age that only rises.
struct Running<'a> {
    ahead: &'a [(f64, f64)],
    sum: f64,
}

impl<'a> Running<'a> {
    const fn new(entries: &'a [(f64, f64)]) -> Self {
        Self { ahead: entries, sum: 0.0 }
    }

    fn below(&mut self, age_s: f64) -> f64 {
        let count = self.ahead.partition_point(|entry| entry.0 < age_s);
        let (passed, ahead) = self.ahead.split_at(count);
        self.sum += passed.iter().map(|entry| entry.1).sum::<f64>();
        self.ahead = ahead;
        self.sum
    }
}

/// The interval of log(-log S).
fn log_log(ratio: f64, greenwood: f64, lives: f64) -> Share {
    if ratio <= 0.0 || ratio >= 1.0 {
        return Share { ratio, ..exact_share(ratio * lives, lives) };
    }
    let log = ratio.ln();
    let spread = Z_95 * greenwood.sqrt() / log.abs();
    let end = |sign: f64| (log * (sign * spread).exp()).exp();
    Share { ratio, low: end(1.0), high: end(-1.0) }
}
