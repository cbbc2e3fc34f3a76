//! The running thread: whose it is, and its registers when it entered the kernel.

use aya_ebpf::{
    bindings::pt_regs,
    helpers::generated::{bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_task_pt_regs},
};

/// The target's thread group; userspace sets it before loading.
#[unsafe(no_mangle)]
static TARGET_TGID: u32 = 0;

/// 1 where the kernel has `bpf_task_pt_regs` (5.15 on). The verifier never looks at what a
/// constant 0 rules out, so that older kernels take the program without it.
#[unsafe(no_mangle)]
static HAS_TASK_REGISTERS: u32 = 0;

/// What is needed to walk a user stack.
#[derive(Clone, Copy)]
pub struct Registers {
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer, if the code keeps one.
    pub bp: u64,
}

/// Whether the target runs.
#[inline(always)]
pub fn is_target() -> bool {
    // SAFETY: a helper without arguments, and a static that is valid as long as the program;
    // volatile, because what it holds here is not what it holds in the kernel.
    unsafe { (bpf_get_current_pid_tgid() >> 32) as u32 == core::ptr::read_volatile(&TARGET_TGID) }
}

/// The registers with which the running thread entered the kernel. The kernel lets them be read
/// like any memory that it vouches for.
#[inline(always)]
pub fn user_registers() -> Option<*const pt_regs> {
    // SAFETY: as above; the helper takes what the other gives.
    unsafe {
        if core::ptr::read_volatile(&HAS_TASK_REGISTERS) == 0 {
            return None;
        }
        Some(bpf_task_pt_regs(bpf_get_current_task_btf()) as *const pt_regs)
    }
}
