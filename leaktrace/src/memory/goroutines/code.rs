//! What unwinding asks about code: a live address in, its function's frame out.
//!
//! Non-goals: names.

use std::{cell::RefCell, collections::HashMap};

use super::StackFrame;
use crate::binary::{Blocks, PcLnTab};

/// Different addresses that are looked up: several times what the stacks of a real program have.
/// The tables may be made to be slow.
const LOOKUPS_MAX: usize = 1 << 16;

/// Knows the frames of functions.
pub trait Unwind {
    /// The frame of the function at the live address `pc`; none if nothing is known there.
    fn frame(&self, pc: u64) -> Option<StackFrame>;
}

/// The frames of an executable's Go functions, by its own tables.
pub struct CodeFrames<'a> {
    file: &'a Blocks,
    table: &'a PcLnTab,
    bias: u64,
    known: RefCell<HashMap<u64, Option<StackFrame>>>,
}

impl<'a> CodeFrames<'a> {
    /// For the functions of `table` in `file`, which is loaded with `bias`.
    pub fn new(file: &'a Blocks, table: &'a PcLnTab, bias: u64) -> Self {
        Self { file, table, bias, known: RefCell::default() }
    }
}

impl Unwind for CodeFrames<'_> {
    fn frame(&self, pc: u64) -> Option<StackFrame> {
        let mut known = self.known.borrow_mut();
        if let Some(frame) = known.get(&pc) {
            return *frame;
        }
        if known.len() >= LOOKUPS_MAX {
            return None;
        }
        let found = self.table.stack_frame(self.file, pc.wrapping_sub(self.bias)).ok().flatten();
        known.insert(pc, found);
        found
    }
}
