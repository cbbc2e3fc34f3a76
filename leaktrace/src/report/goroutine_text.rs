//! The goroutines of a trace on a terminal: what leaks, and a short table.

use super::{
    goroutine_brief::BRIEF,
    goroutine_rates::{RatesSection, ReconciledSection},
    goroutine_sites::{GoroutineSite, GoroutineSites, GoroutineStack},
    text::{BOLD, COLUMNS, DIM, advice::advice, head, line, placed, short, tail, wrap},
};
use crate::{
    binary::Frame,
    display::{bytes, printable, rate, seconds},
};

/// Sites in the table; the rest is in the JSON report.
const SITES_MAX: usize = 8;
/// Of these, such as neither leak nor grow.
const LARGEST_MAX: usize = 3;
/// Of these, such as only the probes saw.
const BRIEF_MAX: usize = 2;
/// Leaks that are told in detail.
const LEAKS_MAX: usize = 3;
/// Labels that are shown.
const LABELS_MAX: usize = 4;
/// Places shown of a leaking site.
const PLACES_MAX: usize = 2;
/// Frames shown of a chain that starts them.
const CALLERS_MAX: usize = 4;

/// The worst leaks.
pub fn leaks(out: &mut String, goroutines: &GoroutineSites) {
    let leaking = goroutines.sites.iter().filter(|site| site.verdict == "leak");
    leaking.take(LEAKS_MAX).for_each(|site| leak(out, site));
}

/// A leaking `go` statement.
fn leak(out: &mut String, site: &GoroutineSite) {
    let (what, place) = match &site.creator {
        Some(creator) => (short(&creator.function), place(creator)),
        None => ("(unknown)", String::new()),
    };
    let start = site.start.as_ref().map_or("a goroutine", |start| short(&start.function));
    placed(out, BOLD, &format!("  go {start} in {what}"), &place);
    let oldest =
        site.ages.oldest_s.map_or_else(String::new, |age| format!(", up to {}", seconds(age)));
    line(
        out,
        &format!(
            "  {} alive, {} at first; at least {} started, {} ended; {} older than {}{oldest}",
            site.live,
            site.live_first,
            site.started,
            site.ended + site.ended_before,
            site.old,
            seconds(site.horizon_s),
        ),
    );
    if let (Some(growth), Some(growth_bytes)) = (site.growth_per_s, site.growth_bytes_per_s) {
        line(
            out,
            &format!(
                "  grows by {} goroutines/s; {} of stack each (read from memory): {}/s",
                rate(growth),
                bytes(site.stack_bytes_each as f64),
                bytes(growth_bytes),
            ),
        );
    }
    for stack in site.stacks.iter().take(PLACES_MAX) {
        parked(out, stack);
    }
    creators(out, site);
    advice(out, &site.advice);
    out.push('\n');
}

/// Who starts them, if the probes saw it.
fn creators(out: &mut String, site: &GoroutineSite) {
    let Some(rates) = &site.rates else { return };
    let (started, ended) = (rate(rates.started_per_s), rate(rates.ended_per_s));
    line(out, &format!("    by the probes {started} started/s, {ended} ended/s"));
    for creator in rates.creators.iter().take(PLACES_MAX) {
        let chain: Vec<_> =
            creator.frames.iter().take(CALLERS_MAX).map(|f| short(&f.function)).collect();
        let text = format!("    {}/s by {}", rate(creator.started_per_s), chain.join(" < "));
        line(out, &format!("{DIM}{}{DIM:#}", head(&text, COLUMNS)));
    }
}

/// Where some of them stand.
fn parked(out: &mut String, stack: &GoroutineStack) {
    let own = stack.frames.iter().find(|frame| !is_waiting(&frame.function));
    let Some(frame) = own.or(stack.frames.first()) else { return };
    let what = format!("    {} in \"{}\" in {}", stack.count, stack.state, short(&frame.function));
    placed(out, DIM, &what, &place(frame));
}

