//! The scenarios that are simulated: a seed in, leaky and honest programs out.
//!
//! Rates, lives and shares of about half of them are drawn by the seed, so that another seed is
//! another benchmark of the same shape, and nobody tunes to one.

mod honest;
mod leaky;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::scenario::{Arrivals, Life, Part, Scenario, What};

/// The seed when none is given.
pub const SEED_DEFAULT: u64 = 139_823;
/// How long a trace without `--duration` may last, in seconds.
pub const WINDOW_MAX_S: f64 = 300.0;
/// A program that is old by every measure: older than four of the longest windows.
pub const OLD_S: f64 = 1500.0;

/// All of them.
pub fn catalogue(seed: u64) -> Vec<Scenario> {
    let mut programs = Programs::new(seed);
    leaky::rates(&mut programs);
    leaky::shares(&mut programs);
    leaky::bursts_and_loads(&mut programs);
    leaky::beside_long_lives(&mut programs);
    leaky::together(&mut programs);
    leaky::goroutines(&mut programs);
    leaky::bytes(&mut programs);
    honest::traffic(&mut programs);
    honest::loads(&mut programs);
    honest::caches(&mut programs);
    honest::pools(&mut programs);
    honest::clients(&mut programs);
    honest::long_lived(&mut programs);
    honest::tails(&mut programs);
    honest::others(&mut programs);
    programs.scenarios
}

/// Draws by a seed.
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// By `seed`.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Evenly between two values.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        self.0.random_range(from..to)
    }

    /// Evenly by the logarithm, to three digits so that it can be read.
    pub fn log_between(&mut self, from: f64, to: f64) -> f64 {
        let value = self.between(from.ln(), to.ln()).exp();
        let digit = 10f64.powf(value.log10().floor() - 2.0);
        (value / digit).round() * digit
    }

    /// The same, a whole number.
    pub fn count(&mut self, from: f64, to: f64) -> u64 {
        self.log_between(from, to).round() as u64
    }

    /// One of them.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.random_range(0..choices.len())]
    }

    /// With a probability of `share`.
    pub fn is(&mut self, share: f64) -> bool {
        self.0.random::<f64>() < share
    }

    /// A seed for something else.
    pub fn seed(&mut self) -> u64 {
        self.0.random()
    }
}

/// A list of programs that grows.
pub struct Programs {
    /// What is drawn.
    pub draw: Draw,
    scenarios: Vec<Scenario>,
}

impl Programs {
    fn new(seed: u64) -> Self {
        Self { draw: Draw::new(seed), scenarios: Vec::new() }
    }

    /// Adds one that is old when tracing begins; gives it, to be changed.
    fn add(&mut self, name: &str, parts: Vec<Part>) -> &mut Scenario {
        let seed = self.draw.seed();
        self.scenarios.push(Scenario {
            name: name.to_owned(),
            seed,
            parts,
            warm_s: OLD_S,
            duration_max_s: WINDOW_MAX_S,
            gogc: 100,
            ends_s: None,
        });
        let last = self.scenarios.len() - 1;
        &mut self.scenarios[last]
    }

    /// The same beside requests of about this rate: it is drawn.
    fn add_beside(
        &mut self,
        name: &str,
        parts: impl IntoIterator<Item = Part>,
        per_s: f64,
    ) -> &mut Scenario {
        let per_s = self.draw.log_between(0.4 * per_s, 2.5 * per_s);
        self.add(name, beside_requests(parts, per_s))
    }
}

/// Random arrivals that live for an exponential time.
pub fn random(what: What, per_s: f64, mean_s: f64) -> Part {
    part(what, Arrivals::Random { per_s }, Life::Exponential { mean_s })
}

/// A part that lets all go, in the end.
pub fn part(what: What, arrivals: Arrivals, life: Life) -> Part {
    let payload_bytes = match what {
        What::Heap | What::Native => 16 * 1024,
        _ => 0,
    };
    Part { what, arrivals, life, forgotten_one_in: None, capacity: None, payload_bytes }
}

/// The same that forgets one in so many.
pub fn forgets(one_in: u64, part: Part) -> Part {
    Part { forgotten_one_in: Some(one_in), ..part }
}

/// The same that keeps so many at most.
pub fn keeps(capacity: usize, part: Part) -> Part {
    Part { capacity: Some(capacity), ..part }
}

/// The same with so many bytes on each object.
pub fn sized(payload_bytes: u64, part: Part) -> Part {
    Part { payload_bytes, ..part }
}

/// What every server does beside: short requests under contexts and timeouts.
pub fn requests(per_s: f64) -> [Part; 2] {
    [random(What::Context, per_s, 0.05), random(What::Timeout, per_s / 3.0, 0.2)]
}

/// Those with the requests beside.
pub fn beside_requests(parts: impl IntoIterator<Item = Part>, per_s: f64) -> Vec<Part> {
    parts.into_iter().chain(requests(per_s)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{SEED_DEFAULT, catalogue};

    #[test]
    fn it_has_many_programs_of_both_kinds_with_names_of_their_own() {
        let scenarios = catalogue(SEED_DEFAULT);
        let leaky = scenarios.iter().filter(|scenario| scenario.is_leaky()).count();
        assert!(leaky >= 20 && scenarios.len() - leaky >= 20, "{leaky} of {}", scenarios.len());
        let names: BTreeSet<_> = scenarios.iter().map(|scenario| &scenario.name).collect();
        assert_eq!(names.len(), scenarios.len());
    }

    #[test]
    fn half_of_it_is_drawn_by_the_seed() {
        let (one, other) = (catalogue(1), catalogue(2));
        assert_eq!(one, catalogue(1));
        let drawn = one.iter().zip(&other).filter(|(one, other)| one.parts != other.parts);
        assert!(drawn.count() * 2 >= one.len());
        assert!(one.iter().zip(&other).all(|(one, other)| {
            one.name == other.name && one.is_leaky() == other.is_leaky() && one.seed != other.seed
        }));
    }
}
