//! Tokens in, the top-level names out that they reach through `crate::`, `leaktrace::` or enough
//! `super::`, with their lines.

use std::path::Path;

use super::tokens::Token;

/// The crate by its own name, as main.rs and tests see it.
const OWN_NAME: &str = "leaktrace";

/// A name at the top of the crate that a file mentions.
#[derive(Debug, PartialEq, Eq)]
pub struct Import<'a> {
    /// The first name of the path.
    pub name: &'a str,
    /// Where it is.
    pub line: usize,
}

/// How many modules a file lies below the top of its crate: `a.rs` and `a/mod.rs` are 1.
pub fn depth(within: &Path) -> usize {
    let folders = within.components().count() - 1;
    match within.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "main.rs" | "lib.rs") => folders,
        _ => folders + 1,
    }
}

/// Finds what a file at some depth mentions of the top of its crate.
pub fn imports<'a>(tokens: &[Token<'a>], depth: usize) -> Vec<Import<'a>> {
    let mut found = Vec::new();
    let mut open_modules: Vec<usize> = Vec::new();
    let mut braces = 0_usize;
    for at in 0..tokens.len() {
        match text(tokens, at) {
            "{" => braces += 1,
            "}" => {
                braces = braces.saturating_sub(1);
                open_modules.retain(|&outside| outside < braces);
            }
            "mod" if text(tokens, at + 2) == "{" => open_modules.push(braces),
            _ => {
                if let Some(top) = path_to_top(tokens, at, depth + open_modules.len()) {
                    first_names(tokens, top, &mut found);
                }
            }
        }
    }
    found
}

/// Where the path that begins at `at` goes on below the top of the crate, if it leads there.
fn path_to_top(tokens: &[Token<'_>], at: usize, depth: usize) -> Option<usize> {
    if at > 0 && text(tokens, at - 1) == "::" {
        return None;
    }
    let mut after = at;
    if text(tokens, after) == "self" && text(tokens, after + 1) == "::" {
        after += 2;
    }
    let mut supers = 0;
    while text(tokens, after) == "super" && text(tokens, after + 1) == "::" {
        supers += 1;
        after += 2;
    }
    match text(tokens, after) {
        _ if supers > 0 => (supers >= depth).then_some(after),
        "crate" | OWN_NAME if text(tokens, after + 1) == "::" => Some(after + 2),
        _ => None,
    }
}

/// The name at `at`, or the first names of each path in the braces there.
fn first_names<'a>(tokens: &[Token<'a>], at: usize, found: &mut Vec<Import<'a>>) {
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        found.push(Import { name: first.text, line: first.line });
        return;
    }
    let mut nested = 0_usize;
    let mut begins = true;
    for (offset, token) in tokens[at + 1..].iter().enumerate() {
        match token.text {
            "{" if begins => first_names(tokens, at + 1 + offset, found),
            "}" if nested == 0 => return,
            _ if begins && nested == 0 => {
                found.push(Import { name: token.text, line: token.line });
            }
            _ => {}
        }
        begins = nested == 0 && token.text == ",";
        match token.text {
            "{" => nested += 1,
            "}" => nested -= 1,
            _ => {}
        }
    }
}

fn text<'a>(tokens: &[Token<'a>], at: usize) -> &'a str {
    tokens.get(at).map_or("", |token| token.text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{depth, imports};
    use crate::layers::tokens::tokens;

    fn names(source: &str, depth: usize) -> Vec<String> {
        let tokens = tokens(source);
        imports(&tokens, depth).into_iter().map(|import| import.name.to_owned()).collect()
    }

    #[test]
    fn plain_and_grouped_paths() {
        assert_eq!(
            names("use crate::a::B; fn f() { crate::b::g(); leaktrace::c::h() }", 1),
            ["a", "b", "c"]
        );
        assert_eq!(names("use crate::{a::{B, C}, b, c::D as E,}; use x::{y};", 1), ["a", "b", "c"]);
        assert_eq!(names("use crate::{{a, b::c}, d};", 1), ["a", "b", "d"]);
        assert_eq!(
            names("use std::crate_like; use leaktrace_common::x; pub(crate) fn f() {}", 1),
            [""; 0]
        );
    }

    #[test]
    fn paths_through_super() {
        assert_eq!(names("use super::a::B;", 1), ["a"]);
        assert_eq!(names("use super::a::B;", 2), [""; 0]);
        assert_eq!(names("use super::super::{a, b};", 2), ["a", "b"]);
        let test_module = "mod tests { use super::B; use super::super::a; } use super::b;";
        assert_eq!(names(test_module, 1), ["a", "b"]);
    }

    #[test]
    fn depths() {
        for (file, expected) in [("main.rs", 0), ("a.rs", 1), ("a/mod.rs", 1), ("a/b.rs", 2)] {
            assert_eq!(depth(Path::new(file)), expected, "{file}");
        }
    }
}
