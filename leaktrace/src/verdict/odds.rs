//! How likely it is that what has outlived its kind is never let go: what was seen of it in, a
//! probability out.
//!
//! Two stories are weighed by Bayes' rule. The one: it is leaked. The other: such things live long and
//! end after all, at a constant hazard or all at the same age, with a mean of anything up to a day:
//! log-uniform up to some minutes (the usual prior of a scale: H. Jeffreys, "An invariant form for the
//! prior probability in estimation problems", Proc. R. Soc. A 186, 1946), and less and less likely
//! beyond. The longer many are watched without
//! one that ends, the fewer means are left to the second story; and in a process that was doing the
//! same before, as many older ones would have ended meanwhile. Non-goals: shapes over time, which are
//! looked at before.

use statrs::distribution::{Discrete as _, DiscreteCDF as _, Poisson};

/// What lives longer on average is to a node as good as leaked.
const MEAN_LIFE_MAX_S: f64 = 86_400.0;
/// Long lives of daemons are of this length: client-go lets a watch live 5 to 10 minutes
/// (tools/cache/reflector.go `minWatchTimeout`).
const LONG_LIFE_S: f64 = 600.0;
/// Means that are tried, evenly in their logarithm.
const MEANS: usize = 64;
/// Before anything is seen: of sites at which hardly anything ends, half leak;
const PRIOR_WITHOUT_ENDS: f64 = 0.5;
/// of those where the usual one ends soon and some outlive it by far, most do.
const PRIOR_BESIDE_SHORT_LIVES: f64 = 0.9;
/// Where things are leaked, none of those that outlive their kind ends, but for odd cases,
const NONE_ENDS: f64 = 0.9;
/// Our guess at the share of leaks whose contexts only their holder can still end: the usual fault is to
/// forget the cancel function, but some keep it in a map, or on the stack of a goroutine that is stuck.
const FUNCS_LOST_IF_LEAKED: f64 = 0.3;
/// Our guess at the share of sound programs that mean their contexts to end with the holder and throw
/// the function away: `go vet` (lostcancel) calls it a fault.
const FUNCS_LOST_IF_HONEST: f64 = 0.01;
/// The story is simpler than any program: nothing is surer.
const PROBABILITY_MAX: f64 = 0.995;

/// What was seen of those that got older than the horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outliving {
    /// Those that are still there.
    pub survivors: f64,
    /// Those that have ended at such an age.
    pub ended: f64,
    /// How long all of them were watched beyond the horizon, together, in seconds.
    pub exposure_s: f64,
    /// Age from which they count, in seconds.
    pub horizon_s: f64,
    /// Age of the oldest survivor in seconds.
    pub oldest_s: f64,
    /// The usual one of the site is seen to end sooner.
    pub beside_short_lives: bool,
    /// Whether only the end of what holds them can end them, where known.
    pub funcs_are_lost: Option<bool>,
    /// What was there before, where that is known.
    pub before: Option<Before>,
}

/// What became of the older ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Before {
    /// For how long the process had been running when tracing began, in seconds.
    pub uptime_s: f64,
    /// How many that were made in that time ended while the survivors got old; also those of other
    /// sites, where they can't be told apart.
    pub ended: f64,
}

/// The probability that what outlives its kind is leaked; 0 where nothing does.
pub fn leak_probability(seen: &Outliving) -> f64 {
    if seen.survivors <= 0.0 {
        return 0.0;
    }
    let prior = if seen.beside_short_lives { PRIOR_BESIDE_SHORT_LIVES } else { PRIOR_WITHOUT_ENDS };
    let lost =
        |share: f64| seen.funcs_are_lost.map_or(1.0, |lost| if lost { share } else { 1.0 - share });
    let leaked = prior * if_leaked(seen) * lost(FUNCS_LOST_IF_LEAKED);
    let lives_long = f64::midpoint(if_constant_hazard(seen), if_fixed_life(seen));
    let honest = (1.0 - prior) * lives_long * lost(FUNCS_LOST_IF_HONEST);
    (leaked / (leaked + honest)).min(PROBABILITY_MAX)
}

/// How likely it is to see this when the survivors are leaked: that some end is left to a share of
/// odd cases, of which any number is as likely.
fn if_leaked(seen: &Outliving) -> f64 {
    let any = 1.0 / (seen.survivors + seen.ended + 1.0);
    let none = if seen.ended < 1.0 { NONE_ENDS } else { 0.0 };
    none + (1.0 - NONE_ENDS) * any
}

/// The same when each ends at any moment with the same chance.
fn if_constant_hazard(seen: &Outliving) -> f64 {
    let of_mean = |mean_s: f64| {
        let ends = poisson(seen.exposure_s / mean_s)
            .map_or(0.0, |ends| ends.pmf(seen.ended.round() as u64));
        let share = |before: Before| 1.0 - (-before.uptime_s / mean_s).exp();
        ends * seen.before.map_or(1.0, |before| so_few_ended(seen, before, share(before)))
    };
    over_means(seen.horizon_s, of_mean)
}

