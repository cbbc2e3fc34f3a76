//! Which share of a memory's growth known contributions explain: growths in, a ratio with its
//! interval out.
//!
//! Non-goals: where the rest grew.

use std::fmt;

use super::Slope;

/// Two-sided 95 % quantile of the normal distribution.
const Z_95: f64 = 1.959_964;

/// What grows, and what each of it keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution {
    /// Of whatever is counted: contexts, goroutines; or bytes.
    pub growth_per_s: Slope,
    /// Live bytes that each keeps, (lowest, highest); 1 where bytes are counted.
    pub bytes_each: [f64; 2],
}

/// A share with its 95 % interval; 1 is all of the growth.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Explained {
    /// The estimate.
    pub ratio: f64,
    /// Lower end, at least 0.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// `contributions`, with `headroom` resident bytes for each live one (see
/// [`super::heap_headroom`]), over the growth of the resident memory in bytes per second. None
/// when that growth's interval includes 0: no share of nothing.
///
/// Two kinds of uncertainty are combined, each in its way:
/// - Growths are *measured* with errors that are independent of each other: a site's counts, other
///   sites' counts and the RSS are read from different sources, and the collector's saw-tooth,
///   which is most of the RSS's error, is in no count. Such errors partly cancel, so they are
///   added in quadrature, ends apart because intervals are lopsided: the method of variance
///   estimates recovery, for the sum by G. Y. Zou and A. Donner, "Construction of confidence
///   limits about effect measures", Stat. Med. 27 (2008); for the ratio by A. Donner and
///   G. Y. Zou, "Closed-form confidence intervals for functions of the normal mean and standard
///   deviation", Stat. Methods Med. Res. 21 (2012).
/// - Bytes each and headroom are *bounds* on one unknown value that all share. Nothing cancels
///   there: the lower end has all lowest, the upper end all highest.
pub fn explained_share(
    contributions: &[Contribution],
    headroom: [f64; 2],
    resident: Slope,
) -> Option<Explained> {
    explained_by_parts(&[(contributions, headroom)], resident)
}

/// The same of contributions in several parts of the memory, each with the resident bytes for each
/// live one there: where nothing collects garbage, one for one.
pub fn explained_by_parts(
    parts: &[(&[Contribution], [f64; 2])],
    resident: Slope,
) -> Option<Explained> {
    if parts.iter().all(|(contributions, _)| contributions.is_empty()) || resident.low <= 0.0 {
        return None;
    }
    let low = ratio(&sum(parts, |each, room| each[0] * room[0]), &resident)?;
    let middle = |each: [f64; 2], room: [f64; 2]| {
        f64::midpoint(each[0], each[1]) * f64::midpoint(room[0], room[1])
    };
    let estimate = sum(parts, middle).per_s / resident.per_s;
    let high = ratio(&sum(parts, |each, room| each[1] * room[1]), &resident)?;
    let finite = [estimate, low.0, high.1].iter().all(|value| value.is_finite());
    finite.then(|| Explained { ratio: estimate, low: low.0.max(0.0), high: high.1.max(0.0) })
}

/// The sum in bytes per second, with `factor` of each contribution's bytes and of its part's room.
fn sum(parts: &[(&[Contribution], [f64; 2])], factor: impl Fn([f64; 2], [f64; 2]) -> f64) -> Slope {
    let (mut per_s, mut below, mut above) = (0.0, 0.0, 0.0);
    let all = parts.iter().flat_map(|(those, room)| those.iter().map(move |one| (one, *room)));
    for (Contribution { growth_per_s: growth, bytes_each }, room) in all {
        let factor = factor(*bytes_each, room);
        per_s += growth.per_s * factor;
        below += ((growth.per_s - growth.low) * factor).powi(2);
        above += ((growth.high - growth.per_s) * factor).powi(2);
    }
    Slope { per_s, low: per_s - below.sqrt(), high: per_s + above.sqrt() }
}

/// The interval of a / b, both measured independently, b > 0: Donner and Zou (2012).
fn ratio(a: &Slope, b: &Slope) -> Option<(f64, f64)> {
    let product = a.per_s * b.per_s;
    let end = |a_end: f64, b_end: f64, sign: f64| {
        let (a_other, b_other) = (2.0 * a.per_s - a_end, 2.0 * b.per_s - b_end);
        let divisor = b_end * b_other;
        // So wide a divisor that its other end, mirrored, is no growth: nothing may cancel.
        if b_other <= 0.0 {
            return a_end / b_end;
        }
        let root = (product * product - a_end * a_other * divisor).max(0.0).sqrt();
        (product + sign * root) / divisor
    };
    (b.low > 0.0).then(|| (end(a.low, b.high, -1.0), end(a.high, b.low, 1.0)))
}

/// "92 % (80-104)".
impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |ratio: f64| ratio * 100.0;
        let (ratio, low, high) = (percent(self.ratio), percent(self.low), percent(self.high));
        write!(f, "{ratio:.0} % ({low:.0}-{high:.0})")
    }
}

/// How many objects of one size were sampled at two looks into a heap profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampledChange {
    /// Bytes of each object.
    pub object_bytes: u64,
    /// Sampled and in use at the first look.
    pub first_in_use: u64,
    /// The same at the last.
    pub last_in_use: u64,
    /// Sampled allocations in between.
    pub allocated: u64,
}

/// The growth of all bytes in use between two looks `seconds` apart, when one byte in
/// `rate_bytes` was sampled; none without a span or without sites.
///
/// Each object is sampled on its own with probability p = 1 - exp(-size / rate)
/// (`nextSample` in runtime/malloc.go draws exponential gaps; `scaleHeapSample` in
/// runtime/pprof/protomem.go scales by 1/p). For n sampled objects the total of their sizes is
/// size * n / p with the estimated variance size^2 * n * (1 - p) / p^2: D. G. Horvitz and
/// D. J. Thompson, "A generalization of sampling without replacement from a finite universe",
/// JASA 47 (1952), for independent inclusion. An object that is there at both looks was sampled
/// for both or for neither and brings no error. So n is only what came (allocated in between and
/// still there) and what went; how many those are is bounded by the counts, and the bound is
/// taken.
pub fn sampled_growth(sites: &[SampledChange], rate_bytes: u64, seconds: f64) -> Option<Slope> {
    if sites.is_empty() || seconds <= 0.0 {
        return None;
    }
    let (mut bytes, mut variance) = (0.0, 0.0);
    for site in sites {
        let size = site.object_bytes as f64;
        let p = if rate_bytes <= 1 { 1.0 } else { -(-size / rate_bytes as f64).exp_m1() };
        if p <= 0.0 {
            continue;
        }
        let change = site.last_in_use as f64 - site.first_in_use as f64;
        bytes += size * change / p;
        variance += size * size * came_and_went(site) * (1.0 - p) / (p * p);
    }
    let (per_s, spread) = (bytes / seconds, Z_95 * variance.sqrt() / seconds);
    Some(Slope { per_s, low: per_s - spread, high: per_s + spread })
}

/// Sampled objects that are there at one look only, at most.
fn came_and_went(site: &SampledChange) -> f64 {
    let freed = site.first_in_use.saturating_add(site.allocated).saturating_sub(site.last_in_use);
    let came = site.allocated.min(site.last_in_use);
    let went = freed.min(site.first_in_use);
    came as f64 + went as f64
}

#[cfg(test)]
#[path = "explained_tests.rs"]
mod tests;
