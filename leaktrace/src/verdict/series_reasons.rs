//! The sentences about the series of a whole process: findings in, words out.

use super::series::{Finding, LoadEffect, LoadOf, SeriesEvidence};
use crate::{
    display::{bytes, rate, seconds},
    model::{LoadChange, LoadDirection, PodGrowth, SeriesShape, Shaped, Slope, growth_per_pod},
};

/// What grows since then grows from the beginning.
const SINCE_MIN_S: f64 = 2.0;

/// A series that has sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// What each collection found alive.
    LiveHeap,
    /// Anonymous resident memory beside the Go runtime's.
    Native,
    /// Anonymous resident memory.
    AnonRss,
    /// Threads.
    Threads,
    /// All goroutines.
    Goroutines,
    /// Private writable address space.
    VmData,
}

impl Series {
    const fn name(self) -> &'static str {
        match self {
            Self::LiveHeap => "the live heap after each collection",
            Self::Native => "anonymous memory beside the Go runtime's",
            Self::AnonRss => "anonymous RSS",
            Self::Threads => "the number of threads",
            Self::Goroutines => "the number of goroutines",
            Self::VmData => "the private address space",
        }
    }

    /// A figure with its unit.
    fn figure(self, value: f64) -> String {
        match self {
            Self::LiveHeap | Self::Native | Self::AnonRss | Self::VmData => bytes(value),
            Self::Threads | Self::Goroutines => rate(value),
        }
    }

    fn slope(self, Slope { per_s, low, high }: Slope) -> String {
        let [per_s, low, high] = [per_s, low, high].map(|value| self.figure(value));
        format!("{per_s}/s ({low} to {high})")
    }
}

/// Why growth to the end is of interest, and what the load says about it.
pub fn grows(series: Series, finding: &Finding, evidence: &SeriesEvidence) -> String {
    let load = match finding.load {
        None => ", and whether the load rose is not known".to_owned(),
        Some(effect) => beside_load(effect, evidence),
    };
    format!("{}{load}", shape(series, &finding.shaped))
}

fn beside_load(effect: LoadEffect, evidence: &SeriesEvidence) -> String {
    let pods = evidence.pods.and_then(|[first, last]| growth_per_pod(first, last, 1.0));
    match (effect, pods, evidence.load) {
        (LoadEffect::WithLoad, Some(PodGrowth::PerPod { first_pods, last_pods, .. }), _) => {
            format!(
                "; the number of pods rose from {first_pods} to {last_pods} meanwhile, so it may be what \
             they need"
            )
        }
        (LoadEffect::WithLoad, _, load) => format!(
            "; the load rose with it{}, so it may be what the work needs",
            load.as_ref().map_or_else(String::new, |load| times(load, evidence.load_of))
        ),
        (LoadEffect::AtFlatLoad, _, Some(load)) if load.direction == LoadDirection::Rose => {
            format!(
                "; the load rose{} at {}, but the growth went on after that",
                times(&load, evidence.load_of),
                seconds(load.at_s)
            )
        }
        (LoadEffect::AtFlatLoad, _, Some(load)) if load.direction == LoadDirection::Fell => {
            format!("; the load fell{} meanwhile", times(&load, evidence.load_of))
        }
        (LoadEffect::AtFlatLoad, ..) => "; the load did not rise".to_owned(),
    }
}

fn times(load: &LoadChange, of: LoadOf) -> String {
    let what = match of {
        LoadOf::CpuTime => "CPU time",
        LoadOf::Contexts => "contexts made per second",
    };
    load.ratio.map_or_else(String::new, |ratio| format!(" to {ratio:.1} times the {what}"))
}

/// What does not grow to the end although it moved, and the floor of the live heap.
pub fn settled(evidence: &SeriesEvidence) -> Vec<String> {
    let moved = |finding: &&Finding| {
        let shape = finding.shaped.shape;
        !matches!(shape, SeriesShape::Growing { .. } | SeriesShape::Flat)
    };
    let heap = evidence.live_heap.iter().filter(|finding| !finding.is_growing_to_the_end());
    let heap = heap.map(|finding| shape(Series::LiveHeap, &finding.shaped));
    let rss = evidence.anon_rss.iter().filter(moved);
    let rss = rss.map(|finding| shape(Series::AnonRss, &finding.shaped));
    heap.chain(rss).chain(collector(evidence)).collect()
}

