//! Random programs for the calibration of the confidence: a number and a seed in, scenarios out.
//!
//! The prior is wide on purpose: it holds leaks near and below any floor, lives longer than the
//! window, and windows as short as 15 s. Young programs fill pools and caches; that an old one begins
//! to fill a pool just when it is traced is rarer.

use super::{
    catalogue::{Draw, OLD_S, beside_requests, forgets, keeps, part, random},
    scenario::{Arrivals, Life, Part, Scenario, What},
};

/// So many random programs; half of them leak.
pub fn sweep(count: u64, seed: u64) -> Vec<Scenario> {
    let mut draw = Draw::new(seed ^ 0x73_7765_6570);
    (0..count).map(|number| scenario(number, &mut draw)).collect()
}

fn scenario(number: u64, draw: &mut Draw) -> Scenario {
    let (is_leaky, is_young) = (draw.is(0.5), draw.is(0.3));
    let what = draw.one_of(&[What::Context, What::Context, What::Goroutine, What::Both]);
    let main = if is_leaky { leak(what, draw) } else { honest(what, is_young, draw) };
    let others = (0..draw.count(1.0, 4.0) - 1).map(|_| honest(What::Context, is_young, draw));
    let mut parts = vec![main];
    parts.extend(others.collect::<Vec<_>>());
    if draw.is(0.7) {
        parts = beside_requests(parts, draw.log_between(1.0, 100.0));
    }
    Scenario {
        name: format!("random program {number}"),
        seed: draw.seed(),
        parts,
        warm_s: if is_young { draw.log_between(2.0, 100.0) } else { draw.log_between(OLD_S, 1e4) },
        duration_max_s: draw.log_between(15.0, 300.0),
        gogc: draw.one_of(&[25, 50, 100, 100, 100, 200, 400]),
        ends_s: None,
    }
}

fn life(draw: &mut Draw, longest_s: f64) -> Life {
    let mean_s = draw.log_between(0.01, longest_s);
    match draw.count(1.0, 4.4) {
        1 => Life::Exponential { mean_s },
        2 => Life::Fixed { s: mean_s },
        3 => Life::LogNormal { median_s: mean_s / 2.0, sigma: draw.between(0.3, 2.0) },
        _ => Life::Mixed {
            short_s: mean_s / 10.0,
            long_s: mean_s * 3.0,
            long_one_in: draw.count(5.0, 200.0),
        },
    }
}

fn arrivals(draw: &mut Draw, per_s: f64) -> Arrivals {
    match draw.count(1.0, 5.4) {
        1 | 2 => Arrivals::Random { per_s },
        3 => Arrivals::Steady { per_s },
        4 => {
            let every_s = draw.log_between(1.0, 20.0);
            Arrivals::Bursts { size: ((per_s * every_s).round() as u64).max(1), every_s }
        }
        _ => {
            let to_per_s = per_s * draw.log_between(0.2, 5.0);
            Arrivals::Ramp { from_per_s: per_s, to_per_s, from_s: 5.0, to_s: 60.0 }
        }
    }
}

/// Leaks 0.05 to 50 objects/s, all or one in up to 100 of what it makes.
fn leak(what: What, draw: &mut Draw) -> Part {
    let leaked_per_s = draw.log_between(0.05, 50.0);
    let one_in = if draw.is(0.5) { 1 } else { draw.count(2.0, 100.0) };
    let per_s = (leaked_per_s * one_in as f64).min(500.0);
    let how = arrivals(draw, per_s);
    forgets(one_in, part(what, how, life(draw, 10.0)))
}

/// Comes and goes, some of it for longer than any window; or fills a cache; or a pool.
fn honest(what: What, is_young: bool, draw: &mut Draw) -> Part {
    let per_s = draw.log_between(0.2, 100.0);
    let pools = if is_young { 0.1 } else { 0.02 };
    if draw.is(pools) {
        let to_s = draw.between(1.0, 60.0);
        part(what, Arrivals::Between { per_s, from_s: -30.0, to_s }, Life::Forever)
    } else if draw.is(0.1) {
        let capacity = (per_s * draw.log_between(10.0, 300.0)).ceil();
        keeps(capacity as usize, part(what, Arrivals::Random { per_s }, Life::Forever))
    } else if draw.is(0.25) {
        random(what, per_s.min(10.0), draw.log_between(20.0, 1000.0))
    } else {
        let how = arrivals(draw, per_s);
        part(what, how, life(draw, 20.0))
    }
}

#[cfg(test)]
mod tests {
    use super::sweep;

    #[test]
    fn about_half_of_the_random_programs_leak_and_the_seed_decides() {
        let programs = sweep(400, 5);
        let leaky = programs.iter().filter(|program| program.is_leaky()).count();
        assert!((150..250).contains(&leaky), "{leaky}");
        assert!(programs == sweep(400, 5) && programs != sweep(400, 6));
        assert!(programs.iter().all(|program| (15.0..=300.0).contains(&program.duration_max_s)));
    }
}
