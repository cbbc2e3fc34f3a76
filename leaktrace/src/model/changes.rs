//! Where a series changes its level: values in, places and levels out.
//!
//! Non-goals: gradual change, for which see `slope`.

/// Pieces that a series is cut into at most.
const PIECES_MAX: usize = 9;

/// What a piece must save, in ln n: see [`pieces`].
const PIECE_PENALTY: f64 = 3.0;

/// One change of level, whether there is one or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Values before the change.
    pub before: usize,
    /// Pettitt's K.
    pub k: f64,
    /// How probable so much of a change is by chance.
    pub p_value: f64,
}

/// The most likely place at which the values become others, by ranks: A. N. Pettitt, "A
/// non-parametric approach to the change-point problem", Appl. Statist. 28 (1979). None for fewer
/// than two values.
pub fn pettitt(values: &[f64]) -> Option<Change> {
    let n = values.len();
    let mut best: Option<Change> = None;
    let mut u = 0.0;
    for (index, value) in values.iter().enumerate().take(n.checked_sub(1)?) {
        let above = values.iter().filter(|other| *other > value).count() as f64;
        let below = values.iter().filter(|other| *other < value).count() as f64;
        u += below - above;
        if best.is_none_or(|best| f64::abs(u) > best.k) {
            best = Some(Change { before: index + 1, k: f64::abs(u), p_value: 1.0 });
        }
    }
    let n = n as f64;
    best.map(|best| {
        let p_value = (2.0 * (-6.0 * best.k * best.k / (n.powi(3) + n * n)).exp()).min(1.0);
        Change { p_value, ..best }
    })
}

/// A piece of a series at one level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// Its first value's place.
    pub start: usize,
    /// Behind its last value.
    pub end: usize,
    /// The mean.
    pub level: f64,
    /// Its greatest less its least value.
    pub range: f64,
}

/// The series cut into pieces of at least `least` values, so that each is at one level: the cuts
/// with the least squares for every number of pieces, found by dynamic programming (B. Jackson et
/// al., "An algorithm for optimal partitioning of data on an interval", IEEE Signal Process. Lett.
/// 12 (2005)), and of these numbers the one with the least Bayesian information criterion for a
/// normal scatter of unknown size, with 3 ln n for each piece because its place is chosen (N. R.
/// Zhang and D. O. Siegmund, "A modified Bayes information criterion", Biometrics 63 (2007)). `scatter` is the standard deviation that is known to
/// mean nothing. At most nine pieces; work is the square of the number of values, which the
/// history bounds.
pub fn pieces(values: &[f64], least: usize, scatter: f64) -> Vec<Piece> {
    let n = values.len();
    if n == 0 || !values.iter().all(|value| value.is_finite()) {
        return Vec::new();
    }
    let sums = Sums::new(values);
    let table = Table::new(&sums, n, least.max(1));
    let floor = n as f64 * scatter * scatter;
    // Rounding leaves something of an exact fit, and 0 has no logarithm.
    let tiny = f64::EPSILON * sums.squares(0, n).max(f64::MIN_POSITIVE);
    let criterion = |count: usize| {
        let rest = table.costs[count - 1][n].max(floor).max(tiny);
        n as f64 * (rest / n as f64).ln() + PIECE_PENALTY * count as f64 * (n as f64).ln()
    };
    let counts = (1..=table.costs.len()).filter(|count| table.costs[count - 1][n].is_finite());
    let best = counts.min_by(|one, other| criterion(*one).total_cmp(&criterion(*other)));
    let cuts = table.cuts(best.unwrap_or(1), n);
    cuts.windows(2).map(|ends| piece(values, ends[0], ends[1])).collect()
}

fn piece(values: &[f64], start: usize, end: usize) -> Piece {
    let within = &values[start..end];
    let low = within.iter().copied().fold(f64::INFINITY, f64::min);
    let high = within.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let level = within.iter().sum::<f64>() / within.len() as f64;
    Piece { start, end, level, range: high - low }
}

/// Running sums, so that the squares of any piece are had at once.
struct Sums {
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    /// About the mean, so that little is lost in the differences.
    fn new(values: &[f64]) -> Self {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mut sums = Self { values: vec![0.0], squares: vec![0.0] };
        let (mut sum, mut squares) = (0.0, 0.0);
        for value in values.iter().map(|value| value - mean) {
            sum += value;
            squares += value * value;
            sums.values.push(sum);
            sums.squares.push(squares);
        }
        sums
    }

    /// The squares about the mean of `[start, end)`.
    fn squares(&self, start: usize, end: usize) -> f64 {
        let sum = self.values[end] - self.values[start];
        let squares = self.squares[end] - self.squares[start];
        (squares - sum * sum / (end - start) as f64).max(0.0)
    }
}

/// The best cuts of every beginning into every number of pieces.
struct Table {
    costs: Vec<Vec<f64>>,
    starts: Vec<Vec<usize>>,
}

impl Table {
    fn new(sums: &Sums, n: usize, least: usize) -> Self {
        let whole = |end: usize| if end == 0 { f64::INFINITY } else { sums.squares(0, end) };
        let mut table =
            Self { costs: vec![(0..=n).map(whole).collect()], starts: vec![vec![0; n + 1]] };
        for count in 1..PIECES_MAX.min((n / least).max(1)) {
            let (mut costs, mut starts) = (vec![f64::INFINITY; n + 1], vec![0; n + 1]);
            for end in (count + 1) * least..=n {
                let cost = |start: usize| table.costs[count - 1][start] + sums.squares(start, end);
                let choices = count * least..=end - least;
                let best = choices.map(|start| (cost(start), start));
                let best = best.min_by(|one, other| one.0.total_cmp(&other.0));
                (costs[end], starts[end]) = best.unwrap_or((f64::INFINITY, 0));
            }
            table.costs.push(costs);
            table.starts.push(starts);
        }
        table
    }

    /// The ends of the pieces, 0 first.
    fn cuts(&self, count: usize, n: usize) -> Vec<usize> {
        let mut cuts = vec![n];
        let mut end = n;
        for starts in self.starts[..count].iter().rev() {
            end = starts[end];
            cuts.push(end);
        }
        cuts.reverse();
        cuts
    }
}
