//! The dynamic type behind an interface value in memory: an itab in, the type's name out.
//!
//! An itab is read where it lies, also one that the runtime made while it ran; the type that it
//! names is described in the executable. Non-goals: types that the program itself made.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use super::{MemoryError, Runtime};
use crate::binary::{Blocks, Elf, PcLnTab};

/// Itabs that are remembered. A large program has some 10,000; more are forged or torn.
const ITABS_MAX: usize = 1 << 16;

/// The name of a type by its live address; none where the executable has none.
type NameOf<'a> = Box<dyn Fn(u64) -> Option<String> + 'a>;

/// Names types by their itabs, each looked up once.
pub struct Types<'a> {
    name_of: NameOf<'a>,
    known: RefCell<HashMap<u64, Option<Rc<str>>>>,
}

impl<'a> Types<'a> {
    /// From a way to name the type at a live address.
    pub fn new(name_of: impl Fn(u64) -> Option<String> + 'a) -> Self {
        Self { name_of: Box::new(name_of), known: RefCell::default() }
    }

    /// The types of an executable that is loaded with `bias`.
    pub fn of_file(file: &'a Blocks, elf: &'a Elf, table: &'a PcLnTab, bias: u64) -> Self {
        Self::new(move |ty| table.type_name(file, elf, ty.wrapping_sub(bias)).ok().flatten())
    }

    /// The name of the type behind `itab`; none if it is no itab, or its type is not in the
    /// executable.
    ///
    /// # Errors
    /// The memory is closed, or too much was read.
    pub fn of_itab(
        &self,
        runtime: &Runtime<'_>,
        itab: u64,
    ) -> Result<Option<Rc<str>>, MemoryError> {
        if let Some(known) = self.known.borrow().get(&itab) {
            return Ok(known.clone());
        }
        let field = itab.wrapping_add(runtime.layout.tables.itab.ty);
        let name = match runtime.view.u64(field) {
            Ok(ty) => (self.name_of)(ty).map(Rc::from),
            Err(MemoryError::Unmapped { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut known = self.known.borrow_mut();
        if known.len() < ITABS_MAX {
            known.insert(itab, name.clone());
        }
        Ok(name)
    }
}
