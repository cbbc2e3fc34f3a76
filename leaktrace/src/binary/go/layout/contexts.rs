//! Contexts, and the maps that hold their children.

/// All of it, for one Go version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contexts {
    /// What `WithCancel` makes.
    pub cancel_ctx: CancelCtx,
    /// What `WithTimeout` and `WithDeadline` make.
    pub timer_ctx: TimerCtx,
    /// What `AfterFunc` makes.
    pub after_func_ctx: AfterFuncCtx,
    /// What `WithValue` makes.
    pub value_ctx: ValueCtx,
    /// What `WithoutCancel` makes.
    pub without_cancel_ctx: WithoutCancelCtx,
    /// Between a context and a foreign parent that has `AfterFunc`.
    pub stop_ctx: StopCtx,
    /// What `TimerCtx::timer` points to.
    pub timer: Timer,
    /// A map, up to Go 1.23.
    pub hmap: Option<Hmap>,
    /// A bucket of the children, up to Go 1.23.
    pub hmap_bucket: Option<HmapBucket>,
    /// A map, from Go 1.24.
    pub swiss_map: Option<SwissMap>,
    /// A table of a map, from Go 1.24.
    pub swiss_table: Option<SwissTable>,
    /// A group of the children, from Go 1.24.
    pub swiss_group: Option<SwissGroup>,
}

/// `context.cancelCtx` (context/context.go). Interfaces are two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelCtx {
    /// Size in bytes.
    pub bytes: u64,
    /// The parent: itab, then data.
    pub context: u64,
    /// The mutex.
    pub mu: u64,
    /// `atomic.Value` of the channel; its first word is 0 until `Done` is called.
    pub done: u64,
    /// The map of the children; 0 for none.
    pub children: u64,
    /// The first word is not 0 once it is cancelled.
    pub err: u64,
    /// The cause, an interface.
    pub cause: u64,
}

/// `context.timerCtx` (context/context.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerCtx {
    /// Size in bytes.
    pub bytes: u64,
    /// The [`CancelCtx`] in it.
    pub cancel_ctx: u64,
    /// Address of the [`Timer`].
    pub timer: u64,
    /// First word of the deadline, a `time.Time`.
    pub deadline_wall: u64,
    /// Second word of the deadline.
    pub deadline_ext: u64,
    /// Third word of the deadline.
    pub deadline_loc: u64,
}

/// `context.afterFuncCtx` (context/context.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterFuncCtx {
    /// Size in bytes.
    pub bytes: u64,
    /// The [`CancelCtx`] in it.
    pub cancel_ctx: u64,
    /// The `sync.Once` that starts or stops the function.
    pub once: u64,
    /// The function.
    pub f: u64,
}

/// `context.valueCtx` (context/context.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueCtx {
    /// Size in bytes.
    pub bytes: u64,
    /// The parent: itab, then data.
    pub context: u64,
    /// The key, an interface.
    pub key: u64,
    /// The value, an interface.
    pub val: u64,
}

/// `context.withoutCancelCtx` (context/context.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WithoutCancelCtx {
    /// Size in bytes.
    pub bytes: u64,
    /// The parent: itab, then data.
    pub c: u64,
}

/// `context.stopCtx` (context/context.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopCtx {
    /// Size in bytes.
    pub bytes: u64,
    /// The parent: itab, then data.
    pub context: u64,
    /// The function that unregisters from the parent.
    pub stop: u64,
}

/// `runtime.timeTimer` (runtime/time.go); `time.Timer` up to Go 1.22.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// When it fires, in nanoseconds of the monotonic clock.
    pub when: u64,
}

/// `runtime.hmap` (runtime/map.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hmap {
    /// Size in bytes.
    pub bytes: u64,
    /// Number of entries.
    pub count: u64,
    /// Flags, 1 byte; 8 says that it grows without doubling.
    pub flags: u64,
    /// Binary logarithm of the number of buckets, 1 byte.
    pub b: u64,
    /// Address of the buckets.
    pub buckets: u64,
    /// Address of the buckets before it grew, until all have moved; else 0.
    pub oldbuckets: u64,
}

/// A bucket of `map[context.canceler]struct{}`: 8 top hashes, keys, no elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HmapBucket {
    /// Size in bytes.
    pub bytes: u64,
    /// The keys, two words each.
    pub keys: u64,
    /// Address of the next bucket of the chain.
    pub overflow: u64,
}

/// `internal/runtime/maps.Map` (internal/runtime/maps/map.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwissMap {
    /// Size in bytes.
    pub bytes: u64,
    /// Number of entries.
    pub used: u64,
    /// Address of the directory; of the only group when `dir_len` is 0.
    pub dir_ptr: u64,
    /// Number of tables in the directory, some of them several times.
    pub dir_len: u64,
}

/// `internal/runtime/maps.table` (internal/runtime/maps/table.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwissTable {
    /// Size in bytes.
    pub bytes: u64,
    /// Number of entries, 2 bytes.
    pub used: u64,
    /// Address of the groups.
    pub groups_data: u64,
    /// Number of groups less one.
    pub groups_length_mask: u64,
}

/// A group of `map[context.canceler]struct{}`: 8 control bytes, 8 slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwissGroup {
    /// Size in bytes.
    pub bytes: u64,
    /// The control bytes; a slot is in use if bit 7 of its byte is 0.
    pub ctrl: u64,
    /// The slots; each begins with its key.
    pub slots: u64,
    /// Bytes of a slot.
    pub slot_bytes: u64,
}
