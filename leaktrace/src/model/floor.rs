//! What a saw-tooth stands on: points in, the lowest of each tooth and their trend out.
//!
//! A collector leaves behind what lives; what lies above that is garbage, and its swing hides a
//! slow growth. Non-goals: telling a saw-tooth from anything else.

/// Blocks that a series is cut into, whose cycles are not known: so many that their lowest
/// points have a slope, so few that each holds the bottom of a tooth.
const BLOCKS: usize = 8;

/// The lowest point of each of eight stretches of equal length in time; stretches without a point
/// have none.
pub fn floor_by_block(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let block_s = (last.0 - first.0) / BLOCKS as f64;
    let block = |point: &(f64, f64)| (((point.0 - first.0) / block_s) as usize).min(BLOCKS - 1);
    let blocks = points.chunk_by(|one, other| block(one) == block(other));
    blocks.filter_map(|block| lowest(block.iter().copied())).collect()
}

fn lowest(points: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    points.min_by(|one, other| one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::floor_by_block;
    use crate::model::trend;

    /// Teeth of 30 MB in 20 s on 100 MB, growing by `per_s`, read every 2 s.
    #[test]
    fn the_floor_of_teeth_has_the_slope_of_what_they_stand_on() {
        for per_s in [0.0, 2e4, -1e4] {
            let at = (0..120).map(|index| f64::from(index) * 2.0);
            let points: Vec<_> = at.map(|t| (t, 1e8 + per_s * t + 1.5e6 * (t % 20.0))).collect();
            let slope = trend(&floor_by_block(&points), 0.0).unwrap().slope;
            assert!((slope.low..=slope.high).contains(&per_s), "{slope:?} for {per_s}");
        }
    }

    #[test]
    fn no_points_are_no_panic() {
        assert_eq!(floor_by_block(&[]), []);
        assert_eq!(floor_by_block(&[(1.0, 5.0); 3]).len(), 1);
    }
}
