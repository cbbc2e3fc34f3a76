//! The tables of a pprof file: texts, functions and calls in, their numbers out.
//!
//! Non-goals: samples.

use std::collections::HashMap;

use super::messages::{Function, Line, Location, Mapping, Profile};
use crate::{
    binary::Frame,
    symbolize::{Call, Mapping as Mapped},
};

/// Memory for the tables: a hundred thousand calls, several times what a large daemon's profile
/// refers to. Only a crafted process has more; what is new beyond stands under [`TOO_MANY`].
const BYTES_MAX: usize = 24 << 20;
/// The name of what there was no room for.
const TOO_MANY: &str = "(more than leaktrace keeps)";
/// What an entry takes in a hash map and in a table besides what is counted, about.
const ENTRY_BYTES: usize = 128;

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
    /// What they take of our memory, about.
    bytes: usize,
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
        self.bytes += ENTRY_BYTES + 2 * text.len();
        self.strings.insert(text.to_owned(), number);
        self.string_table.push(text.to_owned());
        number
    }

    /// The number of a label's text, which is the target's to choose.
    pub fn label(&mut self, text: &str) -> i64 {
        let fits = self.bytes < BYTES_MAX || self.strings.contains_key(text);
        self.string(if fits { text } else { TOO_MANY })
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        let (name, filename) = (self.string(&frame.function), self.string(&frame.file));
        let id = next_id(self.function_table.len());
        let function =
            Function { id, name, system_name: name, filename, start_line: frame.start_line.into() };
        *self.functions.entry((name, filename)).or_insert_with(|| {
            self.bytes += ENTRY_BYTES;
            self.function_table.push(function);
            id
        })
    }

    /// The line of a frame if its function is known.
    fn known_line(&self, frame: &Frame) -> Option<Line> {
        let string = |text: &str| self.strings.get(text).copied();
        let key = (string(&frame.function)?, string(&frame.file)?);
        let function_id = *self.functions.get(&key)?;
        Some(Line { function_id, line: frame.line.into() })
    }

    /// The id of a call.
    pub fn location(&mut self, call: &Call) -> u64 {
        let known: Option<Vec<_>> = call.frames.iter().map(|f| self.known_line(f)).collect();
        let known = known.and_then(|lines| self.locations.get(&(call.address, lines)));
        match known {
            Some(id) => *id,
            None if self.bytes < BYTES_MAX => self.add_location(call.address, &call.frames),
            None => self.too_many(),
        }
    }

    fn too_many(&mut self) -> u64 {
        let (function, file) = (TOO_MANY.into(), "?".into());
        let frame = Frame { function, file, line: 0, start_line: 0, inlined: false };
        self.add_location(0, &[frame])
    }

    /// The id of a call, which is added if it is new.
    fn add_location(&mut self, address: u64, frames: &[Frame]) -> u64 {
        let line =
            |frame: &Frame| Line { function_id: self.function(frame), line: frame.line.into() };
        let line: Vec<_> = frames.iter().map(line).collect();
        let id = next_id(self.location_table.len());
        let (mapping_id, bytes) = (self.mapping_of(address), 2 * size_of_val(&*line));
        let location = Location { id, mapping_id, address, line: line.clone() };
        *self.locations.entry((address, line)).or_insert_with(|| {
            self.bytes += ENTRY_BYTES + bytes;
            self.location_table.push(location);
            id
        })
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

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, TOO_MANY, Tables};
    use crate::{binary::Frame, symbolize::Call};

    fn call(address: u64, function: &str) -> Call {
        let (function, file) = (function.into(), "x.go".into());
        let frame = Frame { function, file, line: 1, start_line: 1, inlined: false };
        Call { address, frames: vec![frame] }
    }

    #[test]
    fn more_than_fits_stands_under_one_name() {
        let mut tables = Tables::new(&[]);
        let first = tables.location(&call(1, "f"));
        for number in 2..400 {
            tables.location(&call(number, &format!("{number}{}", "x".repeat(100_000))));
        }
        assert!(tables.bytes < BYTES_MAX + 300_000, "{}", tables.bytes);
        let more = [8000, 9000].map(|address| tables.location(&call(address, "unheard of")));
        assert_eq!(more[0], more[1]);
        assert_eq!(tables.location(&call(1, "f")), first);
        let labels = ["new", "f"].map(|text| tables.label(text));
        let profile = tables.into_profile();
        let text = |index: i64| &*profile.string_table[index as usize];
        assert_eq!(labels.map(text), [TOO_MANY, "f"]);
        let line = profile.location[more[0] as usize - 1].line[0];
        assert_eq!(text(profile.function[line.function_id as usize - 1].name), TOO_MANY);
    }
}
