//! When the memory runs out.

use super::{BOLD, bullet, line};
use crate::{
    display::{bytes, seconds},
    forecast::{Consequence, Deadline, Forecast, LimitKind},
    report::Report,
    snapshot::PressureSample,
    verdict::State,
};

/// Later than this nothing is forecast for people: nothing goes on as it does for so long.
const FAR_S: f64 = 366.0 * 86_400.0;

/// Less pressure than this is everyday life.
const PRESSURE_SHOWN_RATIO: f64 = 0.01;

/// Appends the section, if something comes to an end.
pub fn section(out: &mut String, report: &Report) {
    let forecast = &report.forecast;
    let mut lines = Vec::new();
    if let Some(limit) = forecast.first_limit() {
        let what = match limit.kind {
            LimitKind::Max => "memory.max",
            LimitKind::High => "memory.high",
        };
        let then = match limit.consequence {
            Consequence::OomKill => "an OOM kill in it",
            Consequence::Throttling => "throttling",
            Consequence::Stall => "a standstill",
        };
        let size = bytes(limit.limit_bytes as f64);
        let name = format!("{then}: cgroup {} reaches its {what} of {size}", limit.cgroup);
        lines.extend(coming(report, &name, Some(&limit.deadline)));
    }
    let eviction = forecast.eviction.as_ref();
    lines.extend(coming(report, "eviction by a kubelet (memory.available)", eviction));
    lines.extend(coming(report, "the node out of memory", forecast.oom.as_ref()));
    lines.extend(pressure("the node", report.node.last.as_ref().and_then(|node| node.pressure)));
    let cgroup = report.node.cgroup.as_ref().and_then(|cgroup| cgroup.pressure);
    lines.extend(pressure("its cgroup", cgroup));
    if lines.is_empty() {
        return;
    }
    line(out, &format!("  {BOLD}FORECAST{BOLD:#}  if all goes on as in this window"));
    for text in lines {
        bullet(out, "-", &text);
    }
    if let Some(text) = victim(report, forecast) {
        bullet(out, "-", &text);
    }
    out.push('\n');
}

/// How long tasks had to wait for memory, where it is worth a word.
fn pressure(whose: &str, pressure: Option<PressureSample>) -> Option<String> {
    let waited = pressure?.some.avg60_ratio;
    let percent = waited * 100.0;
    (waited >= PRESSURE_SHOWN_RATIO).then(|| {
        format!("pressure: tasks of {whose} waited for memory {percent:.0} % of the last minute")
    })
}

fn coming(report: &Report, what: &str, deadline: Option<&Deadline>) -> Option<String> {
    let deadline = deadline.filter(|deadline| deadline.earliest_s < FAR_S)?;
    // What perhaps never comes is no news where nothing is known to grow.
    if deadline.latest_s.is_none() && report.verdict.state < State::Suspect {
        return None;
    }
    let when = match deadline.latest_s {
        Some(latest_s) => format!("{} to {}", seconds(deadline.earliest_s), seconds(latest_s)),
        None => format!("{} at the earliest, perhaps never", seconds(deadline.earliest_s)),
    };
    Some(format!("{what}: in {when}"))
}

/// Who is killed first, when the node runs out.
fn victim(report: &Report, forecast: &Forecast) -> Option<String> {
    forecast.oom?;
    let (oom, first) = (&report.node.oom, report.node.oom.first.as_ref()?);
    let rank = match oom.rank {
        Some(1) => return Some("the kernel would kill this process first".to_owned()),
        Some(rank) => format!("this one is number {rank} of {}", oom.candidates),
        None => "this one is never killed".to_owned(),
    };
    Some(format!(
        "the kernel would kill {} (pid {}, score {}) first; {rank}",
        first.comm, first.pid, first.score
    ))
}
