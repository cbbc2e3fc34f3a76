//! What the figures mean: the series in, a verdict with its evidence out.
//!
//! A leak is claimed only for a site whose contexts keep outliving what is usual for them, in
//! every part of the window, and only from a trace long and complete enough. Non-goals: names.

mod ages;
mod balance;
mod combine;
mod explained;
mod forethought;
mod goroutine_reasons;
mod goroutines;
mod moment;
mod odds;
mod parts;
mod past;
mod reasons;
mod rss;
mod series;
mod series_reasons;
mod settling;
mod site;

pub use combine::{Evidence, WINDOW_MIN_S, assess};
pub use explained::{explain_with_stacks, explained_by_heap, headroom};
pub use forethought::{Foresight, Growing, objects_window_s};
pub use goroutines::{GoroutineEvidence, weigh_goroutines};
pub use moment::{Circumstances, GoroutineMoment, Moment, evidence, judge};
pub use rss::{RssGrowth, RssShape};
pub use series::{Finding, LoadEffect, LoadOf, SeriesEvidence, SeriesShape, weigh_series};
pub use settling::{Goal, Settling};
pub use site::{SiteEvidence, SiteJudgement, SiteState};

use serde::Serialize;

use crate::{memory::goroutines::Creation, model::Explained};

/// The answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing grows faster than the floor.
    NoLeak,
    /// The trace can't tell.
    #[default]
    Inconclusive,
    /// Something grows, but one piece of evidence is missing or speaks against a leak.
    Suspect,
    /// A site leaks.
    Leak,
}

/// The answer with its reasons.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// The answer.
    pub state: State,
    /// How sure, 0 to 1: for a leak the probability that what outlives its kind is leaked and does not
    /// just live long; for no leak that with which a leak at the floor would have been seen; otherwise
    /// 0. docs/accuracy.md says how often such answers were right.
    pub confidence_ratio: f64,
    /// Context growth per second and site that would have been seen with 95 % probability.
    pub floor_contexts_per_s: Option<f64>,
    /// The same for goroutines of one `go` statement; none where they were not weighed.
    pub floor_goroutines_per_s: Option<f64>,
    /// Growth in bytes per second, of the live Go heap or of memory beside it, that this window could
    /// tell from its noise; of the RSS where these are not known.
    pub floor_bytes_per_s: Option<f64>,
    /// Goroutines were there to be judged, and could not be.
    pub goroutines_untold: bool,
    /// The longest age in seconds from which contexts of a site that may leak are old.
    pub horizon_contexts_s: Option<f64>,
    /// The same for goroutines.
    pub horizon_goroutines_s: Option<f64>,
    /// Windows that would show leaks which this one was too short for.
    pub ahead: Vec<Foresight>,
    /// Why, strongest first.
    pub reasons: Vec<String>,
    /// The judgement of each site, by hash.
    pub sites: Vec<(u64, SiteJudgement)>,
    /// The judgement of each `go` statement.
    pub goroutines: Vec<(Creation, SiteJudgement)>,
    /// Growth of the anonymous RSS.
    pub rss: Option<RssGrowth>,
    /// By how much the RSS of such a process swings by itself.
    pub rss_noise_bytes: f64,
    /// A site of contexts leaks, and nothing of the evidence doubts it.
    pub contexts_leak: bool,
    /// The share of it that the leaking sites explain: by the heap of contexts, and by the stacks of
    /// goroutines.
    pub explained: Option<Explained>,
}
