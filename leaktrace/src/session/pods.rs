//! The pods of a kubelet's node over a trace: counts in, the first and the last of them out.
//!
//! Non-goals: pods of anything but a kubelet.

use super::executable::Executable;
use crate::{
    report::PodsSection,
    snapshot::{PodPlaces, PodSample, is_kubelet},
    target::Watch,
};

/// Counts with every reading: the target may end.
pub struct PodWatch {
    places: PodPlaces,
    first: Option<PodSample>,
    last: Option<PodSample>,
}

impl PodWatch {
    /// Of a target that is a kubelet, as far as its root may be looked at.
    pub fn of(watch: &Watch, executable: &Executable) -> Option<Self> {
        if !is_kubelet(executable.main_package(), &watch.identity().exe) {
            return None;
        }
        let places = PodPlaces::of_kubelet(watch.process()).ok()?;
        Some(Self { places, first: None, last: None })
    }

    /// Counts now.
    pub fn observe(&mut self) {
        let sample = PodSample::read(&self.places);
        if self.first.is_none() {
            self.first = Some(sample.clone());
        }
        // What could not be counted any more does not hide what was.
        if sample.best().is_some() || self.last.is_none() {
            self.last = Some(sample);
        }
    }

    /// The first and the last count, if they were had in the same way.
    pub fn counts(&self) -> Option<[u64; 2]> {
        let (first, last) = (self.first.as_ref()?.best()?, self.last.as_ref()?.best()?);
        (first.how == last.how).then_some([first.count, last.count])
    }

    /// The first and the last count, as a section of the report.
    pub fn finish(self) -> Option<PodsSection> {
        PodsSection::new(&self.first?, &self.last?)
    }
}
