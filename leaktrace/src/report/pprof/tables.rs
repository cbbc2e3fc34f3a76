//! The tables of a pprof file: texts, functions and calls in, their numbers out.
//!
//! Non-goals: samples.

use std::collections::HashMap;

use super::messages::{Function, Line, Location, Mapping, Profile};
use crate::{
    binary::Frame,
    symbolize::{Call, Mapping as Mapped},
};

/// Everything that samples refer to, each thing once.
#[derive(Default)]
pub(super) struct Tables {
    strings: HashMap<String, i64>,
    string_table: Vec<String>,
    /// By name and file.
    functions: HashMap<(i64, i64), u64>,
    function_table: Vec<Function>,
    locations: HashMap<(u64, Vec<Line>), u64>,
    location_table: Vec<Location>,
    mapping_table: Vec<Mapping>,
}

/// The number of the thing that follows the first `length` ones.
const fn next_id(length: usize) -> u64 {
    length as u64 + 1
}

impl Tables {
    /// Tables with the process's files in them.
    pub fn new(mappings: &[(&Mapped, Option<&str>)]) -> Self {
        let mut this = Self::default();
        this.string("");
        for (mapped, build_id) in mappings {
            let mapping = Mapping {
                id: next_id(this.mapping_table.len()),
                memory_start: mapped.start,
                memory_limit: mapped.end,
                file_offset: mapped.file_offset,
                filename: this.string(&mapped.name),
                build_id: this.string(build_id.unwrap_or_default()),
                // Else pprof would look for symbols itself, and there are none.
                has_functions: true,
                has_filenames: true,
                has_line_numbers: true,
                has_inline_frames: true,
            };
            this.mapping_table.push(mapping);
        }
        this
    }

    /// The number of `text`.
    pub fn string(&mut self, text: &str) -> i64 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let number = self.string_table.len() as i64;
        self.strings.insert(text.to_owned(), number);
        self.string_table.push(text.to_owned());
        number
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        let (name, filename) = (self.string(&frame.function), self.string(&frame.file));
        let id = next_id(self.function_table.len());
        let function =
            Function { id, name, system_name: name, filename, start_line: frame.start_line.into() };
        *self.functions.entry((name, filename)).or_insert_with(|| {
            self.function_table.push(function);
            id
        })
    }

    /// The id of a call.
    pub fn location(&mut self, call: &Call) -> u64 {
        let line =
            |frame: &Frame| Line { function_id: self.function(frame), line: frame.line.into() };
        let lines: Vec<_> = call.frames.iter().map(line).collect();
        let key = (call.address, lines);
        if let Some(known) = self.locations.get(&key) {
            return *known;
        }
        let id = next_id(self.location_table.len());
        let (address, line) = key.clone();
        let mapping_id = self.mapping_of(address);
        self.locations.insert(key, id);
        self.location_table.push(Location { id, mapping_id, address, line });
        id
    }

    fn mapping_of(&self, address: u64) -> u64 {
        let holds = |map: &&Mapping| (map.memory_start..map.memory_limit).contains(&address);
        self.mapping_table.iter().find(holds).map_or(0, |map| map.id)
    }

    /// A profile of the tables alone.
    pub fn into_profile(self) -> Profile {
        Profile {
            mapping: self.mapping_table,
            location: self.location_table,
            function: self.function_table,
            string_table: self.string_table,
            ..Profile::default()
        }
    }
}
