//! When goroutines are counted: what it costs the target in, windows and gaps out.
//!
//! A probe costs the target a trap, whatever its program then does: leaving out events in the kernel
//! saves next to nothing. So where counting all would cost more than the budget, the probes are
//! taken out of the target and put in again, for windows of time. A window's events stand for those
//! of the gap before it (Horvitz and Thompson, JASA 47, 1952): unbiased as long as when it opens
//! has nothing to do with the target, whose timers are why gaps differ.
//!
//! Non-goals: clocks and threads.

/// The shortest window: taking the probes out costs as much as counting for so long.
const WINDOW_MIN_NS: f64 = 100e6;
/// The longest window.
const WINDOW_MAX_NS: f64 = 400e6;
/// The shortest gap; leaves the kernel time to take the probes out.
const GAP_MIN_NS: f64 = 400e6;
/// The longest gap: a trace of minutes must have some windows.
const GAP_MAX_NS: f64 = 20e9;
/// What may be spent at once after quiet times, in nanoseconds of the budget's accrual.
const CREDIT_NS: f64 = 1e9;
/// All is counted again when that would cost such a part of the budget.
const RETURN_AT: f64 = 0.5;
/// How much the newest measurement of the cost counts against all earlier ones.
const NEWEST: f64 = 0.5;
/// The fractional part of the golden ratio: its multiples spread evenly and repeat with no period
/// (Weyl's equidistribution; Knuth, TAOCP 6.4).
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Count everything.
    Always,
    /// Leave the target alone, then count for a while.
    Window {
        /// How long to leave it alone.
        gap_ns: f64,
        /// How long to count.
        window_ns: f64,
    },
}

/// What was spent, and what may be.
#[derive(Debug, Clone)]
pub struct Pacing {
    /// Cores that the target may lose.
    budget_cores: f64,
    /// Budget not spent yet; negative: spent already, to be made up for.
    credit_ns: f64,
    /// Cores that the target loses while events are counted, what it costs to end that included; none
    /// before the first measurement.
    cost_cores: Option<f64>,
    sampling: bool,
    turn: u32,
}

impl Pacing {
    /// At a budget in cores.
    pub fn new(budget_cores: f64) -> Self {
        let credit_ns = budget_cores * CREDIT_NS;
        Self { budget_cores, credit_ns, cost_cores: None, sampling: false, turn: 0 }
    }

    /// Takes note of what the target lost in `elapsed_ns`, in which events were counted for
    /// `counted_ns`.
    pub fn spent(&mut self, elapsed_ns: f64, counted_ns: f64, cost_ns: f64) {
        let credit_ns = self.credit_ns + elapsed_ns * self.budget_cores - cost_ns;
        self.credit_ns = credit_ns.min(self.budget_cores * CREDIT_NS);
        if counted_ns > 0.0 {
            let now = cost_ns / counted_ns;
            let before = self.cost_cores.unwrap_or(now);
            self.cost_cores = Some(now * NEWEST + before * (1.0 - NEWEST));
        }
    }

    /// What to do from now on.
    pub fn next(&mut self) -> Pace {
        let cost_cores = self.cost_cores.unwrap_or(0.0);
        let affordable = cost_cores <= self.budget_cores * RETURN_AT;
        self.sampling = self.credit_ns < 0.0 || (self.sampling && !affordable);
        if !self.sampling {
            return Pace::Always;
        }
        let share = (self.budget_cores / cost_cores.max(self.budget_cores)).min(1.0);
        let window_ns = (share * 1e9).clamp(WINDOW_MIN_NS, WINDOW_MAX_NS);
        let debt_ns = (-self.credit_ns).max(0.0);
        let cycle_ns = (cost_cores * window_ns + debt_ns) / self.budget_cores;
        let gap_ns = (cycle_ns - window_ns).max(0.0) * self.spread();
        Pace::Window { gap_ns: gap_ns.clamp(GAP_MIN_NS, GAP_MAX_NS), window_ns }
    }

    /// Between one half and three halves, one on average.
    fn spread(&mut self) -> f64 {
        self.turn = self.turn.wrapping_add(1);
        0.5 + (f64::from(self.turn) * GOLDEN).fract()
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, Pacing};

    /// Runs a pacing for `seconds` against a target that loses `cores(t)` while the probes are in;
    /// gives the cores it lost on average and how often windows were opened.
    fn run(budget: f64, seconds: f64, cores: impl Fn(f64) -> f64) -> (f64, u32) {
        let mut pacing = Pacing::new(budget);
        let (mut now, mut lost, mut windows) = (0.0, 0.0, 0);
        while now < seconds * 1e9 {
            let (gap, window) = match pacing.next() {
                Pace::Always => (0.0, 20e6),
                Pace::Window { gap_ns, window_ns } => {
                    windows += 1;
                    (gap_ns, window_ns)
                }
            };
            let cost = cores((now + gap) / 1e9) * window;
            pacing.spent(gap + window, window, cost);
            (now, lost) = (now + gap + window, lost + cost);
        }
        (lost / now, windows)
    }

    #[test]
    fn what_the_budget_bears_is_never_sampled() {
        let (lost, windows) = run(0.01, 60.0, |_| 0.009);
        assert!((lost - 0.009).abs() < 1e-9 && windows == 0, "{lost}, {windows}");
    }

    #[test]
    fn the_budget_holds_at_any_cost() {
        for cost in [0.011, 0.02, 0.05, 0.12, 0.5, 1.0] {
            let (lost, windows) = run(0.01, 120.0, |_| cost);
            assert!((0.004..0.0115).contains(&lost), "{cost}: {lost}");
            assert!(windows >= 8, "{cost}: {windows} windows");
        }
    }

    #[test]
    fn a_quiet_target_is_counted_completely_again() {
        let (_, storm) = run(0.01, 30.0, |_| 0.12);
        let (_, both) = run(0.01, 90.0, |second| if second < 30.0 { 0.12 } else { 0.001 });
        assert!(both <= storm + 6, "{storm} windows, {both} with the quiet after");
    }

    /// A target that works once a second: windows must meet it as often as the rest.
    #[test]
    fn windows_do_not_follow_a_targets_timer() {
        let mut pacing = Pacing::new(0.01);
        let (mut now, mut phases) = (0.0, [0; 10]);
        for _ in 0..1000 {
            pacing.spent(0.0, 1.0, 0.1);
            pacing.credit_ns = pacing.credit_ns.min(-1.0);
            let Pace::Window { gap_ns, window_ns } = pacing.next() else { continue };
            now += gap_ns;
            phases[(now / 1e8) as usize % 10] += 1;
            now += window_ns;
            pacing.spent(gap_ns + window_ns, window_ns, 0.1 * window_ns);
        }
        assert!(phases.iter().all(|hits| (60..140).contains(hits)), "{phases:?}");
    }
}
