//! Schedules against what their scenarios say in so many words.

use std::f64::consts::{LN_2, LN_10};

use super::{Event, forgotten_in, schedule};
use crate::accuracy::scenario::{Arrivals, Life, Part, Scenario, What};

fn part(arrivals: Arrivals, life: Life) -> Part {
    let (forgotten_one_in, capacity) = (None, None);
    Part { what: What::Context, arrivals, life, forgotten_one_in, capacity, payload_bytes: 0 }
}

fn scenario(parts: Vec<Part>) -> Scenario {
    Scenario {
        name: "test".to_owned(),
        seed: 7,
        parts,
        warm_s: 50.0,
        duration_max_s: 100.0,
        gogc: 100,
        ends_s: None,
    }
}

fn events(part: Part) -> Vec<Event> {
    schedule(&scenario(vec![part]))
}

fn alive_at(events: &[Event], time_s: f64) -> usize {
    events.iter().filter(|event| event.lives_at(time_s)).count()
}

#[test]
fn even_arrivals_are_as_many_as_rate_and_time_say() {
    let events = events(part(Arrivals::Steady { per_s: 4.0 }, Life::Forever));
    assert_eq!(events.len(), 4 * 150);
    assert_eq!(events.iter().filter(|event| event.at_s >= 0.0).count(), 400);
    assert!(events.windows(2).all(|pair| (pair[1].at_s - pair[0].at_s - 0.25).abs() < 1e-9));
    assert!(events.iter().all(|event| event.until_s.is_none() && !event.is_forgotten));
}

#[test]
fn random_arrivals_have_the_counts_of_a_poisson_process() {
    let events = events(part(Arrivals::Random { per_s: 100.0 }, Life::Forever));
    // Five standard deviations of a Poisson count of 15,000.
    assert!((14_388..15_612).contains(&events.len()), "{}", events.len());
    let mut seconds = [0.0f64; 150];
    events.iter().for_each(|event| seconds[(event.at_s + 50.0) as usize] += 1.0);
    let variance = seconds.iter().map(|count| (count - 100.0).powi(2)).sum::<f64>() / 150.0;
    assert!((60.0..140.0).contains(&variance), "{variance}");
}

#[test]
fn exactly_one_in_n_is_forgotten() {
    for one_in in [1, 2, 10, 100] {
        let steady = part(Arrivals::Steady { per_s: 10.0 }, Life::Fixed { s: 0.5 });
        let events = events(Part { forgotten_one_in: Some(one_in), ..steady });
        let forgotten = events.iter().filter(|event| event.is_forgotten).count() as u64;
        assert_eq!(forgotten, 1500 / one_in, "one in {one_in}");
        assert_eq!(forgotten_in(&events, 0, 100.0), 1000 / one_in, "one in {one_in}");
        assert_eq!(forgotten_in(&events, 1, 100.0), 0);
        let is_never = |event: &Event| event.until_s.is_none() == event.is_forgotten;
        assert!(events.iter().all(is_never), "one in {one_in}");
    }
}

#[test]
fn the_phase_of_what_is_forgotten_is_drawn() {
    let first = |seed| {
        let steady = part(Arrivals::Steady { per_s: 10.0 }, Life::Fixed { s: 1e6 });
        let leaky = Part { forgotten_one_in: Some(100), ..steady };
        let events = schedule(&Scenario { seed, ..scenario(vec![leaky]) });
        events.iter().position(|event| event.is_forgotten)
    };
    assert_ne!((first(1), first(2)), (first(3), first(4)));
}

#[test]
fn what_is_gone_before_tracing_is_left_out() {
    let events = events(part(Arrivals::Steady { per_s: 10.0 }, Life::Fixed { s: 2.0 }));
    assert_eq!(events.iter().filter(|event| event.at_s < 0.0).count(), 20);
    assert_eq!(alive_at(&events, 0.0), 20);
}

#[test]
fn bursts_come_at_once_and_at_intervals() {
    let events = events(part(Arrivals::Bursts { size: 100, every_s: 2.0 }, Life::Forever));
    assert_eq!(events.len(), 7500);
    let bursts: Vec<f64> = events.chunks(100).map(|burst| burst[0].at_s).collect();
    assert!(events.chunks(100).all(|burst| burst.iter().all(|event| event.at_s == burst[0].at_s)));
    assert!(bursts.windows(2).all(|pair| (pair[1] - pair[0] - 2.0).abs() < 1e-9));
}

#[test]
fn a_ramp_climbs_between_its_times() {
    let ramp = Arrivals::Ramp { from_per_s: 0.0, to_per_s: 200.0, from_s: 20.0, to_s: 60.0 };
    let events = events(part(ramp, Life::Forever));
    let between = |from_s: f64, to_s: f64| {
        events.iter().filter(|event| (from_s..to_s).contains(&event.at_s)).count() as f64
    };
    assert_eq!(between(-50.0, 20.0), 0.0);
    // Areas under the ramp: 50/s on average in its first half, 150/s in its second.
    for (from_s, to_s, expected) in
        [(20.0, 40.0, 1000.0), (40.0, 60.0, 3000.0), (60.0, 100.0, 8000.0)]
    {
        let counted = between(from_s, to_s);
        assert!((counted - expected).abs() < 5.0 * f64::sqrt(expected), "{from_s} {counted}");
    }
}

