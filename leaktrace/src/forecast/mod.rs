//! When memory runs out: series of target, node and cgroups in, intervals of seconds out.
//!
//! Each interval is the room there is now over the growth of what fills it, both as intervals.
//! Non-goals: growth that is not a line; what an eviction or a kill then frees.

mod filling;
mod limits;

use serde::{Deserialize, Serialize};

use crate::{
    model::{Trend, reach, trend},
    snapshot::{CgroupSample, NodeSample},
};
use filling::Filling;
pub use limits::{Consequence, LimitDeadline, LimitKind};

/// The kubelet's default hard threshold for `memory.available` (`DefaultEvictionHard`,
/// pkg/kubelet/apis/config/v1beta1/defaults_linux.go).
pub const EVICTION_THRESHOLD_BYTES: u64 = 100 << 20;

/// What a forecast is made of.
#[derive(Debug, Clone, Copy)]
pub struct Observations<'a> {
    /// (seconds, bytes) of the target's RssAnon.
    pub rss_anon: &'a [(f64, f64)],
    /// By how much that is known to swing: a heap collects garbage, see `verdict::RssGrowth`.
    pub noise_bytes: f64,
    /// (seconds, sample) of the node; the newest is where it stands. Five or more have a trend.
    pub nodes: &'a [(f64, NodeSample)],
    /// (seconds, sample) of the target's cgroups; the same holds.
    pub cgroups: &'a [(f64, CgroupSample)],
    /// Eviction begins when less than this is available.
    pub eviction_threshold_bytes: u64,
}

/// When something runs out, counted from the newest observation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deadline {
    /// Not before.
    pub earliest_s: f64,
    /// Not after; none when it may never come.
    pub latest_s: Option<f64>,
    /// What is left, (least, most).
    pub room_bytes: [f64; 2],
    /// What fills it, (lowest, highest).
    pub growth_bytes_per_s: [f64; 2],
}

/// What comes when, if all goes on as it did. What does not come at all, or cannot be told, is
/// absent, and the assumptions say which of the two.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The kubelet begins to evict pods.
    pub eviction: Option<Deadline>,
    /// The node has nothing left, and the kernel kills.
    pub oom: Option<Deadline>,
    /// Limits of the target's cgroups, the nearest first.
    pub limits: Vec<LimitDeadline>,
    /// What the figures above take for granted.
    pub assumptions: Vec<String>,
}

impl Forecast {
    /// The limit of a cgroup that comes before the others.
    pub fn first_limit(&self) -> Option<&LimitDeadline> {
        self.limits.first()
    }
}

/// Makes the forecast.
pub fn forecast(seen: &Observations<'_>) -> Forecast {
    let mut forecast = Forecast::default();
    let Some(target) = trend(seen.rss_anon, seen.noise_bytes) else {
        let points = seen.rss_anon.len();
        forecast.assume(format!("nothing is forecast: {points} points of RssAnon are too few"));
        return forecast;
    };
    forecast.assume("everything goes on growing as it did in this window".to_owned());
    if target.slope.high <= 0.0 {
        forecast.assume("the target itself does not grow".to_owned());
    }
    forecast_node(&mut forecast, seen, &target);
    limits::forecast_limits(&mut forecast, seen, &target);
    forecast
}

impl Forecast {
    /// Each assumption once.
    fn assume(&mut self, what: String) {
        if !self.assumptions.contains(&what) {
            self.assumptions.push(what);
        }
    }
}

fn forecast_node(forecast: &mut Forecast, seen: &Observations<'_>, target: &Trend) {
    let Some((_, node)) = seen.nodes.last() else {
        return forecast.assume("the node's memory was not read".to_owned());
    };
    let used = |value: fn(&NodeSample) -> Option<u64>| {
        let used = seen.nodes.iter().filter_map(|(t, node)| Some((*t, -(value(node)? as f64))));
        trend(&used.collect::<Vec<_>>(), 0.0)
    };
    if let Some([least, most]) = node.kubelet_available_bytes() {
        // Page cache comes and goes in the kubelet's signal: its own trend sees that.
        let own = used(|node| node.kubelet_available_bytes().map(|[least, _]| least));
        let filling = Filling::of("the node", target, own.as_ref());
        let threshold = seen.eviction_threshold_bytes as f64;
        let room = [least as f64 - threshold, most as f64 - threshold];
        forecast.eviction = deadline(room, &filling);
        note_eviction(forecast, seen, [least, most]);
        filling.explain(forecast);
    } else {
        forecast.assume("eviction is not forecast: the root cgroup cannot be seen".to_owned());
    }
    if let Some(available) = node.available_bytes {
        let own = used(|node| node.available_bytes);
        let filling = Filling::of("the node", target, own.as_ref());
        let swap = node.swap_free_bytes.unwrap_or(0);
        forecast.oom =
            deadline([available as f64, available.saturating_add(swap) as f64], &filling);
        if swap > 0 {
            forecast.assume(
                "free swap may or may not be used before the node is out of memory".to_owned(),
            );
        }
        filling.explain(forecast);
    } else {
        forecast.assume("the node's OOM is not forecast: MemAvailable was not read".to_owned());
    }
}

fn note_eviction(forecast: &mut Forecast, seen: &Observations<'_>, [least, most]: [u64; 2]) {
    let threshold_mib = seen.eviction_threshold_bytes >> 20;
    forecast.assume(format!("a kubelet evicts at memory.available < {threshold_mib}Mi"));
    if least != most {
        let kernel_mib = (most - least) >> 20;
        forecast.assume(format!(
            "kubelets count the root cgroup v2 with or without {kernel_mib} MiB of other memory, \
             by version: both are in the interval"
        ));
    }
}

/// The room now over what fills it; the swing of the filling is taken off and added to the room.
fn deadline(room: [f64; 2], filling: &Filling) -> Option<Deadline> {
    let room_bytes = [(room[0] - filling.above).max(0.0), (room[1] + filling.below).max(0.0)];
    let growth_bytes_per_s = filling.bytes_per_s;
    let found = reach(room_bytes, growth_bytes_per_s)?;
    let (earliest_s, latest_s) = (found.earliest_s, found.latest_s);
    Some(Deadline { earliest_s, latest_s, room_bytes, growth_bytes_per_s })
}

#[cfg(test)]
mod tests;
