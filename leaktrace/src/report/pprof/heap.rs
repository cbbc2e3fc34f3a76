//! The heap profile as a pprof file, as the process itself would write it.
//!
//! Source: `writeHeapProto` (runtime/pprof/protomem.go). One difference: functions are named without
//! type arguments, `f[...]` where the process writes `f[go.shape.int]`. Non-goals: reading the profile.

use std::io;

use super::{Header, LabelValue, PprofProcess, ProfileWriter, Unit, signed};
use crate::{
    memory::{HeapEstimate, HeapProfile, HeapReading},
    symbolize::Symbolizer,
};

const SAMPLE_TYPES: [Unit; 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// The bytes of the file. Counts are as `reading` says; sites that have none are left out.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn heap(
    profile: &HeapProfile,
    reading: HeapReading,
    process: &PprofProcess<'_>,
    symbolizer: &mut Symbolizer<'_>,
) -> io::Result<Vec<u8>> {
    let header = Header {
        sample_types: &SAMPLE_TYPES,
        default_sample_type: "inuse_space",
        period_type: ("space", "bytes"),
        period: signed(profile.rate_bytes),
        time_unix_ns: process.time_unix_ns,
    };
    symbolizer.read_ahead(profile.sites.iter().flat_map(|site| &site.stack).copied().collect());
    let mut writer = ProfileWriter::new(&header, process.mappings)?;
    for site in &profile.sites {
        let allocated = site.allocated(reading, profile.rate_bytes);
        if allocated == HeapEstimate::default() {
            continue;
        }
        let in_use = site.in_use(reading, profile.rate_bytes);
        let values = [allocated.objects, allocated.bytes, in_use.objects, in_use.bytes];
        let size = ("bytes", LabelValue::Number(signed(site.object_bytes)));
        let calls = symbolizer.allocation_calls(&site.stack);
        writer.add(&values.map(signed), &calls, &[size])?;
    }
    writer.finish()
}
