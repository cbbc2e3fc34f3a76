//! What a fact is, how it is called, and the lists of them, one per generated file.
//!
//! A new fact is one line in a list and one documented field in `leaktrace/src/binary/go/layout`.

pub mod contexts;
pub mod goroutines;
pub mod heap;
pub mod tables;

/// Facts on one Go type, or on constants that belong together: a struct in Rust.
#[derive(Debug)]
pub struct Group {
    /// The struct's name in Rust.
    pub name: &'static str,
    /// Names of the Go type; it was renamed between versions. The first that a version has counts.
    pub types: &'static [&'static str],
    /// Some versions lack the type.
    pub optional: bool,
    pub facts: &'static [Fact],
}

impl Group {
    /// A group that every version has.
    pub const fn new(
        name: &'static str,
        types: &'static [&'static str],
        facts: &'static [Fact],
    ) -> Self {
        Self { name, types, optional: false, facts }
    }

    pub const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// What is asked of a type or constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes from the start of the type to a member.
    Offset,
    /// Bytes of a member.
    Width,
    /// Bytes of the type.
    Size,
    /// The value of an integer constant.
    Constant,
}

/// One number.
#[derive(Debug)]
pub struct Fact {
    pub kind: Kind,
    /// Paths of the member (see `Description::place`) or full names of the constant, as for types.
    pub paths: &'static [&'static str],
    /// The field's name where it is not made from the first path.
    name: Option<&'static str>,
    /// Some versions lack it.
    pub optional: bool,
    /// amd64 and arm64 differ.
    pub by_machine: bool,
}

impl Fact {
    const fn new(kind: Kind, paths: &'static [&'static str]) -> Self {
        Self { kind, paths, name: None, optional: false, by_machine: false }
    }

    /// Under another name than Go's.
    pub const fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    pub const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    pub const fn by_machine(self) -> Self {
        Self { by_machine: true, ..self }
    }

    /// The field of the struct in Rust: Go's name in snake case.
    pub fn field(&self) -> String {
        let own = self.name.map(str::to_owned);
        own.unwrap_or_else(|| match self.kind {
            Kind::Size => "bytes".to_owned(),
            Kind::Width => format!("{}_bytes", snake_case(self.paths[0])),
            Kind::Offset => snake_case(self.paths[0]),
            Kind::Constant => snake_case(unqualified(self.paths[0])),
        })
    }
}

pub const fn offset(paths: &'static [&'static str]) -> Fact {
    Fact::new(Kind::Offset, paths)
}

pub const fn width(paths: &'static [&'static str]) -> Fact {
    Fact::new(Kind::Width, paths)
}

pub const fn size() -> Fact {
    Fact::new(Kind::Size, &[])
}

pub const fn constant(names: &'static [&'static str]) -> Fact {
    Fact::new(Kind::Constant, names)
}

/// `internal/abi.FuncIDWrapper` -> `FuncIDWrapper`
fn unqualified(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// `mappedReady` -> `mapped_ready`, `sched.pc` -> `sched_pc`, `_KindSpecialProfile` ->
/// `kind_special_profile`.
pub fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.trim_start_matches('_').chars().collect();
    let mut snake = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        let after_lower = index > 0 && letters[index - 1].is_ascii_lowercase();
        let after_upper = index > 0 && letters[index - 1].is_ascii_uppercase();
        let before_lower = letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && (after_lower || (after_upper && before_lower)) {
            snake.push('_');
        }
        let letter = if letter.is_ascii_alphanumeric() { letter } else { '_' };
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::{constant, offset, size, snake_case, width};

    #[test]
    fn names_are_gos_in_snake_case() {
        for (go, rust) in [
            ("mappedReady", "mapped_ready"),
            ("sched.pc", "sched_pc"),
            ("funcID", "func_id"),
            ("minLC", "min_lc"),
            ("B", "b"),
            ("TFlag", "t_flag"),
            ("Size_", "size_"),
            ("_KindSpecialProfile", "kind_special_profile"),
            ("FUNCDATA_InlTree", "funcdata_inl_tree"),
            ("gcMiscSys", "gc_misc_sys"),
            ("alloc_bytes", "alloc_bytes"),
        ] {
            assert_eq!(snake_case(go), rust);
        }
    }

    #[test]
    fn fields_say_what_they_are() {
        assert_eq!(size().field(), "bytes");
        assert_eq!(offset(&["specials"]).field(), "specials");
        assert_eq!(width(&["freeindex"]).field(), "freeindex_bytes");
        assert_eq!(constant(&["internal/abi.FuncIDWrapper"]).field(), "func_id_wrapper");
        assert_eq!(offset(&["_type"]).named("ty").field(), "ty");
    }
}
