//! Programs that leak.

use super::{Arrivals, Life, OLD_S, Part, Programs, What, forgets, keeps, part, random, sized};

const CONTEXT: What = What::Context;

/// Contexts of which all are forgotten.
fn total(per_s: f64) -> Part {
    forgets(1, random(CONTEXT, per_s, 1.0))
}

/// Contexts at all rates, all of them forgotten.
pub fn rates(programs: &mut Programs) {
    for per_s in [0.5, 1.0, 50.0] {
        let name = format!("every context leaks, {per_s}/s");
        programs.add_beside(&name, [total(per_s)], 20.0);
    }
    let node = programs.add_beside("kubernetes#139823 on its node, 0.55/s", [total(0.55)], 15.0);
    node.warm_s = 100_000.0;
    let lockstep = part(CONTEXT, Arrivals::Bursts { size: 100, every_s: 2.0 }, Life::Forever);
    programs.add_beside(
        "kubernetes#139823 in the lab, 100 every 2 s",
        [forgets(1, lockstep)],
        50.0,
    );
    for (name, from, to) in [("slow", 0.5, 3.0), ("middling", 3.0, 50.0), ("fast", 50.0, 1000.0)] {
        let per_s = programs.draw.log_between(from, to);
        programs.add_beside(&format!("every context leaks, drawn: {name}"), [total(per_s)], 30.0);
    }
    let flood = programs.add("every context leaks, 5,000/s", vec![total(5000.0)]);
    (flood.warm_s, flood.duration_max_s) = (300.0, 120.0);
    programs.add_beside("young program, every context leaks, 10/s", [total(10.0)], 20.0).warm_s =
        5.0;
}

/// A share of the contexts is forgotten.
pub fn shares(programs: &mut Programs) {
    for (one_in, per_s) in [(2, 10.0), (10, 20.0), (100, 100.0)] {
        let name = format!("one context in {one_in} of {per_s}/s leaks");
        programs.add_beside(&name, [forgets(one_in, random(CONTEXT, per_s, 0.1))], 20.0);
    }
    let flood = forgets(100, random(CONTEXT, 5000.0, 0.02));
    programs.add("one context in 100 of 5,000/s leaks", vec![flood]).warm_s = 300.0;
    for (name, from, to) in [("few", 2.0, 8.0), ("many", 20.0, 200.0)] {
        let one_in = programs.draw.count(from, to);
        let leaked_per_s = programs.draw.log_between(0.7, 10.0);
        let mean_s = programs.draw.log_between(0.01, 3.0);
        let leak = forgets(one_in, random(CONTEXT, leaked_per_s * one_in as f64, mean_s));
        programs.add_beside(&format!("one context in {name} leaks, drawn"), [leak], 30.0);
    }
}

/// Leaks that come in bursts, or with the load.
pub fn bursts_and_loads(programs: &mut Programs) {
    let bursts = |size, every_s| {
        part(CONTEXT, Arrivals::Bursts { size, every_s }, Life::Exponential { mean_s: 0.5 })
    };
    programs.add("bursts of 50 every 10 s, one in 5 leaks", vec![forgets(5, bursts(50, 10.0))]);
    programs.add_beside("bursts of 30 every 30 s, all leak", [forgets(1, bursts(30, 30.0))], 5.0);
    programs.add("100 in lockstep every 2 s, one in 10 leaks", vec![forgets(10, bursts(100, 2.0))]);
    let (size, every_s) = (programs.draw.count(10.0, 300.0), programs.draw.log_between(1.0, 15.0));
    programs.add("bursts of drawn size, one in 3 leaks", vec![forgets(3, bursts(size, every_s))]);

    let ramp = |from_per_s, to_per_s| {
        let ramp = Arrivals::Ramp { from_per_s, to_per_s, from_s: 20.0, to_s: 120.0 };
        part(CONTEXT, ramp, Life::Exponential { mean_s: 0.3 })
    };
    programs.add_beside("load climbs, one in 10 leaks", [forgets(10, ramp(5.0, 50.0))], 5.0);
    programs.add_beside("load falls, one in 10 leaks", [forgets(10, ramp(100.0, 10.0))], 5.0);
}

