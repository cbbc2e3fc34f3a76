//! A bounded series of snapshots: snapshots in, aligned series out.
//!
//! When the bound is reached, every other point is dropped, and of those to come as many are kept, so
//! a day's trace costs the same memory as a minute's and still spans the whole window, evenly. Non-goals: interpreting the series.

mod goroutines;
mod spacing;

use std::collections::HashMap;

use spacing::{Spacing, Step};

pub use goroutines::{GoroutineHistory, GoroutineSeries, LABELS_MAX};

use crate::{
    memory::RuntimeCounters,
    snapshot::{
        CgroupSample, ContextSample, GoroutineSample, Instant, NodeSample, ProcessSample,
        SiteSample, Snapshot,
    },
};

/// Points kept at most. With 4,096 sites of 16 bytes a point this is 8 MB in the worst case.
const POINTS_MAX: usize = 128;

/// What one point keeps of a snapshot.
#[derive(Debug, Clone)]
pub struct Point {
    /// Seconds since the start of the history.
    pub at_s: f64,
    /// The target.
    pub process: ProcessSample,
    /// The node.
    pub node: NodeSample,
    /// The target's memory cgroups.
    pub cgroup: Option<CgroupSample>,
    /// Releases so far of contexts made before tracing, scaled when sampled.
    pub released_untracked: u64,
    /// The Go runtime's counters.
    pub runtime: Option<RuntimeCounters>,
}

/// One site's past, aligned with the history's points.
#[derive(Debug, Clone)]
pub struct SiteSeries {
    /// Creations so far, at each point.
    pub created: Vec<u64>,
    /// Outstanding contexts at each point.
    pub outstanding: Vec<u64>,
    /// The newest sample.
    pub latest: SiteSample,
}

impl SiteSeries {
    /// A site that was not read at the newest points has not changed, as far as is known.
    fn fill(&mut self, points: usize) {
        self.created.resize(points, self.latest.created);
        self.outstanding.resize(points, self.latest.outstanding);
    }
}

/// The series.
#[derive(Debug)]
pub struct History {
    start: Instant,
    end: Instant,
    points: Vec<Point>,
    sites: HashMap<u64, SiteSeries>,
    contexts: Option<ContextSample>,
    goroutines: GoroutineHistory,
    spacing: Spacing,
    snapshots: u64,
}

impl History {
    /// Begins at `start`, with nothing seen.
    pub fn new(start: Instant) -> Self {
        let (points, sites, goroutines) = Default::default();
        let spacing = Spacing::new(POINTS_MAX);
        Self { start, end: start, points, sites, contexts: None, goroutines, spacing, snapshots: 0 }
    }

    /// Adds a reading of the goroutines, which may be taken less often than snapshots.
    pub fn push_goroutines(&mut self, at: Instant, sample: GoroutineSample) {
        self.goroutines.push(at.seconds_since(&self.start), sample);
    }

    /// Adds a snapshot.
    pub fn push(&mut self, snapshot: Snapshot) {
        match self.spacing.next(self.points.len()) {
            Step::Add => {}
            Step::Replace => self.drop_newest(),
            Step::Thin => self.thin_out(),
        }
        let Snapshot { at, process, node, cgroup, contexts, runtime } = snapshot;
        let at_s = at.seconds_since(&self.start);
        let newest = contexts.as_ref().or(self.contexts.as_ref());
        let released_untracked = newest.map_or(0, |contexts| contexts.released_untracked);
        self.points.push(Point { at_s, process, node, cgroup, released_untracked, runtime });
        self.end = at;
        self.snapshots += 1;
        if let Some(mut contexts) = contexts {
            self.push_sites(std::mem::take(&mut contexts.sites));
            self.contexts = Some(contexts);
        }
        let points = self.points.len();
        self.sites.values_mut().for_each(|series| series.fill(points));
    }

    fn push_sites(&mut self, sites: HashMap<u64, SiteSample>) {
        let before = self.points.len() - 1;
        for (site, sample) in sites {
            let series = self.sites.entry(site).or_insert_with(|| SiteSeries {
                created: vec![0; before],
                outstanding: vec![0; before],
                latest: sample.clone(),
            });
            series.created.push(sample.created);
            series.outstanding.push(sample.outstanding);
            series.latest = sample;
        }
    }

    fn drop_newest(&mut self) {
        self.points.pop();
        for series in self.sites.values_mut() {
            series.created.pop();
            series.outstanding.pop();
        }
    }

