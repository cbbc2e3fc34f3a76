//! What a scenario was and what was said about it.

/// How it was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A process in real time, traced by `leaktrace trace`.
    Live,
    /// Simulated readings, judged in fast time.
    Simulated,
    /// Readings of an earlier live trace, judged again.
    Recorded,
}

/// The four answers, as the report says them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Leak,
    Suspect,
    NoLeak,
    Inconclusive,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub name: String,
    pub how: How,
    /// The truth: some part forgets.
    pub is_leaky: bool,
    /// What leaks has objects that can be counted (contexts, goroutines), not only bytes, and no
    /// deadline in sight: *leak* is the only right answer. See `Part::is_counted`.
    pub is_counted: bool,
    /// The fastest leak by the schedule, in objects per second over the traced window.
    pub leaked_per_s: f64,
    pub said: Said,
    pub confidence: f64,
    /// When the trace ended by itself or by its limit, in seconds.
    pub ended_s: f64,
    /// It ended by itself.
    pub is_settled: bool,
    /// The slowest leak that would have been seen, in objects per second, as the verdict said.
    pub floor_per_s: Option<f64>,
    /// Parts that were called leaks and are.
    pub found: usize,
    /// Of the leaky parts whose leak was above the floor: those that were noticed.
    pub found_above: usize,
    /// Leaky parts whose leak was above the floor and that were not called so.
    pub missed: usize,
    /// Parts that were called leaks and are not.
    pub accused: usize,
    /// Of the leaks that were found: the largest |rate / true rate - 1|.
    pub rate_error: Option<f64>,
}
