//! The limits of the target's cgroups: levels in, when each is reached out.
//!
//! Non-goals: limits of anything but memory.

use serde::{Deserialize, Serialize};

use super::{Deadline, Filling, Forecast, Observations, deadline};
use crate::{
    display::printable,
    model::{Trend, trend},
    snapshot::{CgroupLevel, CgroupLimit, CgroupSample},
};

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// v2 `memory.max`, v1 `memory.limit_in_bytes`.
    Max,
    /// v2 `memory.high`.
    High,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// The kernel kills in that cgroup.
    OomKill,
    /// Its processes are slowed down and made to reclaim.
    Throttling,
    /// Its processes stop until somebody frees memory (v1 `oom_kill_disable`).
    Stall,
}

/// When a limit is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitDeadline {
    /// The cgroup, from the root of its hierarchy.
    pub cgroup: String,
    /// Which of its limits.
    pub kind: LimitKind,
    /// How much that is.
    pub limit_bytes: u64,
    /// What happens then.
    pub consequence: Consequence,
    /// When.
    pub deadline: Deadline,
}

/// Adds the limits that will be reached, the nearest first.
pub fn forecast_limits(forecast: &mut Forecast, seen: &Observations<'_>, target: &Trend) {
    let Some((_, newest)) = seen.cgroups.last() else {
        return forecast.assume("the target's cgroups were not read".to_owned());
    };
    for level in &newest.levels {
        forecast_level(forecast, seen, target, level, newest.fuzz_bytes.unwrap_or(0));
    }
    if newest.levels.iter().all(|level| limits(level).is_empty()) {
        forecast.assume("no limit of a cgroup was found above the target".to_owned());
    }
    forecast.limits.sort_by(|one, other| {
        let earliest = |limit: &LimitDeadline| limit.deadline.earliest_s;
        earliest(one).total_cmp(&earliest(other))
    });
}

/// Adds the limits of one cgroup.
fn forecast_level(
    forecast: &mut Forecast,
    seen: &Observations<'_>,
    target: &Trend,
    level: &CgroupLevel,
    fuzz_bytes: u64,
) {
    let own = own_trend(seen.cgroups, &level.path);
    let name = format!("cgroup {}", printable(level.path.as_bytes()));
    let filling = Filling::of(&name, target, own.as_ref());
    let (swap_bytes, fuzz) = (swap_left(level, seen), fuzz_bytes as f64);
    for (kind, limit_bytes) in limits(level) {
        note_swap(forecast, swap_bytes);
        filling.explain(forecast);
        let room = room(level, limit_bytes, swap_bytes);
        let found = room.and_then(|[least, most]| deadline([least - fuzz, most + fuzz], &filling));
        let Some(deadline) = found else { continue };
        let cgroup = printable(level.path.as_bytes());
        let consequence = consequence(kind, level);
        let limit = LimitDeadline { cgroup, kind, limit_bytes, consequence, deadline };
        forecast.limits.push(limit);
    }
}

/// How `path` fills: by what cannot be reclaimed, as that is what the OOM killer is called for.
fn own_trend(cgroups: &[(f64, CgroupSample)], path: &str) -> Option<Trend> {
    let used = cgroups.iter().filter_map(|(t, sample)| {
        let level = sample.levels.iter().find(|level| level.path == path)?;
        Some((*t, level.unreclaimable_bytes()? as f64))
    });
    trend(&used.collect::<Vec<_>>(), 0.0)
}

fn limits(level: &CgroupLevel) -> Vec<(LimitKind, u64)> {
    let bytes = |limit: Option<CgroupLimit>| match limit {
        Some(CgroupLimit::Bytes(bytes)) => Some(bytes),
        Some(CgroupLimit::Unlimited) | None => None,
    };
    let all = [(LimitKind::Max, bytes(level.max)), (LimitKind::High, bytes(level.high))];
    all.into_iter().filter_map(|(kind, limit)| Some((kind, limit?))).collect()
}

/// What is left: at least beside all page cache in the working set, at most when all of that
/// cache is reclaimed and all swap is used. The limit is reached with pages of cache to spare or
/// without: reclaim is tried first.
fn room(level: &CgroupLevel, limit_bytes: u64, swap_bytes: u64) -> Option<[f64; 2]> {
    let left = |used: u64| limit_bytes as f64 - used as f64;
    let working_set = level.working_set_bytes()?;
    let most = left(level.unreclaimable_bytes().unwrap_or(working_set)) + swap_bytes as f64;
    Some([left(working_set), most])
}

/// Swap that the cgroup may still use: the node's, less by its own limit (v2).
fn swap_left(level: &CgroupLevel, seen: &Observations<'_>) -> u64 {
    let node = seen.nodes.last().and_then(|(_, node)| node.swap_free_bytes).unwrap_or(0);
    match level.swap_max {
        Some(CgroupLimit::Bytes(max)) => {
            node.min(max.saturating_sub(level.swap_bytes.unwrap_or(0)))
        }
        Some(CgroupLimit::Unlimited) | None => node,
    }
}

fn note_swap(forecast: &mut Forecast, swap_bytes: u64) {
    if swap_bytes > 0 {
        forecast.assume("a cgroup at its limit may or may not swap first".to_owned());
    }
}

const fn consequence(kind: LimitKind, level: &CgroupLevel) -> Consequence {
    match (kind, level.oom_kill_disabled) {
        (LimitKind::High, _) => Consequence::Throttling,
        (LimitKind::Max, Some(true)) => Consequence::Stall,
        (LimitKind::Max, Some(false) | None) => Consequence::OomKill,
    }
}
