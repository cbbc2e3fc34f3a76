//! When a trace has told enough: verdicts over time in, whether to stop out.
//!
//! A trace that is stopped when it looks good is biased towards what it looked like: so an answer must
//! stand for a while, and the window must be able to see the leak that is looked for. Non-goals:
//! answers that nobody can be sure of, which are never settled.

use std::collections::BTreeMap;

use super::{SiteJudgement, SiteState, State, Verdict};
use crate::model::Slope;

/// An answer must have been the same for so long,
const STANDS_S: f64 = 10.0;
/// and this share of the window,
const STANDS_WINDOWS: f64 = 1.0 / 6.0;
/// at so many readings.
const READINGS_MIN: u32 = 4;
/// While a horizon moves by more than this share, lives longer than those seen so far come to their
/// ends, and what looks leaked may be among them.
const HORIZON_MOVES: f64 = 0.15;
/// How far the bounds of the rate of all that leaks may be from it. On programs of known truth the error
/// of a settled rate is at most about half of that (docs/accuracy.md).
const RATE_ERROR_RATIO: f64 = 0.08;
/// Less sure answers are not settled.
const CONFIDENCE_MIN: f64 = 0.9;
/// No leak is never settled before: a process does some things once a minute.
const NO_LEAK_WINDOW_MIN_S: f64 = 60.0;

/// Beside a leak that is so many times as fast nobody looks for a slower one, unless that was asked for.
const LEAKS_THAT_MATTER_RATIO: f64 = 0.01;

/// The slowest leak that a trace is to see before it stops by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// Contexts or goroutines per second.
    pub objects_per_s: f64,
    /// Bytes per second, of the Go heap or of memory beside it; none where they do not matter.
    pub bytes_per_s: Option<f64>,
    /// Of contexts or goroutines that are found to leak, a smaller share need not be seen elsewhere.
    pub share_of_leak: f64,
}

impl Goal {
    /// The contexts of kubernetes#139823 leak at 0.55 a second on its own node.
    pub const DEFAULT: Self =
        Self { objects_per_s: 0.5, bytes_per_s: None, share_of_leak: LEAKS_THAT_MATTER_RATIO };

    /// Whether a window with these floors would have shown such a leak. Where no objects are counted,
    /// only bytes can be asked for; goroutines that could not be judged leave the question open.
    fn is_reached(&self, verdict: &Verdict) -> bool {
        let kinds = [
            (verdict.floor_contexts_per_s, leaked_per_s(contexts(verdict))),
            (verdict.floor_goroutines_per_s, leaked_per_s(goroutines(verdict))),
        ];
        let is_seen = |(floor, leaked_per_s): (Option<f64>, f64)| {
            let wanted_per_s = self.objects_per_s.max(self.share_of_leak * leaked_per_s);
            floor.is_none_or(|floor| floor <= wanted_per_s)
        };
        let bytes = self
            .bytes_per_s
            .is_none_or(|goal| verdict.floor_bytes_per_s.is_some_and(|floor| floor <= goal));
        let anything = self.bytes_per_s.is_some() || kinds.iter().any(|(floor, _)| floor.is_some());
        kinds.into_iter().all(is_seen) && bytes && anything && !verdict.goroutines_untold
    }
}

/// What is said.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    state: State,
    /// Of whom, by identity, and from which age on theirs are old; 0 where that grows with the
    /// window.
    leaks: BTreeMap<(u64, u64), f64>,
}

impl Answer {
    fn of(verdict: &Verdict) -> Self {
        let leak = |id, site: &SiteJudgement| {
            let horizon_s = if site.horizon_is_told { site.horizon_s } else { 0.0 };
            (site.state == SiteState::Leak).then_some((id, horizon_s))
        };
        let contexts = verdict.sites.iter().filter_map(|(id, site)| leak((*id, 0), site));
        let goroutines = verdict.goroutines.iter();
        let goroutines =
            goroutines.filter_map(|(id, site)| leak((id.creator_pc, id.start_pc), site));
        Self { state: verdict.state, leaks: contexts.chain(goroutines).collect() }
    }

    /// Whether the other says the same of the same, whose lives are as long as they were.
    fn stands_in(&self, other: &Self) -> bool {
        let is_near = |(one, other): (&f64, &f64)| (*other - one).abs() <= HORIZON_MOVES * one;
        self.state == other.state
            && self.leaks.keys().eq(other.leaks.keys())
            && self.leaks.values().zip(other.leaks.values()).all(is_near)
    }
}

/// Watches the verdicts of a trace.
#[derive(Debug)]
pub struct Settling {
    goal: Goal,
    answer: Option<Answer>,
    since_s: f64,
    readings: u32,
}

impl Settling {
    /// To see `goal`.
    pub const fn new(goal: Goal) -> Self {
        Self { goal, answer: None, since_s: 0.0, readings: 0 }
    }

