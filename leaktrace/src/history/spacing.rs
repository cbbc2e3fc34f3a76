//! Which readings of an endless series are kept: their number in, what to do with the next one out.
//!
//! Kept readings lie evenly over the whole series, but for the newest, which is always kept: a slope
//! over them is that of the whole, not of its end. Non-goals: the readings.

/// What to do with a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Add it.
    Add,
    /// Add it in place of the newest one, which was kept only until now.
    Replace,
    /// Drop every other one that is kept, then add it.
    Thin,
}

/// Keeps count.
#[derive(Debug)]
pub struct Spacing {
    most: usize,
    every: u64,
    seen: u64,
}

impl Spacing {
    /// To keep `most` at most, an even number.
    pub const fn new(most: usize) -> Self {
        Self { most, every: 1, seen: 0 }
    }

    /// What to do with the next reading, where `kept` are kept.
    pub const fn next(&mut self, kept: usize) -> Step {
        let is_due = self.seen == 0 || (self.seen - 1).is_multiple_of(self.every);
        self.seen += 1;
        if !is_due {
            Step::Replace
        } else if kept >= self.most {
            self.every *= 2;
            Step::Thin
        } else {
            Step::Add
        }
    }
}
