//! How far windows of time tell what happened outside them.

/// What windows saw, as sums from which the spread of their rates follows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct WindowSums {
    windows: u64,
    /// Nanoseconds in windows.
    observed_ns: f64,
    /// Nanoseconds that windows and the gaps before them took.
    span_ns: f64,
    scaled: f64,
    scaled_squared: f64,
    span_squared: f64,
    scaled_by_span: f64,
}

/// Counting in windows of time, since it began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GoroutineSampling {
    /// `CLOCK_MONOTONIC` from which not everything was counted.
    pub since_ns: u64,
    /// Until when the counts tell: the end of the last window; none while all is counted again.
    pub told_until_ns: Option<u64>,
    /// How long was counted in windows.
    pub observed_ns: u64,
    /// Of how long that tells: the windows with the gaps before them.
    pub span_ns: u64,
    /// Windows so far.
    pub windows: u64,
    /// Standard error of all scaled events, relative to them, from how much the windows differ; none
    /// of less than two windows, or without events.
    pub relative_error: Option<f64>,
}

impl WindowSums {
    /// Adds a window of `window_ns` with `events` that stand for `span_ns`.
    pub fn add(&mut self, window_ns: f64, span_ns: f64, events: u64) {
        let scaled = events as f64 * span_ns / window_ns.max(1.0);
        self.windows += 1;
        self.observed_ns += window_ns;
        self.span_ns += span_ns;
        self.scaled += scaled;
        self.scaled_squared += scaled * scaled;
        self.span_squared += span_ns * span_ns;
        self.scaled_by_span += scaled * span_ns;
    }

    /// What they say together.
    pub fn sampling(&self, since_ns: u64, told_until_ns: Option<u64>) -> GoroutineSampling {
        GoroutineSampling {
            since_ns,
            told_until_ns,
            observed_ns: self.observed_ns as u64,
            span_ns: self.span_ns as u64,
            windows: self.windows,
            relative_error: self.relative_error(),
        }
    }

    /// By the residuals of a ratio estimate (Cochran, Sampling Techniques, 3rd ed., 6.4).
    fn relative_error(&self) -> Option<f64> {
        if self.windows < 2 || self.scaled <= 0.0 {
            return None;
        }
        let rate = self.scaled / self.span_ns;
        let squares = self.scaled_squared - 2.0 * rate * self.scaled_by_span
            + rate * rate * self.span_squared;
        let windows = self.windows as f64;
        let variance = squares.max(0.0) * windows / (windows - 1.0);
        Some(variance.sqrt() / self.scaled)
    }
}

#[cfg(test)]
mod tests {
    use super::WindowSums;

    #[test]
    fn windows_that_agree_leave_no_error() {
        let mut sums = WindowSums::default();
        sums.add(100.0, 1000.0, 50);
        assert_eq!(sums.sampling(0, None).relative_error, None, "one window has no spread");
        sums.add(200.0, 2000.0, 100);
        let sampling = sums.sampling(7, None);
        assert_eq!((sampling.since_ns, sampling.windows), (7, 2));
        assert_eq!((sampling.observed_ns, sampling.span_ns), (300, 3000));
        assert!(sampling.relative_error.unwrap() < 1e-6);
    }

    /// Two equal windows with 10 and 30 events: 400 +- 200 of 4000 ns.
    #[test]
    fn windows_that_differ_tell_how_far() {
        let mut sums = WindowSums::default();
        sums.add(100.0, 1000.0, 10);
        sums.add(100.0, 1000.0, 30);
        let error = sums.sampling(0, None).relative_error.unwrap();
        assert!((error - 0.5).abs() < 1e-6, "{error}");
    }

    #[test]
    fn nothing_seen_has_no_relative_error() {
        let mut sums = WindowSums::default();
        sums.add(100.0, 1000.0, 0);
        sums.add(100.0, 1000.0, 0);
        assert_eq!(sums.sampling(0, None).relative_error, None);
    }
}
