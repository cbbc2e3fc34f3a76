//! What a saw-tooth stands on: points in, the lowest of each tooth and their trend out.
//!
//! A collector leaves behind what lives; what lies above that is garbage, and its swing hides a
//! slow growth. Non-goals: telling a saw-tooth from anything else.

use super::{Slope, trend};

/// Blocks that a series is cut into where its cycles are not known: so many that their lowest
/// points have a slope, so few that each holds the bottom of a tooth.
const BLOCKS: usize = 8;

/// The lowest point of each cycle, from (seconds, value) and the number of the cycle in which each
/// was read. The first and the last cycle were cut off by the window and may not have reached their
/// bottom: they count only if the window has no other.
pub fn floor_by_cycle(points: &[(f64, f64)], cycles: &[u32]) -> Vec<(f64, f64)> {
    let numbered: Vec<_> = points.iter().copied().zip(cycles.iter().copied()).collect();
    let teeth = numbered.chunk_by(|one, other| one.1 == other.1);
    let floor: Vec<_> =
        teeth.filter_map(|tooth| lowest(tooth.iter().map(|(point, _)| *point))).collect();
    match floor.as_slice() {
        [_, whole @ .., _] if !whole.is_empty() => whole.to_vec(),
        _ => floor,
    }
}

/// The lowest point of each of eight stretches of equal length in time; stretches without a point
/// have none.
pub fn floor_by_block(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let block_s = (last.0 - first.0) / BLOCKS as f64;
    let block = |point: &(f64, f64)| (((point.0 - first.0) / block_s) as usize).min(BLOCKS - 1);
    let blocks = points.chunk_by(|one, other| block(one) == block(other));
    blocks.filter_map(|block| lowest(block.iter().copied())).collect()
}

/// The slope of a floor that swings by `noise`, widened by what its own swings hide; none with
/// fewer than five points.
pub fn floor_slope(floor: &[(f64, f64)], noise: f64) -> Option<Slope> {
    trend(floor, noise).map(|trend| trend.slope)
}

fn lowest(points: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    points.min_by(|one, other| one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::{floor_by_block, floor_by_cycle, floor_slope};

    /// Teeth of 30 MB in 20 s on 100 MB, growing by `per_s`, read every 2 s.
    fn teeth(per_s: f64) -> (Vec<(f64, f64)>, Vec<u32>) {
        let at = (0..120).map(|index| f64::from(index) * 2.0);
        at.map(|t| ((t, 1e8 + per_s * t + 1.5e6 * (t % 20.0)), (t / 20.0) as u32)).unzip()
    }

    #[test]
    fn the_floor_of_teeth_has_the_slope_of_what_they_stand_on() {
        for per_s in [0.0, 2e4, -1e4] {
            let (points, cycles) = teeth(per_s);
            let floor = floor_by_cycle(&points, &cycles);
            assert_eq!(floor.len(), 10, "the cut-off cycles are left out");
            let slope = floor_slope(&floor, 0.0).unwrap();
            assert!((slope.per_s - per_s).abs() < 1e-6, "{slope:?} for {per_s}");
            assert!(slope.high - slope.low < 1e-6, "{slope:?}");
            let blind = floor_slope(&floor_by_block(&points), 0.0).unwrap();
            assert!((blind.low..=blind.high).contains(&per_s), "{blind:?} for {per_s}");
        }
    }

    #[test]
    fn few_cycles_and_no_points_are_no_panic() {
        assert_eq!(floor_by_cycle(&[], &[]), []);
        assert_eq!(floor_by_block(&[]), []);
        assert_eq!(floor_by_block(&[(1.0, 5.0); 3]).len(), 1);
        let one = floor_by_cycle(&[(0.0, 3.0), (1.0, 2.0)], &[7, 7]);
        assert_eq!(one, [(1.0, 2.0)]);
        assert_eq!(floor_by_cycle(&[(0.0, 3.0), (1.0, 2.0)], &[7, 8]).len(), 2);
        assert_eq!(floor_slope(&one, 0.0), None);
    }
}
