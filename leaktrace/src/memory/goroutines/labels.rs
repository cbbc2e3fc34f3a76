//! Profiler labels (`runtime/pprof.Do`): the pointer of a goroutine in, its labels out; and all
//! different sets of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::LabelsId;
use crate::{
    binary::layout::{Layout, contexts::Hmap, goroutines::LabelBucket},
    memory::{MemoryError, View},
};

/// Labels of one goroutine. A handful is usual.
const LABELS_MAX: u64 = 64;
/// Bytes of one key or value, which people are to read.
const TEXT_BYTES_MAX: u64 = 4096;
/// Slots of a bucket (`bucketCnt`, runtime/map.go).
const SLOTS: u64 = 8;
/// Below it a top hash says that the slot is empty (`minTopHash`, runtime/map.go).
const MIN_TOP_HASH: u8 = 5;
/// In a map's flags: it grows without doubling (`sameSizeGrow`, runtime/map.go).
const SAME_SIZE_GROW: u8 = 8;
/// Buckets of a map of [`LABELS_MAX`] labels, before and after it grew, with overflow.
const BUCKETS_MAX: usize = 64;
/// What keeping a label costs besides its text, in bytes.
const KEEPING_BYTES: usize = 80;

/// A label.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Label {
    /// What it is called; bytes that are no text are replaced.
    pub key: String,
    /// What it says.
    pub value: String,
}

const TORN: MemoryError = MemoryError::NotRecognised("a set of labels");

/// The labels at `address`, by their keys.
///
/// # Errors
/// They can't be read, or are more or longer than labels are.
pub fn read(view: &View<'_>, layout: &Layout, address: u64) -> Result<Vec<Label>, MemoryError> {
    let mut labels = match (layout.contexts.hmap, layout.goroutines.label_bucket) {
        (Some(hmap), Some(bucket)) => Map { view, hmap, bucket }.read(view.u64(address)?)?,
        _ => of_slice(view, layout, address)?,
    };
    labels.sort_unstable();
    Ok(labels)
}

/// From Go 1.24: `LabelSet`, a slice.
fn of_slice(view: &View<'_>, layout: &Layout, address: u64) -> Result<Vec<Label>, MemoryError> {
    let label = &layout.goroutines.label;
    let (first, count) = (view.u64(address)?, view.u64(address.wrapping_add(8))?);
    if count > LABELS_MAX {
        return Err(TORN);
    }
    let one = |index: u64| {
        let at = first.wrapping_add(index.wrapping_mul(label.bytes));
        self::label(view, at.wrapping_add(label.key), at.wrapping_add(label.value))
    };
    (0..count).map(one).collect()
}

fn label(view: &View<'_>, key: u64, value: u64) -> Result<Label, MemoryError> {
    Ok(Label { key: text(view, key)?, value: text(view, value)? })
}

/// The string whose header is at `address`.
fn text(view: &View<'_>, address: u64) -> Result<String, MemoryError> {
    let (at, length) = (view.u64(address)?, view.u64(address.wrapping_add(8))?);
    if length > TEXT_BYTES_MAX {
        return Err(TORN);
    }
    let mut bytes = vec![0; length as usize];
    view.read(at, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Up to Go 1.23: a `map[string]string` (runtime/map.go).
struct Map<'a> {
    view: &'a View<'a>,
    hmap: Hmap,
    bucket: LabelBucket,
}

impl Map<'_> {
    fn read(&self, address: u64) -> Result<Vec<Label>, MemoryError> {
        if address == 0 {
            return Ok(Vec::new());
        }
        let field = |offset| self.view.u64(address.wrapping_add(offset));
        let small = |offset| self.view.u8(address.wrapping_add(offset));
        let (count, exponent) = (field(self.hmap.count)?, small(self.hmap.b)?);
        let buckets = 1u64.checked_shl(exponent.into()).ok_or(TORN)?;
        if count > LABELS_MAX || buckets > LABELS_MAX {
            return Err(TORN);
        }
        let grows_in_place = small(self.hmap.flags)? & SAME_SIZE_GROW != 0;
        let old_buckets = if grows_in_place { buckets } else { buckets / 2 };
        let mut labels = Vec::new();
        let mut left = BUCKETS_MAX;
        self.chains(field(self.hmap.buckets)?, buckets, &mut left, &mut labels)?;
        self.chains(field(self.hmap.oldbuckets)?, old_buckets, &mut left, &mut labels)?;
        if labels.len() as u64 == count { Ok(labels) } else { Err(TORN) }
    }

    /// The labels of `count` buckets from `first` on, and of what hangs from them.
    fn chains(
        &self,
        first: u64,
        count: u64,
        left: &mut usize,
        labels: &mut Vec<Label>,
    ) -> Result<(), MemoryError> {
        let count = if first == 0 { 0 } else { count };
        for index in 0..count {
            let mut bucket = first.wrapping_add(index.wrapping_mul(self.bucket.bytes));
            while bucket != 0 {
                *left = left.checked_sub(1).ok_or(TORN)?;
                self.slots(bucket, labels)?;
                bucket = self.view.u64(bucket.wrapping_add(self.bucket.overflow))?;
            }
        }
        Ok(())
    }

    fn slots(&self, bucket: u64, labels: &mut Vec<Label>) -> Result<(), MemoryError> {
        let hashes = self.view.u64(bucket)?.to_le_bytes();
        for (slot, hash) in (0..SLOTS).zip(hashes) {
            if hash >= MIN_TOP_HASH {
                let at = bucket.wrapping_add(slot * 16);
                let value = at.wrapping_add(self.bucket.values);
                labels.push(label(self.view, at.wrapping_add(self.bucket.keys), value)?);
            }
        }
        Ok(())
    }
}

/// All different sets of labels.
pub struct LabelSets {
    ids: HashMap<Arc<[Label]>, LabelsId>,
    list: Vec<Arc<[Label]>>,
    bytes_left: usize,
}

impl LabelSets {
    /// None yet; all together may take `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { ids: HashMap::new(), list: Vec::new(), bytes_left: bytes_max }
    }

    /// The number of a set; none if there is no room for it.
    pub fn keep(&mut self, labels: &[Label]) -> Option<LabelsId> {
        if let Some(id) = self.ids.get(labels) {
            return Some(*id);
        }
        self.bytes_left = self.bytes_left.checked_sub(bytes(labels))?;
        let id = LabelsId(u32::try_from(self.list.len()).ok()?);
        let labels: Arc<[Label]> = labels.into();
        self.list.push(Arc::clone(&labels));
        self.ids.insert(labels, id);
        Some(id)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// The sets by their numbers.
    pub fn list(&self) -> Vec<Arc<[Label]>> {
        self.list.clone()
    }

    /// Forgets all but `used`; gives their new numbers by the old ones.
    pub fn retain(&mut self, used: impl Iterator<Item = LabelsId>) -> HashMap<LabelsId, LabelsId> {
        let old = std::mem::take(&mut self.list);
        self.bytes_left += old.iter().map(|labels| bytes(labels)).sum::<usize>();
        self.ids.clear();
        let mut renumbered = HashMap::new();
        for id in used {
            let Some(labels) = old.get(id.0 as usize) else { continue };
            if let Entry::Vacant(entry) = renumbered.entry(id) {
                self.keep(labels).map(|new| *entry.insert(new));
            }
        }
        renumbered
    }
}

/// What a set costs.
fn bytes(labels: &[Label]) -> usize {
    let cost = |label: &Label| label.key.len() + label.value.len() + KEEPING_BYTES;
    KEEPING_BYTES + labels.iter().map(cost).sum::<usize>()
}
