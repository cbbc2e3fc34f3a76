//! All goroutines as a pprof file, as `/debug/pprof/goroutine` gives them.
//!
//! Non-goals: the runtime's own goroutines, which it leaves out too.

use std::io;

use super::{Header, LabelValue, PprofProcess, ProfileWriter, signed};
use crate::{
    memory::goroutines::{Goroutines, by_profile},
    symbolize::Symbolizer,
};

/// The bytes of the file: one sample for each group of equal stacks and labels.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn goroutines(
    goroutines: &Goroutines,
    process: &PprofProcess<'_>,
    symbolizer: &mut Symbolizer<'_>,
) -> io::Result<Vec<u8>> {
    let header = Header {
        sample_types: &[("goroutine", "count")],
        default_sample_type: "goroutine",
        period_type: ("goroutine", "count"),
        period: 1,
        time_unix_ns: process.time_unix_ns,
    };
    let mut writer = ProfileWriter::new(&header, process.mappings)?;
    let own = symbolizer.own_goroutines(goroutines);
    for group in by_profile(own) {
        let (stack, labels) = group.key;
        let calls = symbolizer.calls(goroutines.stack_of(stack));
        let labels: Vec<_> = goroutines
            .labels(labels)
            .iter()
            .map(|label| (label.key.as_str(), LabelValue::Text(label.value.clone())))
            .collect();
        writer.add(&[signed(group.count)], &calls, &labels)?;
    }
    writer.finish()
}
