//! The report for a terminal of 100 columns: the answer first, then evidence, cost and loss.

pub mod advice;
mod forecast;
mod growth;
mod heap;
pub mod ledger;
mod memory;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::goroutine_text;
use super::schema::{Contexts, Ending, HolderSection, Report, Site, TargetState, VerdictSection};
use crate::{
    binary::Frame,
    display::{bytes, rate, seconds},
    symbolize::{constructor, creator},
    verdict::{Foresight, Growing, State},
};

pub const COLUMNS: usize = 100;
/// Sites in the table; the rest is in the JSON report.
const SITES_MAX: usize = 10;
/// Holders that are shown.
const HOLDERS_MAX: usize = 3;
/// Frames of the call chain shown for a leaking site.
const CHAIN_MAX: usize = 6;
pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();

/// Renders with ANSI styles; whoever prints it to something else than a terminal strips them.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    headline(&mut out, report);
    if let Some(contexts) = &report.contexts {
        for site in contexts.sites.iter().filter(|site| site.verdict == "leak") {
            leak(&mut out, site);
        }
    }
    if let Some(goroutines) = &report.goroutines {
        goroutine_text::leaks(&mut out, goroutines);
    }
    reasons(&mut out, report);
    forecast::section(&mut out, report);
    if let Some(contexts) = &report.contexts {
        table(&mut out, contexts);
    }
    if let Some(goroutines) = &report.goroutines {
        goroutine_text::table(&mut out, goroutines);
    }
    memory::section(&mut out, report);
    growth::section(&mut out, report);
    heap::section(&mut out, report);
    cost(&mut out, report);
    out
}

pub fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn headline(out: &mut String, report: &Report) {
    let target = &report.target;
    let (word, color) = match report.verdict.state {
        State::Leak => ("LEAK", AnsiColor::Red),
        State::Suspect => ("SUSPECT", AnsiColor::Yellow),
        State::NoLeak => ("NO LEAK", AnsiColor::Green),
        State::Inconclusive => ("INCONCLUSIVE", AnsiColor::Yellow),
    };
    let style = BOLD.fg_color(Some(color.into()));
    let confidence = match report.verdict.confidence_ratio {
        ratio if ratio > 0.0 => format!("  {:.0} %", (ratio * 100.0).floor()),
        _ => String::new(),
    };
    let mut left = format!("{}  pid {}", target.comm, target.pid);
    for version in [&target.version, &target.go_version].into_iter().flatten() {
        let _ = write!(left, "  {version}");
    }
    if let Some(uptime_s) = target.uptime_s {
        let _ = write!(left, "  up {}", seconds(uptime_s));
    }
    let _ = write!(left, "  traced {}", seconds(report.window.duration_s));
    if report.window.ended_by == Ending::Settled {
        left.push_str(", settled");
    }
    let width = COLUMNS.saturating_sub(2 + word.len() + confidence.len());
    line(out, &format!("{left:<width$}  {style}{word}{confidence}{style:#}"));
    let module = target.module.as_deref().unwrap_or(&target.exe);
    let unit = target.unit.as_deref().map_or_else(String::new, |unit| format!("  {unit}"));
    line(out, &format!("{DIM}{}{unit}{DIM:#}", tail(module, 60)));
    if target.state != TargetState::Running {
        let what = match target.state {
            TargetState::Replaced => "executed a file, and is another program since",
            _ => "ended",
        };
        line(out, &format!("{BOLD}The target {what}: this is what was seen until then.{BOLD:#}"));
    }
    if !report.lost.is_empty() {
        let losses: Vec<_> = report.lost.iter().map(|(why, n)| format!("{n} {why}")).collect();
        line(out, &format!("{BOLD}Events were lost: {}{BOLD:#}", losses.join(", ")));
    }
    out.push('\n');
}

fn leak(out: &mut String, site: &Site) {
    let Some(blamed) = creator(&site.frames) else {
        line(out, &format!("  {BOLD}site {}{BOLD:#} (call chain unknown)", site.id));
        return;
    };
    let what = constructor(&site.frames).map_or("a context", |frame| &*frame.function);
    let place = format!("{}:{}", blamed.file, blamed.line);
    placed(out, BOLD, &format!("  {what} in {}", short(&blamed.function)), &place);
    let created = site.created;
    line(
        out,
        &format!(
            "  {created} created, {} released, {} outstanding, {} older than {}",
            none_or(site.released),
            site.outstanding,
            site.old,
            seconds(site.horizon_s),
        ),
    );
    if let (Some(growth), Some(estimate)) = (site.growth_per_s, site.estimated_bytes_per_s) {
        let own = site.retained_bytes_each;
        let each = site.reached_bytes_each.map_or_else(
            || format!("at least {own} B each"),
            |reached| format!("{own} B each, {} with what hangs on it", bytes(reached as f64)),
        );
        let (growth, estimate) = (rate(growth), bytes(estimate));
        let how = site.retained_how.split(':').next().unwrap_or_default();
        line(out, &format!("  grows by {growth} contexts/s: {estimate}/s of live heap"));
        line(out, &format!("  ({each}; {how})"));
    }
    chain(out, &site.frames, blamed);
    advice::advice(out, &site.advice);
    out.push('\n');
}

