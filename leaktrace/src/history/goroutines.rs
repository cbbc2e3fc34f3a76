//! A bounded series of readings of goroutines, which has times of its own: a reading of many
//! goroutines is taken less often than a snapshot.

use std::collections::HashMap;

use super::{POINTS_MAX, Spacing, Step, keep_even};
use crate::{
    memory::goroutines::{Creation, Label, Lost},
    snapshot::{GoroutineSample, GoroutineSiteSample},
};

/// Labels that have a series: with [`POINTS_MAX`] points 1 MB.
pub const LABELS_MAX: usize = 1000;
/// Of these with the same key: one with a value for each request leaves room for others.
const VALUES_MAX: usize = 250;

/// So many more in each half of the readings are growth worth a probe.
const GROWN_MIN: u64 = 8;
/// Of so many readings.
const GROWN_READINGS_MIN: usize = 6;

/// One site's past, aligned with the readings.
#[derive(Debug, Clone)]
pub struct GoroutineSeries {
    /// Alive at each reading.
    pub live: Vec<u64>,
    /// Bytes of their stacks at each reading.
    pub stack_bytes: Vec<u64>,
    /// Seen to be new so far.
    pub started: Vec<u64>,
    /// Of those that were there at the first reading, ended so far.
    pub ended_before: Vec<u64>,
    /// The newest sample.
    pub latest: GoroutineSiteSample,
}

/// The series.
#[derive(Debug)]
pub struct GoroutineHistory {
    times_s: Vec<f64>,
    live: Vec<u64>,
    sites: HashMap<Creation, GoroutineSeries>,
    labels: HashMap<Label, Vec<u64>>,
    /// Kept labels by key.
    values: HashMap<String, usize>,
    other_labels: Vec<u64>,
    first_id: u64,
    newest_id: u64,
    lost: Lost,
    readings: u64,
    spacing: Spacing,
}

impl Default for GoroutineHistory {
    /// Nothing was read yet.
    fn default() -> Self {
        let (times_s, live, sites, labels, values, other_labels) = Default::default();
        let (first_id, newest_id, lost, readings) = Default::default();
        let spacing = Spacing::new(POINTS_MAX);
        Self {
            times_s,
            live,
            sites,
            labels,
            values,
            other_labels,
            first_id,
            newest_id,
            lost,
            readings,
            spacing,
        }
    }
}

impl GoroutineHistory {
    pub(super) fn push(&mut self, at_s: f64, sample: GoroutineSample) {
        match self.spacing.next(self.times_s.len()) {
            Step::Add => {}
            Step::Replace => self.drop_newest(),
            Step::Thin => self.thin_out(),
        }
        let before = self.times_s.len();
        self.times_s.push(at_s);
        self.live.push(sample.live);
        self.readings += 1;
        if self.readings == 1 {
            self.first_id = sample.newest_id;
        }
        self.newest_id = sample.newest_id;
        if sample.lost.unread() >= self.lost.unread() {
            self.lost = sample.lost;
        }
        for (site, latest) in sample.sites {
            let series = self.sites.entry(site).or_insert_with(|| GoroutineSeries {
                live: vec![0; before],
                stack_bytes: vec![0; before],
                started: vec![0; before],
                ended_before: vec![0; before],
                latest: latest.clone(),
            });
            series.live.push(latest.live);
            series.stack_bytes.push(latest.stack_bytes);
            series.started.push(latest.started);
            series.ended_before.push(latest.ended_before);
            series.latest = latest;
        }
        self.push_labels(before, sample.labels);
    }

    fn push_labels(&mut self, before: usize, mut counts: HashMap<Label, u64>) {
        for (label, series) in &mut self.labels {
            series.push(counts.remove(label).unwrap_or(0));
        }
        let mut new: Vec<_> = counts.into_iter().collect();
        new.sort_unstable_by(|(one, count), (other, other_count)| {
            other_count.cmp(count).then_with(|| one.cmp(other))
        });
        let mut other = 0;
        for (label, count) in new {
            let values = self.values.entry(label.key.clone()).or_insert(0);
            if self.labels.len() < LABELS_MAX && *values < VALUES_MAX {
                *values += 1;
                let mut series = vec![0; before];
                series.push(count);
                self.labels.insert(label, series);
            } else {
                other += count;
            }
        }
        // Keys without a kept value are not worth an entry.
        self.values.retain(|_, values| *values > 0);
        self.other_labels.push(other);
    }

    fn drop_newest(&mut self) {
        self.times_s.pop();
        self.live.pop();
        self.other_labels.pop();
        for series in self.labels.values_mut() {
            series.pop();
        }
        for series in self.sites.values_mut() {
            series.live.pop();
            series.started.pop();
            series.ended_before.pop();
            series.stack_bytes.pop();
        }
    }

    fn thin_out(&mut self) {
        keep_even(&mut self.times_s);
        keep_even(&mut self.live);
        keep_even(&mut self.other_labels);
        self.labels.values_mut().for_each(keep_even);
        for series in self.sites.values_mut() {
            keep_even(&mut series.live);
            keep_even(&mut series.stack_bytes);
            keep_even(&mut series.started);
            keep_even(&mut series.ended_before);
        }
    }

