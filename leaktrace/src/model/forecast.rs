//! When a growing series reaches a limit: (seconds, value) in, an interval of seconds out.
//!
//! Non-goals: what the series and the limit are of; growth that is not a line.

use super::{Slope, resolvable_slope, theil_sen};

/// A series as a line with its honest uncertainty: of the slope, and of the level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Per second, widened: see [`trend`].
    pub slope: Slope,
    /// The newest value.
    pub newest: f64,
    /// How far the series swings above its newest value, beside its trend.
    pub above: f64,
    /// How far it swings below.
    pub below: f64,
}

/// The line through `points`, whose values are known to swing by `noise`; none with fewer than
/// five points.
///
/// Sen's interval takes the residuals for independent. A collector's saw-tooth is not, nor is a
/// step: both move the median slope by up to their height over the span, whatever the number of
/// points. So the interval reaches at least as far as [`resolvable_slope`], which bounds that
/// shift: a step of height h in the middle of a window of T seconds tilts it by h/T, k teeth by
/// h/(kT). A clean line has no residuals and keeps its narrow interval.
///
/// A block bootstrap was not taken: it needs blocks longer than a tooth and many of them, and a
/// window has few teeth; one step is in no block but its own.
pub fn trend(points: &[(f64, f64)], noise: f64) -> Option<Trend> {
    let sen = theil_sen(points)?;
    let floor = resolvable_slope(points, &sen, noise)?;
    let slope = Slope {
        per_s: sen.per_s,
        low: sen.low.min(sen.per_s - floor),
        high: sen.high.max(sen.per_s + floor),
    };
    let (end_s, newest) = *points.last()?;
    let beside = points.iter().map(|(t, value)| value + sen.per_s * (end_s - t) - newest);
    let (below, above) =
        beside.fold((0f64, 0f64), |(low, high), swing| (low.min(swing), high.max(swing)));
    Some(Trend { slope, newest, above, below: -below })
}

/// An interval of seconds from now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// Not before.
    pub earliest_s: f64,
    /// Not after; none when it may never come.
    pub latest_s: Option<f64>,
}

/// When what grows by `per_s` (lowest, highest) has used up `room` (least, most); none when it
/// does not grow. The earliest is the least room at the highest growth, the latest the most room
/// at the lowest: the two are not independent enough for anything narrower.
pub fn reach(room: [f64; 2], per_s: [f64; 2]) -> Option<Reach> {
    let ([least, most], [lowest, highest]) = (room, per_s);
    let sound = [least, most, lowest, highest].iter().all(|value| value.is_finite());
    if !sound || highest <= 0.0 {
        return None;
    }
    let latest_s = (lowest > 0.0).then(|| most.max(0.0) / lowest);
    Some(Reach { earliest_s: least.max(0.0) / highest, latest_s })
}

#[cfg(test)]
mod tests {
    use super::{Reach, reach, trend};
    use crate::model::{testing::uniform, theil_sen};

    const SLOPE: f64 = 1e5;
    const INTERVAL_S: f64 = 2.0;
    const POINTS: usize = 60;

    /// What is added to a line; heights in bytes.
    #[derive(Default, Clone, Copy)]
    struct Shape {
        noise: f64,
        tooth: f64,
        step: f64,
    }

    /// A line with this shape, endless: each seed has its own phase, period and step.
    fn series(seed: u64, shape: Shape) -> impl Iterator<Item = (f64, f64)> {
        let mut random = uniform(seed);
        let mut draw = move || random.next().unwrap();
        let (phase, period_s) = (draw(), 10.0 + 30.0 * draw());
        let step_s = INTERVAL_S * POINTS as f64 * draw();
        (0..).map(move |index| {
            let t = f64::from(index) * INTERVAL_S;
            let tooth = shape.tooth * (t / period_s + phase).fract();
            let step = if t > step_s { shape.step } else { 0.0 };
            (t, 1e8 + SLOPE * t + tooth + step + shape.noise * draw())
        })
    }