    /// Whether `verdict`, made after `window_s` seconds, needs no longer trace.
    pub fn observe(&mut self, window_s: f64, verdict: &Verdict) -> bool {
        let answer = Answer::of(verdict);
        if !self.answer.as_ref().is_some_and(|first| first.stands_in(&answer)) {
            (self.answer, self.since_s, self.readings) = (Some(answer), window_s, 0);
        }
        self.readings += 1;
        let stood_s = window_s - self.since_s;
        let stands = stood_s >= STANDS_S.max(STANDS_WINDOWS * window_s);
        let long_enough = match verdict.state {
            State::Leak => rates_are_told(verdict),
            State::NoLeak => window_s >= NO_LEAK_WINDOW_MIN_S,
            State::Suspect | State::Inconclusive => false,
        };
        long_enough
            && stands
            && self.readings >= READINGS_MIN
            && verdict.confidence_ratio >= CONFIDENCE_MIN
            && self.goal.is_reached(verdict)
    }
}

/// Whether it is known how fast what leaks does so, and all of it together well: else some of it may yet
/// be released.
fn rates_are_told(verdict: &Verdict) -> bool {
    [contexts(verdict), goroutines(verdict)].into_iter().all(|leaks| {
        let rates: Option<Vec<Slope>> = leaks.iter().map(|site| site.leaked).collect();
        rates.is_some_and(|rates| {
            let error = |rate: &Slope| (rate.per_s - rate.low).max(rate.high - rate.per_s);
            let all_per_s: f64 = rates.iter().map(|rate| rate.per_s).sum();
            rates.iter().map(error).sum::<f64>() <= RATE_ERROR_RATIO * all_per_s
        })
    })
}

/// Objects of one kind that leak every second, at all sites.
fn leaked_per_s(leaks: Vec<&SiteJudgement>) -> f64 {
    leaks.into_iter().filter_map(|site| site.leaked).map(|leaked| leaked.per_s).sum()
}

/// Sites whose contexts leak.
fn contexts(verdict: &Verdict) -> Vec<&SiteJudgement> {
    leaks(verdict.sites.iter().map(|(_, site)| site))
}

/// `go` statements whose goroutines leak.
fn goroutines(verdict: &Verdict) -> Vec<&SiteJudgement> {
    leaks(verdict.goroutines.iter().map(|(_, site)| site))
}

fn leaks<'v>(sites: impl Iterator<Item = &'v SiteJudgement>) -> Vec<&'v SiteJudgement> {
    sites.filter(|site| site.state == SiteState::Leak).collect()
}

#[cfg(test)]
mod tests {
    use super::{Goal, Settling};
    use crate::{
        model::Slope,
        verdict::{SiteJudgement, SiteState, State, Verdict},
    };

    fn verdict(state: State, confidence_ratio: f64, floor: f64) -> Verdict {
        Verdict { state, confidence_ratio, floor_contexts_per_s: Some(floor), ..Verdict::default() }
    }

    /// After how many seconds a trace stops that says the same at each second.
    fn settled_s(goal: Goal, says: impl Fn(f64) -> Verdict) -> Option<f64> {
        let mut settling = Settling::new(goal);
        (1..600).map(f64::from).find(|window_s| settling.observe(*window_s, &says(*window_s)))
    }

    #[test]
    fn a_leak_is_settled_when_it_has_stood_and_the_floor_is_low_enough() {
        let says = |window_s: f64| {
            let state = if window_s < 30.0 { State::Inconclusive } else { State::Leak };
            verdict(state, 0.95, 20.0 / window_s)
        };
        assert_eq!(settled_s(Goal::DEFAULT, says), Some(40.0));
        let slow = Goal { objects_per_s: 0.1, ..Goal::DEFAULT };
        assert_eq!(settled_s(slow, says), Some(200.0));
    }

    fn leaking(window_s: f64, horizon_s: f64, per_s: f64) -> Verdict {
        let site = SiteJudgement {
            state: SiteState::Leak,
            growth: None,
            leaked: Some(Slope { per_s, low: 0.97 * per_s, high: 1.03 * per_s }),
            horizon_s,
            usual_lifetime_s: Some(horizon_s / 2.0),
            horizon_is_told: true,
            is_new: false,
            old: 10,
            never_released_ratio: 0.9,
            leak_probability: 0.95,
        };
        Verdict { sites: vec![(1, site)], ..verdict(State::Leak, 0.95, 20.0 / window_s) }
    }

