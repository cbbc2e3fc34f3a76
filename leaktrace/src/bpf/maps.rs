//! Reading the maps of a loaded object, whichever it is.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData, PerCpuArray},
};
use leaktrace_common::{LOST_REASONS, Lost};

use super::{BpfError, batch};

/// Losses by reason, over all CPUs; only those that happened.
pub fn lost(ebpf: &Ebpf) -> Result<Vec<(Lost, u64)>, BpfError> {
    let mut lost = Vec::new();
    for reason in LOST_REASONS {
        let count: u64 = per_cpu::<u64>(ebpf, "LOST", reason as u32)?.into_iter().sum();
        if count > 0 {
            lost.push((reason, count));
        }
    }
    Ok(lost)
}

/// One row of a per-CPU array.
pub fn per_cpu<V: Pod>(ebpf: &Ebpf, name: &'static str, index: u32) -> Result<Vec<V>, BpfError> {
    let map = ebpf.map(name).ok_or_else(|| missing(name))?;
    let values = PerCpuArray::<_, V>::try_from(map)
        .and_then(|array| array.get(&index, 0))
        .map_err(|error| BpfError::map(name, error))?;
    Ok(values.iter().copied().collect())
}

/// Calls `visit` for every entry of a hash map.
pub fn for_each<K: Pod, V: Pod>(
    ebpf: &Ebpf,
    name: &'static str,
    entries_max: usize,
    visit: impl FnMut(K, V),
) -> Result<(), BpfError> {
    let map = ebpf.map(name).and_then(map_data).ok_or_else(|| missing(name))?;
    batch::for_each(map.fd().as_fd(), entries_max, visit)
        .map_err(|error| BpfError::map(name, error))
}

/// Kernel memory of all maps in bytes, as the kernel accounts it (`memlock` in fdinfo).
pub fn bytes(ebpf: &Ebpf) -> u64 {
    let bytes = |map: &Map| {
        let fd = map_data(map)?.fd().as_fd().as_raw_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        info.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse::<u64>().ok())
    };
    ebpf.maps().filter_map(|(_, map)| bytes(map)).sum()
}

/// The object has no such map.
pub fn missing(name: &'static str) -> BpfError {
    BpfError::map(name, "not in the object")
}

/// The map behind aya's type, for those types that leaktrace uses.
pub const fn map_data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data) | Map::RingBuf(data) => {
            Some(data)
        }
        _ => None,
    }
}