    /// Whether the goroutines of some site have grown, in the first half of the readings and in the
    /// second: worth asking who starts them.
    pub fn some_site_grows(&self) -> bool {
        let grows = |series: &GoroutineSeries| {
            let middle = series.live.get(series.live.len() / 2);
            let ends = (series.live.first(), middle, series.live.last());
            let (Some(first), Some(middle), Some(last)) = ends else { return false };
            *middle >= first + GROWN_MIN && *last >= middle + GROWN_MIN
        };
        self.times_s.len() >= GROWN_READINGS_MIN && self.sites.values().any(grows)
    }

    /// How often they were read.
    pub const fn readings(&self) -> u64 {
        self.readings
    }

    /// When they were read, in seconds since the start; of those readings that are kept.
    pub fn times_s(&self) -> &[f64] {
        &self.times_s
    }

    /// How many were alive at these times.
    pub fn live(&self) -> &[u64] {
        &self.live
    }

    /// Every site seen.
    pub const fn sites(&self) -> &HashMap<Creation, GoroutineSeries> {
        &self.sites
    }

    /// How many had which label at these times, for [`LABELS_MAX`] labels.
    pub const fn labels(&self) -> &HashMap<Label, Vec<u64>> {
        &self.labels
    }

    /// How many had another label; who has two counts twice.
    pub fn other_labels(&self) -> &[u64] {
        &self.other_labels
    }

    /// By how much the numbers that goroutines are given have grown. The runtime hands them out in
    /// batches of 16 to each processor (`newproc1`, runtime/proc.go), so this tells how many began
    /// but for 16 per processor; the runtime's own are among them.
    pub const fn numbers_given(&self) -> u64 {
        self.newest_id.saturating_sub(self.first_id)
    }

    /// What the newest reading could not read.
    pub const fn lost(&self) -> &Lost {
        &self.lost
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{GoroutineHistory, LABELS_MAX, POINTS_MAX, VALUES_MAX};
    use crate::{
        memory::goroutines::{Creation, Label, Lost},
        snapshot::{GoroutineSample, GoroutineSiteSample},
    };

    const SITE: Creation = Creation { creator_pc: 1, start_pc: 2 };

    fn label(key: &str, value: impl ToString) -> Label {
        Label { key: key.to_owned(), value: value.to_string() }
    }

    fn sample(live: u64, labels: HashMap<Label, u64>) -> GoroutineSample {
        let site = GoroutineSiteSample {
            live,
            stack_bytes: live * 2048,
            started: live,
            ended: 0,
            ended_before: 0,
            lifetimes: [0; leaktrace_common::LIFETIME_BUCKETS],
        };
        let sites = HashMap::from([(SITE, site)]);
        GoroutineSample { live, newest_id: 100 + 2 * live, sites, labels, lost: Lost::default() }
    }

    #[test]
    fn a_site_grows_that_grows_in_both_halves() {
        let grows = |live: &dyn Fn(u64) -> u64| {
            let mut history = GoroutineHistory::default();
            (0..12).for_each(|s| history.push(s as f64, sample(live(s), HashMap::new())));
            history.some_site_grows()
        };
        assert!(grows(&|s| 100 + 2 * s));
        assert!(!grows(&|s| 100 + s / 2) && !grows(&|s| 200 - 3 * s) && !grows(&|_| 5000));
        // A burst, and a warm-up.
        assert!(!grows(&|s| if s == 6 { 500 } else { 10 }));
        assert!(!grows(&|s| (30 * s).min(150)));
    }

    #[test]
    fn a_long_trace_stays_bounded_and_keeps_its_whole_span() {
        let mut history = GoroutineHistory::default();
        for s in 0..1000 {
            let labels = HashMap::from([(label("tenant", s % 2), s)]);
            history.push(s as f64, sample(s, labels));
        }
        assert!(history.times_s().len() <= POINTS_MAX);
        assert_eq!((history.times_s()[0], history.times_s().last()), (0.0, Some(&999.0)));
        let expected: Vec<u64> = history.times_s().iter().map(|s| *s as u64).collect();
        let series = &history.sites()[&SITE];
        assert_eq!((&series.live, &series.started), (&expected, &expected));
        let bytes: Vec<u64> = expected.iter().map(|live| live * 2048).collect();
        assert_eq!(series.stack_bytes, bytes);
        let odd: Vec<u64> = expected.iter().map(|s| if s % 2 == 1 { *s } else { 0 }).collect();
        assert_eq!(history.labels()[&label("tenant", 1)], odd);
        assert_eq!((history.readings(), history.numbers_given()), (1000, 2 * 999));
    }

    #[test]
    fn labels_are_bounded_and_the_rest_is_counted() {
        let mut history = GoroutineHistory::default();
        let requests = (0..1500).map(|id| (label("request", id), 2));
        let tenants = (0..10).map(|id| (label("tenant", id), 1));
        history.push(0.0, sample(1, requests.chain(tenants).collect()));
        assert_eq!(history.labels().len(), VALUES_MAX + 10);
        assert_eq!(history.other_labels(), [2 * (1500 - VALUES_MAX as u64)]);
        let keys = (0..10_000).map(|id| (label(&format!("key {id}"), id), 1));
        history.push(1.0, sample(1, keys.collect()));
        assert_eq!(history.labels().len(), LABELS_MAX);
        assert_eq!(history.labels()[&label("tenant", 3)], [1, 0]);
        assert_eq!(history.other_labels()[1] as usize, 10_000 - (LABELS_MAX - VALUES_MAX - 10));
        assert!(history.values.len() <= LABELS_MAX);
    }
}