/// Functions in which goroutines wait for others: not what a reader looks for.
fn is_waiting(function: &str) -> bool {
    ["runtime.", "sync.", "internal/"].iter().any(|package| function.starts_with(package))
}

fn place(frame: &Frame) -> String {
    format!("{}:{}", frame.file, frame.line)
}

/// The table.
pub fn table(out: &mut String, goroutines: &GoroutineSites) {
    let head = format!(
        "  {:<38} {:>8} {:>8} {:>8} {:>8} {:>10}  {}",
        "GOROUTINES by go statement", "live", "started", "ended", "grows/s", "stacks", "verdict"
    );
    line(out, &format!("{BOLD}{head}{BOLD:#}"));
    let (brief, read): (Vec<_>, Vec<_>) =
        goroutines.sites.iter().partition(|site| site.verdict == BRIEF);
    let (restless, calm): (Vec<_>, Vec<_>) = read.into_iter().partition(|site| is_restless(site));
    let rows = restless.iter().take(SITES_MAX).chain(calm.iter().take(LARGEST_MAX));
    let rows = rows.chain(brief.iter().take(BRIEF_MAX)).take(SITES_MAX);
    let shown = rows.map(|site| row(out, site)).count() as u64;
    if goroutines.sites_total > shown {
        let more = goroutines.sites_total - shown;
        line(out, &format!("{DIM}  and {more} more go statements (see --json){DIM:#}"));
    }
    labels(out, goroutines);
    if let Some(rates) = &goroutines.rates {
        probes(out, rates);
    }
    let growth = goroutines.growth_per_s.map_or_else(|| "-".to_owned(), rate);
    wrap(
        out,
        "   ",
        &format!(
            "{} goroutines, {} at first, grow by {growth}/s; at least {} began, about {} by the numbers \
             given out",
            goroutines.live, goroutines.live_first, goroutines.started, goroutines.numbers_given
        ),
    );
    out.push('\n');
}

/// What the probes counted, what they cost, and whether memory agrees.
fn probes(out: &mut String, rates: &RatesSection) {
    let (started, ended) = (rate(rates.started_per_s), rate(rates.ended_per_s));
    let cost = rates.cost_ratio * 100.0;
    let failed = rates.failure.as_ref().map_or_else(String::new, |why| format!("; {why}"));
    let agrees = rates.reconciled.as_ref().map_or_else(String::new, agreement);
    let how = &rates.how;
    wrap(
        out,
        "   ",
        &format!(
            "by the probes {started} started/s, {ended} ended/s, {how}; they cost {cost:.2} % of a \
             CPU{agrees}{failed}"
        ),
    );
}

fn agreement(reconciled: &ReconciledSection) -> String {
    let ReconciledSection { seconds: span_s, change, lost } = reconciled;
    let span = seconds(*span_s);
    let both = format!(
        "in {span} {:+} alive, {:+} by starts less ends",
        change.by_memory, change.by_probes
    );
    match (change.unexplained, *lost) {
        (0, _) => format!(
            "; memory agrees: {both} ({} started or ended while it was read)",
            change.in_between
        ),
        (more, 0) => format!(
            "; {both}: {more} more than happened while memory was read, as many as processors can have in \
             flight"
        ),
        (_, lost) => format!("; memory does not agree: {both}; at least {lost} were lost"),
    }
}

fn is_restless(site: &GoroutineSite) -> bool {
    let grows = site.growth_interval.is_some_and(|[low, _]| low > 0.0);
    grows || !["clean", "not_judged"].contains(&site.verdict)
}

fn row(out: &mut String, site: &GoroutineSite) {
    let name = match (&site.creator, &site.start) {
        (Some(creator), _) => format!("{}:{}", short(&creator.function), creator.line),
        (None, Some(start)) => short(&start.function).to_owned(),
        (None, None) => "(others)".to_owned(),
    };
    let growth = site.growth_per_s.map_or_else(|| "-".to_owned(), rate);
    let verdict = match site.verdict {
        "clean" | "not_judged" => "-",
        "released_late" => "late",
        "never_released" => "never",
        other => other,
    };
    line(
        out,
        &format!(
            "  {:<38} {:>8} {:>8} {:>8} {:>8} {:>10}  {verdict}",
            tail(&name, 38),
            site.live,
            site.started,
            site.ended + site.ended_before,
            growth,
            bytes(site.stack_bytes as f64),
        ),
    );
}

