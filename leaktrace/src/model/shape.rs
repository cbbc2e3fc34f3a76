//! What a series looks like: (seconds, value) in, one of a few shapes with its figures out.
//!
//! Non-goals: what the series is of, and whether its shape is good or bad.

use super::{
    Piece, Slope, floor_by_block, mann_kendall, pieces, resolvable_slope,
    shape_parts::{Teeth, median, restart, turns_like_noise, values},
    slope::SURE_SPANS,
    theil_sen, trend,
};

/// Fewer points than this have no shape.
const POINTS_MIN: usize = 5;
/// A trend that chance makes more often than this is none.
const TREND_P: f64 = 0.05;
/// The same for the few lowest points of what turns often: they were chosen.
const FLOOR_P: f64 = 0.01;
/// A trend of so few is surely seen if it exceeds their swing so many times, for a surely seen one
/// of many points: found by simulation, see the tests.
const FLOOR_SWINGS: f64 = 2.0;
/// Teeth are at least this share of what remains when the trend is taken out.
const TOOTH_RATIO: f64 = 0.4;
/// A saw-tooth falls at least so often; one that falls once may do so for another reason.
const TEETH_MIN: usize = 2;
/// Pieces between steps are flat if they range over less than this share of the smallest step.
const FLAT_PIECE_RATIO: f64 = 0.4;
/// So many steps are an ended growth; more only if they come ever less often.
const STEPS_MAX: usize = 3;
/// By this factor.
const STEPS_SLOWING: f64 = 1.5;
/// A piece has at least so many points,
const PIECE_POINTS_MIN: usize = 3;
/// and the last one at least this share of the span: a step just taken has not ended.
const LAST_PIECE_RATIO: f64 = 0.15;
/// A later half that grows slower than this share of the earlier one has slowed down, whatever the
/// intervals say;
const SLOWED_RATIO: f64 = 0.25;
/// below this share it has if the intervals do not meet.
const SLOWING_RATIO: f64 = 0.75;
/// From this share of the early growth on, what grows steadily after a warm-up is of interest.
const LATE_RATIO_MIN: f64 = 0.02;
/// What rose and rests has risen by so many times the swing of its last third.
const PLATEAU_SWINGS: f64 = 2.0;

/// What a series looks like.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum SeriesShape {
    /// Nothing that could be told from its noise.
    Flat,
    /// It grew, and slows down or has reached a plateau.
    WarmUp,
    /// It jumped, and was flat between the jumps and after the last.
    Steps {
        /// How often.
        count: usize,
    },
    /// It rises and falls again and again, and what it stands on does not grow.
    SawTooth {
        /// How often it fell.
        teeth: usize,
    },
    /// It grows steadily to the end, or the floor of its teeth does.
    Growing {
        /// Since when, in seconds: after a warm-up.
        since_s: f64,
    },
    /// It has begun to grow only lately: by more than it ever moved before, for too short a time to say
    /// how it goes on.
    Lately {
        /// Since when, in seconds, at the earliest.
        since_s: f64,
    },
    /// It shrinks.
    Falling,
    /// It fell at once to near where it began: a restart, or one large collection.
    Restarted {
        /// When, in seconds.
        at_s: f64,
    },
}

impl SeriesShape {
    /// Whether it grows to the end.
    pub const fn is_growing(&self) -> bool {
        matches!(self, Self::Growing { .. })
    }
}

/// A shape with the figures that prove it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shaped {
    /// The shape.
    pub shape: SeriesShape,
    /// Of what grows if it grows (since when it does; the floor if it has teeth), else of all.
    pub slope: Slope,
    /// Of the lowest points, where there are teeth.
    pub floor: Option<Slope>,
    /// How probable so much of a trend is by chance, if neighbours do not depend on each other.
    pub p_value: f64,
    /// When its level jumped, in seconds; of steps only.
    pub changes_s: Vec<f64>,
    /// The slope that is as steep as the noise is wide, per second.
    pub resolvable_per_s: f64,
    /// By how much it swings beside its trend, or is known to.
    pub swing: f64,
    /// The first value.
    pub first: f64,
    /// The last value.
    pub last: f64,
}

impl Shaped {
    /// The slowest growth that would surely have been seen, per second; see [`how_long_s`].
    ///
    /// [`how_long_s`]: super::how_long_s
    pub fn detectable_per_s(&self) -> f64 {
        SURE_SPANS * self.resolvable_per_s
    }
}

/// So many points at the end must lie high for a growth that began lately.
const LATELY_POINTS_MIN: usize = 3;

