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

/// The `q`-quantile in seconds, as if lives within a bucket ended at a constant hazard (the tail of
/// lives that end at any moment alike is told exactly; at worst half of the truth, or twice it); none
/// without counts.
pub fn quantile_s(histogram: &[u64], q: f64) -> Option<f64> {
    let total = histogram.iter().sum::<u64>() as f64;
    let mut left = total;
    histogram.iter().enumerate().find_map(|(bucket, count)| {
        let before = left;
        left -= *count as f64;
        // Half a life stands for what is too rare to be counted.
        let (begin, end) = (before / total, left.max(0.5) / total);
        let from_s = bucket.checked_sub(1).map_or(0.0, bucket_ceiling_s);
        let share = (begin / (1.0 - q)).ln() / (begin / end).ln();
        let inside = *count > 0 && (end <= 1.0 - q || left <= 0.0);
        inside.then(|| from_s + (bucket_ceiling_s(bucket) - from_s) * share.clamp(0.0, 1.0))
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
    fn quantiles_of_lives_that_end_at_any_moment_alike_are_told() {
        for mean_s in [0.05, 1.6, 2.3, 30.0] {
            let lives = (0..10_000).map(|i| (-mean_s * ((f64::from(i) + 0.5) / 10_000.0).ln(), 1));
            let lives = histogram(&lives.collect::<Vec<_>>());
            let (found, truth) = (quantile_s(&lives, 0.99).unwrap(), mean_s * 100f64.ln());
            assert!((found / truth - 1.0).abs() < 0.05, "{found} for {truth}");
        }
    }

    /// Of lives that are all equal nothing lies beyond twice the quantile.
    #[test]
    fn quantiles_of_equal_lives_are_at_least_half_of_them() {
        for life_s in [4.4, 5.5, 8.0, 8.5] {
            let found = quantile_s(&histogram(&[(life_s, 500)]), 0.99).unwrap();
            assert!(found >= life_s / 2.0 && found <= 2.0 * life_s, "{found} for {life_s}");
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
