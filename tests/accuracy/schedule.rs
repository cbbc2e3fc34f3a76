//! A scenario as a list of events, with nothing left to chance: the truth.

use super::scenario::Scenario;

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

/// All that is made until `duration_max_s`, in the order of time. The same seed gives the same events.
pub fn schedule(scenario: &Scenario) -> Vec<Event> {
    let _ = scenario;
    Vec::new()
}
