//! Goroutines, what they run on, why they wait, and their labels.

/// All of it, for one Go version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goroutines {
    /// A goroutine.
    pub g: G,
    /// A thread.
    pub m: M,
    /// Values of [`G::atomicstatus`].
    pub status: Status,
    /// A profiler label.
    pub label: Label,
    /// A bucket of the map of labels, up to Go 1.23.
    pub label_bucket: Option<LabelBucket>,
}

/// Why a goroutine waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitReason {
    /// Go's constant without `waitReason` in front (runtime/runtime2.go).
    pub name: &'static str,
    /// As in a goroutine dump.
    pub text: &'static str,
}

/// `runtime.g` (runtime/runtime2.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct G {
    /// Size in bytes.
    pub bytes: u64,
    /// Lowest address of the stack.
    pub stack_lo: u64,
    /// End of the stack.
    pub stack_hi: u64,
    /// What the stack check compares the stack pointer with.
    pub stackguard0: u64,
    /// Address of the [`M`] it runs on; else 0.
    pub m: u64,
    /// Stack pointer while it does not run; so the following three.
    pub sched_sp: u64,
    /// Program counter.
    pub sched_pc: u64,
    /// Link register.
    pub sched_lr: u64,
    /// Frame pointer.
    pub sched_bp: u64,
    /// Stack pointer in a system call.
    pub syscallsp: u64,
    /// Program counter in a system call.
    pub syscallpc: u64,
    /// Frame pointer in a system call, from Go 1.23.
    pub syscallbp: Option<u64>,
    /// What the waker passes on.
    pub param: u64,
    /// Its [`Status`], 4 bytes.
    pub atomicstatus: u64,
    /// Its number, never given out twice.
    pub goid: u64,
    /// Since when it waits, in nanoseconds of the monotonic clock; set by the garbage collector.
    pub waitsince: u64,
    /// Number of the [`WaitReason`], 1 byte.
    pub waitreason: u64,
    /// How often it stopped running, 1 byte; it begins with any number (`casgstatus`,
    /// runtime/proc.go).
    pub tracking_seq: u64,
    /// Address of the [`M`] it is locked to; else 0.
    pub lockedm: u64,
    /// `goid` of its creator.
    pub parent_goid: u64,
    /// Return address of the `go` statement.
    pub gopc: u64,
    /// Ancestors, kept with `GODEBUG=tracebackancestors` only.
    pub ancestors: u64,
    /// Entry of its function.
    pub startpc: u64,
    /// Address of the first `sudog` it waits with.
    pub waiting: u64,
    /// Profiler labels: address of a map up to Go 1.23, then of a slice of [`Label`]; else 0.
    pub labels: u64,
    /// Address of the timer of its `time.Sleep`.
    pub timer: u64,
    /// Address of its `synctest` bubble, from Go 1.25.
    pub bubble: Option<u64>,
}

/// `runtime.m` (runtime/runtime2.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct M {
    /// Address of the scheduler's own [`G`].
    pub g0: u64,
    /// Thread id.
    pub procid: u64,
    /// Address of the signal handler's [`G`].
    pub gsignal: u64,
    /// Address of the [`G`] that runs; else 0.
    pub curg: u64,
    /// Address of the processor it holds; else 0.
    pub p: u64,
    /// Its number.
    pub id: u64,
    /// Address of the next in the list of all.
    pub alllink: u64,
}

/// Values of the constants `runtime._G…` (runtime/runtime2.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Not initialised yet.
    pub gidle: u64,
    /// In a run queue.
    pub grunnable: u64,
    /// Runs.
    pub grunning: u64,
    /// In a system call.
    pub gsyscall: u64,
    /// Waits.
    pub gwaiting: u64,
    /// Ended, or not yet begun.
    pub gdead: u64,
    /// Its stack is being moved.
    pub gcopystack: u64,
    /// Stopped itself to be preempted.
    pub gpreempted: u64,
    /// Can never be woken, from Go 1.26.
    pub gleaked: Option<u64>,
    /// Dead, and kept for calls from C, from Go 1.26.
    pub gdeadextra: Option<u64>,
    /// Bit that is added while its stack is scanned.
    pub gscan: u64,
}

/// `internal/runtime/pprof/label.Label`; before it moved there, `runtime/pprof.label`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Size in bytes.
    pub bytes: u64,
    /// The key, a string: address, then length.
    pub key: u64,
    /// The value, a string.
    pub value: u64,
}

/// A bucket of `map[string]string`: 8 top hashes, keys, values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelBucket {
    /// Size in bytes.
    pub bytes: u64,
    /// The keys, two words each.
    pub keys: u64,
    /// The values, two words each.
    pub values: u64,
    /// Address of the next bucket of the chain.
    pub overflow: u64,
}
