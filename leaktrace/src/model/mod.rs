//! Shapes in numbers: series and counts in, slopes, intervals and bounds out.
//!
//! Pure functions; each cites its source. Non-goals: knowing what the numbers are of.

mod explained;
mod forecast;
mod headroom;
mod heap_changes;
mod lifetime;
mod limit_goal;
mod pods;
mod proportion;
mod retained;
mod slope;
#[cfg(test)]
mod testing;

pub use explained::{Contribution, Explained, SampledChange, explained_share, sampled_growth};
pub use forecast::{Reach, Trend, reach, trend};
pub use headroom::{Pacing, heap_headroom};
pub use heap_changes::heap_changes;
pub use lifetime::{bucket_ceiling_s, count_at_least, quantile_ceiling_s, quantile_s};
pub use pods::{PodGrowth, growth_per_pod};
pub use proportion::{poisson_difference_noise, poisson_mean_for_at_least, wilson_lower_bound};
pub use retained::retained_heap_bytes;
pub use slope::{Slope, resolvable_slope, theil_sen};
