//! Where a process's memory is mapped: `/proc/PID/smaps` in, bytes by kind and name out, and what
//! grew between two readings.
//!
//! Mappings of one kind and one name are one row, whatever their number. Non-goals: why they grew.

mod kind;
mod smaps;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    ops::Range,
};

pub use kind::{Kinds, Known, MappingKind};
use procfs::process::Process;
use serde::{Deserialize, Serialize};
pub use smaps::{Figures, Mapping, Rights, visit_mappings};

use crate::display::printable;

/// Rows that are kept by name; bytes of further names are added to their kind's row without one.
const ROWS_MAX: usize = 4096;
/// Bytes of a name that are kept.
const NAME_BYTES_MAX: usize = 512;
/// Anonymous mappings whose places are kept: as many as a process may have without the
/// administrator's leave (include/linux/mm.h `DEFAULT_MAX_MAP_COUNT`).
const PLACES_MAX: usize = 65_530;

/// All mappings of one kind and one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingRow {
    /// What they are.
    pub kind: MappingKind,
    /// Path or name, fit to be printed; none for memory without one.
    pub name: Option<String>,
    /// How many they are.
    pub mappings: u64,
    /// Their bytes.
    pub figures: Figures,
}

/// All mappings at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingsSample {
    /// Those with most bytes in memory first.
    pub rows: Vec<MappingRow>,
    /// All of them together.
    pub total: Figures,
    /// How many they are.
    pub mappings: u64,
    /// Mappings whose names were too many to be kept; their bytes are in a row without a name.
    pub unnamed_mappings: u64,
    /// Lines that made no sense.
    pub dropped_lines: u64,
    /// Where anonymous memory of no known use lies, up to a bound.
    #[serde(skip)]
    pub anonymous: Vec<Range<u64>>,
}

/// How much mappings of one kind and name have grown between two readings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappingGrowth {
    /// What they are.
    pub kind: MappingKind,
    /// Their name.
    pub name: Option<String>,
    /// As they were; none if there were none.
    pub first: Option<Figures>,
    /// As they are; none if they are gone.
    pub last: Option<Figures>,
    /// How many more there are.
    pub more_mappings: i64,
    /// How many more of their bytes are in memory.
    pub rss_grew_bytes: i64,
}

/// The rows while they are added up.
#[derive(Default)]
struct Rows(HashMap<(MappingKind, Vec<u8>), (u64, Figures)>);

impl MappingsSample {
    /// Reads `process`.
    ///
    /// # Errors
    /// It has ended, or we may not.
    pub fn read(process: &Process, known: &Known) -> std::io::Result<Self> {
        let smaps = process.open_relative("smaps").map_err(std::io::Error::other)?;
        Self::parse(BufReader::with_capacity(1 << 16, smaps), known)
    }

    /// From the text of `/proc/PID/smaps`.
    ///
    /// # Errors
    /// It can't be read to its end.
    pub fn parse(smaps: impl BufRead, known: &Known) -> std::io::Result<Self> {
        let (mut sample, mut rows, mut kinds) =
            (Self::default(), Rows::default(), Kinds::new(known));
        sample.dropped_lines = visit_mappings(smaps, &mut |mapping| {
            let kind = kinds.of(mapping);
            sample.mappings += 1;
            sample.total.add(&mapping.figures);
            sample.unnamed_mappings += u64::from(!rows.add(kind, mapping));
            let is_place = kind == MappingKind::Anonymous && mapping.figures.rss_bytes > 0;
            if is_place && sample.anonymous.len() < PLACES_MAX {
                sample.anonymous.push(mapping.range.clone());
            }
        })?;
        sample.rows = rows.finish();
        Ok(sample)
    }

    /// The bytes of all mappings of these kinds.
    pub fn of(&self, kinds: &[MappingKind]) -> Figures {
        let mut sum = Figures::default();
        let rows = self.rows.iter().filter(|row| kinds.contains(&row.kind));
        rows.for_each(|row| sum.add(&row.figures));
        sum
    }

    /// What has grown or shrunk since `first`, what has grown most first.
    pub fn growth_since(&self, first: &Self) -> Vec<MappingGrowth> {
        let key = |row: &MappingRow| (row.kind, row.name.clone());
        let mut before: HashMap<_, _> = first.rows.iter().map(|row| (key(row), row)).collect();
        let mut growth: Vec<_> =
            self.rows.iter().map(|row| growth(before.remove(&key(row)), Some(row))).collect();
        growth.extend(before.into_values().map(|row| self::growth(Some(row), None)));
        let mut growth: Vec<_> = growth.into_iter().flatten().collect();
        growth.sort_by(|one, other| {
            let by_name = || (one.kind, &one.name).cmp(&(other.kind, &other.name));
            other.rss_grew_bytes.cmp(&one.rss_grew_bytes).then_with(by_name)
        });
        growth
    }
}