/// The shape of `points`, which are known to swing by `noise` (from lowest to highest) without
/// meaning anything; none with fewer than five, or of no length in time.
///
/// Asked in this order, because each would look like the next: a restart, teeth, steps, growth and
/// whether it slows down. Growth must exceed what the window can resolve (see
/// [`resolvable_slope`]) and be improbable by chance ([`mann_kendall`]).
pub fn shape_of(points: &[(f64, f64)], noise: f64) -> Option<Shaped> {
    let look = Look::new(points, noise)?;
    let mut shaped = look.shaped();
    if look.range() <= noise || look.range() == 0.0 {
        return Some(shaped);
    }
    if let Some(at_s) = restart(points, noise) {
        if let Some(since) = grown_since(points, at_s, noise) {
            return Some(since);
        }
        shaped.shape = SeriesShape::Restarted { at_s };
        return Some(shaped);
    }
    let teeth = Teeth::of(points, (TOOTH_RATIO * look.swing).max(noise));
    if teeth.falls >= TEETH_MIN {
        look.judge_teeth(&teeth, &mut shaped);
    } else if let Some(steps) = look.steps() {
        look.judge_steps(&steps, &mut shaped);
    } else {
        look.judge_growth(&mut shaped);
    }
    Some(shaped)
}

/// What it looks like since it fell at `at_s`, if it has risen above what it fell from.
fn grown_since(points: &[(f64, f64)], at_s: f64, noise: f64) -> Option<Shaped> {
    let (before, after) = points.split_at(points.partition_point(|point| point.0 < at_s));
    let top = |points: &[(f64, f64)]| points.iter().map(|point| point.1).reduce(f64::max);
    (top(after)? > top(before)? + noise).then(|| shape_of(after, noise))?
}

/// A stretch of a series.
struct Look<'a> {
    points: &'a [(f64, f64)],
    noise: f64,
    /// Theil-Sen, as it is.
    sen: Slope,
    /// The same, widened.
    slope: Slope,
    resolvable_per_s: f64,
    swing: f64,
    p_value: f64,
}

impl<'a> Look<'a> {
    fn new(points: &'a [(f64, f64)], noise: f64) -> Option<Self> {
        if points.len() < POINTS_MIN {
            return None;
        }
        let sen = theil_sen(points)?;
        let slope = trend(points, noise)?.slope;
        let resolvable_per_s = resolvable_slope(points, &sen, noise)?;
        let swing = resolvable_per_s * (points.last()?.0 - points.first()?.0);
        let p_value = mann_kendall(&values(points))?.p_value;
        Some(Self { points, noise, sen, slope, resolvable_per_s, swing, p_value })
    }

    fn shaped(&self) -> Shaped {
        Shaped {
            shape: SeriesShape::Flat,
            slope: self.slope,
            floor: None,
            p_value: self.p_value,
            changes_s: Vec::new(),
            resolvable_per_s: self.resolvable_per_s,
            swing: self.swing,
            first: self.points[0].1,
            last: self.points[self.points.len() - 1].1,
        }
    }

    fn range(&self) -> f64 {
        let of = |fold: fn(f64, f64) -> f64| {
            self.points.iter().map(|point| point.1).reduce(fold).unwrap_or(0.0)
        };
        of(f64::max) - of(f64::min)
    }

    /// Whether it has a trend that is not its noise and not chance.
    fn has_trend(&self) -> bool {
        self.sen.per_s.abs() > self.resolvable_per_s && self.p_value < TREND_P
    }

    fn is_growing(&self) -> bool {
        self.has_trend() && self.sen.low > 0.0
    }

