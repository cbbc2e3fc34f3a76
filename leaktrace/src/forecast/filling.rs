//! What fills a room: the target's own growth and the room's own trend in, one interval out.
//!
//! Non-goals: how large the room is.

use super::Forecast;
use crate::model::Trend;

/// Why the growth is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The room's own trend was not measured.
    TargetOnly,
    /// Both can be true: the target explains what fills the room.
    TargetExplains,
    /// The room fills faster than the target grows.
    OthersGrow,
    /// The room fills slower than the target grows.
    OthersShrink,
}

/// The growth that fills a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Filling {
    /// (lowest, highest).
    pub bytes_per_s: [f64; 2],
    /// How far what fills it swings above where it stands now.
    pub above: f64,
    /// And below.
    pub below: f64,
    reason: Reason,
    room: String,
    /// The middle of both, for people: target, own.
    middles: [f64; 2],
}

impl Filling {
    /// Of `room`, by the growth of the target's anonymous memory and, when it was measured, of
    /// all that is in the room.
    ///
    /// The target's own series is the cleaner one, and what leaks goes on leaking; a room has
    /// many tenants and page cache, which come and go. So when the two agree, the target's counts.
    /// When they do not, neither is the truth alone: the faster gives the earlier end, the slower
    /// the later one.
    pub fn of(room: &str, target: &Trend, own: Option<&Trend>) -> Self {
        let of_target = [target.slope.low, target.slope.high];
        let alone = Self {
            bytes_per_s: of_target,
            above: target.above,
            below: target.below,
            reason: Reason::TargetOnly,
            room: room.to_owned(),
            middles: [target.slope.per_s; 2],
        };
        let Some(own) = own else { return alone };
        let middles = [target.slope.per_s, own.slope.per_s];
        if own.slope.low <= target.slope.high && target.slope.low <= own.slope.high {
            return Self { reason: Reason::TargetExplains, middles, ..alone };
        }
        let faster = own.slope.per_s > target.slope.per_s;
        let (low, high) = (of_target[0].min(own.slope.low), of_target[1].max(own.slope.high));
        Self {
            bytes_per_s: [low, high],
            above: target.above.max(own.above),
            below: target.below.max(own.below),
            reason: if faster { Reason::OthersGrow } else { Reason::OthersShrink },
            middles,
            ..alone
        }
    }

    /// Says what was taken for granted.
    pub fn explain(&self, forecast: &mut Forecast) {
        let (room, [target, own]) = (&self.room, self.middles.map(|per_s| per_s / 1024.0));
        forecast.assume(match self.reason {
            Reason::TargetOnly => {
                format!("{room} fills by the target's growth alone: its own trend is not known")
            }
            Reason::TargetExplains => {
                format!("the target's growth explains how {room} fills, and is what counts")
            }
            Reason::OthersGrow => format!(
                "{room} fills by {own:.1} KiB/s, the target grows by {target:.1} KiB/s: others \
                 grow too; the earlier end is by the faster, the later by the slower"
            ),
            Reason::OthersShrink => format!(
                "{room} fills by {own:.1} KiB/s, the target grows by {target:.1} KiB/s: others \
                 shrink, or page cache does; the later end assumes that they go on"
            ),
        });
    }
}
