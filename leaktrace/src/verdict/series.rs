//! What the series of a whole process say: readings in, shapes with their figures out, and what
//! they do to a verdict.
//!
//! Bytes alone never make a leak: they can only be growing. Non-goals: which code holds them.

use super::{
    SiteState, State, Verdict,
    rss::PAGE_BYTES,
    series_reasons::{self as reasons, Series},
};
use crate::{
    history::{History, Point},
    model::{
        LoadChange, LoadDirection, Shaped, busy_cpus, how_long_s, load_change, rates, shape_of,
    },
};

pub use crate::model::SeriesShape;

/// Clock ticks per second in `/proc/PID/stat`: `USER_HZ` (include/asm-generic/param.h), the same on
/// all processors that we run on.
const TICKS_PER_S: f64 = 100.0;
/// What is in flight while the collector marks makes the live heap swing by so much,
const HEAP_NOISE_BYTES: f64 = 65_536.0;
/// or by this share of it.
const HEAP_NOISE_RATIO: f64 = 0.005;
/// Of what the Go runtime takes of the system not all is touched at once: it asks for 4 MiB at a time
/// (runtime/mpagealloc.go `pallocChunkBytes`).
const UNTOUCHED_BYTES: f64 = 4_194_304.0;
/// A pool of threads breathes by so many.
const THREADS_NOISE: f64 = 2.0;
/// Goroutines of requests come and go by so many.
const GOROUTINES_NOISE: f64 = 8.0;
/// In a shorter window a growing heap may just be starting up.
const SUSPECT_WINDOW_MIN_S: f64 = 60.0;
/// With fewer collections the heap may still be on its way to its goal.
const COLLECTIONS_FEW: usize = 3;
/// So many times the pods are many more: one more explains no growth of a whole kubelet.
const PODS_RATIO: f64 = 1.2;
/// Collections that make a series.
const COLLECTIONS_MIN: f64 = 6.0;

/// How growth goes with the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadEffect {
    /// It grew, or went on growing, while the load did not rise.
    AtFlatLoad,
    /// The load rose with it: more work may need more memory.
    WithLoad,
}

/// What the load is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadOf {
    /// CPU time used.
    CpuTime,
    /// Contexts made, of all sites.
    Contexts,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it looks like.
    pub shaped: Shaped,
    /// Of what grows, where the load is known.
    pub load: Option<LoadEffect>,
}

impl Finding {
    /// Whether it grows to the end of the window.
    pub const fn is_growing_to_the_end(&self) -> bool {
        self.shaped.shape.is_growing()
    }
}

/// What the series say; those that could not be read often enough are none.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesEvidence {
    /// Length of the window in seconds.
    pub window_s: f64,
    /// Anonymous resident memory, in bytes.
    pub anon_rss: Option<Finding>,
    /// Live bytes of a Go heap that each collection found.
    pub live_heap: Option<Finding>,
    /// Anonymous resident memory beside all that the Go runtime holds, in bytes: what C and mappings
    /// of the program's own take.
    pub native: Option<Finding>,
    /// Collections that were seen, by the readings that are kept.
    pub collections: usize,
    /// By how much the heap could grow without a collection, where hardly one was seen; in bytes.
    pub uncollected_room_bytes: Option<f64>,
    /// The collector is switched off, and no memory limit makes it run.
    pub collector_is_off: bool,
    /// All goroutines.
    pub goroutines: Option<Finding>,
    /// Threads.
    pub threads: Option<Finding>,
    /// Private writable address space, in bytes.
    pub vm_data: Option<Finding>,
    /// The CPU time that it used, or the contexts that it made where those rose and that did not.
    pub load: Option<LoadChange>,
    /// Which of them that is.
    pub load_of: LoadOf,
    /// Pods at the beginning and at the end, where it is a kubelet's node.
    pub pods: Option<[u64; 2]>,
}