fn labels(out: &mut String, goroutines: &GoroutineSites) {
    let grows = |interval: Option<[f64; 2]>| interval.is_some_and(|[low, _]| low > 0.0);
    let growing = goroutines.labels.iter().filter(|label| grows(label.growth_interval));
    for label in growing.take(LABELS_MAX) {
        let name = format!("{}={}", label.key, label.value);
        let name = tail(&printable(name.as_bytes()), COLUMNS / 2);
        let growth = label.growth_per_s.map_or_else(|| "-".to_owned(), rate);
        line(out, &format!("    {name}: {} -> {}, {growth}/s", label.first, label.last));
    }
}

#[cfg(test)]
mod tests {
    use super::{agreement, table};
    use crate::{
        memory::goroutines::Creation,
        report::{
            ChangeSection, GoroutineSite, GoroutineSites, ReconciledSection,
            goroutine_brief::BRIEF, goroutine_sites::Ages,
        },
    };

    fn reconciled(unexplained: i64, lost: u64) -> ReconciledSection {
        let change = ChangeSection { by_memory: 5, by_probes: -3, in_between: 4, unexplained };
        ReconciledSection { seconds: 8.0, change, lost }
    }

    #[test]
    fn the_page_says_whether_memory_agrees() {
        let said = |unexplained, lost| agreement(&reconciled(unexplained, lost));
        let both = "in 8.0 s +5 alive, -3 by starts less ends";
        let meanwhile = "(4 started or ended while it was read)";
        assert_eq!(said(0, 0), format!("; memory agrees: {both} {meanwhile}"));
        assert_eq!(said(4, 2), format!("; memory does not agree: {both}; at least 2 were lost"));
        let excused =
            "4 more than happened while memory was read, as many as processors can have in flight";
        assert_eq!(said(4, 0), format!("; {both}: {excused}"));
    }

    fn site(line: u64, live: u64, verdict: &'static str) -> GoroutineSite {
        GoroutineSite {
            id: line.to_string(),
            creation: Some(Creation { creator_pc: line, start_pc: 1 }),
            creator: None,
            start: None,
            live,
            live_first: live,
            growth_per_s: None,
            growth_interval: None,
            started: line,
            ended: 0,
            ended_before: 0,
            ages: Ages::default(),
            stack_bytes: 0,
            stack_bytes_each: 0,
            growth_bytes_per_s: None,
            states: Vec::new(),
            stacks: Vec::new(),
            stacks_total: 0,
            usual_lifetime_s: None,
            horizon_s: 0.0,
            old: 0,
            rates: None,
            advice: Vec::new(),
            verdict,
        }
    }

    /// Whatever the probes see, what was read has the first rows, and leaks have most.
    #[test]
    fn sites_that_only_the_probes_saw_stand_below_and_are_few() {
        let read = [site(1, 9, "leak"), site(2, 5, "clean")];
        let brief = (0..20).map(|line| site(100 + line, 0, BRIEF));
        let section = GoroutineSites {
            sites_total: 22,
            sites: read.into_iter().chain(brief).collect(),
            ..GoroutineSites::default()
        };
        let mut page = String::new();
        table(&mut page, &section);
        let rows: Vec<_> = page.lines().skip(1).take(5).collect();
        assert!(rows[0].ends_with("leak") && rows[1].ends_with('-'), "{page}");
        assert!(rows[2].ends_with(BRIEF) && rows[3].ends_with(BRIEF), "{page}");
        assert!(rows[4].contains("and 18 more go statements"), "{page}");
    }
}
