//! The heap profile as a pprof file, as the process itself would write it.
//!
//! Source: `writeHeapProto` (runtime/pprof/protomem.go). One difference: functions are named without
//! type arguments, `f[...]` where the process writes `f[go.shape.int]`. Non-goals: reading the profile.

use std::io;

use super::{Header, LabelValue, ProfileWriter, Unit};
use crate::{
    memory::{HeapEstimate, HeapProfile, HeapReading},
    symbolize::{Mapping, Symbolizer},
};

const SAMPLE_TYPES: [Unit; 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// What a heap profile's file says of its process besides.
#[derive(Debug, Clone, Copy)]
pub struct HeapProcess<'a> {
    /// The files in its memory, each with its build id if it is known.
    pub mappings: &'a [(&'a Mapping, Option<&'a str>)],
    /// When the profile was read, in nanoseconds since 1970.
    pub time_unix_ns: i64,
}

/// The bytes of the file. Counts are as `reading` says; sites that have none are left out.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn heap(
    profile: &HeapProfile,
    reading: HeapReading,
    process: &HeapProcess<'_>,
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

/// pprof's numbers are signed; none is so large.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
