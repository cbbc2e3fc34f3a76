//! Simulated programs whose leak is known exactly.

use leaktrace_common::{LIFETIME_BUCKETS, lifetime_bucket};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, LogNormal};

use super::{LifeCounts, bucket_ceiling_s, leak_rate, never_released_share};
use crate::model::survival::{Life, Survival};

const WINDOW_S: f64 = 60.0;

/// How long what is released lives, in seconds.
#[derive(Debug, Clone, Copy)]
enum Lifetime {
    Fixed(f64),
    Exponential(f64),
    LogNormal(f64, f64),
    /// Nine in ten of the first, one of the second.
    Mixed(f64, f64),
}

impl Lifetime {
    fn draw(self, random: &mut impl Rng) -> f64 {
        match self {
            Self::Fixed(s) => s,
            Self::Exponential(mean_s) => Exp::new(1.0 / mean_s).unwrap().sample(random),
            Self::LogNormal(median_s, sigma) => {
                LogNormal::new(median_s.ln(), sigma).unwrap().sample(random)
            }
            Self::Mixed(usual_s, _) if random.random_bool(0.9) => {
                Self::Exponential(usual_s).draw(random)
            }
            Self::Mixed(_, rare_s) => Self::Exponential(rare_s).draw(random),
        }
    }
}

/// What a window shows, and how many of what was made in it are never released.
struct Window {
    created: Vec<(f64, f64)>,
    births_s: Vec<f64>,
    ended: [u64; LIFETIME_BUCKETS],
    leaked: usize,
}

impl Window {
    /// `per_s` objects are made per second at random times, read every 2 s, and one in `keep` of
    /// them is never released (0: all are).
    fn new(seed: u64, per_s: f64, keep: u32, lifetime: Lifetime) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let gap = Exp::new(per_s).unwrap();
        let mut window =
            Self { created: Vec::new(), births_s: Vec::new(), ended: [0; 40], leaked: 0 };
        let (mut at_s, mut made) = (gap.sample(&mut random), 0.0);
        while at_s < WINDOW_S {
            while window.created.len() as f64 * 2.0 < at_s {
                window.created.push((window.created.len() as f64 * 2.0, made));
            }
            made += 1.0;
            let leaks = keep > 0 && random.random_ratio(1, keep);
            let life_s = if leaks { f64::INFINITY } else { lifetime.draw(&mut random) };
            window.leaked += usize::from(leaks);
            if at_s + life_s > WINDOW_S {
                window.births_s.push(at_s);
            } else {
                window.ended[lifetime_bucket((life_s * 1e9) as u64)] += 1;
            }
            at_s += gap.sample(&mut random);
        }
        window.created.push((WINDOW_S, made));
        window
    }

    fn counts(&self) -> LifeCounts<'_> {
        LifeCounts {
            window_s: WINDOW_S,
            created: &self.created,
            births_s: &self.births_s,
            ended: &self.ended,
            each: 1.0,
        }
    }
}

const LIFETIMES: [Lifetime; 6] = [
    Lifetime::Fixed(0.01),
    Lifetime::Fixed(7.0),
    Lifetime::Exponential(0.5),
    Lifetime::Exponential(4.0),
    Lifetime::LogNormal(0.5, 0.8),
    Lifetime::Mixed(0.02, 3.0),
];

#[test]
fn the_leak_rate_is_unbiased_for_total_and_for_partial_leaks() {
    const SEEDS: u32 = 300;
    for lifetime in LIFETIMES {
        for keep in [1, 10, 100] {
            let (mut found, mut truth, mut covered, mut told) = (0.0, 0.0, 0, 0);
            for seed in 0..SEEDS {
                let window = Window::new(u64::from(seed), 50.0, keep, lifetime);
                let Some(rate) = leak_rate(&window.counts()) else { continue };
                let leaked_per_s = window.leaked as f64 / WINDOW_S;
                told += 1;
                found += rate.per_s;
                truth += leaked_per_s;
                covered += u32::from(rate.low <= leaked_per_s && leaked_per_s <= rate.high);
            }
            let bias = found / truth - 1.0;
            println!("{lifetime:?} 1/{keep}: told {told}, bias {bias:+.4}, covered {covered}");
            // Two late ends of many may be the first of more.
            assert!(told >= SEEDS * 85 / 100, "{lifetime:?} 1/{keep}: told {told}");
            assert!(bias.abs() < 0.05, "{lifetime:?} 1/{keep}: {bias:+.4}");
            assert!(covered >= told * 93 / 100, "{lifetime:?} 1/{keep}: {covered} of {told}");
        }
    }
}

#[test]
fn what_does_not_leak_has_a_low_end_of_nothing() {
    for lifetime in LIFETIMES {
        let above = (0..300u64).filter(|seed| {
            let window = Window::new(*seed, 50.0, 0, lifetime);
            let told = never_released_share(&window.counts()).unwrap();
            told.share.low > 0.0
        });
        let above = above.count();
        println!("{lifetime:?}: {above} of 300 have a low end above 0");
        assert!(above <= 15, "{lifetime:?}: {above} of 300 seem to leak");
    }
}

/// Two in nine of these outlive the window: no count tells them from what leaks.
#[test]
fn lives_as_long_as_the_window_have_no_leak_rate() {
    let told = (0..300u64).filter(|seed| {
        let window = Window::new(*seed, 50.0, 0, Lifetime::Exponential(40.0));
        leak_rate(&window.counts()).is_some()
    });
    let told = told.count();
    assert!(told <= 3, "{told} of 300");
}

/// Where ages are known exactly and were watched long enough, it is the plateau of Kaplan and Meier.
#[test]
fn the_share_is_that_of_kaplan_and_meier_on_exact_ages() {
    for (seed, keep) in [(1, 4), (2, 10), (3, 3)] {
        let window = Window::new(seed, 50.0, keep, Lifetime::Exponential(1.0));
        let told = never_released_share(&window.counts()).unwrap().share;
        let living = window.births_s.iter().map(|birth_s| Life::new(WINDOW_S - birth_s, false));
        let ended = window.ended.iter().enumerate().flat_map(|(bucket, count)| {
            vec![Life::new(bucket_ceiling_s(bucket), true); *count as usize]
        });
        let plateau = Survival::of(&living.chain(ended).collect::<Vec<_>>()).plateau();
        assert!((told.ratio - plateau.ratio).abs() < 0.03, "{told:?} against {plateau:?}");
        assert!(told.low <= plateau.high && plateau.low <= told.high, "{told:?}, {plateau:?}");
    }
}
