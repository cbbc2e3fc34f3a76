//! A scenario as a list of events, with nothing left to chance: the truth.
//!
//! Non-goals: what a tracer sees of it ([`super::fast`], [`super::live`]).

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use super::scenario::{Arrivals, Life, Part, Scenario, What};

/// A `What::Timeout` that is not let go ends by itself after so long. Windows are shorter, so one
/// that is forgotten counts as never let go.
pub const TIMEOUT_S: f64 = 3600.0;

/// One thing that is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// When it is made, in seconds since tracing began; below zero before.
    pub at_s: f64,
    /// Which part of the scenario makes it.
    pub part: usize,
    /// When it is let go; none: never.
    pub until_s: Option<f64>,
    /// It is forgotten: that it is never let go is a leak.
    pub is_forgotten: bool,
}

impl Event {
    /// Whether it is there at `time_s`.
    pub fn lives_at(&self, time_s: f64) -> bool {
        self.at_s <= time_s && self.until_s.is_none_or(|until_s| until_s > time_s)
    }
}

/// All that is made until `duration_max_s` or the program's end, in the order of time, but for what
/// is gone when tracing begins. The same seed gives the same events.
pub fn schedule(scenario: &Scenario) -> Vec<Event> {
    let end_s = scenario.ends_s.unwrap_or(f64::INFINITY).min(scenario.duration_max_s);
    let parts = scenario.parts.iter().enumerate();
    let mut events: Vec<Event> = parts
        .flat_map(|(index, part)| {
            let mut events = part_events(scenario, index, part, end_s);
            events.retain(|event| event.until_s.is_none_or(|until_s| until_s > 0.0));
            events
        })
        .collect();
    events.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    events
}

/// How many of `part` were forgotten while it was traced for `window_s` seconds.
pub fn forgotten_in(events: &[Event], part: usize, window_s: f64) -> u64 {
    let forgotten = |event: &&Event| {
        event.part == part && event.is_forgotten && (0.0..=window_s).contains(&event.at_s)
    };
    events.iter().filter(forgotten).count() as u64
}

/// Arrivals and lives are drawn from streams of their own, so that parts do not change each other.
fn part_events(scenario: &Scenario, index: usize, part: &Part, end_s: f64) -> Vec<Event> {
    let random = |stream: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(scenario.seed);
        random.set_stream((2 * index + stream) as u64);
        random
    };
    let times_s = arrivals(part.arrivals, -scenario.warm_s, end_s, &mut random(0));
    let mut random = random(1);
    let one_in = part.forgotten_one_in.map(|one_in| one_in.max(1));
    let phase = one_in.map_or(0, |one_in| random.random_range(0..one_in));
    let event = |(number, at_s): (usize, f64)| {
        let life = until_s(part, at_s, &mut random);
        let is_forgotten =
            one_in.is_some_and(|one_in| (number as u64 + phase).is_multiple_of(one_in));
        let until_s = if is_forgotten { None } else { life };
        Event { at_s, part: index, until_s, is_forgotten }
    };
    let mut events: Vec<Event> = times_s.into_iter().enumerate().map(event).collect();
    if let Some(capacity) = part.capacity {
        evict(&mut events, capacity);
    }
    events
}

/// Moments of `from_s..end_s`, in their order.
fn arrivals(how: Arrivals, from_s: f64, end_s: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
    match how {
        Arrivals::Steady { per_s } => regular(1.0 / per_s, from_s, end_s, random).collect(),
        Arrivals::Random { per_s } => poisson(per_s, from_s, end_s, random),
        Arrivals::Bursts { size, every_s } => regular(every_s, from_s, end_s, random)
            .flat_map(|at_s| std::iter::repeat_n(at_s, size as usize))
            .collect(),
        Arrivals::Ramp { from_per_s, to_per_s, from_s: begin_s, to_s } => {
            let most_per_s = from_per_s.max(to_per_s);
            let mut times_s = poisson(most_per_s, from_s, end_s, random);
            times_s.retain(|at_s| {
                let share = ((at_s - begin_s) / (to_s - begin_s)).clamp(0.0, 1.0);
                let per_s = from_per_s + share * (to_per_s - from_per_s);
                random.random::<f64>() * most_per_s < per_s
            });
            times_s
        }
        Arrivals::Between { per_s, from_s: begin_s, to_s } => {
            poisson(per_s, from_s.max(begin_s), end_s.min(to_s), random)
        }
    }
}

/// Every so often, the first at a drawn moment of the first period.
fn regular(
    every_s: f64,
    from_s: f64,
    end_s: f64,
    random: &mut ChaCha8Rng,
) -> impl Iterator<Item = f64> + use<> {
    let phase = random.random::<f64>();
    (0u64..)
        .map(move |number| from_s + (number as f64 + phase) * every_s)
        .take_while(move |at_s| *at_s < end_s)
}

/// A Poisson process has exponential gaps.
fn poisson(per_s: f64, from_s: f64, end_s: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut times_s = Vec::new();
    if per_s <= 0.0 {
        return times_s;
    }
    let mut at_s = from_s;
    loop {
        let gap: f64 = Exp1.sample(random);
        at_s += gap / per_s;
        if at_s >= end_s {
            return times_s;
        }
        times_s.push(at_s);
    }
}

/// When what was made at `at_s` is let go, unless it is forgotten or evicted; what is made after the
/// moment at which all go, goes at once.
fn until_s(part: &Part, at_s: f64, random: &mut ChaCha8Rng) -> Option<f64> {
    let unit: f64 = Exp1.sample(random);
    let until_s = match part.life {
        Life::Fixed { s } => Some(at_s + s),
        Life::Exponential { mean_s } => Some(at_s + mean_s * unit),
        Life::LogNormal { median_s, sigma } => {
            let deviations: f64 = StandardNormal.sample(random);
            Some(at_s + median_s * (sigma * deviations).exp())
        }
        Life::Mixed { short_s, long_s, long_one_in } => {
            let is_long = random.random_range(0..long_one_in.max(1)) == 0;
            Some(at_s + unit * if is_long { long_s } else { short_s })
        }
        Life::Until { at_s: end_s } => Some(end_s.max(at_s)),
        Life::Forever => None,
    };
    if part.what == What::Timeout {
        let deadline_s = at_s + TIMEOUT_S;
        return Some(until_s.map_or(deadline_s, |until_s| until_s.min(deadline_s)));
    }
    until_s
}

/// Lets the oldest go whenever there would be more than `capacity` of those that are not forgotten.
fn evict(events: &mut [Event], capacity: usize) {
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    let mut ends: BinaryHeap<(Reverse<Moment>, usize)> = BinaryHeap::new();
    for index in 0..events.len() {
        let Event { at_s, until_s, is_forgotten, .. } = events[index];
        if is_forgotten {
            continue;
        }
        while let Some((_, ended)) = ends.peek().filter(|(end, _)| end.0.0 <= at_s) {
            kept.remove(ended);
            ends.pop();
        }
        while kept.len() >= capacity.max(1)
            && let Some(oldest) = kept.pop_first()
        {
            events[oldest].until_s = Some(at_s);
        }
        kept.insert(index);
        ends.extend(until_s.map(|until_s| (Reverse(Moment(until_s)), index)));
    }
}

/// Seconds that can be ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment(f64);

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
