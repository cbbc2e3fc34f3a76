//! What shapes are told by: points in, falls and restarts out.

/// A restart is over by the second point: a reading may fall into it.
const RESTART_POINTS_MAX: usize = 2;
/// It leaves at most this share of what had been gained before.
const RESTART_LEFT_RATIO: f64 = 0.25;
/// Most of what is gained before, is gained in steps this small a part of the fall.
const RESTART_STEP_RATIO: f64 = 0.5;
/// Points before a fall from which a rise is known.
const RISE_POINTS_MIN: usize = 3;

/// Fewer turns than so many standard deviations below the mean are no noise: one in a thousand.
const TURNS_DEVIATIONS: f64 = 3.0;

/// The values of points.
pub fn values(points: &[(f64, f64)]) -> Vec<f64> {
    points.iter().map(|point| point.1).collect()
}

/// The middle value, the upper one of two; 0 without points.
pub fn median(points: &[(f64, f64)]) -> f64 {
    let mut sorted = values(points);
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// How often a series falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Teeth {
    /// Falls that follow a rise, both of at least the height asked for.
    pub falls: usize,
}

impl Teeth {
    /// Counts turns of at least `height`: a smaller one is no turn.
    pub fn of(points: &[(f64, f64)], height: f64) -> Self {
        let mut teeth = Self { falls: 0 };
        let Some((_, first)) = points.first() else { return teeth };
        // The extreme since the last turn, and whether it is a peak.
        let (mut low, mut high, mut rising) = (*first, *first, false);
        for (_, value) in points {
            if rising {
                high = high.max(*value);
                if high - value >= height {
                    teeth.falls += 1;
                    (rising, low) = (false, *value);
                }
            } else {
                low = low.min(*value);
                if value - low >= height {
                    (rising, high) = (true, *value);
                }
            }
        }
        teeth
    }
}

/// Whether a series turns as often as independent values do, or nearly: of three neighbours the
/// middle one is the highest or lowest in two cases of three, with variance (16n - 29) / 90. I. J.
/// Bienaymé (1874), in M. G. Kendall and A. Stuart, "The advanced theory of statistics" 3 (1966).
pub fn turns_like_noise(points: &[(f64, f64)]) -> bool {
    let n = points.len() as f64;
    let turn = |three: &&[(f64, f64)]| (three[1].1 - three[0].1) * (three[1].1 - three[2].1) > 0.0;
    let turns = points.windows(3).filter(turn).count() as f64;
    let (expected, variance) = (2.0 * (n - 2.0) / 3.0, (16.0 * n - 29.0) / 90.0);
    turns > expected - TURNS_DEVIATIONS * variance.max(0.0).sqrt()
}

/// When the series fell at once to near where it began, after it had risen by more than `noise`,
/// if it did so once only.
pub fn restart(points: &[(f64, f64)], noise: f64) -> Option<f64> {
    let first = points.first()?;
    let drops = points.windows(2).map(|pair| pair[0].1 - pair[1].1);
    let (place, _) = drops.enumerate().max_by(|one, other| one.1.total_cmp(&other.1))?;
    let after = (place + 1..points.len().min(place + 3))
        .min_by(|one, other| points[*one].1.total_cmp(&points[*other].1))?;
    let top = (place.saturating_sub(1)..=place)
        .max_by(|one, other| points[*one].1.total_cmp(&points[*other].1))?;
    let before = &points[..=top];
    let peak = points[top].1;
    let (gained, fall) = (peak - first.1, peak - points[after].1);
    let quick = after - top <= RESTART_POINTS_MAX;
    let once = Teeth::of(points, RESTART_STEP_RATIO * fall).falls == 1;
    let rose = before.len() >= RISE_POINTS_MIN
        && before.windows(2).all(|pair| pair[0].1 - pair[1].1 < RESTART_STEP_RATIO * gained);
    let back = fall > noise && fall >= (1.0 - RESTART_LEFT_RATIO) * gained;
    (gained > noise && quick && once && rose && back).then(|| points[after].0)
}

#[cfg(test)]
mod tests {
    use super::{Teeth, median, restart};

    fn points(values: &[f64]) -> Vec<(f64, f64)> {
        values.iter().enumerate().map(|(index, value)| (index as f64, *value)).collect()
    }

    #[test]
    fn only_turns_of_the_height_asked_for_are_teeth() {
        let saw = points(&[0.0, 5.0, 9.0, 1.0, 6.0, 10.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(Teeth::of(&saw, 5.0).falls, 2);
        assert_eq!(Teeth::of(&saw, 1.0).falls, 3);
        assert_eq!(Teeth::of(&saw, 20.0).falls, 0);
        assert_eq!(Teeth::of(&[], 1.0).falls, 0);
        assert_eq!(median(&saw[..3]), 5.0);
    }

    #[test]
    fn a_restart_ends_near_where_it_began() {
        let grown = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0];
        let again = points(&[&grown[..], &[12.0, 22.0, 32.0]].concat());
        assert_eq!(restart(&again, 5.0), Some(6.0));
        let in_two = points(&[&grown[..], &[40.0, 11.0, 22.0]].concat());
        assert_eq!(restart(&in_two, 5.0), Some(7.0));
        let part = points(&[&grown[..], &[45.0, 50.0, 55.0]].concat());
        assert_eq!(restart(&part, 5.0), None, "a part was freed");
        let twice = points(&[grown, grown, grown].concat());
        assert_eq!(restart(&twice, 5.0), None, "teeth");
        assert_eq!(restart(&again, 100.0), None, "noise");
        assert_eq!(restart(&[], 0.0), None);
    }
}