/// None if nothing changed.
fn growth(first: Option<&MappingRow>, last: Option<&MappingRow>) -> Option<MappingGrowth> {
    let row = last.or(first)?;
    let more = |last: u64, first: u64| (last as i64).wrapping_sub(first as i64);
    let rss = |row: Option<&MappingRow>| row.map_or(0, |row| row.figures.rss_bytes);
    let mappings = |row: Option<&MappingRow>| row.map_or(0, |row| row.mappings);
    let [first_figures, last_figures] = [first, last].map(|row| row.map(|row| row.figures));
    (first_figures != last_figures).then(|| MappingGrowth {
        kind: row.kind,
        name: row.name.clone(),
        first: first_figures,
        last: last_figures,
        more_mappings: more(mappings(last), mappings(first)),
        rss_grew_bytes: more(rss(last), rss(first)),
    })
}

impl Rows {
    /// Whether there was room for the name.
    fn add(&mut self, kind: MappingKind, mapping: &Mapping) -> bool {
        let name = &mapping.name[..mapping.name.len().min(NAME_BYTES_MAX)];
        let key = (kind, name.to_vec());
        let is_kept = name.is_empty() || self.0.len() < ROWS_MAX || self.0.contains_key(&key);
        let key = if is_kept { key } else { (kind, Vec::new()) };
        let (mappings, figures) = self.0.entry(key).or_default();
        *mappings += 1;
        figures.add(&mapping.figures);
        is_kept
    }

    fn finish(self) -> Vec<MappingRow> {
        let row = |((kind, name), (mappings, figures)): (_, _)| {
            let name: Vec<u8> = name;
            let name = (!name.is_empty()).then(|| printable(&name));
            MappingRow { kind, name, mappings, figures }
        };
        let mut rows: Vec<_> = self.0.into_iter().map(row).collect();
        rows.sort_by(|one, other| {
            let by_name = || (one.kind, &one.name).cmp(&(other.kind, &other.name));
            other.figures.rss_bytes.cmp(&one.figures.rss_bytes).then_with(by_name)
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use procfs::process::Process;

    use super::{Known, MappingKind, MappingsSample, ROWS_MAX};

    fn sample(text: &str) -> MappingsSample {
        MappingsSample::parse(text.as_bytes(), &Known::default()).unwrap()
    }

    const ANONYMOUS: &str = "1000-2000 rw-p 0 00:00 0\nRss: 4 kB\nAnonymous: 4 kB\n\
        3000-4000 rw-p 0 00:00 0\nRss: 8 kB\nAnonymous: 8 kB\n";

    #[test]
    fn mappings_of_one_kind_and_name_are_one_row() {
        let text = format!("{ANONYMOUS}5000-6000 r--s 0 08:01 7  /a\x1bb\nRss: 64 kB\n");
        let sample = sample(&text);
        assert_eq!((sample.rows.len(), sample.mappings), (2, 3));
        assert_eq!(sample.rows[0].kind, MappingKind::File);
        assert!(!sample.rows[0].name.as_ref().unwrap().contains('\x1b'));
        assert_eq!((sample.rows[1].mappings, sample.rows[1].figures.rss_bytes), (2, 12 << 10));
        assert_eq!((sample.total.rss_bytes, sample.anonymous.len()), (76 << 10, 2));
    }

    #[test]
    fn growth_names_what_is_new_and_what_is_gone() {
        let first = sample(&format!("{ANONYMOUS}5000-6000 r--s 0 08:01 7  /gone\nRss: 64 kB\n"));
        let text =
            "1000-2000 rw-p 0 00:00 0\nRss: 100 kB\n9000-a000 r--s 0 08:01 7 /new\nRss: 4 kB\n";
        let growth = sample(text).growth_since(&first);
        let rows: Vec<_> =
            growth.iter().map(|row| (row.name.as_deref(), row.rss_grew_bytes >> 10)).collect();
        assert_eq!(rows, [(None, 88), (Some("/new"), 4), (Some("/gone"), -64)]);
        assert!(growth[1].first.is_none() && growth[2].last.is_none());
        assert_eq!(growth[0].more_mappings, -1);
        assert_eq!(first.growth_since(&first), []);
    }

    #[test]
    fn more_names_than_can_be_kept_lose_their_names_and_no_bytes() {
        let mut text = String::new();
        for number in 0..ROWS_MAX as u64 + 100 {
            let start = number * 0x1000;
            let end = start + 0x1000;
            writeln!(text, "{start:x}-{end:x} r--p 0 08:01 7 /f{number}\nRss: 4 kB").unwrap();
        }
        let sample = sample(&text);
        assert_eq!((sample.unnamed_mappings, sample.rows.len()), (100, ROWS_MAX + 1));
        assert_eq!(sample.total.rss_bytes, sample.of(&[MappingKind::File]).rss_bytes);
        assert_eq!(sample.total.rss_bytes, (ROWS_MAX as u64 + 100) << 12);
    }

    #[test]
    fn this_process_has_code_a_heap_and_a_stack() {
        let myself = Process::myself().unwrap();
        let executable = myself.exe().unwrap().into_os_string().into_encoded_bytes();
        let known = Known { executable: Some(executable), ..Known::default() };
        let sample = MappingsSample::read(&myself, &known).unwrap();
        for kind in [MappingKind::Executable, MappingKind::MainStack, MappingKind::Library] {
            assert!(sample.of(&[kind]).rss_bytes > 0, "{kind:?}: {:#?}", sample.rows);
        }
        assert_eq!(sample.dropped_lines, 0);
    }
}