    fn half(&self, later: bool) -> Option<Look<'a>> {
        let (early, late) = self.points.split_at(self.points.len() / 2);
        Self::new(if later { late } else { early }, self.noise)
    }

    /// What turns often stands on its lowest points, and what these say counts: they tell more than
    /// all of it.
    fn judge_teeth(&self, teeth: &Teeth, shaped: &mut Shaped) {
        if self.is_growing() {
            return self.judge_growth(shaped);
        }
        if !turns_like_noise(self.points) {
            shaped.shape = SeriesShape::SawTooth { teeth: teeth.falls };
        }
        let lowest = floor_by_block(self.points);
        let Some(floor) = Look::new(&lowest, self.noise) else { return };
        shaped.floor = Some(floor.slope);
        let resolvable_per_s = FLOOR_SWINGS * floor.resolvable_per_s;
        shaped.resolvable_per_s = shaped.resolvable_per_s.min(resolvable_per_s);
        if floor.has_trend() && floor.p_value < FLOOR_P {
            (shaped.slope, shaped.p_value) = (floor.slope, floor.p_value);
            shaped.shape = match floor.is_growing() {
                true if floor.slows_down() => SeriesShape::WarmUp,
                true => SeriesShape::Growing { since_s: self.points[0].0 },
                false => SeriesShape::Falling,
            };
        }
    }

    /// Flat pieces with jumps between them, if that is what it is; noise alone is one piece.
    fn steps(&self) -> Option<Vec<Piece>> {
        let least = PIECE_POINTS_MIN.max(self.points.len() / 20);
        let found = pieces(&values(self.points), least, self.noise / 4.0);
        let jumps = found.windows(2).map(|pair| (pair[1].level - pair[0].level).abs());
        let smallest = jumps.reduce(f64::min)?;
        let flat = found.iter().all(|piece| piece.range < FLAT_PIECE_RATIO * smallest);
        (flat && smallest > self.noise && self.have_ended(&found)).then_some(found)
    }

    /// Steps that come as often as ever are a growth in large pieces.
    fn have_ended(&self, found: &[Piece]) -> bool {
        let at = |place: usize| self.points[place.min(self.points.len() - 1)].0;
        let lengths: Vec<_> = found.iter().map(|piece| at(piece.end) - at(piece.start)).collect();
        let [_, inner @ .., last] = lengths.as_slice() else { return false };
        let span_s = at(self.points.len()) - at(0);
        let slowing = inner.windows(2).all(|pair| pair[1] >= STEPS_SLOWING * pair[0]);
        *last >= LAST_PIECE_RATIO * span_s && (found.len() - 1 <= STEPS_MAX || slowing)
    }

    fn judge_steps(&self, steps: &[Piece], shaped: &mut Shaped) {
        let rises = steps.windows(2).filter(|pair| pair[1].level > pair[0].level).count();
        shaped.changes_s = steps[1..].iter().map(|piece| self.points[piece.start].0).collect();
        let count = steps.len() - 1;
        let (first, last) = (steps[0].level, steps[count].level);
        shaped.shape = match rises {
            0 => SeriesShape::Falling,
            _ if last < first => SeriesShape::Falling,
            _ => SeriesShape::Steps { count },
        };
    }

    fn judge_growth(&self, shaped: &mut Shaped) {
        if self.is_growing() && !self.slows_down() {
            shaped.shape = SeriesShape::Growing { since_s: self.points[0].0 };
            return;
        }
        let (rose, fell) = self.rose_or_fell();
        if self.is_growing() || rose {
            shaped.shape = SeriesShape::WarmUp;
            if let Some(late) = self.half(true).filter(|late| late.outlasts(self)) {
                shaped.shape = SeriesShape::Growing { since_s: late.points[0].0 };
                (shaped.slope, shaped.p_value) = (late.slope, late.p_value);
            }
        } else if fell {
            shaped.shape = SeriesShape::Falling;
        } else if let Some(since_s) = self.has_grown_lately() {
            shaped.shape = SeriesShape::Lately { since_s };
        }
    }

    /// Since when it lies above all of its first two thirds by more than these ever moved, if it does at
    /// its end and has done for some points. A median slope does not see what began late.
    fn has_grown_lately(&self) -> Option<f64> {
        let (early, late) = self.points.split_at(self.points.len() * 2 / 3);
        let top = early.iter().map(|point| point.1).reduce(f64::max)?;
        let bottom = early.iter().map(|point| point.1).reduce(f64::min)?;
        let high = top + (top - bottom).max(self.noise);
        let above = late.iter().rev().take_while(|point| point.1 > high).count();
        (above >= LATELY_POINTS_MIN).then(|| late[0].0)
    }

    /// Whether it grows on steadily, as the later half of `whole`, which has slowed down.
    fn outlasts(&self, whole: &Self) -> bool {
        let (Some(early), Some(late)) = (self.half(false), self.half(true)) else { return false };
        self.is_growing()
            && self.sen.per_s >= LATE_RATIO_MIN * whole.sen.per_s
            && late.sen.per_s >= SLOWING_RATIO * early.sen.per_s
    }

    /// Whether the later half grows slower than the earlier one, or than the first quarter.
    fn slows_down(&self) -> bool {
        let (Some(early), Some(late)) = (self.half(false), self.half(true)) else { return false };
        let slowed = early.sen.per_s > 0.0 && late.sen.per_s < SLOWED_RATIO * early.sen.per_s;
        let slowing = |early: &Self| {
            let ratio = late.sen.per_s / early.sen.per_s;
            late.slope.high < early.slope.low && early.sen.per_s > 0.0 && ratio < SLOWING_RATIO
        };
        slowed || slowing(&early) || early.half(false).is_some_and(|quarter| slowing(&quarter))
    }

    /// Whether it lies above where it began, or below, by more than its last third swings. A median
    /// slope does not see what ended early.
    fn rose_or_fell(&self) -> (bool, bool) {
        let late = &self.points[self.points.len() - self.points.len() / 3..];
        let swing = theil_sen(late).and_then(|sen| {
            Some(resolvable_slope(late, &sen, self.noise)? * (late.last()?.0 - late.first()?.0))
        });
        let Some(swing) = swing else { return (false, false) };
        let risen = median(late) - self.points[0].1;
        let far = risen.abs() > PLATEAU_SWINGS * swing && self.p_value < TREND_P;
        (far && risen > 0.0, far && risen < 0.0 || self.has_trend() && self.sen.high < 0.0)
    }
}
