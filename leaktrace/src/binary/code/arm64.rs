//! Go's arm64 code: function bytes in, places of interest out.
//!
//! The prologue is decoded and must be one of the forms that cmd/internal/obj/arm64/obj7.go
//! (`stacksplit`, `preprocess`) emits. Never run here: no arm64 kernel was at hand.

use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::{InstDecoder, Instruction, Opcode, Operand};

use super::{CodeError, Execution, Spot};

/// Bytes of every instruction.
const WIDTH: usize = 4;
/// The longest stack check (huge frames) has seven instructions.
const INSTRUCTIONS_MAX: usize = 10;
/// g, the link register and the stack pointer.
const G: u16 = 28;
const LR: u16 = 30;
const SP: u16 = 31;
/// Scratch registers of the stack check and of a large frame's set-up.
const REGTMP: [u16; 3] = [16, 17, 27];
const LARGE_FRAME: u16 = 20;
/// "Lower or same" and "lower", unsigned: the stack is too small.
const BRANCHES: [u8; 2] = [9, 3];

/// The instruction behind the stack check, which makes the frame. Kernels don't emulate it; they
/// do the branch before it, but that runs again after the stack grew.
///
/// # Errors
/// The bytes are not a Go prologue on arm64.
pub fn behind_stack_check(code: &[u8]) -> Result<Spot, CodeError> {
    for (index, instruction) in instructions(code).take(INSTRUCTIONS_MAX).enumerate() {
        let instruction = instruction?;
        if makes_frame(&instruction) {
            let offset = (index * WIDTH) as u64;
            return Ok(Spot { offset, execution: Execution::SingleStepped });
        }
        if !in_stack_check(&instruction) {
            return Err(CodeError::Prologue(format!("{:?}", instruction.opcode)));
        }
    }
    Err(CodeError::NoFrame)
}

/// `str x30, [sp, #-N]!`, or `sub x20, sp, #N` where N is too large for that.
const fn makes_frame(instruction: &Instruction) -> bool {
    match (instruction.opcode, instruction.operands) {
        (Opcode::STR, [Operand::Register(_, LR), Operand::RegPreIndex(SP, offset, true), ..]) => {
            offset < 0
        }
        (
            Opcode::SUB,
            [Operand::RegisterOrSP(_, LARGE_FRAME), Operand::RegisterOrSP(_, SP), ..],
        ) => true,
        _ => false,
    }
}

/// Load g's guard, compute a large frame's bottom, compare, branch forward to morestack.
fn in_stack_check(instruction: &Instruction) -> bool {
    let scratch = |operand: &Operand| match operand {
        Operand::Register(_, register) | Operand::RegisterOrSP(_, register) => {
            REGTMP.contains(register)
        }
        _ => false,
    };
    let [first, second, third, ..] = &instruction.operands;
    match instruction.opcode {
        Opcode::LDR => scratch(first) && matches!(second, Operand::RegPreIndex(G, _, false)),
        Opcode::MOVZ | Opcode::MOVK | Opcode::MOVN | Opcode::ORR | Opcode::ADD | Opcode::SUB => {
            scratch(first)
        }
        // With the zero register as its target it compares.
        Opcode::SUBS => {
            let compares = matches!(first, Operand::Register(_, 31) | Operand::RegisterOrSP(_, 31));
            compares || scratch(first) && !matches!(third, Operand::Nothing)
        }
        Opcode::Bcc(condition) => {
            BRANCHES.contains(&condition) && matches!(first, Operand::PCOffset(1..))
        }
        Opcode::HINT => true,
        _ => false,
    }
}

/// Every `ret`.
///
/// # Errors
/// A word that is no instruction.
pub fn returns(code: &[u8]) -> Result<Vec<Spot>, CodeError> {
    let mut found = Vec::new();
    for (index, instruction) in instructions(code).enumerate() {
        if instruction?.opcode == Opcode::RET {
            let offset = (index * WIDTH) as u64;
            found.push(Spot { offset, execution: Execution::Emulated });
        }
    }
    Ok(found)
}

/// The addresses made by an `adrp` and the instruction behind it, in the order of the code, which
/// lies at `vaddr`. Loads of bytes are left out: they ask for features of the processor.
///
/// # Errors
/// As [`returns`].
pub fn data_references(code: &[u8], vaddr: u64) -> Result<Vec<u64>, CodeError> {
    let mut found = Vec::new();
    let mut page = None;
    for (instruction, pc) in instructions(code).zip((vaddr..).step_by(WIDTH)) {
        let instruction = instruction?;
        found.extend(page.and_then(|(register, page)| completed(&instruction, register, page)));
        page = match (instruction.opcode, instruction.operands) {
            (Opcode::ADRP, [Operand::Register(_, register), Operand::PCOffset(pages), ..]) => {
                Some((register, (pc & !0xfff).wrapping_add_signed(pages)))
            }
            _ => None,
        };
    }
    Ok(found)
}

