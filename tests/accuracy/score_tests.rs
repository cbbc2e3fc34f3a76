//! Tables of made-up outcomes against figures computed by hand.

use super::{Group, Worth, calibration, figures, is_failure, wilson_interval};
use crate::accuracy::outcome::{How, Outcome, Said};

fn honest(said: Said) -> Outcome {
    Outcome {
        name: String::new(),
        how: How::Simulated,
        is_leaky: false,
        is_counted: false,
        leaked_per_s: 0.0,
        said,
        confidence: 0.9,
        ended_s: 60.0,
        is_settled: true,
        floor_per_s: Some(0.3),
        found: 0,
        found_above: 0,
        missed: 0,
        accused: usize::from(said == Said::Leak),
        rate_error: None,
    }
}

fn leaky(said: Said) -> Outcome {
    let is_leak = said == Said::Leak;
    Outcome {
        is_leaky: true,
        is_counted: true,
        leaked_per_s: 2.0,
        found: usize::from(is_leak),
        found_above: usize::from(is_leak),
        missed: usize::from(!is_leak),
        accused: 0,
        rate_error: is_leak.then_some(0.02),
        ended_s: 20.0,
        ..honest(said)
    }
}

fn bytes(said: Said) -> Outcome {
    Outcome {
        is_counted: false,
        found: 0,
        found_above: 0,
        missed: 0,
        rate_error: None,
        ..leaky(said)
    }
}

#[test]
fn an_answer_is_worth_what_it_claims() {
    let below = Outcome { missed: 0, ..leaky(Said::NoLeak) };
    let elsewhere = Outcome { accused: 1, ..leaky(Said::Leak) };
    let expected = [
        (honest(Said::NoLeak), Worth::Right, false),
        (honest(Said::Leak), Worth::FalseLeak, true),
        (honest(Said::Suspect), Worth::FalseSuspicion, false),
        (honest(Said::Inconclusive), Worth::Open, false),
        (leaky(Said::Leak), Worth::Right, false),
        (leaky(Said::Suspect), Worth::Missed, true),
        (leaky(Said::NoLeak), Worth::Missed, true),
        (below, Worth::Open, false),
        (elsewhere, Worth::WrongSite, true),
        (bytes(Said::Suspect), Worth::Right, false),
        (bytes(Said::Inconclusive), Worth::Open, false),
        (Outcome { missed: 1, ..bytes(Said::NoLeak) }, Worth::Missed, true),
    ];
    for (outcome, worth, fails) in expected {
        assert_eq!((Worth::of(&outcome), is_failure(&outcome)), (worth, fails), "{outcome:?}");
    }
}

#[test]
fn precision_recall_and_site_accuracy() {
    let outcomes = [
        leaky(Said::Leak),
        leaky(Said::Leak),
        // Two were found, one of them below the floor.
        Outcome { found: 2, found_above: 1, missed: 1, ..leaky(Said::Leak) },
        leaky(Said::NoLeak),
        honest(Said::Leak),
        honest(Said::NoLeak),
        honest(Said::Suspect),
        bytes(Said::Suspect),
        bytes(Said::NoLeak),
    ];
    let counted = figures(&outcomes, Group::Counted);
    assert_eq!((counted.runs, counted.leaky), (7, 4));
    assert_eq!((counted.false_leaks, counted.false_suspicions), (1, 1));
    assert_eq!((counted.precision, counted.recall), (Some(0.75), Some(0.75)));
    // Found 1 + 1 + 2, of these above the floor 1 + 1 + 1; missed 1 + 1; accused 1.
    assert_eq!(counted.recall_above_floor, Some(3.0 / 5.0));
    assert_eq!(counted.site_accuracy, Some(0.8));
    let bytes = figures(&outcomes, Group::Bytes);
    assert_eq!((bytes.runs, bytes.precision, bytes.recall), (2, Some(1.0), Some(0.5)));
    assert_eq!(figures(&outcomes, Group::All).recall, Some(4.0 / 6.0));
    assert_eq!(figures(&outcomes, Group::Run(How::Live)).recall, None);
}

#[test]
fn times_are_of_leaks_that_were_found_and_are_fast_enough() {
    let took = |ended_s, leaked_per_s| Outcome { ended_s, leaked_per_s, ..leaky(Said::Leak) };
    let outcomes =
        [took(10.0, 1.0), took(30.0, 5.0), took(20.0, 1.0), took(40.0, 9.0), took(300.0, 0.9)];
    let all = figures(&outcomes, Group::All);
    assert_eq!(all.time_s, Some([20.0, 40.0, 40.0]));
    assert_eq!(all.settled, Some(1.0));
    let wrong = |rate_error| Outcome { rate_error: Some(rate_error), ..leaky(Said::Leak) };
    let errors = figures(&[wrong(0.3), wrong(0.01), wrong(0.02)], Group::All).rate_error;
    assert_eq!(errors, Some([0.02, 0.3]));
}

#[test]
fn confidence_is_compared_with_the_share_that_is_right() {
    let sure = |outcome: Outcome, confidence| Outcome { confidence, ..outcome };
    let outcomes = [
        sure(leaky(Said::Leak), 0.9),
        sure(leaky(Said::Leak), 0.92),
        sure(honest(Said::Leak), 0.94),
        sure(leaky(Said::Leak), 0.6),
        sure(honest(Said::Suspect), 0.99),
        sure(honest(Said::NoLeak), 0.95),
    ];
    let leak = calibration(&outcomes, Said::Leak);
    assert_eq!(leak.bins.len(), 2);
    let (low, high) = (leak.bins[0], leak.bins[1]);
    assert_eq!((low.from, low.to, low.count, low.right), (0.5, 0.7, 1, 1.0));
    assert_eq!((high.from, high.to, high.count), (0.9, 0.95, 3));
    assert!((high.stated - 0.92).abs() < 1e-9 && (high.right - 2.0 / 3.0).abs() < 1e-9);
    // 0.1^2 + 0.08^2 + 0.94^2 + 0.4^2 over 4.
    assert!((leak.brier.unwrap() - 0.265).abs() < 1e-9);
    let no_leak = calibration(&outcomes, Said::NoLeak);
    assert_eq!((no_leak.bins[0].count, no_leak.bins[0].to), (1, 0.99));
    assert_eq!(calibration(&outcomes, Said::Inconclusive).brier, None);
}

/// Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17
/// (1998), table I, method 3.
#[test]
fn the_interval_agrees_with_published_values() {
    for (hits, trials, low, high) in
        [(81.0, 263.0, 0.2553, 0.3662), (15.0, 148.0, 0.0624, 0.1605), (0.0, 20.0, 0.0, 0.1611)]
    {
        let [lower, upper] = wilson_interval(hits, trials);
        assert!((lower - low).abs() < 1e-4 && (upper - high).abs() < 1e-4, "{lower} {upper}");
    }
}
