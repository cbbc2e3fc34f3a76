//! What a program does, as far as a leak detector is concerned.

use serde::{Deserialize, Serialize};

/// A program that is to be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Unique, for people: `partial leak of 1 in 100`.
    pub name: String,
    /// For everything that is drawn.
    pub seed: u64,
    /// What it does, all at once.
    pub parts: Vec<Part>,
    /// How long it had been running like this when tracing began, in seconds.
    pub warm_s: f64,
    /// How long it may be traced, in seconds.
    pub duration_max_s: f64,
    /// GOGC in percent.
    pub gogc: i32,
    /// It ends so many seconds after tracing began, in mid-trace.
    pub ends_s: Option<f64>,
}

impl Scenario {
    /// Whether any part forgets some of what it makes.
    pub fn is_leaky(&self) -> bool {
        self.parts.iter().any(Part::is_leaky)
    }

    /// Whether some of what leaks is counted one by one.
    pub fn is_counted(&self) -> bool {
        self.parts.iter().any(|part| part.is_leaky() && part.is_counted())
    }
}

/// One line of the program that makes things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it makes.
    pub what: What,
    /// When.
    pub arrivals: Arrivals,
    /// How long those live that are not forgotten.
    pub life: Life,
    /// One in so many is never let go; none: all are, in the end.
    pub forgotten_one_in: Option<u64>,
    /// At most so many are kept: the oldest is let go for a new one (a cache, a pool). Those that
    /// are forgotten are beside these.
    pub capacity: Option<usize>,
    /// Heap bytes that hang on each.
    pub payload_bytes: u64,
}

impl Part {
    /// Whether it leaks: it forgets some of what it makes, and that does not go by itself.
    pub const fn is_leaky(&self) -> bool {
        self.forgotten_one_in.is_some() && !matches!(self.what, What::Unheld)
    }

    /// Whether leaktrace counts what it makes one by one and must call a leak of it a leak. Of the
    /// others it sees bytes only, or an end in sight (the deadline of a `What::Timeout`): there
    /// *suspect* is a right answer too.
    pub const fn is_counted(&self) -> bool {
        matches!(self.what, What::Context | What::Goroutine | What::Both)
    }
}

/// What a line makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A `context.WithCancel` under a cancellable parent that lives as long as the program.
    Context,
    /// A `context.WithTimeout` under the same, whose deadline is an hour away.
    Timeout,
    /// A `context.WithCancel` under `context.Background()` that nothing refers to any more when it is
    /// forgotten: garbage, no leak.
    Unheld,
    /// A goroutine that waits until it is let go.
    Goroutine,
    /// A goroutine that waits until a context of its own is cancelled: both at once.
    Both,
    /// Bytes in a map of the Go heap.
    Heap,
    /// Bytes of C's `malloc`.
    Native,
}

/// When a line makes things; in seconds, at times since tracing began (before it below zero).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly.
    Steady { per_s: f64 },
    /// At random, independently (Poisson).
    Random { per_s: f64 },
    /// So many at once, every so often, the first at a drawn moment.
    Bursts { size: u64, every_s: f64 },
    /// Random, at a rate that goes evenly from one to the other between two times, and stays.
    Ramp { from_per_s: f64, to_per_s: f64, from_s: f64, to_s: f64 },
    /// Random, between two times only.
    Between { per_s: f64, from_s: f64, to_s: f64 },
}

/// How long things live; in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// All the same.
    Fixed { s: f64 },
    /// Exponential.
    Exponential { mean_s: f64 },
    /// Log-normal: `sigma` is that of the logarithm.
    LogNormal { median_s: f64, sigma: f64 },
    /// Mostly short, one in so many long; both exponential.
    Mixed { short_s: f64, long_s: f64, long_one_in: u64 },
    /// Until a time since tracing began: all go at once.
    Until { at_s: f64 },
    /// As long as the program: meant to stay (with a capacity, until evicted).
    Forever,
}