impl SeriesEvidence {
    /// From all readings. The anonymous RSS is known to swing by `rss_noise_bytes` (see
    /// [`Verdict::rss_noise_bytes`]); `pods` were counted at the beginning and at the end.
    pub fn of(history: &History, rss_noise_bytes: f64, pods: Option<[u64; 2]>) -> Self {
        let load = Load::of(history, pods);
        let heap = live_heap(history);
        let uncollected_room_bytes = room_bytes(history).filter(|_| heap.len() < COLLECTIONS_FEW);
        let rss_noise_bytes = rss_noise_bytes.max(uncollected_room_bytes.unwrap_or(0.0));
        let heap_noise = heap.first().map_or(0.0, |first| first.1 * HEAP_NOISE_RATIO);
        let goroutines = history.goroutines();
        let times_s = goroutines.times_s().iter().copied();
        let live: Vec<_> = times_s.zip(goroutines.live().iter().map(|live| *live as f64)).collect();
        Self {
            window_s: history.duration_s(),
            anon_rss: load.finding(
                &history.series(|process| process.rss_anon_bytes),
                rss_noise_bytes.max(PAGE_BYTES),
            ),
            live_heap: load.finding(&heap, heap_noise.max(HEAP_NOISE_BYTES)),
            native: load.finding(&native(history), UNTOUCHED_BYTES),
            collections: heap.len(),
            uncollected_room_bytes,
            collector_is_off: collector_is_off(history),
            goroutines: load.finding(&live, GOROUTINES_NOISE),
            threads: load.finding(&history.series(|process| process.threads), THREADS_NOISE),
            vm_data: load.finding(&history.series(|process| process.vm_data_bytes), PAGE_BYTES),
            load: load.change,
            load_of: load.of,
            pods,
        }
    }

    /// For how many seconds to trace so that growth of `bytes_per_s` is told from the noise of this
    /// process, on the Go heap or beside it; none where no series is known.
    pub fn how_long_s(&self, bytes_per_s: f64) -> Option<f64> {
        let long = |finding: &Finding| how_long_s(bytes_per_s, finding.shaped.swing);
        let between_s = self.window_s / self.collections.max(1) as f64;
        let heap = self.live_heap.as_ref().and_then(long);
        let heap = heap.map(|heap_s| heap_s.max(COLLECTIONS_MIN * between_s));
        let native = self.native.as_ref().and_then(long);
        match (heap, native) {
            (Some(heap_s), Some(native_s)) => Some(heap_s.max(native_s)),
            _ => self.anon_rss.as_ref().and_then(long),
        }
    }

    /// The slowest growth, of live bytes on the Go heap or of memory beside it, that this window could
    /// have told from its noise, in bytes per second; of the RSS where these are not known.
    pub fn floor_bytes_per_s(&self) -> Option<f64> {
        let told = |finding: &Option<Finding>| {
            finding.as_ref().map(|found| found.shaped.detectable_per_s())
        };
        match (told(&self.live_heap), told(&self.native)) {
            (Some(heap), Some(native)) => Some(heap.max(native)),
            _ => told(&self.anon_rss),
        }
    }
}

/// (seconds, live bytes), one point for each collection: from the first reading after it. What a
/// collection finds alive has no teeth; the heap between two collections is garbage for the most.
fn live_heap(history: &History) -> Vec<(f64, f64)> {
    let points = history.points().iter();
    let read: Vec<_> =
        points.filter_map(|point| Some((point.at_s, point.runtime.as_ref()?))).collect();
    let cycles = read.chunk_by(|one, other| one.1.gc_cycles == other.1.gc_cycles);
    let firsts = cycles.filter_map(|cycle| cycle.first());
    let collected = firsts.filter(|(_, counters)| counters.gc_cycles > 0);
    collected.map(|(at_s, counters)| (*at_s, counters.heap_marked_bytes as f64)).collect()
}

/// (seconds, bytes) of the anonymous RSS that are not the Go runtime's; below zero where that has not
/// touched all that it has.
fn native(history: &History) -> Vec<(f64, f64)> {
    let beside = |point: &Point| {
        let ready = point.runtime.as_ref()?.mapped_ready_bytes;
        Some((point.at_s, point.process.rss_anon_bytes? as f64 - ready as f64))
    };
    history.points().iter().filter_map(beside).collect()
}

/// What the collector allowed the heap to grow by when the window began: up to its goal.
fn room_bytes(history: &History) -> Option<f64> {
    let first = history.points().iter().find_map(|point| point.runtime.as_ref())?;
    let goal = (first.gc_percent >= 0).then_some(first.next_gc_bytes)?;
    Some(goal.saturating_sub(first.heap_live_bytes) as f64)
}

fn collector_is_off(history: &History) -> bool {
    let newest = history.points().iter().rev().find_map(|point| point.runtime.as_ref());
    newest.is_some_and(|counters| counters.gc_percent < 0 && counters.memory_limit_bytes.is_none())
}

/// (seconds, contexts made so far), of all sites.
fn made(history: &History) -> Vec<(f64, f64)> {
    let sites = history.sites();
    let made_by =
        |index: usize| sites.values().filter_map(|site| site.created.get(index)).sum::<u64>();
    let times_s = history.times_s().into_iter().enumerate();
    times_s.map(|(index, at_s)| (at_s, made_by(index) as f64)).collect()
}

/// The load over a window.
struct Load {
    of: LoadOf,
    busy: Vec<(f64, f64)>,
    change: Option<LoadChange>,
    pods: Option<[u64; 2]>,
}

