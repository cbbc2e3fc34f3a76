//! How hard a process works over a window: CPU time so far in, its change out.
//!
//! Non-goals: why it works; what its memory does meanwhile.

use super::{changes::pettitt, mann_kendall, shape_parts::median};

/// Fewer intervals than this have no change.
const RATES_MIN: usize = 8;
/// So many times the load is more load; the inverse is less.
const CHANGED_RATIO: f64 = 1.3;
/// And at least so much of one CPU: below it two ticks make a difference.
const CHANGED_CPUS: f64 = 0.02;
/// A change that chance makes more often than this is none.
const CHANGED_P: f64 = 0.05;

/// Whether the load changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadDirection {
    /// By a third or more.
    Rose,
    /// By a quarter or more.
    Fell,
    /// Neither.
    Flat,
}

/// The load in a window.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LoadChange {
    /// Which way.
    pub direction: LoadDirection,
    /// CPUs kept busy in the last third of the window over those in the first; none if the latter
    /// are none.
    pub ratio: Option<f64>,
    /// The most likely time of the change, in seconds.
    pub at_s: f64,
    /// How probable so much of a change is by chance.
    pub p_value: f64,
}

/// CPUs kept busy between each two of (seconds, ticks so far), at the time of the later one.
pub fn busy_cpus(ticks: &[(f64, f64)], ticks_per_s: f64) -> Vec<(f64, f64)> {
    let of = |(at_s, per_s): (f64, f64)| (ticks_per_s > 0.0).then(|| (at_s, per_s / ticks_per_s));
    rates(ticks).into_iter().filter_map(of).collect()
}

/// The rate per second between each two of (seconds, count so far), at the time of the later one.
pub fn rates(counts: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let rate = |pair: &[(f64, f64)]| {
        let [(t0, c0), (t1, c1)] = [pair[0], pair[1]];
        // A lower count than before is that of another process.
        (t1 > t0 && c1 >= c0).then(|| (t1, (c1 - c0) / (t1 - t0)))
    };
    counts.windows(2).filter_map(rate).collect()
}

/// Whether `busy` (of [`busy_cpus`], or other [`rates`]) changed over the window: by the medians of its first and last
/// third, and not by chance as a step (Pettitt) or a slope (Mann-Kendall). None with fewer than
/// eight.
pub fn load_change(busy: &[(f64, f64)]) -> Option<LoadChange> {
    if busy.len() < RATES_MIN {
        return None;
    }
    let third = busy.len() / 3;
    let (first, last) = (median(&busy[..third]), median(&busy[busy.len() - third..]));
    let rates: Vec<_> = busy.iter().map(|point| point.1).collect();
    let change = pettitt(&rates)?;
    let p_value = change.p_value.min(mann_kendall(&rates)?.p_value);
    let sure = p_value < CHANGED_P && (last - first).abs() >= CHANGED_CPUS;
    let direction = if sure && last >= CHANGED_RATIO * first {
        LoadDirection::Rose
    } else if sure && last <= first / CHANGED_RATIO {
        LoadDirection::Fell
    } else {
        LoadDirection::Flat
    };
    let ratio = (first > 0.0).then(|| last / first);
    Some(LoadChange { direction, ratio, at_s: busy[change.before].0, p_value })
}

#[cfg(test)]
mod tests {
    use super::{LoadDirection, busy_cpus, load_change};
    use crate::model::testing::uniform;

    /// Ticks so far at 5 s intervals of a process that keeps so many CPUs busy.
    fn ticks(cpus: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let mut so_far = 0.0;
        let at = (0..60).map(|index| f64::from(index) * 5.0).zip(uniform(7));
        at.map(|(t, r)| {
            so_far += (cpus(t) * 500.0 * (0.9 + 0.2 * r)).round();
            (t, so_far)
        })
        .collect()
    }

    #[test]
    fn ramps_steps_and_idleness_are_told_apart() {
        let change = |cpus: &dyn Fn(f64) -> f64| load_change(&busy_cpus(&ticks(cpus), 100.0));
        let rose = change(&|t| 0.1 + t / 600.0).unwrap();
        assert_eq!(rose.direction, LoadDirection::Rose);
        assert!((rose.ratio.unwrap() - 3.3).abs() < 0.7, "{rose:?}");
        let step = change(&|t| if t < 200.0 { 0.5 } else { 0.9 }).unwrap();
        assert_eq!(step.direction, LoadDirection::Rose);
        assert!((step.at_s - 200.0).abs() <= 5.0, "{step:?}");
        assert_eq!(change(&|t| 1.0 - t / 400.0).unwrap().direction, LoadDirection::Fell);
        assert_eq!(change(&|_| 0.4).unwrap().direction, LoadDirection::Flat);
        // From one tick in five seconds to two: no load at all.
        let idle = change(&|t| if t < 150.0 { 0.002 } else { 0.004 }).unwrap();
        assert_eq!(idle.direction, LoadDirection::Flat);
        let begun = change(&|t| if t < 150.0 { 0.0 } else { 0.5 }).unwrap();
        assert_eq!((begun.direction, begun.ratio), (LoadDirection::Rose, None));
    }

    #[test]
    fn another_process_and_too_few_readings_have_no_rate() {
        assert_eq!(busy_cpus(&[(0.0, 100.0), (1.0, 50.0), (2.0, 150.0)], 100.0), [(2.0, 1.0)]);
        assert_eq!(busy_cpus(&[(0.0, 1.0), (0.0, 2.0)], 100.0), []);
        assert_eq!(busy_cpus(&[(0.0, 1.0), (1.0, 2.0)], 0.0), []);
        assert_eq!(load_change(&[(0.0, 1.0); 7]), None);
    }
}