/// What the collector does not do.
fn collector(evidence: &SeriesEvidence) -> Option<String> {
    if evidence.collector_is_off {
        return Some(
            "the garbage collector is switched off (GOGC=off without GOMEMLIMIT): garbage stays, and \
             looks like a leak"
                .to_owned(),
        );
    }
    let room = evidence.uncollected_room_bytes.filter(|room| *room > 0.0)?;
    Some(format!(
        "the heap was collected at most twice in this window, and could grow by {} until then without \
         any leak: trace for longer",
        bytes(room)
    ))
}

/// Other series that grow to the end: they support, and say no more than that.
pub fn beside(evidence: &SeriesEvidence) -> Vec<String> {
    let known = [
        (Series::Goroutines, &evidence.goroutines),
        (Series::Threads, &evidence.threads),
        (Series::VmData, &evidence.vm_data),
    ];
    let known = known.into_iter().filter_map(|(series, finding)| Some((series, finding.as_ref()?)));
    let growing = known.filter(|(_, finding)| finding.is_growing_to_the_end());
    growing.map(|(series, finding)| grows(series, finding, evidence)).collect()
}

/// What a series looks like, with the figures that show it.
pub fn shape(series: Series, shaped: &Shaped) -> String {
    let name = series.name();
    let moved = series.figure((shaped.last - shaped.first).abs());
    match shaped.shape {
        SeriesShape::Flat => format!(
            "{name} does not grow by more than {}/s, which this window could tell",
            series.figure(shaped.detectable_per_s())
        ),
        SeriesShape::WarmUp => format!("{name} grew by {moved}, but slows down: warm-up"),
        SeriesShape::Steps { count } => format!(
            "{name} jumped {} ({moved} in all) and was flat otherwise: a table that doubled or a new \
             arena looks like this",
            jumps(count, &shaped.changes_s)
        ),
        SeriesShape::SawTooth { teeth } => format!(
            "{name} rose and fell {teeth} times, and its lowest points do not rise by more than {}/s, \
             which this window could tell",
            series.figure(shaped.detectable_per_s())
        ),
        SeriesShape::Growing { since_s } => growing(series, shaped, since_s),
        SeriesShape::Lately { since_s } => format!(
            "{name} has grown by {moved} after {}, more than it moved before: too lately to say how it \
             goes on; trace for longer",
            seconds(since_s)
        ),
        SeriesShape::Falling => format!("{name} shrank by {moved}"),
        SeriesShape::Restarted { at_s } => format!(
            "{name} fell at {} to near where it began (a restart, or one large release): the window \
             shows no growth that lasts",
            seconds(at_s)
        ),
    }
}

fn growing(series: Series, shaped: &Shaped, since_s: f64) -> String {
    let (name, slope) = (series.name(), series.slope(shaped.slope));
    match (&shaped.floor, since_s > SINCE_MIN_S) {
        (Some(_), _) => format!(
            "the lowest points of {name} rise by {slope}, steadily to the end, under a swing of up and \
             down"
        ),
        (None, true) => format!(
            "{name} grows by {slope}, steadily to the end, since about {}",
            seconds(since_s)
        ),
        (None, false) => format!("{name} grows by {slope}, steadily to the end"),
    }
}

/// Once, at 1m 10s; 3 times, at 10 s, 40 s and 70 s.
fn jumps(count: usize, changes_s: &[f64]) -> String {
    let times: Vec<_> = changes_s.iter().map(|at_s| seconds(*at_s)).collect();
    let often = if count == 1 { "once".to_owned() } else { format!("{count} times") };
    match times.as_slice() {
        [] => often,
        [only] => format!("{often}, at {only},"),
        [before @ .., last] => format!("{often}, at {} and {last},", before.join(", ")),
    }
}