impl Load {
    fn of(history: &History, pods: Option<[u64; 2]>) -> Self {
        let busy = busy_cpus(&history.series(|process| process.cpu_ticks), TICKS_PER_S);
        let made = rates(&made(history));
        let rose = |rates: &[(f64, f64)]| {
            load_change(rates).is_some_and(|change| change.direction == LoadDirection::Rose)
        };
        // More work shows in CPU time or, where that is cheap, in what is made for it.
        let (of, busy) = match !rose(&busy) && rose(&made) {
            true => (LoadOf::Contexts, made),
            false => (LoadOf::CpuTime, busy),
        };
        let change = load_change(&busy);
        Self { of, busy, change, pods }
    }

    fn finding(&self, points: &[(f64, f64)], noise: f64) -> Option<Finding> {
        let shaped = shape_of(points, noise)?;
        let grows = shaped.shape.is_growing();
        let load = if grows { self.effect(points, noise) } else { None };
        Some(Finding { shaped, load })
    }

    /// The load explains growth in general, unless it goes on after the load has found its new
    /// level. Pods explain it if there are many more.
    fn effect(&self, points: &[(f64, f64)], noise: f64) -> Option<LoadEffect> {
        let more_pods =
            |[first, last]: [u64; 2]| last as f64 >= PODS_RATIO * first as f64 && last > first;
        if self.pods.is_some_and(more_pods) {
            return Some(LoadEffect::WithLoad);
        }
        let change = self.change?;
        let rose = change.direction == LoadDirection::Rose;
        let explained = rose && !self.goes_on_after(change.at_s, points, noise);
        Some(if explained { LoadEffect::WithLoad } else { LoadEffect::AtFlatLoad })
    }

    fn goes_on_after(&self, at_s: f64, points: &[(f64, f64)], noise: f64) -> bool {
        let after = |series: &[(f64, f64)]| {
            series[series.partition_point(|point| point.0 <= at_s)..].to_vec()
        };
        let settled = load_change(&after(&self.busy))
            .is_some_and(|change| change.direction != LoadDirection::Rose);
        settled && shape_of(&after(points), noise).is_some_and(|shaped| shaped.shape.is_growing())
    }
}

/// The verdict with what the series say. Growth of the live heap or of the anonymous memory that is
/// steady to the end, and does not go with a rise of the load, makes it suspect; never a leak. What
/// grew with the load weakens both "no leak" and a suspicion that nothing else supports.
pub fn weigh_series(mut verdict: Verdict, evidence: &SeriesEvidence) -> Verdict {
    let known = [
        (Series::LiveHeap, &evidence.live_heap),
        (Series::Native, &evidence.native),
        (Series::AnonRss, &evidence.anon_rss),
    ];
    let known = known.map(|(series, finding)| finding.as_ref().map(|found| (series, found)));
    let growing: Vec<_> = known
        .iter()
        .flatten()
        .copied()
        .filter(|(_, finding)| finding.is_growing_to_the_end())
        .collect();
    let is_late = |(_, finding): &(Series, &Finding)| {
        matches!(finding.shaped.shape, SeriesShape::Lately { .. })
    };
    let lately = known.iter().flatten().any(is_late);
    let mut why: Vec<_> = growing
        .iter()
        .map(|(series, finding)| reasons::grows(*series, finding, evidence))
        .collect();
    why.extend(reasons::settled(evidence));
    why.extend(reasons::beside(evidence));
    let long = evidence.window_s >= SUSPECT_WINDOW_MIN_S;
    let unexplained = growing.iter().any(|(_, finding)| finding.load != Some(LoadEffect::WithLoad));
    let before = verdict.state;
    verdict.state = match before {
        _ if long && unexplained => before.max(State::Suspect),
        // It grew with the load, or too lately,
        State::NoLeak if long && (lately || !growing.is_empty()) => State::Inconclusive,
        // or within what the collector allows.
        State::Suspect if rests_on_bytes(&verdict) && !unexplained => State::Inconclusive,
        _ => before,
    };
    if verdict.state == before {
        verdict.reasons.extend(why);
    } else {
        verdict.confidence_ratio = 0.0;
        verdict.reasons.splice(0..0, why);
    }
    verdict
}

/// Whether no site supports a suspicion.
fn rests_on_bytes(verdict: &Verdict) -> bool {
    let mut sites = verdict.sites.iter().map(|(_, site)| site.state);
    let mut goroutines = verdict.goroutines.iter().map(|(_, site)| site.state);
    let clean = |state| matches!(state, SiteState::Clean | SiteState::Collectable);
    sites.all(clean) && goroutines.all(clean)
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