    /// Of 500 seeds, how often the interval of the slope, and of the time to a limit of `ahead`
    /// bytes more, contain the truth; and the mean width of the first over the slope.
    fn coverage(shape: Shape, ahead: f64) -> (usize, usize, f64) {
        let (mut slopes, mut times, mut width) = (0, 0, 0.0);
        for seed in 0..500 {
            let mut series = series(seed, shape);
            let points: Vec<_> = series.by_ref().take(POINTS).collect();
            let found = trend(&points, 0.0).unwrap();
            let limit = found.newest + ahead;
            let (now_s, slope) = (points[POINTS - 1].0, found.slope);
            let truth_s = series.find(|(_, value)| *value >= limit).unwrap().0 - now_s;
            let room = [ahead - found.above, ahead + found.below];
            let time = reach(room, [slope.low, slope.high]).unwrap();
            let late = time.latest_s.unwrap_or(f64::INFINITY) + INTERVAL_S;
            times += usize::from(time.earliest_s <= truth_s && truth_s <= late);
            slopes += usize::from(slope.low <= SLOPE && SLOPE <= slope.high);
            width += (slope.high - slope.low) / SLOPE / 500.0;
        }
        (slopes, times, width)
    }

    #[test]
    fn the_intervals_contain_the_truth_for_lines_teeth_noise_and_steps() {
        let shapes = [
            Shape { noise: 1e6, ..Shape::default() },
            Shape { tooth: 5e6, ..Shape::default() },
            Shape { step: 5e6, ..Shape::default() },
            Shape { tooth: 5e6, noise: 5e5, ..Shape::default() },
            Shape { tooth: 3e6, noise: 1e6, step: 2e6 },
            Shape { tooth: 1e6, noise: 3e6, step: 4e6 },
        ];
        for (index, shape) in shapes.into_iter().enumerate() {
            let (slopes, times, width) = coverage(shape, 6e7);
            println!("shape {index}: slope {slopes}, time {times} of 500, width {width:.3}");
            assert!(slopes >= 450, "shape {index}: the slope is in {slopes} of 500");
            assert!(times >= 450, "shape {index}: the time is in {times} of 500");
        }
    }

    /// What the widening is for: independent points are what Sen's interval assumes.
    #[test]
    fn sens_interval_alone_misses_the_truth_of_teeth_and_steps() {
        let shape = Shape { tooth: 3e6, noise: 1e6, step: 2e6 };
        let covered = (0..500)
            .filter(|seed| {
                let points: Vec<_> = series(*seed, shape).take(POINTS).collect();
                let sen = theil_sen(&points).unwrap();
                sen.low <= SLOPE && SLOPE <= sen.high
            })
            .count();
        assert!(covered < 450, "{covered} of 500");
    }

    #[test]
    fn clean_lines_keep_a_narrow_interval() {
        assert!(coverage(Shape::default(), 6e7).2 < 1e-9);
        let pages = Shape { noise: 4096.0 * 8.0, ..Shape::default() };
        let (_, times, width) = coverage(pages, 6e7);
        assert!(width < 0.01 && times >= 450, "width {width}, times {times}");
    }

    /// A window inside one tooth shows a clean line; what is known of the heap widens it.
    #[test]
    fn a_known_swing_widens_what_looks_clean() {
        let points: Vec<_> = (0..30).map(|t| (f64::from(t), 1e6 * f64::from(t))).collect();
        let slope = trend(&points, 2.9e7).unwrap().slope;
        assert!(slope.low <= 0.0 && slope.high >= 2e6, "{slope:?}");
    }

    #[test]
    fn no_growth_reaches_nothing_and_doubtful_growth_may_never() {
        let within = |earliest_s, latest_s| Some(Reach { earliest_s, latest_s });
        assert_eq!(reach([100.0, 200.0], [10.0, 20.0]), within(5.0, Some(20.0)));
        assert_eq!(reach([100.0, 200.0], [-1.0, 20.0]), within(5.0, None));
        assert_eq!(reach([100.0, 200.0], [0.0, 20.0]), within(5.0, None));
        assert_eq!(reach([100.0, 200.0], [-2.0, -1.0]), None);
        assert_eq!(reach([100.0, 200.0], [0.0, 0.0]), None);
        assert_eq!(reach([-5.0, -1.0], [1.0, 2.0]), within(0.0, Some(0.0)));
        assert_eq!(reach([f64::NAN, 1.0], [1.0, 2.0]), None);
    }

    #[test]
    fn the_swing_is_told_from_the_newest_value() {
        // Teeth of 0, 1, 2 on a line of 10 a second; the newest value is at the bottom of one.
        let points: Vec<_> =
            (0..31).map(|t| (f64::from(t), 10.0 * f64::from(t) + f64::from(t % 3))).collect();
        let found = trend(&points, 0.0).unwrap();
        assert!((found.slope.per_s - 10.0).abs() < 0.1, "{found:?}");
        assert!((found.above - 2.0).abs() < 0.2 && found.below < 0.2, "{found:?}");
    }
}