/// The address that `instruction` makes of the `page` in `register`.
fn completed(instruction: &Instruction, register: u16, page: u64) -> Option<u64> {
    let [_, second, third, ..] = &instruction.operands;
    let offset = match (instruction.opcode, second, third) {
        (Opcode::ADD, Operand::RegisterOrSP(_, base), Operand::Immediate(offset))
            if *base == register =>
        {
            i64::from(*offset)
        }
        (
            Opcode::LDR | Opcode::STR | Opcode::LDRSW,
            Operand::RegPreIndex(base, offset, false),
            _,
        ) if *base == register => i64::from(*offset),
        _ => return None,
    };
    Some(page.wrapping_add_signed(offset))
}

/// The instructions of `code`; each word that is none is an error. (Padding is one: `udf #0`.)
fn instructions(code: &[u8]) -> impl Iterator<Item = Result<Instruction, CodeError>> {
    code.chunks_exact(WIDTH).enumerate().map(|(index, word)| {
        let decoded = InstDecoder::default().decode(&mut U8Reader::new(word));
        decoded.map_err(|_| CodeError::Undecodable((index * WIDTH) as u64))
    })
}

#[cfg(test)]
mod tests {
    use super::{behind_stack_check, data_references, returns};
    use crate::binary::code::{CodeError, Execution};

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn offset(words: &[u32]) -> Result<u64, CodeError> {
        let spot = behind_stack_check(&bytes(words))?;
        assert_eq!(spot.execution, Execution::SingleStepped);
        Ok(spot.offset)
    }

    /// ldr x16, [x28, #16], at the start of every stack check.
    const GUARD: u32 = 0xf940_0b90;
    /// str x30, [sp, #-0xa0]!
    const FRAME: u32 = 0xf816_0ffe;

    #[test]
    fn small_and_medium_frames() {
        // cmp sp, x16; b.ls
        assert_eq!(offset(&[GUARD, 0xeb30_63ff, 0x5400_2589, FRAME]), Ok(12));
        // sub x17, sp, #0x20; cmp x17, x16; b.ls (Go 1.21 and 1.27, propagateCancel)
        assert_eq!(offset(&[GUARD, 0xd100_83f1, 0xeb10_023f, 0x5400_2589, FRAME]), Ok(16));
        // No stack check.
        assert_eq!(offset(&[FRAME]), Ok(0));
    }

    #[test]
    fn what_is_no_prologue_is_refused() {
        // ldr x0, [x1]; ret
        assert!(offset(&[0xf940_0020, 0xd65f_03c0]).is_err());
        // A backward branch is no stack check.
        assert!(offset(&[GUARD, 0xeb30_63ff, 0x54ff_ffe9, FRAME]).is_err());
        // stp x29, x30, [sp, #-16]! (C)
        assert!(offset(&[0xa9bf_7bfd]).is_err());
        assert_eq!(offset(&[]), Err(CodeError::NoFrame));
        assert!(offset(&[0]).is_err());
    }

    #[test]
    fn every_return_is_found_and_padding_is_none() {
        // ret; nop; ret; padding
        let code = bytes(&[0xd65f_03c0, 0xd503_201f, 0xd65f_03c0, 0, 0]);
        let offsets: Vec<_> = returns(&code).unwrap().iter().map(|spot| spot.offset).collect();
        assert_eq!(offsets, [0, 8]);
        let code = bytes(&[0xd65f_03c0, 0xffff_ffff, 0xd65f_03c0]);
        assert_eq!(returns(&code), Err(CodeError::Undecodable(4)));
    }

    #[test]
    fn an_address_is_a_page_and_an_offset() {
        // adrp x2, +0x290000; add x2, x2, #0xdc8; adrp x27, +1; ldr x0, [x27, #1872];
        // adrp x1, +0; ldrb w1, [x1, #3]; adrp x1, +0; add x1, x2, #1
        let code = bytes(&[
            0x9000_1482,
            0x9137_2042,
            0xb000_001b,
            0xf943_ab60,
            0x9000_0001,
            0x3940_0c21,
            0x9000_0001,
            0x9100_0441,
        ]);
        assert_eq!(data_references(&code, 0x4d9fc).unwrap(), [0x2d_ddc8, 0x4e750]);
    }
}