    fn thin_out(&mut self) {
        keep_even(&mut self.points);
        for series in self.sites.values_mut() {
            keep_even(&mut series.created);
            keep_even(&mut series.outstanding);
        }
    }

    /// When tracing began.
    pub const fn start(&self) -> Instant {
        self.start
    }

    /// When the newest snapshot was taken.
    pub const fn end(&self) -> Instant {
        self.end
    }

    /// Length of the window in seconds.
    pub fn duration_s(&self) -> f64 {
        self.end.seconds_since(&self.start)
    }

    /// Snapshots taken, also those no longer kept.
    pub const fn snapshots(&self) -> u64 {
        self.snapshots
    }

    /// The kept points, oldest first.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Times of the kept points, in seconds since the start.
    pub fn times_s(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.at_s).collect()
    }

    /// (seconds, value) of those points at which `value` was read.
    pub fn series(&self, value: impl Fn(&ProcessSample) -> Option<u64>) -> Vec<(f64, f64)> {
        let read = |point: &Point| Some((point.at_s, value(&point.process)? as f64));
        self.points.iter().filter_map(read).collect()
    }

    /// Every site seen, by hash.
    pub const fn sites(&self) -> &HashMap<u64, SiteSeries> {
        &self.sites
    }

    /// The goroutines.
    pub const fn goroutines(&self) -> &GoroutineHistory {
        &self.goroutines
    }

    /// Totals of the newest sample (its sites are in [`History::sites`]).
    pub const fn contexts(&self) -> Option<&ContextSample> {
        self.contexts.as_ref()
    }
}

fn keep_even<T>(items: &mut Vec<T>) {
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        index % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use super::{History, POINTS_MAX};
    use crate::snapshot::{ContextSample, Instant, SiteSample, Snapshot};
    use std::{collections::HashMap, time::SystemTime};

    fn instant(s: u64) -> Instant {
        Instant { monotonic_ns: s * 1_000_000_000, wall: SystemTime::UNIX_EPOCH }
    }

    fn snapshot(s: u64, sites: &[(u64, u64)]) -> Snapshot {
        let site = |(id, created): &(u64, u64)| {
            let created = *created;
            let (released, collected, outstanding) = (0, 0, created);
            let lifetimes = [0; leaktrace_common::LIFETIME_BUCKETS];
            (*id, SiteSample { created, released, collected, outstanding, lifetimes })
        };
        let contexts = ContextSample {
            sites: sites.iter().map(site).collect::<HashMap<_, _>>(),
            released_untracked: 0,
            repeated_cancels: 0,
            probe_hits: 0,
            sample_divisor: 1,
            lost: Vec::new(),
        };
        let at = instant(s);
        let (process, node) = Default::default();
        Snapshot { at, process, node, cgroup: None, contexts: Some(contexts), runtime: None }
    }

    #[test]
    fn series_stay_aligned_with_the_points() {
        let mut history = History::new(instant(100));
        history.push(snapshot(100, &[(1, 5)]));
        history.push(snapshot(101, &[(1, 6), (2, 1)]));
        history.push(snapshot(102, &[(2, 3)]));
        assert_eq!(history.times_s(), [0.0, 1.0, 2.0]);
        assert_eq!(history.sites()[&1].created, [5, 6, 6]);
        assert_eq!(history.sites()[&2].created, [0, 1, 3]);
    }

    #[test]
    fn readings_that_fail_leave_no_gap() {
        let mut history = History::new(instant(0));
        history.push(snapshot(0, &[(1, 5)]));
        for s in [1, 2] {
            history.push(Snapshot { contexts: None, ..snapshot(s, &[]) });
        }
        history.push(snapshot(3, &[(1, 8)]));
        assert_eq!(history.sites()[&1].created, [5, 5, 5, 8]);
    }

    #[test]
    fn a_long_trace_stays_bounded_and_keeps_its_whole_span() {
        let mut history = History::new(instant(0));
        for s in 0..1000 {
            history.push(snapshot(s, &[(1, s)]));
        }
        let times = history.times_s();
        assert!(times.len() <= POINTS_MAX && times.len() > POINTS_MAX / 2 - 2);
        // Also of the late part no more is kept than of the early one.
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[..gaps.len() - 1].iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
        assert_eq!((times[0], times[times.len() - 1]), (0.0, 999.0));
        let expected: Vec<u64> = times.iter().map(|t| *t as u64).collect();
        assert_eq!(history.sites()[&1].created, expected);
        assert_eq!(history.snapshots(), 1000);
    }
}
