//! The context programs on their way into the kernel: a plan in, attached programs out.
//!
//! Non-goals: reading them.

use std::{num::NonZeroU32, path::PathBuf};

use anyhow::{Context as _, Result};

use super::executable::Executable;
use crate::{
    bpf::{Limits, Target, Tracer},
    config::TraceConfig,
    target::Watch,
};

/// The target's id, as BPF takes it.
pub fn pid(watch: &Watch) -> Result<NonZeroU32> {
    let pid = u32::try_from(watch.identity().pid).ok().and_then(NonZeroU32::new);
    pid.context("the target has no valid pid")
}

/// The programs that the plan asks for, attached; none if it asks for none.
pub fn tracer(
    config: &TraceConfig,
    watch: &Watch,
    executable: &Executable,
) -> Result<Option<Tracer>> {
    let points = &executable.plan().points;
    if points.is_empty() {
        return Ok(None);
    }
    let pid = pid(watch)?;
    let exe = PathBuf::from(format!("/proc/{pid}/exe"));
    let limits = Limits { live_entries: config.live_entries, log: config.bpf_log };
    let mut tracer = Tracer::load(Target { pid, exe, code: executable.go_code() }, limits)?;
    tracer.attach(points)?;
    Ok(Some(tracer))
}