#[test]
fn a_time_may_bound_arrivals_on_both_sides() {
    let between = Arrivals::Between { per_s: 50.0, from_s: 10.0, to_s: 30.0 };
    let events = events(part(between, Life::Forever));
    assert!(events.iter().all(|event| (10.0..30.0).contains(&event.at_s)));
    assert!((840..1160).contains(&events.len()), "{}", events.len());
}

#[test]
fn a_full_cache_lets_the_oldest_go_for_each_new_one() {
    let steady = part(Arrivals::Steady { per_s: 10.0 }, Life::Forever);
    let events = events(Part { capacity: Some(700), ..steady });
    assert_eq!([0.0, 10.0, 20.1, 99.0].map(|at_s| alive_at(&events, at_s)), [500, 600, 700, 700]);
    assert_eq!(events[0].until_s, Some(events[700].at_s));
}

#[test]
fn those_that_ended_and_those_that_are_forgotten_take_no_room() {
    let steady = part(Arrivals::Steady { per_s: 10.0 }, Life::Fixed { s: 1.05 });
    let roomy = events(Part { capacity: Some(11), ..steady.clone() });
    assert!(roomy.iter().all(|event| event.until_s == Some(event.at_s + 1.05)));
    let forever = Part { life: Life::Forever, ..steady };
    let leaky = events(Part { capacity: Some(11), forgotten_one_in: Some(2), ..forever });
    assert_eq!(alive_at(&leaky, 99.99), 750 + 11);
    assert!(leaky.iter().all(|event| !event.is_forgotten || event.until_s.is_none()));
}

#[test]
fn all_go_at_once_at_a_given_time() {
    let events = events(part(Arrivals::Steady { per_s: 10.0 }, Life::Until { at_s: 40.0 }));
    assert_eq!([39.99, 40.0, 90.0].map(|at_s| alive_at(&events, at_s)), [900, 0, 0]);
}

#[test]
fn lives_have_the_quantiles_of_their_distributions() {
    let medians = |life: Life| {
        let mut lives: Vec<f64> =
            events(part(Arrivals::Between { per_s: 200.0, from_s: 0.0, to_s: 100.0 }, life))
                .iter()
                .filter_map(|event| Some(event.until_s? - event.at_s))
                .collect();
        lives.sort_by(f64::total_cmp);
        [0.5, 0.9].map(|quantile| lives[(quantile * lives.len() as f64) as usize])
    };
    let close = |[median, late]: [f64; 2], [expected, expected_late]: [f64; 2]| {
        assert!((median / expected - 1.0).abs() < 0.06, "{median} {expected}");
        assert!((late / expected_late - 1.0).abs() < 0.06, "{late} {expected_late}");
    };
    close(medians(Life::Exponential { mean_s: 3.0 }), [3.0 * LN_2, 3.0 * LN_10]);
    close(medians(Life::LogNormal { median_s: 2.0, sigma: 1.0 }), [2.0, 7.2041]);
    let mixed = Life::Mixed { short_s: 1.0, long_s: 1.0, long_one_in: 5 };
    close(medians(mixed), [LN_2, LN_10]);
}

#[test]
fn a_timeout_ends_at_its_deadline_at_the_latest() {
    let forever = part(Arrivals::Between { per_s: 1.0, from_s: 0.0, to_s: 100.0 }, Life::Forever);
    let events = events(Part { what: What::Timeout, ..forever });
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| event.until_s == Some(event.at_s + 3600.0)));
}

#[test]
fn a_program_that_ends_makes_nothing_more() {
    let steady = part(Arrivals::Steady { per_s: 10.0 }, Life::Forever);
    let ended = Scenario { ends_s: Some(30.0), ..scenario(vec![steady]) };
    assert_eq!(schedule(&ended).len(), 800);
}

#[test]
fn the_same_seed_gives_the_same_events_and_parts_do_not_change_each_other() {
    let random = part(Arrivals::Random { per_s: 20.0 }, Life::Exponential { mean_s: 5.0 });
    let alone = scenario(vec![random.clone()]);
    assert_eq!(schedule(&alone), schedule(&alone));
    assert_ne!(schedule(&alone), schedule(&Scenario { seed: 8, ..alone.clone() }));
    let together = schedule(&scenario(vec![random.clone(), random]));
    let of = |part| together.iter().filter(move |event| event.part == part).map(|event| event.at_s);
    assert!(of(0).eq(schedule(&alone).iter().map(|event| event.at_s)));
    assert!(!of(1).eq(of(0)), "parts have draws of their own");
    assert!(together.windows(2).all(|pair| pair[0].at_s <= pair[1].at_s));
}
