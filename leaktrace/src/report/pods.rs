//! Growth beside the number of pods of a kubelet's node: two counts and what grew in, sentences out.
//!
//! Non-goals: counting pods; what makes them grow.

use serde::Serialize;

use super::schema::Report;
use crate::{
    model::growth_per_pod,
    snapshot::{PodCount, PodSample},
};

/// The pods of the node, counted without the API server.
#[derive(Debug, Clone, Serialize)]
pub struct PodsSection {
    /// At the beginning.
    pub first: PodCount,
    /// At the end.
    pub last: PodCount,
    /// What grew, and whether pods explain it.
    pub statements: Vec<String>,
}

impl PodsSection {
    /// From the first and the last count; none when they were not had, or not in the same way.
    pub fn new(first: &PodSample, last: &PodSample) -> Option<Self> {
        let (first, last) = (first.best()?.clone(), last.best()?.clone());
        (first.how == last.how).then(|| Self { first, last, statements: Vec::new() })
    }

    /// Says of everything in `report` that surely grew how it goes with the pods.
    pub fn compare(&mut self, report: &Report) {
        let window_s = report.window.duration_s;
        let mut grew = Vec::new();
        if let Some([low, _]) = report.rss.anon_slope_interval.filter(|[low, _]| *low > 0.0) {
            let bytes = report.rss.anon_slope_bytes_per_s.unwrap_or(low) * window_s;
            grew.push(("the anonymous RSS", "KiB", bytes / 1024.0));
        }
        if let Some(goroutines) = &report.goroutines
            && goroutines.growth_interval.is_some_and(|[low, _]| low > 0.0)
        {
            let more = goroutines.live as f64 - goroutines.live_first as f64;
            grew.push(("the number of goroutines", "goroutines", more));
        }
        let contexts = report.contexts.iter().flat_map(|contexts| &contexts.sites);
        let leaking = contexts.filter(|site| site.verdict == "leak");
        let per_s: f64 = leaking.filter_map(|site| site.growth_per_s).sum();
        grew.push(("the number of leaking contexts", "contexts", per_s * window_s));
        self.statements = grew
            .into_iter()
            .filter_map(|(what, unit, growth)| {
                let said = growth_per_pod(self.first.count, self.last.count, growth)?;
                Some(format!("{what} {}", said.statement(unit)))
            })
            .collect();
    }
}
