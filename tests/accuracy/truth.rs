//! What was said against what is: judgements of parts in, the figures of an outcome out.

use leaktrace::verdict::{State, Verdict};

use super::{
    outcome::{How, Outcome, Said},
    scenario::{Part, Scenario, What},
    schedule::{Event, forgotten_in},
};

/// What was said of a part: that it leaks, so fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Called {
    /// Which.
    pub part: usize,
    /// Objects per second, if a rate was given.
    pub per_s: Option<f64>,
}

/// The floors that a verdict stated.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Floors {
    /// Contexts per second at one site.
    pub contexts_per_s: Option<f64>,
    /// Goroutines per second of one `go` statement.
    pub goroutines_per_s: Option<f64>,
    /// RSS in bytes per second.
    pub bytes_per_s: Option<f64>,
}

/// How well the called parts are those that leak.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Compared {
    /// See [`super::outcome::Outcome`].
    pub found: usize,
    /// See [`super::outcome::Outcome`].
    pub found_above: usize,
    /// See [`super::outcome::Outcome`].
    pub missed: usize,
    /// See [`super::outcome::Outcome`].
    pub accused: usize,
    /// See [`super::outcome::Outcome`].
    pub rate_error: Option<f64>,
    /// See [`super::outcome::Outcome`].
    pub leaked_per_s: f64,
    /// See [`super::outcome::Outcome`].
    pub floor_per_s: Option<f64>,
}

impl Floors {
    /// The floor for objects of a part, in objects per second.
    fn of(&self, part: &Part) -> Option<f64> {
        match part.what {
            What::Context | What::Timeout | What::Unheld => self.contexts_per_s,
            What::Goroutine => self.goroutines_per_s,
            What::Both => {
                [self.contexts_per_s, self.goroutines_per_s].into_iter().flatten().reduce(f64::min)
            }
            What::Heap | What::Native => {
                self.bytes_per_s.map(|bytes| bytes / part.payload_bytes.max(1) as f64)
            }
        }
    }
}

/// A verdict on a scenario that is judged within this program.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    pub scenario: &'a Scenario,
    pub events: &'a [Event],
    pub verdict: &'a Verdict,
    /// Parts that it calls leaks, and how many places that are no part's.
    pub called: (&'a [Called], usize),
    /// When it was made, and whether it had settled.
    pub ended: (f64, bool),
}

impl Judged<'_> {
    /// What it was worth.
    pub fn outcome(&self, how: How) -> Outcome {
        let Self { scenario, verdict, called: (called, strangers), ended, .. } = *self;
        let (said, (ended_s, is_settled)) = (said(verdict.state), ended);
        let floors = Floors {
            contexts_per_s: verdict.floor_contexts_per_s,
            goroutines_per_s: verdict.floor_goroutines_per_s,
            bytes_per_s: verdict.floor_bytes_per_s,
        };
        let compared = compare(scenario, self.events, ended_s, (said, called, floors));
        Outcome {
            name: scenario.name.clone(),
            how,
            is_leaky: scenario.is_leaky(),
            is_counted: scenario.is_counted(),
            leaked_per_s: compared.leaked_per_s,
            said,
            confidence: verdict.confidence_ratio,
            ended_s,
            is_settled,
            floor_per_s: compared.floor_per_s,
            found: compared.found,
            found_above: compared.found_above,
            missed: compared.missed,
            accused: compared.accused + strangers,
            rate_error: compared.rate_error,
        }
    }
}

const fn said(state: State) -> Said {
    match state {
        State::Leak => Said::Leak,
        State::Suspect => Said::Suspect,
        State::NoLeak => Said::NoLeak,
        State::Inconclusive => Said::Inconclusive,
    }
}

/// Compares what was said with the truth, over the traced `window_s` seconds.
pub fn compare(
    scenario: &Scenario,
    events: &[Event],
    window_s: f64,
    (said, called, floors): (Said, &[Called], Floors),
) -> Compared {
    let mut compared = Compared::default();
    for (index, part) in scenario.parts.iter().enumerate() {
        let calls: Vec<_> = called.iter().filter(|call| call.part == index).collect();
        if part.is_leaky() {
            let leaked_per_s = forgotten_in(events, index, window_s) as f64 / window_s.max(1e-9);
            compared.add_leak(part, leaked_per_s, (said, &calls, floors.of(part)));
        } else {
            compared.accused += usize::from(!calls.is_empty());
        }
    }
    if !scenario.is_leaky() {
        compared.floor_per_s = floors.contexts_per_s.or(floors.goroutines_per_s);
    }
    compared
}