/// Leaks beside what is meant to be kept, and at lines of which some contexts live long.
pub fn beside_long_lives(programs: &mut Programs) {
    let cache = keeps(400, part(CONTEXT, Arrivals::Random { per_s: 10.0 }, Life::Forever));
    programs.add_beside("leak of 2/s beside a full cache", [total(2.0), cache], 10.0);
    let per_s = programs.draw.log_between(1.0, 10.0);
    let connections = random(CONTEXT, 2.0, 400.0);
    programs.add("leak of drawn rate beside long connections", vec![total(per_s), connections]);

    let heavy = |median_s, sigma| {
        part(CONTEXT, Arrivals::Random { per_s: 20.0 }, Life::LogNormal { median_s, sigma })
    };
    programs.add("heavy-tailed lives, one in 20 leaks", vec![forgets(20, heavy(0.1, 1.5))]);
    let (median_s, sigma) = (programs.draw.log_between(0.02, 0.5), programs.draw.between(0.5, 2.0));
    programs.add(
        "heavy-tailed lives, drawn, one in 10 leaks",
        vec![forgets(10, heavy(median_s, sigma))],
    );
    let mixed = Life::Mixed { short_s: 0.05, long_s: 20.0, long_one_in: 30 };
    let mixed = part(CONTEXT, Arrivals::Random { per_s: 30.0 }, mixed);
    programs.add("mixed lives, one in 10 leaks", vec![forgets(10, mixed)]);
    programs.add("lives of 10 s, one in 5 leaks", vec![forgets(5, random(CONTEXT, 10.0, 10.0))]);
}

/// Several leaks at once, an end, the settings of the collector.
pub fn together(programs: &mut Programs) {
    let several = [total(1.0), total(5.0), forgets(10, random(CONTEXT, 50.0, 0.1))];
    programs.add_beside("three leaks at once beside requests", several, 100.0);
    let drawn: Vec<_> = (0..3).map(|_| total(programs.draw.log_between(0.8, 40.0))).collect();
    programs.add_beside("three leaks of drawn rates beside requests", drawn, 50.0);
    programs
        .add_beside("leak of 5/s in a program that ends after 90 s", [total(5.0)], 20.0)
        .ends_s = Some(90.0);
    for gogc in [25, 400] {
        let name = format!("leak of 20/s of 4 KiB under GOGC={gogc}");
        programs.add_beside(&name, [sized(4096, total(20.0))], 50.0).gogc = gogc;
    }
}

/// Goroutines, alone and with contexts of their own.
pub fn goroutines(programs: &mut Programs) {
    let random = |per_s, mean_s| random(What::Goroutine, per_s, mean_s);
    programs
        .add("every goroutine leaks, 1/s", vec![forgets(1, random(1.0, 1.0)), random(5.0, 2.0)]);
    let per_s = programs.draw.log_between(0.5, 50.0);
    programs.add("every goroutine leaks, drawn", vec![forgets(1, random(per_s, 1.0))]);
    programs.add("one goroutine in 10 of 20/s leaks", vec![forgets(10, random(20.0, 0.5))]);
    let (one_in, per_s) = (programs.draw.count(3.0, 40.0), programs.draw.log_between(20.0, 200.0));
    programs.add("one goroutine in drawn many leaks", vec![forgets(one_in, random(per_s, 1.0))]);
    let bursts = Arrivals::Bursts { size: 40, every_s: 8.0 };
    let bursts = part(What::Goroutine, bursts, Life::Exponential { mean_s: 1.0 });
    programs.add("bursts of 40 goroutines, one in 4 leaks", vec![forgets(4, bursts)]);
    let both = super::random(What::Both, 2.0, 1.0);
    programs.add_beside("goroutines wait for contexts that leak, 2/s", [forgets(1, both)], 20.0);
    let both = super::random(What::Both, programs.draw.log_between(5.0, 100.0), 0.2);
    programs.add("goroutines wait for contexts, one in 5 leaks, drawn", vec![forgets(5, both)]);
}

/// Leaks that show in bytes only, or that end at a deadline.
pub fn bytes(programs: &mut Programs) {
    let timeouts = forgets(1, random(What::Timeout, 10.0, 1.0));
    programs.add_beside("forgotten timeouts, 10/s, an hour each", [timeouts], 10.0).warm_s = 1300.0;
    let heap = |per_s, bytes| sized(bytes, forgets(1, random(What::Heap, per_s, 1.0)));
    programs.add("heap grows by 320 KiB/s without contexts", vec![heap(20.0, 16 << 10)]).warm_s =
        60.0;
    let bytes = programs.draw.count(4e3, 1e5);
    let grows =
        programs.add_beside("heap grows by drawn bytes beside requests", [heap(10.0, bytes)], 20.0);
    grows.warm_s = 60.0;
    let native = |per_s, bytes| sized(bytes, forgets(1, random(What::Native, per_s, 1.0)));
    programs.add_beside("C grows by 640 KiB/s beside requests", [native(10.0, 64 << 10)], 20.0);
    let bytes = programs.draw.count(1e4, 3e5);
    programs.add("C grows by drawn bytes", vec![native(5.0, bytes)]).warm_s = OLD_S;
}
