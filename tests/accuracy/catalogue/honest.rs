//! Programs that do not leak, most of them the twins of some that do.

use super::{Arrivals, Life, Part, Programs, What, forgets, keeps, part, random, requests, sized};

const CONTEXT: What = What::Context;

/// What comes and goes quickly.
pub fn traffic(programs: &mut Programs) {
    for per_s in [1.0, 50.0] {
        programs.add(&format!("requests, {per_s}/s"), requests(per_s).into());
    }
    programs.add("requests, 5,000/s", requests(5000.0).into()).warm_s = 300.0;
    let per_s = programs.draw.log_between(0.5, 1000.0);
    programs.add("requests, drawn", requests(per_s).into());
    programs.add("hardly anything happens", vec![random(CONTEXT, 0.05, 0.5)]);
    let bursts = |size, every_s, mean_s| {
        part(CONTEXT, Arrivals::Bursts { size, every_s }, Life::Exponential { mean_s })
    };
    programs.add_beside("100 in lockstep every 2 s", [bursts(100, 2.0, 0.5)], 50.0);
    programs.add_beside("bursts of 30 every 30 s", [bursts(30, 30.0, 5.0)], 5.0);
    programs.add_beside("a job every minute, 200 for 20 s", [bursts(200, 60.0, 20.0)], 5.0);
    let (size, every_s) = (programs.draw.count(10.0, 300.0), programs.draw.log_between(1.0, 30.0));
    programs.add("bursts of drawn size", vec![bursts(size, every_s, every_s / 3.0)]);
}

/// As much as is asked for.
pub fn loads(programs: &mut Programs) {
    let ramp = |from_per_s, to_per_s, mean_s| {
        let ramp = Arrivals::Ramp { from_per_s, to_per_s, from_s: 20.0, to_s: 120.0 };
        part(CONTEXT, ramp, Life::Exponential { mean_s })
    };
    programs.add("load climbs twentyfold, lives of 5 s", vec![ramp(10.0, 200.0, 5.0)]);
    programs.add("load falls to a tenth, lives of 5 s", vec![ramp(100.0, 10.0, 5.0)]);
    let (from, to) = (programs.draw.log_between(1.0, 20.0), programs.draw.log_between(30.0, 300.0));
    let mean_s = programs.draw.log_between(1.0, 20.0);
    programs.add_beside("load climbs, drawn", [ramp(from, to, mean_s)], 10.0);
    for gogc in [25, 400] {
        let payload = sized(64 << 10, random(CONTEXT, 50.0, 0.1));
        programs.add(&format!("requests of 64 KiB under GOGC={gogc}"), vec![payload]).gogc = gogc;
    }
}

/// Is made as long as the program runs, and meant to stay.
fn forever(what: What, per_s: f64) -> Part {
    part(what, Arrivals::Random { per_s }, Life::Forever)
}

/// Is made between two times.
fn between(what: What, per_s: f64, [from_s, to_s]: [f64; 2], life: Life) -> Part {
    part(what, Arrivals::Between { per_s, from_s, to_s }, life)
}

/// Caches that fill up and then evict.
pub fn caches(programs: &mut Programs) {
    let cache = keeps(1500, forever(CONTEXT, 10.0));
    programs
        .add_beside("young program, a cache fills for half of the window", [cache], 10.0)
        .warm_s = 5.0;
    let late = keeps(400, between(CONTEXT, 10.0, [10.0, 1e3], Life::Forever));
    programs.add_beside("old program, a cache begins to fill, full after 40 s", [late], 10.0);
    let (per_s, full_s) =
        (programs.draw.log_between(2.0, 50.0), programs.draw.between(60.0, 180.0));
    let cache = keeps((per_s * full_s) as usize, forever(CONTEXT, per_s));
    programs.add_beside("young program, a cache of drawn size fills", [cache], 20.0).warm_s = 5.0;
    programs.add_beside("a full cache evicts", [keeps(500, forever(CONTEXT, 20.0))], 10.0);
    let blocks = sized(32 << 10, keeps(2000, forever(What::Heap, 20.0)));
    programs.add_beside("young program, a cache of bytes fills", [blocks], 10.0).warm_s = 5.0;
}

/// Pools that fill up and stay.
pub fn pools(programs: &mut Programs) {
    let pool = |what, per_s, to_s| between(what, per_s, [-10.0, to_s], Life::Forever);
    programs
        .add_beside("young program, a pool fills up and stays", [pool(CONTEXT, 5.0, 40.0)], 10.0)
        .warm_s = 5.0;
    let (per_s, to_s) = (programs.draw.log_between(1.0, 30.0), programs.draw.between(20.0, 120.0));
    programs
        .add("young program, a drawn pool fills up and stays", vec![pool(CONTEXT, per_s, to_s)])
        .warm_s = 5.0;
    programs
        .add("young program, workers start and stay", vec![pool(What::Goroutine, 4.0, 20.0)])
        .warm_s = 5.0;
    let blocks = sized(256 << 10, pool(What::Native, 10.0, 20.0));
    programs.add_beside("young program, C takes a pool and keeps it", [blocks], 10.0).warm_s = 5.0;
}