/// The same when all get equally old: then none has ended yet, as the oldest has not.
fn if_fixed_life(seen: &Outliving) -> f64 {
    if seen.ended >= 1.0 {
        return 0.0;
    }
    let of_life = |life_s: f64| {
        let share = |before: Before| if before.uptime_s > life_s { 1.0 } else { 0.0 };
        let old_enough = life_s > seen.oldest_s;
        let ended = seen.before.map_or(1.0, |before| so_few_ended(seen, before, share(before)));
        if old_enough { ended } else { 0.0 }
    };
    over_means(seen.horizon_s, of_life)
}

/// How likely it is that no more of the older ones ended, where `share` as many are expected as
/// survive of the new ones; as many as expected, or more, speak for nothing.
fn so_few_ended(seen: &Outliving, before: Before, share: f64) -> f64 {
    let ended = before.ended.round() as u64;
    poisson(seen.survivors * share).map_or(1.0, |ends| (2.0 * ends.cdf(ended)).min(1.0))
}

/// None for a mean of (nearly) nothing.
fn poisson(mean: f64) -> Option<Poisson> {
    Poisson::new(mean.max(f64::MIN_POSITIVE)).ok()
}

/// The mean of `likelihood` over mean lives from `least_s` to a day, by their prior.
fn over_means(least_s: f64, likelihood: impl Fn(f64) -> f64) -> f64 {
    let ratio = (MEAN_LIFE_MAX_S / least_s).max(1.0);
    let (mut sum, mut weights) = (0.0, 0.0);
    for step in 0..MEANS {
        let mean_s = least_s * ratio.powf((step as f64 + 0.5) / MEANS as f64);
        let weight = 1.0 / (1.0 + mean_s / LONG_LIFE_S);
        sum += weight * likelihood(mean_s);
        weights += weight;
    }
    sum / weights
}

#[cfg(test)]
mod tests {
    use super::{Before, Outliving, leak_probability};

    /// A hundred that are watched for 30 s each beyond 10 s.
    const SEEN: Outliving = Outliving {
        survivors: 100.0,
        ended: 0.0,
        exposure_s: 3000.0,
        horizon_s: 10.0,
        oldest_s: 60.0,
        beside_short_lives: false,
        funcs_are_lost: None,
        before: None,
    };

    fn probability(seen: Outliving) -> f64 {
        leak_probability(&seen)
    }

    #[test]
    fn an_old_process_that_lets_no_older_ones_go_leaks() {
        let before = Some(Before { uptime_s: 8.0 * 86_400.0, ended: 0.0 });
        assert!(probability(Outliving { before, ..SEEN }) > 0.99);
        // As many go as come: long lives.
        let before = Some(Before { uptime_s: 8.0 * 86_400.0, ended: 100.0 });
        assert!(probability(Outliving { before, ..SEEN }) < 0.8);
    }

    /// Lives as long as the process has been running so far look the same.
    #[test]
    fn a_young_process_leaves_a_doubt_that_only_time_takes() {
        let before = Some(Before { uptime_s: 5.0, ended: 0.0 });
        let young = probability(Outliving { before, ..SEEN });
        assert!((0.5..0.8).contains(&young), "{young}");
        let few = Outliving { survivors: 8.0, exposure_s: 100.0, before, ..SEEN };
        assert!(probability(few) < young);
    }

    #[test]
    fn short_lives_beside_the_survivors_make_it_surer() {
        let beside = probability(Outliving { beside_short_lives: true, ..SEEN });
        assert!(beside > 0.9 && beside > probability(SEEN), "{beside}");
    }

    /// The process is as young as that, and nothing was ever released.
    #[test]
    fn lost_cancel_functions_settle_what_only_time_would() {
        let young = Outliving { before: Some(Before { uptime_s: 5.0, ended: 0.0 }), ..SEEN };
        let lost = probability(Outliving { funcs_are_lost: Some(true), ..young });
        assert!(lost > 0.95, "{lost}");
        let left = probability(Outliving { funcs_are_lost: Some(false), ..young });
        assert!(left < probability(young), "{left}");
    }

    #[test]
    fn ends_among_the_old_speak_for_long_lives() {
        let some = probability(Outliving { ended: 5.0, ..SEEN });
        assert!(some < 0.2, "{some}");
        let before = Some(Before { uptime_s: 86_400.0, ended: 0.0 });
        let but_no_older = probability(Outliving { ended: 5.0, before, ..SEEN });
        assert!(but_no_older > 0.9, "{but_no_older}");
    }

    #[test]
    fn nothing_seen_is_no_leak_and_much_is_never_quite_sure() {
        assert_eq!(probability(Outliving { survivors: 0.0, ..SEEN }), 0.0);
        let before = Some(Before { uptime_s: 1e7, ended: 0.0 });
        let much =
            Outliving { survivors: 1e6, exposure_s: 1e9, before, beside_short_lives: true, ..SEEN };
        assert_eq!(probability(much), 0.995);
        assert!(probability(Outliving { horizon_s: 1e6, ..much }).is_finite());
    }
}
