//! pprof files: values by call chain in, the gzipped bytes of a `profile.proto` out.
//!
//! The same input gives the same bytes. Samples are compressed as they come, and the tables
//! they refer to are bounded. Non-goals: writing files.

mod goroutines;
mod heap;
pub mod messages;
mod tables;

pub use goroutines::goroutines;
pub use heap::heap;

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use prost::Message as _;

use crate::symbolize::{Call, Mapping};
use messages::{Label, Profile, Sample, ValueType};
use tables::Tables;

/// Name and unit of a value: `("inuse_space", "bytes")`.
pub type Unit = (&'static str, &'static str);

/// What a profile is about.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// What each of a sample's values counts.
    pub sample_types: &'a [Unit],
    /// The sample type that is shown first.
    pub default_sample_type: &'static str,
    /// What lies between two samples.
    pub period_type: Unit,
    /// How much of it.
    pub period: i64,
    /// When it was taken, in nanoseconds since 1970.
    pub time_unix_ns: i64,
}

/// What a profile's file says of its process besides.
#[derive(Debug, Clone, Copy)]
pub struct PprofProcess<'a> {
    /// The files in its memory, each with its build id if it is known.
    pub mappings: &'a [(&'a Mapping, Option<&'a str>)],
    /// When the profile was read, in nanoseconds since 1970.
    pub time_unix_ns: i64,
}

/// pprof's numbers are signed; none is so large.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What sets a sample apart, besides its call chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelValue {
    /// A text.
    Text(String),
    /// A number; its unit is its name.
    Number(i64),
}

/// A profile that is being written.
pub struct ProfileWriter {
    tables: Tables,
    gzip: GzEncoder<Vec<u8>>,
}

