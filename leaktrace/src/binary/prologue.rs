//! Finds the `push %rbp` behind a Go function's stack check: function bytes in, offset out.
//!
//! There the kernel emulates the probed instruction instead of single-stepping it, a growing
//! stack does not run it twice, and the argument registers are intact. The prologue is decoded
//! and must be one of the forms that cmd/internal/obj/x86/obj6.go (`stacksplit`) emits.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// Where the code is taken to lie, so that a backward branch has an address below it.
const BASE: u64 = 1 << 32;

/// The longest stack check (huge frames) has seven instructions.
const INSTRUCTIONS_MAX: usize = 8;

/// A prologue that is not positively recognised is not probed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrologueError {
    /// An instruction that no Go stack check contains.
    #[error("unknown instruction `{0:?}` in the function's prologue")]
    Unknown(Mnemonic),
    /// No `push %rbp; mov %rsp,%rbp` where it should be.
    #[error("no frame set-up in the function's prologue")]
    NoFrame,
}

/// The offset from the function's entry, in bytes, of its `push %rbp`.
///
/// # Errors
/// The bytes are not a Go prologue on amd64.
pub fn push_offset(code: &[u8]) -> Result<u64, PrologueError> {
    let mut decoder = Decoder::with_ip(64, code, BASE, DecoderOptions::NONE);
    for _ in 0..INSTRUCTIONS_MAX {
        let instruction = decoder.decode();
        if is_push_rbp(&instruction) {
            let sets_frame = is_move(&decoder.decode(), Register::RBP, Register::RSP);
            return if sets_frame {
                Ok(instruction.ip() - BASE)
            } else {
                Err(PrologueError::NoFrame)
            };
        }
        if !in_stack_check(&instruction) {
            return Err(PrologueError::Unknown(instruction.mnemonic()));
        }
    }
    Err(PrologueError::NoFrame)
}

/// One byte, as the assembler writes it: with needless prefixes the kernel single-steps it.
fn is_push_rbp(instruction: &Instruction) -> bool {
    instruction.code() == Code::Push_r64
        && instruction.op0_register() == Register::RBP
        && instruction.len() == 1
}

/// Whether `stacksplit` emits this: compare against g's guard, compute a large frame's bottom in
/// R12, branch to the call of morestack at the function's end.
fn in_stack_check(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Cmp => {
            let guard = instruction.op1_kind() == OpKind::Memory
                && instruction.memory_base() == Register::R14;
            guard && matches!(instruction.op0_register(), Register::RSP | Register::R12)
        }
        Mnemonic::Lea | Mnemonic::Sub => instruction.op0_register() == Register::R12,
        Mnemonic::Mov => is_move(instruction, Register::R12, Register::RSP),
        Mnemonic::Jbe | Mnemonic::Jb => instruction.near_branch64() > instruction.next_ip(),
        Mnemonic::Nop => true,
        _ => false,
    }
}

fn is_move(instruction: &Instruction, to: Register, from: Register) -> bool {
    instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_register() == to
        && instruction.op1_register() == from
}

#[cfg(test)]
mod tests {
    use super::{PrologueError, push_offset};

    #[test]
    fn small_frame() {
        // cmp 0x10(%r14),%rsp; jbe; push %rbp; mov %rsp,%rbp (Go 1.26, WithCancel)
        let code = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x5b, 0x55, 0x48, 0x89, 0xe5];
        assert_eq!(push_offset(&code), Ok(6));
    }

    #[test]
    fn small_frame_far_branch() {
        // cmp 0x10(%r14),%rsp; jbe rel32; push %rbp; mov %rsp,%rbp
        let code = [0x49, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x54, 0x01, 0, 0, 0x55, 0x48, 0x89, 0xe5];
        assert_eq!(push_offset(&code), Ok(10));
    }

    #[test]
    fn medium_frame() {
        // lea -0x58(%rsp),%r12; cmp 0x10(%r14),%r12; jbe rel32; push %rbp; mov %rsp,%rbp
        let code = [
            0x4c, 0x8d, 0x64, 0x24, 0xa8, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x54, 0x04, 0, 0,
            0x55, 0x48, 0x89, 0xe5,
        ];
        assert_eq!(push_offset(&code), Ok(15));
    }

    #[test]
    fn huge_frame() {
        // mov %rsp,%r12; sub $0x10000,%r12; jb; cmp 0x10(%r14),%r12; jbe; push %rbp; mov
        let code = [
            0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0, 0, 1, 0, 0x72, 0x40, 0x4d, 0x3b, 0x66, 0x10,
            0x76, 0x3a, 0x55, 0x48, 0x89, 0xe5,
        ];
        assert_eq!(push_offset(&code), Ok(18));
    }

    #[test]
    fn no_stack_check() {
        assert_eq!(push_offset(&[0x55, 0x48, 0x89, 0xe5]), Ok(0));
    }

    #[test]
    fn a_push_that_the_kernel_would_single_step_is_refused() {
        // With REX.W and with a segment prefix.
        for prefix in [0x48, 0x2e] {
            assert!(push_offset(&[prefix, 0x55, 0x48, 0x89, 0xe5]).is_err(), "{prefix:#x}");
        }
    }

    #[test]
    fn leaf_without_frame_c_code_and_rubbish_are_refused() {
        // mov 0x8(%rax),%rax; ret
        assert!(push_offset(&[0x48, 0x8b, 0x40, 0x08, 0xc3]).is_err());
        // push %rbp; push %rbx (C without frame pointer)
        assert_eq!(push_offset(&[0x55, 0x53]), Err(PrologueError::NoFrame));
        // endbr64; push %rbp; mov %rsp,%rbp (C)
        assert!(push_offset(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5]).is_err());
        assert!(push_offset(&[]).is_err());
        assert!(push_offset(&[0xff; 32]).is_err());
        // A backward branch is no stack check.
        let code = [0x49, 0x3b, 0x66, 0x10, 0x76, 0xf0, 0x55, 0x48, 0x89, 0xe5];
        assert!(push_offset(&code).is_err());
    }
}
