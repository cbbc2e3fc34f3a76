//! The messages of pprof's `profile.proto` (github.com/google/pprof, proto/profile.proto), as far
//! as profiles of Go programs use them. Texts are indices into [`Profile::string_table`].
//!
//! Non-goals: making them.

/// A profile.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Profile {
    /// What [`Sample::value`] holds, in this order.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// Values by call chain and labels.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// Files in the process's memory.
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    /// Calls.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// Functions.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// All texts; the first is empty.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    /// When it was taken, in nanoseconds since 1970.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// What [`Self::period`] counts.
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    /// How much lies between two samples.
    #[prost(int64, tag = "12")]
    pub period: i64,
    /// Name of the sample type that is shown first.
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
}

/// What a value counts.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ValueType {
    /// `inuse_space`.
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    /// `bytes`.
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// Values of one call chain.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sample {
    /// The call chain, innermost first: ids of [`Location`]s.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// One for each sample type.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    /// What else sets it apart.
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

/// A text or a number that a sample has.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Label {
    /// Its name.
    #[prost(int64, tag = "1")]
    pub key: i64,
    /// The text; 0 if it is a number.
    #[prost(int64, tag = "2")]
    pub str: i64,
    /// The number.
    #[prost(int64, tag = "3")]
    pub num: i64,
}

/// A file in memory.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Mapping {
    /// Not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// First address.
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    /// Address behind the last.
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    /// Of the first address in the file.
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    /// Path.
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// Build id.
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    /// The locations in it have functions.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    /// They have files.
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    /// They have lines.
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    /// They have what was inlined.
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

/// A call instruction.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Location {
    /// Not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The [`Mapping`] it lies in; 0 for none.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// An address within the instruction.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// Its frames: what was inlined first, then what it was inlined into.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

/// A frame of a location.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Line {
    /// The [`Function`].
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    /// Line of the call.
    #[prost(int64, tag = "2")]
    pub line: i64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Function {
    /// Not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name.
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// As the system has it; the same for Go.
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    /// Source file.
    #[prost(int64, tag = "4")]
    pub filename: i64,
    /// Line on which it begins.
    #[prost(int64, tag = "5")]
    pub start_line: i64,
}
