//! Go's amd64 code: function bytes in, places of interest out.
//!
//! The prologue is decoded and must be one of the forms that cmd/internal/obj/x86/obj6.go
//! (`stacksplit`) emits.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::{CodeError, Execution, Spot};

/// Where code without an address is taken to lie, so that a backward branch has one below it.
const BASE: u64 = 1 << 32;

/// The longest stack check (huge frames) has seven instructions.
const INSTRUCTIONS_MAX: usize = 8;

/// The `push %rbp` behind the stack check.
///
/// # Errors
/// The bytes are not a Go prologue on amd64.
pub fn behind_stack_check(code: &[u8]) -> Result<Spot, CodeError> {
    let mut decoder = Decoder::with_ip(64, code, BASE, DecoderOptions::NONE);
    for _ in 0..INSTRUCTIONS_MAX {
        let instruction = decoder.decode();
        if is_push_rbp(&instruction) {
            let sets_frame = is_move(&decoder.decode(), Register::RBP, Register::RSP);
            let spot = Spot { offset: instruction.ip() - BASE, execution: Execution::Emulated };
            return if sets_frame { Ok(spot) } else { Err(CodeError::NoFrame) };
        }
        if !in_stack_check(&instruction) {
            return Err(CodeError::Prologue(format!("{:?}", instruction.mnemonic())));
        }
    }
    Err(CodeError::NoFrame)
}

/// Every `ret`.
///
/// # Errors
/// A byte that begins no instruction: then nothing behind it is certain.
pub fn returns(code: &[u8]) -> Result<Vec<Spot>, CodeError> {
    let mut found = Vec::new();
    each_instruction(code, BASE, |instruction| {
        if instruction.mnemonic() == Mnemonic::Ret {
            let offset = instruction.ip() - BASE;
            found.push(Spot { offset, execution: Execution::SingleStepped });
        }
    })?;
    Ok(found)
}

/// The address of every memory operand that is relative to the program counter, in the order of
/// the code, which lies at `vaddr`.
///
/// # Errors
/// As [`returns`].
pub fn data_references(code: &[u8], vaddr: u64) -> Result<Vec<u64>, CodeError> {
    let mut found = Vec::new();
    each_instruction(code, vaddr, |instruction| {
        if instruction.is_ip_rel_memory_operand() {
            found.push(instruction.ip_rel_memory_address());
        }
    })?;
    Ok(found)
}

fn each_instruction(
    code: &[u8],
    vaddr: u64,
    mut visit: impl FnMut(&Instruction),
) -> Result<(), CodeError> {
    let mut decoder = Decoder::with_ip(64, code, vaddr, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        let offset = decoder.position();
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return Err(CodeError::Undecodable(offset as u64));
        }
        visit(&instruction);
    }
    Ok(())
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
    use super::{behind_stack_check, data_references, returns};
    use crate::binary::code::{CodeError, Execution};

    fn push_offset(code: &[u8]) -> Result<u64, CodeError> {
        let spot = behind_stack_check(code)?;
        assert_eq!(spot.execution, Execution::Emulated);
        Ok(spot.offset)
    }

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
        assert_eq!(push_offset(&[0x55, 0x53]), Err(CodeError::NoFrame));
        // endbr64; push %rbp; mov %rsp,%rbp (C)
        assert!(push_offset(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5]).is_err());
        assert!(push_offset(&[]).is_err());
        assert!(push_offset(&[0xff; 32]).is_err());
        // A backward branch is no stack check.
        let code = [0x49, 0x3b, 0x66, 0x10, 0x76, 0xf0, 0x55, 0x48, 0x89, 0xe5];
        assert!(push_offset(&code).is_err());
    }

    #[test]
    fn every_return_is_found() {
        // je +1; ret; add $0x10,%rsp; pop %rbp; ret; int3
        let code = [0x74, 1, 0xc3, 0x48, 0x83, 0xc4, 0x10, 0x5d, 0xc3, 0xcc];
        let offsets: Vec<_> = returns(&code).unwrap().iter().map(|spot| spot.offset).collect();
        assert_eq!(offsets, [2, 8]);
    }

    #[test]
    fn behind_rubbish_nothing_is_certain() {
        // ret; (no instruction); ret
        assert_eq!(returns(&[0xc3, 0x06, 0xc3]), Err(CodeError::Undecodable(1)));
        assert!(data_references(&[0x06], 0).is_err());
    }

    #[test]
    fn data_are_referred_to_from_the_next_instruction() {
        // mov 0x10(%rip),%rax; lea -0x20(%rip),%rcx; mov 8(%rax),%rax
        let code = [
            0x48, 0x8b, 0x05, 0x10, 0, 0, 0, 0x48, 0x8d, 0x0d, 0xe0, 0xff, 0xff, 0xff, 0x48, 0x8b,
            0x40, 0x08,
        ];
        assert_eq!(data_references(&code, 0x1000).unwrap(), [0x1017, 0xfee]);
    }
}
