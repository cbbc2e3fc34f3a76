//! The quick live part of the accuracy benchmark: leaky programs and their honest twins, traced at the
//! same time, against what they say that they did. As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "accuracy/mod.rs"]
mod accuracy;

use accuracy::{
    live::{AT_ONCE, Ran, run_all},
    live_catalogue::quick,
    outcome::Said,
    player::Player,
    scenario::{Arrivals, Life, Part, Scenario, What},
    schedule::schedule,
};

/// As the growth rate is promised.
const RATE_ERROR_MAX: f64 = 0.05;

/// Who leaks, by the player's own counts between the beginning of the trace and its end.
fn forgotten_per_s(ran: &Ran) -> Vec<f64> {
    let [before, after] = &ran.truths;
    let forgotten = before.parts.iter().zip(&after.parts);
    let per_s = |count: u64| count as f64 / (after.at_s - before.at_s);
    forgotten.map(|(before, after)| per_s(after.forgotten - before.forgotten)).collect()
}

fn assert_right(ran: &Ran) {
    let verdict = &ran.report["verdict"];
    let name = &ran.outcome.name;
    let leaks = forgotten_per_s(ran);
    let is_leaky = leaks.iter().any(|per_s| *per_s > 0.0);
    assert_eq!(is_leaky, name.ends_with("leaky"), "{name}: {:?}", ran.truths);
    assert_eq!(ran.outcome.said == Said::Leak, is_leaky, "{name}: {verdict:#}");
    assert_eq!(ran.blame.strangers, 0, "{name}: {:?}", ran.blame);
    for (part, per_s) in leaks.into_iter().enumerate() {
        assert_eq!(ran.blame.names(part), per_s > 0.0, "{name}: {:?} {verdict:#}", ran.blame);
        if per_s > 0.0 {
            let growth_per_s = ran.blame.growth_per_s(part).unwrap();
            let error = (growth_per_s / per_s - 1.0).abs();
            assert!(error <= RATE_ERROR_MAX, "{name}: {growth_per_s} for {per_s} per second");
        }
    }
}

#[test]
fn leaks_are_found_where_they_are_and_their_twins_are_not_accused() {
    for ran in run_all(&quick(1), AT_ONCE, |_, _| {}) {
        assert_right(&ran.unwrap());
    }
}

/// Without it all other truth would be none.
#[test]
fn the_player_does_what_its_schedule_says_and_no_more() {
    let kinds = [
        What::Context,
        What::Timeout,
        What::Unheld,
        What::Goroutine,
        What::Both,
        What::Heap,
        What::Native,
    ];
    let part = |what| Part {
        what,
        arrivals: Arrivals::Random { per_s: 200.0 },
        life: Life::Exponential { mean_s: 0.5 },
        forgotten_one_in: Some(3),
        capacity: None,
        payload_bytes: 1000,
    };
    let scenario = Scenario {
        name: "everything".to_owned(),
        seed: 1,
        parts: kinds.map(part).to_vec(),
        warm_s: 1.0,
        duration_max_s: 3.0,
        gogc: 100,
        ends_s: Some(2.0),
    };
    let events = schedule(&scenario);
    let mut player = Player::start("go1.27.3-player-cgo", &scenario, &events).unwrap();
    let began = player.begin().unwrap();
    player.ensure_done(&began, &events).unwrap();
    let ended = player.last_words().unwrap();
    player.ensure_done(&ended, &events).unwrap();
    assert!(ended.at_s >= 2.0, "{ended:?}");
    // Some more of each part than the dispatcher may be late.
    assert!(player.ensure_done(&ended, &events[400..]).is_err());
    for made in ended.parts {
        let total = events.len() as u64 / 7;
        assert!(made.created > total / 2 && made.released > 100, "{made:?}");
        assert!(made.forgotten.abs_diff(made.created / 3) <= made.created / 10, "{made:?}");
    }
}