/// Connections that grow with the clients and then shrink.
pub fn clients(programs: &mut Programs) {
    let clients = |per_s, to_s, life| [between(CONTEXT, per_s, [10.0, to_s], life)];
    programs.add_beside(
        "clients come for 100 s, all leave at 180 s",
        clients(3.0, 110.0, Life::Until { at_s: 180.0 }),
        10.0,
    );
    programs.add_beside(
        "clients come for 120 s and stay a minute",
        clients(5.0, 130.0, Life::Exponential { mean_s: 60.0 }),
        10.0,
    );
    let (per_s, to_s) = (programs.draw.log_between(1.0, 20.0), programs.draw.between(60.0, 150.0));
    let life = Life::Exponential { mean_s: programs.draw.log_between(20.0, 100.0) };
    programs.add_beside("clients come and leave, drawn", clients(per_s, to_s, life), 10.0);
}

/// What lives longer than the window, as much of it ending as beginning.
pub fn long_lived(programs: &mut Programs) {
    let steady = random(CONTEXT, 2.0, 3000.0);
    programs.add_beside("old program, lives of ten windows", [steady], 10.0).warm_s = 30_000.0;
    let (per_s, mean_s) =
        (programs.draw.log_between(0.5, 20.0), programs.draw.log_between(100.0, 5000.0));
    let drawn =
        programs.add("old program, long lives, drawn", vec![random(CONTEXT, per_s, mean_s)]);
    drawn.warm_s = 10.0 * mean_s;
    let fills = [random(CONTEXT, 5.0, 600.0)];
    programs.add_beside("young program fills up, lives of 10 min", fills, 10.0).warm_s = 5.0;
    let fixed = part(CONTEXT, Arrivals::Steady { per_s: 5.0 }, Life::Fixed { s: 30.0 });
    programs.add_beside("watches of 30 s each", [fixed], 10.0);
    let goroutines = random(What::Goroutine, 2.0, 3000.0);
    programs.add("old program, goroutines live ten windows", vec![goroutines]).warm_s = 30_000.0;
}

/// A few lives are far longer than most.
pub fn tails(programs: &mut Programs) {
    let heavy = |per_s, median_s, sigma| {
        part(CONTEXT, Arrivals::Random { per_s }, Life::LogNormal { median_s, sigma })
    };
    programs.add("heavy-tailed lives, median 1 s, sigma 2", vec![heavy(20.0, 1.0, 2.0)]).warm_s =
        10_000.0;
    programs.add("lives about 2 min", vec![heavy(3.0, 120.0, 1.0)]).warm_s = 5000.0;
    let (median_s, sigma) =
        (programs.draw.log_between(0.05, 20.0), programs.draw.between(0.5, 2.0));
    programs.add("heavy-tailed lives, drawn", vec![heavy(10.0, median_s, sigma)]).warm_s = 10_000.0;
    let mixed = Life::Mixed { short_s: 0.05, long_s: 300.0, long_one_in: 50 };
    let mixed = |per_s| part(CONTEXT, Arrivals::Random { per_s }, mixed);
    programs.add("mixed lives, one in 50 for 5 min", vec![mixed(20.0)]).warm_s = 5000.0;
    let (long_s, long_one_in) =
        (programs.draw.log_between(30.0, 2000.0), programs.draw.count(5.0, 200.0));
    let life = Life::Mixed { short_s: 0.1, long_s, long_one_in };
    let drawn = part(CONTEXT, Arrivals::Random { per_s: 40.0 }, life);
    programs.add("mixed lives, drawn", vec![drawn]).warm_s = 10.0 * long_s;
}

/// Goroutines, garbage, deadlines, an end.
pub fn others(programs: &mut Programs) {
    programs.add("goroutines come and go, 20/s", vec![random(What::Goroutine, 20.0, 2.0)]);
    let (per_s, mean_s) =
        (programs.draw.log_between(1.0, 200.0), programs.draw.log_between(0.2, 20.0));
    programs.add("goroutines come and go, drawn", vec![random(What::Goroutine, per_s, mean_s)]);
    let bursts = Arrivals::Bursts { size: 40, every_s: 8.0 };
    let bursts = part(What::Goroutine, bursts, Life::Exponential { mean_s: 4.0 });
    programs.add("bursts of 40 goroutines", vec![bursts]);
    let both = random(What::Both, programs.draw.log_between(2.0, 50.0), 3.0);
    programs.add_beside("goroutines with contexts, drawn", [both], 20.0);
    let garbage = |per_s| forgets(1, random(What::Unheld, per_s, 1.0));
    programs.add_beside("contexts that nobody holds, 20/s", [garbage(20.0)], 10.0);
    let per_s = programs.draw.log_between(1.0, 100.0);
    programs.add_beside("contexts that nobody holds, drawn", [garbage(per_s)], 10.0);
    let timeouts = random(What::Timeout, 20.0, 2.0);
    programs.add("timeouts that are cancelled, 20/s", vec![timeouts]);
    let ends = programs.add("requests in a program that ends after 90 s", requests(20.0).into());
    ends.ends_s = Some(90.0);
}