/// The callers of the blamed function.
fn chain(out: &mut String, frames: &[Frame], blamed: &Frame) {
    let callers = frames.iter().skip_while(|frame| *frame != blamed).skip(1);
    for frame in callers.filter(|frame| &*frame.function != "runtime.goexit").take(CHAIN_MAX) {
        let text =
            format!("    called by {}  {}:{}", short(&frame.function), frame.file, frame.line);
        line(out, &format!("{DIM}{text}{DIM:#}"));
    }
}

/// What and where, on one line if they fit.
pub fn placed(out: &mut String, style: Style, what: &str, place: &str) {
    let columns = what.chars().count() + 2 + place.chars().count();
    if columns <= COLUMNS {
        line(out, &format!("{style}{what}  {place}{style:#}"));
        return;
    }
    line(out, &format!("{style}{}{style:#}", head(what, COLUMNS)));
    line(out, &format!("{style}        {}{style:#}", tail(place, COLUMNS - 8)));
}

fn none_or(count: u64) -> String {
    if count == 0 { "none".to_owned() } else { count.to_string() }
}

fn reasons(out: &mut String, report: &Report) {
    for reason in &report.verdict.reasons {
        bullet(out, "-", reason);
    }
    for statement in report.pods.iter().flat_map(|pods| &pods.statements) {
        bullet(out, "-", statement);
    }
    if let Some(floors) = floors(&report.verdict) {
        bullet(out, "-", &floors);
    }
    if let Some(ahead) = ahead(report) {
        bullet(out, "-", &ahead);
    }
    for missing in &report.unavailable {
        bullet(out, "!", &format!("{} unavailable: {}", missing.what, missing.why));
    }
    out.push('\n');
}

/// How long a trace must be to see what this one could not, where that is the question.
fn ahead(report: &Report) -> Option<String> {
    let VerdictSection { state, ahead, .. } = &report.verdict;
    let asked = matches!(state, State::NoLeak | State::Inconclusive);
    let of = |of: Growing| {
        let known = ahead.iter().filter(move |foresight| foresight.of == of);
        let windows: Vec<_> = known
            .map(|Foresight { per_s, window_s, .. }| match of {
                Growing::Bytes => {
                    format!("{}/h in {}", bytes(per_s * 3600.0), seconds(*window_s))
                }
                Growing::Contexts | Growing::Goroutines => {
                    format!("{per_s}/s in {}", seconds(*window_s))
                }
            })
            .collect();
        let name = match of {
            Growing::Contexts => "contexts",
            Growing::Goroutines => "goroutines",
            Growing::Bytes => "memory",
        };
        (!windows.is_empty()).then(|| format!("{name} {}", windows.join(", ")))
    };
    let all = [Growing::Contexts, Growing::Goroutines, Growing::Bytes].into_iter();
    let known: Vec<_> = all.filter_map(of).collect();
    (asked && !known.is_empty())
        .then(|| format!("slower growth takes a longer trace (--see RATE): {}", known.join("; ")))
}

/// What would have shown, where the answer does not say so itself.
fn floors(verdict: &VerdictSection) -> Option<String> {
    let of = |floor: Option<f64>, what: &str| {
        floor.map_or_else(
            || format!("no floor of {what}"),
            |floor| format!("{} {what}/s", rate(floor)),
        )
    };
    (verdict.state == State::Inconclusive).then(|| {
        format!(
            "a steady leak would have shown from: {}, {}",
            of(verdict.floor_contexts_per_s, "contexts"),
            of(verdict.floor_goroutines_per_s, "goroutines")
        )
    })
}

/// A reason behind a mark.
pub fn bullet(out: &mut String, mark: &str, text: &str) {
    wrap(out, &format!("  {mark}"), text);
}

/// Wraps `text` at the terminal's width behind `head`, below which it is indented.
pub fn wrap(out: &mut String, head: &str, text: &str) {
    let indent = " ".repeat(head.chars().count());
    let mut current = head.to_owned();
    for word in text.split_whitespace() {
        if current.chars().count() + 1 + word.chars().count() > COLUMNS {
            line(out, &current);
            current.clone_from(&indent);
        }
        current.push(' ');
        current.push_str(word);
    }
    line(out, &current);
}

