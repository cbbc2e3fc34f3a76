//! A schedule carried out: events in; what is made and let go, in the order of time, out.

use super::schedule::Event;

/// What happens; the number is the event's place in the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It is made.
    Made(usize),
    /// It is let go.
    LetGo(usize),
}

/// How far a schedule was carried out.
pub struct Timeline<'e> {
    events: &'e [Event],
    /// Those that are let go, by when.
    ends: Vec<(f64, usize)>,
    made: usize,
    ended: usize,
}

impl<'e> Timeline<'e> {
    /// At the beginning; `events` are in the order of time.
    pub fn new(events: &'e [Event]) -> Self {
        let end = |(index, event): (usize, &Event)| Some((event.until_s?, index));
        let mut ends: Vec<_> = events.iter().enumerate().filter_map(end).collect();
        ends.sort_by(|(one_s, one), (other_s, other)| {
            one_s.total_cmp(other_s).then_with(|| one.cmp(other))
        });
        Self { events, ends, made: 0, ended: 0 }
    }

    /// What happens next, up to `to_s`.
    pub fn next_until(&mut self, to_s: f64) -> Option<Happening> {
        let made = self.events.get(self.made).map(|event| event.at_s);
        let ended = self.ends.get(self.ended);
        // What ends at the moment of its birth is made first.
        let is_birth = match (made, ended) {
            (Some(at_s), Some((until_s, _))) => at_s <= *until_s,
            (made, _) => made.is_some(),
        };
        if is_birth {
            made.filter(|at_s| *at_s <= to_s)?;
            self.made += 1;
            return Some(Happening::Made(self.made - 1));
        }
        let (_, index) = ended.filter(|(until_s, _)| *until_s <= to_s)?;
        self.ended += 1;
        Some(Happening::LetGo(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Happening, Timeline};

    #[test]
    fn everything_happens_once_and_in_its_order() {
        let event =
            |at_s, until_s| Event { at_s, part: 0, until_s, is_forgotten: until_s.is_none() };
        let events = [
            event(-1.0, Some(4.0)),
            event(1.0, Some(1.0)),
            event(2.0, None),
            event(3.0, Some(3.5)),
        ];
        let mut timeline = Timeline::new(&events);
        let mut until =
            |to_s| -> Vec<_> { std::iter::from_fn(|| timeline.next_until(to_s)).collect() };
        let (made, let_go) = (Happening::Made, Happening::LetGo);
        assert_eq!(until(0.0), [made(0)]);
        assert_eq!(until(2.0), [made(1), let_go(1), made(2)]);
        assert_eq!(until(2.5), []);
        assert_eq!(until(9.0), [made(3), let_go(3), let_go(0)]);
    }
}