    /// Sampled as they are, so many would never show what 0.5 a second does elsewhere.
    #[test]
    fn beside_a_fast_leak_slow_ones_matter_only_if_asked_for() {
        let fast = |window_s| Verdict {
            floor_contexts_per_s: Some(2.0),
            ..leaking(window_s, 5.0, 5000.0)
        };
        assert_eq!(settled_s(Goal::DEFAULT, fast), Some(11.0));
        let asked = Goal { objects_per_s: 0.5, bytes_per_s: None, share_of_leak: 0.0 };
        assert_eq!(settled_s(asked, fast), None);
        let honest =
            |window_s| Verdict { state: State::NoLeak, sites: Vec::new(), ..fast(window_s) };
        assert_eq!(settled_s(Goal::DEFAULT, honest), None);
    }

    /// Five minutes would not tell the slow one's rate well.
    #[test]
    fn a_slow_leak_beside_a_fast_one_need_not_be_known_well() {
        let both = |window_s| {
            let mut verdict = leaking(window_s, 5.0, 100.0);
            let mut slow = verdict.sites[0].1;
            slow.leaked = Some(Slope { per_s: 0.5, low: 0.2, high: 0.8 });
            verdict.sites.push((2, slow));
            verdict
        };
        assert_eq!(settled_s(Goal::DEFAULT, both), Some(20.0));
        let alone = |window_s| {
            let mut verdict = both(window_s);
            verdict.sites.remove(0);
            verdict
        };
        assert_eq!(settled_s(Goal::DEFAULT, alone), None);
    }

    /// Contexts and goroutines are not of one size.
    #[test]
    fn what_contexts_leak_says_nothing_of_goroutines() {
        let says = |window_s| Verdict {
            floor_goroutines_per_s: Some(2.0),
            ..leaking(window_s, 5.0, 5000.0)
        };
        assert_eq!(settled_s(Goal::DEFAULT, says), None);
    }

    #[test]
    fn a_leak_whose_rate_is_not_known_well_is_not_settled() {
        let says = |window_s: f64| {
            let mut verdict = leaking(window_s, 5.0, 1.0);
            let error = 3.99 / window_s;
            verdict.sites[0].1.leaked =
                Some(Slope { per_s: 1.0, low: 1.0 - error, high: 1.0 + error });
            verdict
        };
        assert_eq!(settled_s(Goal::DEFAULT, says), Some(50.0));
    }

    #[test]
    fn doubtful_and_unsteady_answers_are_never_settled() {
        for state in [State::Suspect, State::Inconclusive] {
            assert_eq!(settled_s(Goal::DEFAULT, |_| verdict(state, 1.0, 0.01)), None);
        }
        assert_eq!(settled_s(Goal::DEFAULT, |_| verdict(State::Leak, 0.8, 0.01)), None);
        let flips = |window_s: f64| {
            let state =
                if (window_s as u64 / 8).is_multiple_of(2) { State::Leak } else { State::NoLeak };
            verdict(state, 0.95, 0.01)
        };
        assert_eq!(settled_s(Goal::DEFAULT, flips), None);
    }

    /// Longer and longer lives end: what is old so far may end too.
    #[test]
    fn a_leak_beside_lives_that_get_longer_is_not_settled() {
        let says = |window_s: f64, horizon_s: f64| leaking(window_s, horizon_s, 1.0);
        assert_eq!(settled_s(Goal::DEFAULT, |window_s| says(window_s, 5.0)), Some(40.0));
        let grows = |window_s: f64| says(window_s, 5.0 + (window_s / 3.0).min(30.0));
        let settled_s = settled_s(Goal::DEFAULT, grows).unwrap();
        assert!(settled_s > 80.0, "{settled_s}");
    }

    #[test]
    fn no_leak_takes_a_minute() {
        let says = |_| verdict(State::NoLeak, 0.95, 0.3);
        assert_eq!(settled_s(Goal::DEFAULT, says), Some(60.0));
    }

    #[test]
    fn bytes_can_be_asked_for_where_nothing_is_counted() {
        let goal = Goal { bytes_per_s: Some(100_000.0), ..Goal::DEFAULT };
        let says = |window_s: f64| Verdict {
            floor_contexts_per_s: None,
            floor_bytes_per_s: Some(1e7 / window_s),
            ..verdict(State::NoLeak, 0.95, 0.3)
        };
        assert_eq!(settled_s(goal, says), Some(100.0));
        assert_eq!(settled_s(Goal::DEFAULT, says), None);
        let untold = |window_s: f64| Verdict { goroutines_untold: true, ..says(window_s) };
        assert_eq!(settled_s(goal, untold), None);
    }

    #[test]
    fn a_goal_of_bytes_waits_for_the_floor_of_the_rss() {
        let goal = Goal { bytes_per_s: Some(100_000.0), ..Goal::DEFAULT };
        let says = |window_s: f64| Verdict {
            floor_bytes_per_s: Some(1e7 / window_s),
            ..verdict(State::NoLeak, 0.95, 0.3)
        };
        assert_eq!(settled_s(goal, says), Some(100.0));
    }
}
