//! What the goroutines of each site do: all that are alive in; ages, states and the places where
//! most of them stand out.
//!
//! Non-goals: names; counts over time (`goroutines` has them).

use std::collections::{BTreeMap, HashMap};

use super::{GoroutineTracker, goroutines::Tracked};
use crate::memory::goroutines::{Creation, Goroutine, Goroutines, Stack};

/// Places that are kept of a site: the most crowded ones.
const PLACES_MAX: usize = 8;
/// Upper bounds of the classes of age, in seconds; what is older is in a last class.
pub const AGES_S: [u64; 4] = [10, 60, 600, 3600];

/// The goroutines of one site at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GoroutineSurvey {
    /// Those that were there at the first reading.
    pub before: u64,
    /// The others by age: below each of [`AGES_S`], then older.
    pub by_age: [u64; AGES_S.len() + 1],
    /// Age of the oldest of the others, in seconds.
    pub oldest_s: Option<f64>,
    /// How many do or wait for what, in the words of a goroutine dump; most first.
    pub states: Vec<(&'static str, u64)>,
    /// Where they stand; most first.
    pub places: Vec<GoroutinePlace>,
    /// How many different places there are.
    pub places_total: u64,
}

/// Goroutines of one site that do the same at the same place.
#[derive(Debug, Clone, PartialEq)]
pub struct GoroutinePlace {
    /// How many.
    pub count: u64,
    /// What they do or wait for.
    pub state: &'static str,
    /// Live addresses of their stack, innermost first.
    pub pcs: Vec<u64>,
    /// The stack as it was read.
    pub stack: Stack,
    /// The longest that one of them is known to wait, in seconds; the collector notes it.
    pub longest_wait_s: Option<f64>,
}

/// Of one site, while they are counted.
#[derive(Default)]
struct Gathered {
    survey: GoroutineSurvey,
    states: BTreeMap<&'static str, u64>,
    places: HashMap<(Stack, &'static str), (u64, Option<f64>)>,
}

impl Gathered {
    fn add(&mut self, tracked: &Tracked, one: &Goroutine, now_ns: u64) {
        if tracked.born_ns == 0 {
            self.survey.before += 1;
        } else {
            let age_s = now_ns.saturating_sub(tracked.born_ns) as f64 / 1e9;
            let class = AGES_S.iter().take_while(|bound| age_s >= **bound as f64).count();
            self.survey.by_age[class] += 1;
            self.survey.oldest_s =
                [self.survey.oldest_s, Some(age_s)].into_iter().flatten().reduce(f64::max);
        }
        *self.states.entry(one.state()).or_default() += 1;
        let place = self.places.entry((one.stack, one.state())).or_default();
        place.0 += 1;
        place.1 = [place.1, one.waiting_s(now_ns)].into_iter().flatten().reduce(f64::max);
    }

    fn finish(self, goroutines: &Goroutines) -> GoroutineSurvey {
        let mut states: Vec<_> = self.states.into_iter().collect();
        states.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut places: Vec<_> = self.places.into_iter().collect();
        places.sort_unstable_by(|(one, (count, _)), (other, (other_count, _))| {
            other_count.cmp(count).then_with(|| one.cmp(other))
        });
        let places_total = places.len() as u64;
        places.truncate(PLACES_MAX);
        let place = |((stack, state), (count, longest_wait_s))| GoroutinePlace {
            count,
            state,
            pcs: goroutines.stack_of(stack).to_vec(),
            stack,
            longest_wait_s,
        };
        let places = places.into_iter().map(place).collect();
        GoroutineSurvey { states, places, places_total, ..self.survey }
    }
}

/// What the goroutines that `tracker` follows do, as they were read last, at `now_ns`
/// (`CLOCK_MONOTONIC`).
pub fn survey(
    tracker: &GoroutineTracker,
    goroutines: &Goroutines,
    now_ns: u64,
) -> HashMap<Creation, GoroutineSurvey> {
    let mut sites: HashMap<Creation, Gathered> = HashMap::new();
    let mut list = goroutines.list.iter().peekable();
    for (tracked, site) in tracker.alive() {
        while list.next_if(|one| one.slot < tracked.slot).is_some() {}
        if let Some(one) = list.next_if(|one| one.id == tracked.id) {
            sites.entry(site).or_default().add(tracked, one, now_ns);
        }
    }
    sites.into_iter().map(|(site, gathered)| (site, gathered.finish(goroutines))).collect()
}
