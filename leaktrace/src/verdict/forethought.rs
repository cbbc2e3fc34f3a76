//! How long a trace would have to be to see a given leak: what one window could see in, windows out.

use serde::Serialize;

use super::{SeriesEvidence, Verdict, site::OLD_NEEDED};
use crate::history::History;

/// Rates of objects for which it is said, per second: ten a second down to some hundred a day.
const OBJECTS_PER_S: [f64; 4] = [1.0, 0.1, 0.01, 0.001];
/// The same for bytes: 1 GiB, 100 MiB, 10 MiB, and 4.5 MiB an hour, as in kubernetes#139823.
const BYTES_PER_S: [f64; 4] = [298_261.62, 29_127.1, 2912.7, 1310.7];
/// A window shows what is old only when it has twice the age from which on things are old.
const HORIZONS: f64 = 2.0;
/// Where nothing or little ends, that age is a third of the window.
const WHERE_NOTHING_ENDS: f64 = 1.5;
/// An age that is (nearly) this share of the window is of that kind.
const GROWS_WITH_WINDOW: f64 = 0.32;

/// A rate of growth, and the window that would show it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Foresight {
    /// Of what.
    pub of: Growing,
    /// Growth per second: objects, or bytes.
    pub per_s: f64,
    /// Length of the window in seconds.
    pub window_s: f64,
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Growing {
    /// Contexts of one site.
    Contexts,
    /// Goroutines of one `go` statement.
    Goroutines,
    /// Live bytes of the Go heap, or anonymous memory: what tells it sooner.
    Bytes,
}

/// What would be needed to see leaks of some usual rates that this window was too short for.
pub fn look_ahead(verdict: &mut Verdict, history: &History, series: &SeriesEvidence) {
    let window_s = history.duration_s();
    let contexts = verdict.horizon_contexts_s.map(|horizon| (Growing::Contexts, horizon));
    let goroutines = verdict.horizon_goroutines_s.map(|horizon| (Growing::Goroutines, horizon));
    let divisor = history.contexts().map_or(1, |contexts| contexts.sample_divisor) as f64;
    let mut ahead = Vec::new();
    for (of, horizon_s) in [contexts, goroutines].into_iter().flatten() {
        let divisor = if of == Growing::Contexts { divisor } else { 1.0 };
        let grows = horizon_s >= GROWS_WITH_WINDOW * window_s;
        ahead.extend(OBJECTS_PER_S.map(|per_s| {
            let window_s = objects_window_s(per_s / divisor, horizon_s, grows);
            Foresight { of, per_s, window_s }
        }));
    }
    ahead.extend(BYTES_PER_S.into_iter().filter_map(|per_s| {
        let window_s = series.how_long_s(per_s)?;
        Some(Foresight { of: Growing::Bytes, per_s, window_s })
    }));
    ahead.retain(|foresight| foresight.window_s > window_s);
    verdict.ahead = ahead;
}

/// The window in which a leak of `per_s` objects leaves enough old ones with 95 % probability,
/// where things are old from `horizon_s` on, or from a third of the window on if that age
/// `grows_with_window`.
pub fn objects_window_s(per_s: f64, horizon_s: f64, grows_with_window: bool) -> f64 {
    let counting_s = OLD_NEEDED / per_s;
    if grows_with_window {
        return (horizon_s + counting_s).max(WHERE_NOTHING_ENDS * counting_s);
    }
    (horizon_s + counting_s).max(HORIZONS * horizon_s)
}

#[cfg(test)]
mod tests {
    use super::objects_window_s;

    /// Of what a leak makes before the horizon, eight are seen in 19 cases of 20.
    #[test]
    fn a_window_counts_long_enough_before_the_horizon() {
        let window_s = objects_window_s(0.5, 10.0, false);
        assert!((36.0..42.0).contains(&window_s), "{window_s}");
        assert!(objects_window_s(100.0, 60.0, false) >= 120.0, "twice the horizon");
        assert!(objects_window_s(0.001, 10.0, true) > 3.0 * 3600.0);
    }
}
