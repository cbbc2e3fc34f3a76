//! Outcomes and figures in, a page of Markdown out.

use std::fmt::Write as _;

use super::{
    outcome::{How, Outcome, Said},
    score::{Calibration, Figures, Group, Worth, calibration, figures},
};

/// What could not be said.
const NOTHING: &str = "-";

/// The page: the labelled scenarios, and random programs which only calibrate.
pub fn page(outcomes: &[Outcome], sweep: &[Outcome]) -> String {
    let mut page = String::new();
    if !outcomes.is_empty() {
        page += &summary("Labelled scenarios", outcomes);
    }
    if !sweep.is_empty() {
        page += &summary("Random programs", sweep);
    }
    let all: Vec<Outcome> = outcomes.iter().chain(sweep).cloned().collect();
    page += &reliability(&all);
    if !outcomes.is_empty() {
        page += &rows(outcomes);
    }
    page
}

/// One row for each group that has outcomes.
fn summary(title: &str, outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "## {title}\n\n\
         | group | runs | leaky | false leaks | false suspicions | precision | recall | \
         recall above the floor | site accuracy | rate error median, max | \
         time to verdict of leaks found: median, 90 %, max | settled |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for group in Group::EACH {
        let figures = figures(outcomes, group);
        if figures.runs > 0 {
            let _ = writeln!(text, "{}", summary_row(group, &figures));
        }
    }
    text + "\n"
}

fn summary_row(group: Group, figures: &Figures) -> String {
    let Figures { runs, leaky, false_leaks, false_suspicions, .. } = *figures;
    let cells = [
        runs.to_string(),
        leaky.to_string(),
        false_leaks.to_string(),
        false_suspicions.to_string(),
        optional(figures.precision, |share| format!("{share:.3}")),
        optional(figures.recall, |share| format!("{share:.3}")),
        optional(figures.recall_above_floor, |share| format!("{share:.3}")),
        optional(figures.site_accuracy, |share| format!("{share:.3}")),
        optional(figures.rate_error, |[median, most]| {
            format!("{}, {}", percent(median), percent(most))
        }),
        optional(figures.time_s, |[median, late, most]| {
            format!("{median:.0}, {late:.0}, {most:.0} s")
        }),
        optional(figures.settled, percent),
    ];
    format!("| {} | {} |", group_word(group), cells.join(" | "))
}

const fn group_word(group: Group) -> &'static str {
    match group {
        Group::All => "all",
        Group::Run(how) => how_word(how),
        Group::Counted => "honest, and leaks of objects",
        Group::Bytes => "leaks of bytes or with a deadline (suspicion counts)",
    }
}

const fn how_word(how: How) -> &'static str {
    match how {
        How::Live => "live",
        How::Simulated => "simulated",
        How::Recorded => "recorded",
    }
}

const fn said_word(said: Said) -> &'static str {
    match said {
        Said::Leak => "leak",
        Said::Suspect => "suspect",
        Said::NoLeak => "no leak",
        Said::Inconclusive => "inconclusive",
    }
}

fn reliability(outcomes: &[Outcome]) -> String {
    let mut text = "## Calibration of the confidence\n\n\
         Over all runs above. A *leak* is right if the program leaks and only at the places named; \
         *no leak* is right if nothing leaks above the floor that it states.\n\n\
         | verdict | confidence | verdicts | mean confidence | right | 95 % interval |\n\
         |---|---|--:|--:|--:|---|\n"
        .to_owned();
    let mut brier = String::new();
    for said in [Said::Leak, Said::NoLeak] {
        let Calibration { bins, brier: score } = calibration(outcomes, said);
        for bin in bins {
            let [low, high] = bin.interval;
            let _ = writeln!(
                text,
                "| {} | {:.2} to {:.2} | {} | {:.3} | {:.3} | {low:.3} to {high:.3} |",
                said_word(said),
                bin.from,
                bin.to,
                bin.count,
                bin.stated,
                bin.right,
            );
        }
        let score = optional(score, |score| format!("{score:.4}"));
        let _ = write!(brier, "{} {score}; ", said_word(said));
    }
    format!("{text}\nBrier score (0 is perfect): {}.\n\n", brier.trim_end_matches("; "))
}

/// One row for each outcome.
fn rows(outcomes: &[Outcome]) -> String {
    let mut text = "## Each scenario\n\n\
         Rates and floors in objects per second; of an honest program the floor of contexts.\n\n\
         | scenario | how | leaks/s | said | confidence | ended after | floor | rate error | worth |\n\
         |---|---|--:|---|--:|--:|--:|--:|---|\n"
        .to_owned();
    for outcome in outcomes {
        let leaked = outcome.is_leaky.then_some(outcome.leaked_per_s);
        let settled = if outcome.is_settled { "" } else { " (limit)" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.2} | {:.0} s{settled} | {} | {} | {} |",
            outcome.name,
            how_word(outcome.how),
            optional(leaked, per_s),
            said_word(outcome.said),
            outcome.confidence,
            outcome.ended_s,
            optional(outcome.floor_per_s, per_s),
            optional(outcome.rate_error, percent),
            Worth::of(outcome).word(),
        );
    }
    text + "\n"
}

fn optional<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), text)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn per_s(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::{How, Outcome, Said, page};

    #[test]
    fn the_page_has_a_row_for_each_scenario_and_says_what_is_wrong() {
        let missed = Outcome {
            name: "slow leak".to_owned(),
            how: How::Simulated,
            is_leaky: true,
            is_counted: true,
            leaked_per_s: 1.25,
            said: Said::NoLeak,
            confidence: 0.95,
            ended_s: 60.0,
            is_settled: true,
            floor_per_s: Some(0.5),
            found: 0,
            found_above: 0,
            missed: 1,
            accused: 0,
            rate_error: None,
        };
        let page = page(&[missed], &[]);
        let row =
            "| slow leak | simulated | 1.25 | no leak | 0.95 | 60 s | 0.50 | - | **missed** |";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("| no leak | 0.95 to 0.99 | 1 | 0.950 | 0.000 | 0.000 to 0.793 |"));
        assert!(page.contains("| all | 1 | 1 | 0 | 0 | - | 0.000 | 0.000 | - | - | - | 100.0 % |"));
    }
}
