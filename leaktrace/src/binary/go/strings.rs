//! Names that are given out many times: an offset in the file in, a shared string out.
//!
//! Non-goals: finding a name.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use crate::binary::{BinaryError, Blocks};

/// The longest name and path that are read.
pub(super) const NAME_BYTES_MAX: usize = 4096;
/// Memory for what is kept. Beyond it names are read again each time.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Strings already read, by file offset.
#[derive(Debug, Default)]
pub(super) struct Strings {
    kept: RefCell<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_offset: HashMap<u64, Arc<str>>,
    bytes: usize,
}

impl Strings {
    /// The function name at `offset`, as it is printed.
    ///
    /// # Errors
    /// The file is truncated, or the name has no end.
    pub fn function(&self, file: &Blocks, offset: u64) -> Result<Arc<str>, BinaryError> {
        self.get(file, offset, printed_name)
    }

    /// The path at `offset`.
    ///
    /// # Errors
    /// As [`Strings::function`].
    pub fn path(&self, file: &Blocks, offset: u64) -> Result<Arc<str>, BinaryError> {
        self.get(file, offset, |path| path)
    }

    fn get(
        &self,
        file: &Blocks,
        offset: u64,
        print: impl FnOnce(String) -> String,
    ) -> Result<Arc<str>, BinaryError> {
        let mut kept = self.kept.borrow_mut();
        if let Some(known) = kept.by_offset.get(&offset) {
            return Ok(Arc::clone(known));
        }
        let text: Arc<str> = print(file.c_str(offset, NAME_BYTES_MAX)?).into();
        // The map's own entry counts as well.
        let bytes = text.len() + 64;
        if kept.bytes + bytes <= KEPT_BYTES_MAX {
            kept.bytes += bytes;
            kept.by_offset.insert(offset, Arc::clone(&text));
        }
        Ok(text)
    }
}

/// Type arguments are printed as `[...]`, as `funcNameForPrint` in runtime/symtab.go does.
fn printed_name(name: String) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}[...]{}", &name[..open], &name[close + 1..])
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES_MAX, NAME_BYTES_MAX, Strings, printed_name};
    use crate::binary::Blocks;

    #[test]
    fn type_arguments_are_left_out() {
        for (name, printed) in [
            ("main.f[go.shape.int]", "main.f[...]"),
            ("main.f[go.shape.[]uint8].func1", "main.f[...].func1"),
            ("main.f", "main.f"),
            ("main.f]odd[", "main.f]odd["),
        ] {
            assert_eq!(printed_name(name.to_owned()), printed);
        }
    }

    #[test]
    fn a_name_is_read_once_and_too_many_are_not_kept() {
        let name_bytes = NAME_BYTES_MAX - 1;
        let names = 2 * KEPT_BYTES_MAX / name_bytes;
        let one = [&vec![b'x'; name_bytes][..], b"\0"].concat();
        let (file, strings) = (Blocks::new(one.repeat(names)), Strings::default());
        let read = |index: usize| strings.path(&file, (index * one.len()) as u64).unwrap();
        assert!(std::sync::Arc::ptr_eq(&read(0), &read(0)));
        assert!((0..names).all(|index| read(index).len() == name_bytes));
        assert!(strings.kept.borrow().bytes <= KEPT_BYTES_MAX);
    }
}
