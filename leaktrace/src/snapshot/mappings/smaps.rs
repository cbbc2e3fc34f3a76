//! One text of `/proc/PID/smaps` as values, mapping by mapping: bytes in, values out.
//!
//! Source: fs/proc/task_mmu.c `show_smap`, `show_map_vma`. A reader of its own, since a process may
//! have 65,530 mappings (vm.max_map_count) and more: they are visited one at a time, and a line is
//! cut at a length that no kernel writes. Non-goals: what a mapping is.

use std::{
    io::{self, BufRead, Read as _},
    ops::Range,
};

/// A path has 4096 bytes at most (include/uapi/linux/limits.h `PATH_MAX`), each of which may be
/// written as four (`seq_file_path` escapes), behind 73 bytes of figures.
const LINE_BYTES_MAX: u64 = 4 * 4096 + 256;
const KIB: u64 = 1024;

/// Bytes of a mapping, or of several. `__show_smap` writes all of them, whatever the kernel was built
/// with; a line that makes no sense leaves 0 and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    /// Address space.
    pub mapped_bytes: u64,
    /// In memory.
    pub rss_bytes: u64,
    /// In memory, what is shared divided among those who share it.
    pub pss_bytes: u64,
    /// In memory and not a file's.
    pub anonymous_bytes: u64,
    /// In memory, shared with others, as in the file.
    pub shared_clean_bytes: u64,
    /// In memory, shared with others, changed.
    pub shared_dirty_bytes: u64,
    /// In memory, of this process alone, as in the file.
    pub private_clean_bytes: u64,
    /// In memory, of this process alone, changed.
    pub private_dirty_bytes: u64,
    /// Swapped out.
    pub swap_bytes: u64,
    /// In transparent huge pages (`AnonHugePages`).
    pub huge_bytes: u64,
}

/// What may be done in a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// Executing.
    pub execute: bool,
    /// What is written is seen by others.
    pub shared: bool,
}

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its addresses.
    pub range: Range<u64>,
    /// What may be done in it.
    pub rights: Rights,
    /// Major number of the file's device; 0 also for memory that only looks like a file.
    pub device_major: u32,
    /// Path or name as the kernel writes it, a line break as `\012`; empty for none.
    pub name: Vec<u8>,
    /// It was mapped without a claim on memory (`MAP_NORESERVE`, VmFlags `nr`).
    pub unreserved: bool,
    /// It was mapped as a stack (`MAP_STACK`; VmFlags `nh`, since kernel 6.7) or is to have no huge
    /// pages for another reason. Such memory is never joined with its neighbours.
    pub without_huge_pages: bool,
    /// Its bytes.
    pub figures: Figures,
}

impl Figures {
    /// Adds what `other` has.
    pub const fn add(&mut self, other: &Self) {
        self.mapped_bytes = self.mapped_bytes.saturating_add(other.mapped_bytes);
        self.rss_bytes = self.rss_bytes.saturating_add(other.rss_bytes);
        self.pss_bytes = self.pss_bytes.saturating_add(other.pss_bytes);
        self.anonymous_bytes = self.anonymous_bytes.saturating_add(other.anonymous_bytes);
        self.shared_clean_bytes = self.shared_clean_bytes.saturating_add(other.shared_clean_bytes);
        self.shared_dirty_bytes = self.shared_dirty_bytes.saturating_add(other.shared_dirty_bytes);
        self.private_clean_bytes =
            self.private_clean_bytes.saturating_add(other.private_clean_bytes);
        self.private_dirty_bytes =
            self.private_dirty_bytes.saturating_add(other.private_dirty_bytes);
        self.swap_bytes = self.swap_bytes.saturating_add(other.swap_bytes);
        self.huge_bytes = self.huge_bytes.saturating_add(other.huge_bytes);
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut u64> {
        Some(match name {
            b"Size" => &mut self.mapped_bytes,
            b"Rss" => &mut self.rss_bytes,
            b"Pss" => &mut self.pss_bytes,
            b"Anonymous" => &mut self.anonymous_bytes,
            b"Shared_Clean" => &mut self.shared_clean_bytes,
            b"Shared_Dirty" => &mut self.shared_dirty_bytes,
            b"Private_Clean" => &mut self.private_clean_bytes,
            b"Private_Dirty" => &mut self.private_dirty_bytes,
            b"Swap" => &mut self.swap_bytes,
            b"AnonHugePages" => &mut self.huge_bytes,
            _ => return None,
        })
    }
}

/// Calls `visit` with each mapping, in the order of addresses. Gives how many lines made no sense
/// and were left out.
///
/// # Errors
/// The text can't be read; what was visited before is as true.
pub fn visit_mappings(mut smaps: impl BufRead, visit: &mut dyn FnMut(&Mapping)) -> io::Result<u64> {
    let (mut line, mut dropped) = (Vec::new(), 0);
    let mut current: Option<Mapping> = None;
    while next_line(&mut smaps, &mut line)? {
        if line.first().is_some_and(u8::is_ascii_uppercase) {
            dropped += u64::from(!current.as_mut().is_some_and(|mapping| mapping.take(&line)));
        } else if let Some(mapping) = Mapping::parse(&line) {
            current.replace(mapping).iter().for_each(&mut *visit);
        } else {
            // Its figures must not count for the mapping before.
            current.take().iter().for_each(&mut *visit);
            dropped += 1;
        }
    }
    current.iter().for_each(visit);
    Ok(dropped)
}

/// Reads a line without its end; `false` behind the last. Of too long a line the rest is a line
/// that makes no sense.
fn next_line(smaps: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = smaps.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read > 0)
}

