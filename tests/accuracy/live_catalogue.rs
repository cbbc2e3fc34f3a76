//! The live scenarios: a seed in, leaky programs and their honest twins out. Non-goals: running them.
//!
//! A twin makes the same things at the same times, and lets all of them go. Rates, lives and sizes are
//! drawn where a range is given.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{
    live::Live,
    scenario::{Arrivals, Life, Part, Scenario, What},
};

/// A trace whose verdict is not settled lasts at least so long, in seconds.
const LIMIT_S: f64 = 150.0;
/// How long a program has run like this, in seconds, where nothing else is said.
const WARM_S: f64 = 6.0;

/// What draws.
struct Draw {
    seed: u64,
    random: ChaCha8Rng,
}

impl Draw {
    /// Evenly on a logarithmic scale, two digits.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        let drawn = low * (high / low).powf(self.random.random::<f64>());
        let digits = 10f64.powf(1.0 - drawn.log10().floor());
        ((drawn * digits).round() / digits).clamp(low, high)
    }

    fn whole(&mut self, low: u64, high: u64) -> u64 {
        self.between(low as f64, high as f64).round() as u64
    }
}

/// A program in two versions.
struct Pair {
    name: &'static str,
    /// Of the leaky one and of the honest one, behind `go`.
    builds: [&'static str; 2],
    /// As the leaky one does it.
    parts: Vec<Part>,
    warm_s: f64,
    /// Of the leaky one and of the honest one.
    durations_s: [f64; 2],
    gogc: i32,
    ends_s: Option<f64>,
}

impl Pair {
    /// Of one part that forgets one in so many.
    fn of(
        name: &'static str,
        builds: [&'static str; 2],
        duration_s: f64,
        (part, one_in): (Part, u64),
    ) -> Self {
        Self::new(name, builds, duration_s, vec![forgetting(part, one_in)])
    }

    fn new(
        name: &'static str,
        builds: [&'static str; 2],
        duration_s: f64,
        parts: Vec<Part>,
    ) -> Self {
        let durations_s = [duration_s; 2];
        Self { name, builds, parts, warm_s: WARM_S, durations_s, gogc: 100, ends_s: None }
    }

    /// Both, with the same seed.
    fn lives(self, draw: &mut Draw) -> [Live; 2] {
        draw.seed += 1;
        let seed = draw.seed;
        let mut honest = self.parts.clone();
        // What nothing holds is garbage in both.
        let forgetful = honest.iter_mut().filter(|part| part.what != What::Unheld);
        forgetful.for_each(|part| part.forgotten_one_in = None);
        let [leaky_s, honest_s] = self.durations_s;
        [
            self.live("leaky", self.builds[0], self.parts.clone(), (leaky_s, seed)),
            self.live("honest", self.builds[1], honest, (honest_s, seed)),
        ]
    }

    fn live(
        &self,
        twin: &str,
        build: &str,
        parts: Vec<Part>,
        (duration_max_s, seed): (f64, u64),
    ) -> Live {
        let scenario = Scenario {
            name: format!("{}, {twin}", self.name),
            seed,
            parts,
            warm_s: self.warm_s,
            duration_max_s,
            gogc: self.gogc,
            ends_s: self.ends_s,
        };
        Live { scenario, build: format!("go{build}") }
    }
}

/// All live scenarios, the longest first, so that none of them runs alone at the end.
pub fn live_catalogue(seed: u64) -> Vec<Live> {
    let mut draw = Draw { seed: seed.wrapping_mul(1000), random: ChaCha8Rng::seed_from_u64(seed) };
    let mut pairs = rates(&mut draw);
    pairs.extend(partial(&mut draw));
    pairs.extend(shapes(&mut draw));
    pairs.extend(stores(&mut draw));
    pairs.extend(kinds(&mut draw));
    pairs.extend(bytes(&mut draw));
    let mut lives: Vec<Live> = pairs.into_iter().flat_map(|pair| pair.lives(&mut draw)).collect();
    lives.extend(honest_only(&mut draw));
    // Most end by themselves long before.
    for Live { scenario, .. } in &mut lives {
        scenario.duration_max_s = scenario.duration_max_s.max(LIMIT_S);
    }
    lives.sort_by(|one, other| {
        other.scenario.duration_max_s.total_cmp(&one.scenario.duration_max_s)
    });
    lives
}

/// Two leaky programs and their twins, which are traced at once for less than 40 s.
pub fn quick(seed: u64) -> Vec<Live> {
    let mut draw = Draw { seed, random: ChaCha8Rng::seed_from_u64(seed) };
    let life = Life::Exponential { mean_s: draw.between(0.2, 0.5) };
    let contexts = vec![
        part(What::Context, steady(25.0), life),
        forgetting(part(What::Context, steady(40.0), life), 4),
    ];
    let goroutines = vec![
        forgetting(part(What::Goroutine, steady(8.0), life), 2),
        part(What::Goroutine, steady(5.0), life),
    ];
    let pairs = [
        Pair::new("contexts", ["1.21.13-player", "1.26.3-player"], 36.0, contexts),
        Pair::new("goroutines", ["1.27.3-player-pie", "1.24.11-player"], 36.0, goroutines),
    ];
    pairs.into_iter().flat_map(|pair| pair.lives(&mut draw)).collect()
}

/// All of a site's contexts are forgotten, from the slowest rate to the fastest.
fn rates(draw: &mut Draw) -> Vec<Pair> {
    let slow = part(What::Context, random(0.55), Life::Exponential { mean_s: 1.0 });
    let usual = part(What::Context, random(draw.between(2.0, 40.0)), log_normal(draw));
    let fast = part(What::Context, steady(5000.0), Life::Exponential { mean_s: 0.2 });
    let builds = ["1.26.3-player", "1.26.3-player-pie"];
    // The rate of the kubelet of kubernetes #139823.
    let mut kubelet = Pair::of("0.55 contexts/s", builds, 300.0, (slow, 1));
    kubelet.durations_s = [300.0, 60.0];
    vec![
        kubelet,
        Pair::of("contexts", ["1.21.13-player", "1.24.11-player"], 45.0, (usual, 1)),
        Pair::of("5,000 contexts/s", ["1.27.3-player", "1.21.13-player-pie"], 30.0, (fast, 1)),
    ]
}

/// Some of a site's contexts are forgotten.
fn partial(draw: &mut Draw) -> Vec<Pair> {
    let tenth = Part {
        payload_bytes: draw.whole(512, 8192),
        ..part(What::Context, random(draw.between(20.0, 100.0)), exponential(draw))
    };
    let builds = ["1.24.11-player-pie", "1.21.13-player"];
    let mut tenth = Pair::of("1 in 10, GOGC 25", builds, 60.0, (tenth, 10));
    tenth.gogc = 25;
    let hundredth = part(What::Context, random(draw.between(200.0, 500.0)), exponential(draw));
    let builds = ["1.26.3-player-symbols", "1.27.3-player"];
    vec![tenth, Pair::of("1 in 100", builds, 60.0, (hundredth, 100))]
}

/// Rates that change, and a program that ends.
fn shapes(draw: &mut Draw) -> Vec<Pair> {
    let lockstep = Arrivals::Bursts { size: draw.whole(20, 60), every_s: 8.0 };
    let lockstep = part(What::Context, lockstep, Life::Fixed { s: 8.0 });
    let bursts = Arrivals::Bursts { size: draw.whole(50, 200), every_s: draw.between(10.0, 15.0) };
    let mixed = Life::Mixed { short_s: 0.3, long_s: draw.between(3.0, 6.0), long_one_in: 10 };
    let bursts = part(What::Context, bursts, mixed);
    let short = part(What::Context, random(draw.between(5.0, 20.0)), log_normal(draw));
    let builds = ["1.27.3-player", "1.24.11-player-pie"];
    let mut ends = Pair::of("ends in mid-trace", builds, 60.0, (short, 2));
    ends.ends_s = Some(35.0);
    let builds = ["1.27.3-player-pie", "1.26.3-player-pie"];
    let lockstep = Pair::of("lockstep, 1 in 10", builds, 60.0, (lockstep, 10));
    let builds = ["1.21.13-player", "1.27.3-player-symbols"];
    let bursts = Pair::of("bursts, 1 in 20", builds, 75.0, (bursts, 20));
    vec![lockstep, bursts, ramp(draw), ends]
}

/// More and more work.
fn ramp(draw: &mut Draw) -> Pair {
    let to_per_s = draw.between(50.0, 150.0);
    let ramp = Arrivals::Ramp { from_per_s: 5.0, to_per_s, from_s: 10.0, to_s: 40.0 };
    let ramp = Part {
        payload_bytes: draw.whole(512, 8192),
        ..part(What::Context, ramp, exponential(draw))
    };
    let builds = ["1.24.11-player", "1.26.3-player"];
    let mut pair = Pair::of("load ramp, 1 in 20, GOGC 400", builds, 60.0, (ramp, 20));
    pair.gogc = 400;
    pair
}

/// What is meant to stay, for a while.
fn stores(draw: &mut Draw) -> Vec<Pair> {
    let mut kept = |what, per_s, [low, high]: [u64; 2]| Part {
        capacity: Some(draw.whole(low, high) as usize),
        ..part(what, random(per_s), Life::Forever)
    };
    let cache = kept(What::Context, 30.0, [300, 900]);
    let pool = kept(What::Goroutine, 4.0, [20, 60]);
    let builds = ["1.26.3-player-symbols", "1.21.13-player"];
    let mut cache = Pair::of("cache with eviction, 1 in 10", builds, 60.0, (cache, 10));
    cache.warm_s = 60.0;
    let builds = ["1.27.3-player", "1.24.11-player"];
    let mut pool = Pair::of("pool of goroutines, 1 in 4", builds, 60.0, (pool, 4));
    pool.warm_s = 60.0;
    vec![cache, pool, connections(draw)]
}

/// Clients come, stay, and go all at once; what leaks is beside them.
fn connections(draw: &mut Draw) -> Pair {
    let come = Arrivals::Between { per_s: draw.between(4.0, 12.0), from_s: 0.0, to_s: 35.0 };
    let beside = part(What::Both, random(draw.between(2.0, 6.0)), exponential(draw));
    let parts = vec![
        part(What::Both, come, Life::Until { at_s: 50.0 }),
        forgetting(beside, 3),
        part(What::Context, random(20.0), Life::Exponential { mean_s: 0.1 }),
    ];
    let name = "connections that come and go, 1 in 3 beside";
    Pair::new(name, ["1.21.13-player-pie", "1.26.3-player"], 75.0, parts)
}

/// All kinds of things that can be counted.
fn kinds(draw: &mut Draw) -> Vec<Pair> {
    let goroutine = part(What::Goroutine, random(draw.between(1.0, 8.0)), exponential(draw));
    let both = Part {
        payload_bytes: draw.whole(256, 4096),
        ..part(What::Both, random(draw.between(3.0, 10.0)), exponential(draw))
    };
    let timeout = part(What::Timeout, random(10.0), exponential(draw));
    let both_builds = ["1.26.3-player", "1.27.3-player-pie"];
    let timeout_builds = ["1.21.13-player-symbols", "1.24.11-player"];
    vec![
        Pair::of("goroutines", ["1.24.11-player-symbols", "1.21.13-player"], 60.0, (goroutine, 1)),
        Pair::of("contexts with goroutines, 1 in 3", both_builds, 45.0, (both, 3)),
        Pair::of("timeouts, 1 in 5", timeout_builds, 60.0, (timeout, 5)),
        several(draw),
    ]
}

/// Leaks beside honest work and garbage.
fn several(draw: &mut Draw) -> Pair {
    let context = part(What::Context, random(draw.between(2.0, 6.0)), exponential(draw));
    let unheld = part(What::Unheld, random(draw.between(5.0, 20.0)), log_normal(draw));
    let parts = vec![
        forgetting(context, 1),
        forgetting(part(What::Goroutine, random(4.0), exponential(draw)), 2),
        part(What::Timeout, random(10.0), log_normal(draw)),
        forgetting(unheld, 1),
        part(What::Context, steady(15.0), Life::Exponential { mean_s: 0.3 }),
    ];
    Pair::new("several leaks at once", ["1.24.11-player", "1.26.3-player-pie"], 60.0, parts)
}

/// Growth that has nothing to count.
fn bytes(draw: &mut Draw) -> Vec<Pair> {
    let mut piece = |what, [low, high]: [u64; 2]| Part {
        payload_bytes: draw.whole(low, high),
        ..part(what, random(20.0), exponential(draw))
    };
    let heap = piece(What::Heap, [16 << 10, 48 << 10]);
    let native = piece(What::Native, [32 << 10, 96 << 10]);
    let native_builds = ["1.24.11-player-cgo", "1.26.3-player-cgo"];
    vec![
        Pair::of("heap only, 1 in 2", ["1.26.3-player", "1.27.3-player"], 70.0, (heap, 2)),
        Pair::of("native memory only, 1 in 2", native_builds, 70.0, (native, 2)),
    ]
}

/// What looks like a leak and has no leaky twin.
fn honest_only(draw: &mut Draw) -> Vec<Live> {
    let filling = Part {
        capacity: Some(draw.whole(600, 1000) as usize),
        ..part(What::Context, random(30.0), Life::Forever)
    };
    let unheld = part(What::Unheld, random(draw.between(10.0, 40.0)), log_normal(draw));
    let builds = ["1.24.11-player", "1.27.3-player"];
    let filling = Pair::new("cache that fills up", builds, 60.0, vec![filling]);
    let unheld = Pair::of("contexts that nobody holds", builds, 45.0, (unheld, 1));
    [filling, unheld].into_iter().map(|pair| pair.lives(draw)).map(|[_, honest]| honest).collect()
}

fn part(what: What, arrivals: Arrivals, life: Life) -> Part {
    Part { what, arrivals, life, forgotten_one_in: None, capacity: None, payload_bytes: 0 }
}

fn forgetting(part: Part, one_in: u64) -> Part {
    Part { forgotten_one_in: Some(one_in), ..part }
}

fn steady(per_s: f64) -> Arrivals {
    Arrivals::Steady { per_s }
}

fn random(per_s: f64) -> Arrivals {
    Arrivals::Random { per_s }
}

fn exponential(draw: &mut Draw) -> Life {
    Life::Exponential { mean_s: draw.between(0.3, 3.0) }
}

fn log_normal(draw: &mut Draw) -> Life {
    Life::LogNormal { median_s: draw.between(0.2, 2.0), sigma: 0.7 }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{LIMIT_S, Live, live_catalogue, quick};
    use crate::accuracy::{live::AT_ONCE, player::PARTS_MAX};

    /// What starting a program and a trace takes on a slow machine, in seconds.
    const START_S: f64 = 3.0;
    /// All of them, four at once, if none ended by itself.
    const WALL_MAX_S: f64 = 1600.0;

    #[test]
    fn the_catalogue_keeps_its_limits_whatever_is_drawn() {
        for seed in 0..50 {
            let lives = live_catalogue(seed);
            let names: HashSet<_> = lives.iter().map(|live| &live.scenario.name).collect();
            assert_eq!(names.len(), lives.len());
            assert!(lives.len() >= 24);
            assert!(lives.iter().all(|live| live.scenario.parts.len() <= PARTS_MAX));
            let long = lives.iter().filter(|live| live.scenario.duration_max_s > LIMIT_S).count();
            assert_eq!(long, 1);
            let each_s = lives.iter().map(|live| {
                let scenario = &live.scenario;
                let traced_s = scenario.ends_s.unwrap_or(scenario.duration_max_s);
                traced_s + scenario.warm_s.min(8.0) + START_S
            });
            assert!(each_s.sum::<f64>() / AT_ONCE as f64 <= WALL_MAX_S);
        }
    }

    #[test]
    fn twins_differ_in_what_they_forget_only() {
        for (lives, leaky_min) in [(live_catalogue(3), 12), (quick(3), 2)] {
            let leaky: Vec<_> = lives.iter().filter(|live| live.scenario.is_leaky()).collect();
            assert!(leaky.len() >= leaky_min);
            for Live { scenario: leaky, .. } in leaky {
                let name = leaky.name.replace(", leaky", ", honest");
                let twin = lives.iter().find(|live| live.scenario.name == name).unwrap();
                assert!(!twin.scenario.is_leaky(), "{name}");
                let mut parts = twin.scenario.parts.clone();
                for (part, leaky) in parts.iter_mut().zip(&leaky.parts) {
                    part.forgotten_one_in = leaky.forgotten_one_in;
                }
                assert_eq!((&parts, twin.scenario.seed), (&leaky.parts, leaky.seed), "{name}");
            }
        }
    }

    #[test]
    fn another_seed_draws_other_programs() {
        let parts = |seed| -> Vec<_> {
            live_catalogue(seed).into_iter().map(|live| live.scenario.parts).collect()
        };
        assert_eq!(parts(1), parts(1));
        let changed = parts(1).iter().zip(&parts(2)).filter(|(one, other)| one != other).count();
        assert!(2 * changed >= parts(1).len(), "{changed}");
    }
}
