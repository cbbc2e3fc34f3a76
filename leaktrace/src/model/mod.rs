//! Shapes in numbers: series and counts in, slopes, intervals and bounds out.
//!
//! Pure functions; each cites its source. Non-goals: knowing what the numbers are of.

mod changes;
mod explained;
mod floor;
mod forecast;
mod headroom;
mod heap_changes;
mod lifetime;
mod limit_goal;
mod load;
mod mann_kendall;
mod never_released;
mod pods;
#[cfg(test)]
mod property_tests;
mod proportion;
#[cfg(test)]
mod reference_tests;
mod retained;
mod shape;
mod shape_parts;
#[cfg(test)]
mod shape_tests;
mod slope;
#[cfg(test)]
mod survival;
#[cfg(test)]
pub(crate) mod testing;

pub use changes::{Change, Piece, pettitt, pieces};
pub use explained::{
    Contribution, Explained, SampledChange, explained_by_parts, explained_share, sampled_growth,
};
pub use floor::floor_by_block;
pub use forecast::{Reach, Trend, reach, trend};
pub use headroom::{Pacing, heap_headroom};
pub use heap_changes::heap_changes;
pub use lifetime::{bucket_ceiling_s, count_at_least, quantile_ceiling_s, quantile_s};
pub use load::{LoadChange, LoadDirection, busy_cpus, load_change, rates};
pub use mann_kendall::{MannKendall, mann_kendall};
pub use never_released::{LifeCounts, NeverReleased, Rate, leak_rate, never_released_share};
pub use pods::{PodGrowth, growth_per_pod};
pub use proportion::{
    Share, exact_share, poisson_difference_noise, two_sided_p, wilson_lower_bound,
};
pub use retained::retained_heap_bytes;
pub use shape::{SeriesShape, Shaped, shape_of};
pub use slope::{Slope, how_long_s, resolvable_slope, theil_sen};