impl ProfileWriter {
    /// A profile of a process that has these files in its memory, each with its build id if it is
    /// known.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub fn new(header: &Header<'_>, mappings: &[(&Mapping, Option<&str>)]) -> io::Result<Self> {
        let mut tables = Tables::new(mappings);
        // No time and no name: the same profile gives the same bytes.
        let gzip = GzBuilder::new().write(Vec::new(), Compression::default());
        let mut unit = |(name, unit): Unit| ValueType {
            r#type: tables.string(name),
            unit: tables.string(unit),
        };
        let head = Profile {
            sample_type: header.sample_types.iter().copied().map(&mut unit).collect(),
            period_type: Some(unit(header.period_type)),
            default_sample_type: tables.string(header.default_sample_type),
            period: header.period,
            time_nanos: header.time_unix_ns,
            ..Profile::default()
        };
        let mut this = Self { tables, gzip };
        this.write(&head)?;
        Ok(this)
    }

    /// Adds a sample: a value for each sample type, the call chain, innermost first, and labels.
    ///
    /// # Errors
    /// As [`ProfileWriter::new`].
    pub fn add(
        &mut self,
        values: &[i64],
        calls: &[Call],
        labels: &[(&str, LabelValue)],
    ) -> io::Result<()> {
        let location_id = calls.iter().map(|call| self.tables.location(call)).collect();
        let label = labels.iter().map(|(key, value)| self.label(key, value)).collect();
        let sample = Sample { location_id, value: values.to_vec(), label };
        self.write(&Profile { sample: vec![sample], ..Profile::default() })
    }

    fn label(&mut self, key: &str, value: &LabelValue) -> Label {
        let key = self.tables.label(key);
        match value {
            LabelValue::Text(text) => Label { key, str: self.tables.label(text), num: 0 },
            LabelValue::Number(num) => Label { key, str: 0, num: *num },
        }
    }

    /// The finished profile.
    ///
    /// # Errors
    /// As [`ProfileWriter::new`].
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        let tables = std::mem::take(&mut self.tables).into_profile();
        self.write(&tables)?;
        self.gzip.finish()
    }

    /// Messages that follow each other are one message: lists go on, members that are zero are
    /// not written.
    fn write(&mut self, part: &Profile) -> io::Result<()> {
        self.gzip.write_all(&part.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use prost::Message as _;

    use super::{Header, LabelValue, ProfileWriter, messages::Profile};
    use crate::{
        binary::Frame,
        symbolize::{Call, Mapping},
    };

    fn frame(function: &str, line: u32, inlined: bool) -> Frame {
        let file = "x.go".into();
        Frame { function: function.into(), file, line, start_line: 3, inlined }
    }

    /// A profile of goroutines: it has one value and texts as labels.
    fn bytes() -> Vec<u8> {
        let header = Header {
            sample_types: &[("goroutine", "count")],
            default_sample_type: "goroutine",
            period_type: ("goroutine", "count"),
            period: 1,
            time_unix_ns: 17,
        };
        let name = "/bin/daemon".to_owned();
        let mapping = Mapping { start: 0x1000, end: 0x2000, file_offset: 0x400, name };
        let mut writer = ProfileWriter::new(&header, &[(&mapping, Some("abc"))]).unwrap();
        let inner =
            Call { address: 0x1010, frames: vec![frame("f", 4, true), frame("g", 9, false)] };
        let outer = Call { address: 0x9000, frames: vec![frame("main", 7, false)] };
        let label = [("key", LabelValue::Text("value".to_owned()))];
        writer.add(&[3], &[inner.clone(), outer.clone()], &label).unwrap();
        writer.add(&[1], &[inner], &[("n", LabelValue::Number(-5))]).unwrap();
        writer.add(&[0], &[outer], &[]).unwrap();
        writer.finish().unwrap()
    }

    fn profile() -> Profile {
        let mut plain = Vec::new();
        GzDecoder::new(&*bytes()).read_to_end(&mut plain).unwrap();
        Profile::decode(&*plain).unwrap()
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(bytes(), bytes());
    }

    #[test]
    fn what_was_added_is_in_the_file() {
        let profile = profile();
        let text = |index: i64| &*profile.string_table[index as usize];
        assert_eq!(text(0), "");
        assert_eq!(profile.sample_type.len(), 1);
        assert_eq!(text(profile.sample_type[0].r#type), "goroutine");
        assert_eq!(text(profile.default_sample_type), "goroutine");
        assert_eq!((profile.period, profile.time_nanos), (1, 17));
        let ids: Vec<_> = profile.sample.iter().map(|sample| &*sample.location_id).collect();
        assert_eq!(ids, [&[1, 2][..], &[1], &[2]]);
        let values: Vec<_> = profile.sample.iter().map(|sample| &*sample.value).collect();
        assert_eq!(values, [[3], [1], [0]]);
        let label = profile.sample[0].label[0];
        assert_eq!((text(label.key), text(label.str)), ("key", "value"));
        assert_eq!(profile.sample[1].label[0].num, -5);
    }

    #[test]
    fn calls_and_functions_are_there_once() {
        let profile = profile();
        let text = |index: i64| &*profile.string_table[index as usize];
        let [inner, outer] = &*profile.location else { panic!("{profile:?}") };
        let lines: Vec<_> = inner.line.iter().map(|line| (line.function_id, line.line)).collect();
        assert_eq!((inner.address, inner.mapping_id, lines), (0x1010, 1, vec![(1, 4), (2, 9)]));
        assert_eq!((outer.address, outer.mapping_id), (0x9000, 0));
        let functions: Vec<_> = profile
            .function
            .iter()
            .map(|f| (text(f.name), text(f.filename), f.start_line))
            .collect();
        assert_eq!(functions, [("f", "x.go", 3), ("g", "x.go", 3), ("main", "x.go", 3)]);
        let [mapping] = profile.mapping[..] else { panic!("{profile:?}") };
        assert_eq!((text(mapping.filename), text(mapping.build_id)), ("/bin/daemon", "abc"));
        assert!(mapping.has_functions && mapping.has_inline_frames);
    }
}