impl Mapping {
    /// `start-end rwxp offset major:minor inode      name`, the numbers but the inode in base 16.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.splitn(6, |byte| *byte == b' ');
        let (start, end) = split(words.next()?, b'-')?;
        let rights = words.next().filter(|rights| rights.len() == 4)?;
        let _offset = words.next()?;
        let (major, _minor) = split(words.next()?, b':')?;
        let _inode = words.next()?;
        let name = words.next().unwrap_or_default().trim_ascii_start();
        let can = |index: usize, right: u8| rights.get(index) == Some(&right);
        Some(Self {
            range: (start <= end).then_some(start..end)?,
            rights: Rights {
                read: can(0, b'r'),
                write: can(1, b'w'),
                execute: can(2, b'x'),
                shared: can(3, b's'),
            },
            device_major: u32::try_from(major).ok()?,
            name: name.to_vec(),
            unreserved: false,
            without_huge_pages: false,
            figures: Figures::default(),
        })
    }

    /// Takes a line behind the first; whether it made sense.
    fn take(&mut self, line: &[u8]) -> bool {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if name == b"VmFlags" {
            for flag in words {
                self.unreserved |= flag == b"nr";
                self.without_huge_pages |= flag == b"nh";
            }
            return true;
        }
        let Some(field) = self.figures.field(name) else { return true };
        let kib = words.next().and_then(|word| str::from_utf8(word).ok()?.parse::<u64>().ok());
        *field = kib.unwrap_or_default().saturating_mul(KIB);
        kib.is_some()
    }
}

/// Two numbers in base 16.
fn split(word: &[u8], at: u8) -> Option<(u64, u64)> {
    let (one, other) = str::from_utf8(word).ok()?.split_once(char::from(at))?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(one)?, number(other)?))
}

#[cfg(test)]
mod tests {
    use super::{Mapping, visit_mappings};

    fn read(text: &[u8]) -> (Vec<Mapping>, u64) {
        let mut found = Vec::new();
        let dropped = visit_mappings(text, &mut |mapping| found.push(mapping.clone())).unwrap();
        (found, dropped)
    }

    const TEXT: &str = "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/a b (deleted)\n\
        Size:                328 kB\nRss:                 256 kB\nAnonymous:             4 kB\n\
        THPeligible:           0\nProtectionKey:         0\nVmFlags: rd ex mr mw me nr nh sd\n\
        7f00-8f00 rw-p 00000000 00:00 0 \nRss:  8 kB\nSwap: 12 kB\n";

    #[test]
    fn a_mapping_has_its_name_and_its_figures() {
        let (found, dropped) = read(TEXT.as_bytes());
        assert_eq!((found.len(), dropped), (2, 0));
        assert_eq!(found[0].name, b"/usr/bin/a b (deleted)");
        assert_eq!(found[0].range, 0x40_0000..0x45_2000);
        assert!(found[0].rights.execute && !found[0].rights.write && found[0].unreserved);
        let figures = found[0].figures;
        assert_eq!((figures.mapped_bytes, figures.rss_bytes), (328 << 10, 256 << 10));
        assert_eq!((figures.anonymous_bytes, found[0].device_major), (4096, 8));
        assert_eq!((found[1].name.as_slice(), found[1].figures.swap_bytes), (&b""[..], 12 << 10));
        assert!(!found[1].unreserved && !found[1].without_huge_pages);
        assert!(found[0].without_huge_pages);
    }

    #[test]
    fn lines_that_make_no_sense_are_counted_and_harm_nobody() {
        let long = [b"1-2 rw-p 0 00:00 0 /".as_slice(), &[b'x'; 50_000], b"\nRss: 8 kB\n"].concat();
        let (found, dropped) = read(&long);
        assert!(found.iter().all(|mapping| mapping.name.len() < 17_000), "{}", found.len());
        assert!(dropped > 0);
        for text in ["Rss: 5 kB\n", "9-1 rw-p 0 00:00 0\nRss: 4 kB\n", "\n", "1-2 rw-p 0 0:0\n"] {
            let (found, dropped) = read(text.as_bytes());
            assert_eq!((found.len(), dropped > 0), (0, true), "{text:?}");
        }
        let (found, dropped) =
            read(b"1-2 rw-p 0 00:00 0\nRss: many kB\nPss: 99999999999999999 kB\n");
        assert_eq!((found.len(), dropped, found[0].figures.rss_bytes), (1, 1, 0));
    }

    #[test]
    fn figures_of_a_mapping_that_makes_no_sense_are_nobodys() {
        let text = "1000-2000 rw-p 0 00:00 0\nRss: 4 kB\nzzzz rw-p 0 00:00 0\nRss: 64 kB\n";
        let (found, dropped) = read(text.as_bytes());
        assert_eq!((found.len(), dropped, found[0].figures.rss_bytes), (1, 2, 4096));
    }
}
