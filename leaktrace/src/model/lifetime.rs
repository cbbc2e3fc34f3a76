//! Lifetimes from a log2 histogram (`leaktrace_common::lifetime_bucket`).

use leaktrace_common::LIFETIME_FLOOR_LOG2_NS;

/// The upper bound of a bucket, in seconds.
pub fn bucket_ceiling_s(bucket: usize) -> f64 {
    2f64.powi(LIFETIME_FLOOR_LOG2_NS as i32 + bucket as i32) / 1e9
}

/// The upper bound, in seconds, of the bucket that holds the `q`-quantile; none without counts.
pub fn quantile_ceiling_s(histogram: &[u64], q: f64) -> Option<f64> {
    let total: u64 = histogram.iter().sum();
    let rank = (total as f64 * q).ceil().max(1.0) as u64;
    let mut seen = 0;
    histogram.iter().enumerate().find_map(|(bucket, count)| {
        seen += count;
        (seen >= rank).then(|| bucket_ceiling_s(bucket))
    })
}

/// The `q`-quantile in seconds, as if the lifetimes of a bucket lay evenly in their logarithm; none
/// without counts. Half as far off as [`quantile_ceiling_s`], to either side.
pub fn quantile_s(histogram: &[u64], q: f64) -> Option<f64> {
    let total: u64 = histogram.iter().sum();
    let rank = (total as f64 * q).max(1.0);
    let mut seen = 0.0;
    histogram.iter().enumerate().find_map(|(bucket, count)| {
        let before = seen;
        seen += *count as f64;
        let share = (rank - before) / *count as f64;
        (seen >= rank).then(|| bucket_ceiling_s(bucket) * 2f64.powf(share - 1.0))
    })
}

/// How many lifetimes were surely at least `age_s`: those of the buckets that begin there or
/// later.
pub fn count_at_least(histogram: &[u64], age_s: f64) -> u64 {
    let begins_late = |bucket: usize| bucket > 0 && bucket_ceiling_s(bucket - 1) >= age_s;
    histogram.iter().enumerate().filter(|(bucket, _)| begins_late(*bucket)).map(|(_, n)| n).sum()
}

#[cfg(test)]
mod tests {
    use super::{count_at_least, quantile_ceiling_s, quantile_s};
    use leaktrace_common::{LIFETIME_BUCKETS, lifetime_bucket};

    fn histogram(lifetimes_s: &[(f64, u64)]) -> [u64; LIFETIME_BUCKETS] {
        let mut buckets = [0; LIFETIME_BUCKETS];
        for (seconds, count) in lifetimes_s {
            buckets[lifetime_bucket((seconds * 1e9) as u64)] += count;
        }
        buckets
    }

    #[test]
    fn quantiles_are_bounded_from_above_within_a_factor_of_two() {
        let lifetimes = histogram(&[(0.002, 990), (4.0, 10)]);
        let p50 = quantile_ceiling_s(&lifetimes, 0.5).unwrap();
        assert!((0.002..=0.004).contains(&p50), "{p50}");
        let p999 = quantile_ceiling_s(&lifetimes, 0.999).unwrap();
        assert!((4.0..=8.0).contains(&p999), "{p999}");
        assert_eq!(quantile_ceiling_s(&[0; LIFETIME_BUCKETS], 0.5), None);
    }

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let even: Vec<_> = (0..4096).map(|i| (2f64.powf(f64::from(i) / 1024.0), 1)).collect();
        for q in [0.1, 0.5, 0.9, 0.99] {
            let (found, truth) = (quantile_s(&histogram(&even), q).unwrap(), 2f64.powf(4.0 * q));
            assert!((found / truth - 1.0).abs() < 0.15, "{q}: {found} for {truth}");
        }
        assert_eq!(quantile_s(&[0; LIFETIME_BUCKETS], 0.5), None);
    }

    #[test]
    fn late_lifetimes_are_counted_from_below() {
        let lifetimes = histogram(&[(0.002, 990), (4.0, 10), (40.0, 3)]);
        assert_eq!(count_at_least(&lifetimes, 10.0), 3);
        assert_eq!(count_at_least(&lifetimes, 2.0), 13);
        assert_eq!(count_at_least(&lifetimes, 1000.0), 0);
    }
}