impl Compared {
    /// Adds what was said of a part that leaks so fast.
    fn add_leak(
        &mut self,
        part: &Part,
        leaked_per_s: f64,
        (said, calls, floor): (Said, &[&Called], Option<f64>),
    ) {
        let is_above = leaked_per_s > 0.0 && floor.is_some_and(|floor| leaked_per_s >= floor);
        // Of bytes without objects, and of what ends at its deadline, a suspicion is enough.
        let is_noticed = !part.is_counted() && matches!(said, Said::Leak | Said::Suspect);
        if leaked_per_s == 0.0 {
            // It would, but has not in this window.
            self.accused += usize::from(!calls.is_empty());
            return;
        }
        if calls.is_empty() {
            self.missed += usize::from(is_above && !is_noticed);
        } else {
            self.found += 1;
        }
        self.found_above += usize::from(is_above && (!calls.is_empty() || is_noticed));
        let errors = calls.iter().filter_map(|call| Some((call.per_s? / leaked_per_s - 1.0).abs()));
        self.rate_error = errors.chain(self.rate_error).reduce(f64::max);
        if leaked_per_s >= self.leaked_per_s {
            (self.leaked_per_s, self.floor_per_s) = (leaked_per_s, floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Called, Compared, Floors, Said, compare};
    use crate::accuracy::{
        scenario::{Arrivals, Life, Part, Scenario, What},
        schedule::schedule,
    };

    /// 2 objects/s leak at part 0, none at part 1.
    fn scenario(what: What) -> Scenario {
        let leaky = Part {
            what,
            arrivals: Arrivals::Steady { per_s: 4.0 },
            life: Life::Fixed { s: 0.1 },
            forgotten_one_in: Some(2),
            capacity: None,
            payload_bytes: 1000,
        };
        let honest = Part { forgotten_one_in: None, ..leaky.clone() };
        Scenario {
            name: String::new(),
            seed: 1,
            parts: vec![leaky, honest],
            warm_s: 0.0,
            duration_max_s: 100.0,
            gogc: 100,
            ends_s: None,
        }
    }

    fn compared(what: What, said: Said, called: &[usize], floors: Floors) -> Compared {
        let scenario = scenario(what);
        let called: Vec<_> =
            called.iter().map(|part| Called { part: *part, per_s: Some(1.8) }).collect();
        compare(&scenario, &schedule(&scenario), 50.0, (said, &called, floors))
    }

    fn floor(per_s: f64) -> Floors {
        Floors {
            contexts_per_s: Some(per_s),
            bytes_per_s: Some(per_s * 1000.0),
            ..Floors::default()
        }
    }

    #[test]
    fn a_leak_is_found_at_its_part_with_its_rate() {
        let found = compared(What::Context, Said::Leak, &[0], floor(1.0));
        assert_eq!((found.found, found.missed, found.accused), (1, 0, 0));
        assert!((found.rate_error.unwrap() - 0.1).abs() < 1e-9);
        assert_eq!((found.leaked_per_s, found.floor_per_s), (2.0, Some(1.0)));
        let wrong = compared(What::Context, Said::Leak, &[1], floor(1.0));
        assert_eq!((wrong.found, wrong.missed, wrong.accused, wrong.rate_error), (0, 1, 1, None));
    }

    #[test]
    fn only_what_is_above_the_stated_floor_can_be_missed() {
        let missed = |floors| compared(What::Context, Said::NoLeak, &[], floors).missed;
        assert_eq!((missed(floor(1.9)), missed(floor(2.1)), missed(Floors::default())), (1, 0, 0));
    }

    #[test]
    fn for_bytes_a_suspicion_is_enough() {
        let missed = |what, said| compared(what, said, &[], floor(1.0)).missed;
        assert_eq!(missed(What::Heap, Said::Suspect), 0);
        assert_eq!(missed(What::Heap, Said::NoLeak), 1);
        assert_eq!(missed(What::Timeout, Said::Suspect), 0);
        assert_eq!(missed(What::Context, Said::Suspect), 1);
    }
}