fn table(out: &mut String, contexts: &Contexts) {
    let head = format!(
        "  {:<36} {:>9} {:>9} {:>9} {:>8} {:>8}  {}",
        "CONTEXTS", "created", "released", "outstand.", "grows/s", "usual", "verdict"
    );
    line(out, &format!("{BOLD}{head}{BOLD:#}"));
    for site in contexts.sites.iter().take(SITES_MAX) {
        let name = creator(&site.frames).map_or_else(
            || "(unknown site)".to_owned(),
            |frame| format!("{}:{}", short(&frame.function), frame.line),
        );
        let growth = site.growth_per_s.map_or_else(|| "-".to_owned(), rate);
        let usual = site.usual_lifetime_s.map_or_else(|| "-".to_owned(), seconds);
        let verdict = match site.verdict {
            "clean" => "-",
            "bounded_by_deadline" => "deadline",
            "released_late" => "late",
            "never_released" => "never",
            "held_by_others" => "unheld",
            other => other,
        };
        line(
            out,
            &format!(
                "  {:<36} {:>9} {:>9} {:>9} {:>8} {:>8}  {verdict}",
                tail(&name, 36),
                site.created,
                site.released,
                site.outstanding,
                growth,
                usual,
            ),
        );
    }
    if contexts.sites.len() > SITES_MAX {
        let more = contexts.sites.len() - SITES_MAX;
        line(out, &format!("{DIM}  and {more} more sites (see --json){DIM:#}"));
    }
    for holder in contexts.holders.iter().take(HOLDERS_MAX) {
        let grows = holder.growth_per_s.map_or_else(String::new, |g| format!(", {g:+.1}/s"));
        let HolderSection { children, type_name, address, .. } = holder;
        line(out, &format!("  {children} children of the {type_name} at {address}{grows}"));
    }
    let note = format!(
        "{}: {} created, {} released, {} outstanding; {} older ones released",
        contexts.how,
        contexts.created,
        contexts.released,
        contexts.outstanding,
        contexts.released_untracked
    );
    bullet(out, " ", &note);
    out.push('\n');
}

pub(super) fn size(value: Option<u64>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| bytes(value as f64))
}

fn cost(out: &mut String, report: &Report) {
    let overhead = &report.overhead;
    let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
    let lost = if report.lost.is_empty() { "nothing" } else { "see above" };
    let own = format!(
        "  cost    {} of one CPU, {} RSS (peak {}), {} kernel maps; lost: {lost}",
        overhead.cpu_ratio.map_or_else(|| "?".to_owned(), percent),
        size(overhead.rss_bytes),
        size(overhead.rss_peak_bytes),
        bytes(overhead.map_bytes as f64),
    );
    let target = format!(
        "          {} runs of our programs, which cost the target about {} of one CPU{}",
        overhead.probe_hits,
        percent(overhead.estimated_target_slowdown_ratio),
        if overhead.probes.iter().any(|probe| probe.how.contains("measured") && probe.hits > 0) {
            " (modelled; goroutines measured)"
        } else {
            " (modelled)"
        },
    );
    line(out, &format!("{DIM}{own}{DIM:#}"));
    line(out, &format!("{DIM}{target}{DIM:#}"));
    let kinds: Vec<_> = overhead.probes.iter().filter(|probe| probe.hits > 0).collect();
    if kinds.len() > 1 {
        let kinds: Vec<_> =
            kinds.iter().map(|kind| format!("{} {}", kind.what, kind.hits)).collect();
        line(out, &format!("{DIM}          of {}{DIM:#}", kinds.join(", ")));
    }
}

/// A function without the folders of its import path: `kubelet.(*podWorkers).startPodSync`.
pub fn short(function: &str) -> &str {
    let generic = function.find('[').unwrap_or(function.len());
    let start = function[..generic].rfind('/').map_or(0, |slash| slash + 1);
    &function[start..]
}

/// The first `width` characters, marked when something was cut.
pub(super) fn head(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{kept}…")
}

/// The last `width` characters, marked when something was cut.
pub fn tail(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(length - width + 1).collect();
    format!("…{kept}")
}

#[cfg(test)]
mod tests {
    use super::{bullet, head, short, tail};

    #[test]
    fn functions_lose_their_import_path_only() {
        assert_eq!(
            short("k8s.io/kubernetes/pkg/kubelet.(*podWorkers).startPodSync"),
            "kubelet.(*podWorkers).startPodSync"
        );
        assert_eq!(short("slices.Sort[go.shape.[]a/b.T]"), "slices.Sort[go.shape.[]a/b.T]");
        assert_eq!(short("main.main"), "main.main");
    }

    #[test]
    fn long_names_are_cut_and_marked() {
        assert_eq!(tail("abcdef", 4), "…def");
        assert_eq!(tail("abc", 4), "abc");
        assert_eq!((head("abcdef", 4), head("abc", 4)), ("abc…".to_owned(), "abc".to_owned()));
    }

    #[test]
    fn reasons_wrap_within_the_terminal() {
        let mut out = String::new();
        bullet(&mut out, "-", &"twelve chars ".repeat(20));
        assert!(out.lines().count() > 1 && out.lines().all(|l| l.chars().count() <= 100), "{out}");
    }
}
