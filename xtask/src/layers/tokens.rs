//! Rust text in, words and punctuation with their lines out; comments, strings and characters are
//! left out.

/// A word, `::`, or one other character.
#[derive(Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The text itself.
    pub text: &'a str,
    /// Counted from 1.
    pub line: usize,
}

/// Splits Rust text into tokens.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_len(rest);
        let len = if skipped > 0 { skipped } else { token_len(rest, first) };
        let (taken, after) = rest.split_at(len);
        if skipped == 0 && !first.is_whitespace() {
            found.push(Token { text: taken, line });
        }
        line += taken.matches('\n').count();
        rest = after;
    }
    found
}

fn token_len(rest: &str, first: char) -> usize {
    if is_word(first) {
        rest.find(|c| !is_word(c)).unwrap_or(rest.len())
    } else if rest.starts_with("::") {
        2
    } else {
        first.len_utf8()
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment, string or character that `rest` begins with, else 0.
fn skipped_len(rest: &str) -> usize {
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment_len(rest)
    } else if rest.starts_with('\'') {
        character_len(rest)
    } else {
        string_len(rest)
    }
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0_usize;
    for (at, _) in rest.char_indices() {
        if rest[at..].starts_with("/*") {
            depth += 1;
        } else if rest[at..].starts_with("*/") {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at + 2;
            }
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime.
fn character_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => match rest.get(3..).and_then(|tail| tail.find('\'')) {
            Some(end) => 3 + end + 1,
            None => 0,
        },
        Some(_) => match chars.next() {
            Some((end, '\'')) => end + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// A plain, byte, C or raw string.
fn string_len(rest: &str) -> usize {
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(rest.len());
    if prefix > 2 {
        return 0;
    }
    let raw = rest[..prefix].ends_with('r');
    let hashes = rest[prefix..].bytes().take_while(|&byte| raw && byte == b'#').count();
    let open = prefix + hashes;
    if !rest[open..].starts_with('"') {
        return 0;
    }
    if raw {
        let close = format!("\"{}", "#".repeat(hashes));
        let body = &rest[open + 1..];
        return body.find(&close).map_or(rest.len(), |end| open + 1 + end + close.len());
    }
    let mut escaped = false;
    for (at, c) in rest[open + 1..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return open + 1 + at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::tokens;

    fn words(text: &str) -> Vec<&str> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_are_left_out() {
        assert_eq!(words("a // b\n/* c /* d */ e */ f"), ["a", "f"]);
        assert_eq!(words(r#"a "b \" c" d"#), ["a", "d"]);
        assert_eq!(words("a r#\"b \" c\"# d b\"e\" c\"f\""), ["a", "d"]);
        assert_eq!(words(r"a 'b' '\'' '\n' '\u{1f}' b'c'"), ["a", "b"]);
        assert_eq!(words("&'a str br crate"), ["&", "'", "a", "str", "br", "crate"]);
    }

    #[test]
    fn paths_and_lines() {
        let found = tokens("\"x\ny\" crate::a;\n\nb");
        let lines: Vec<_> = found.iter().map(|token| (token.text, token.line)).collect();
        assert_eq!(lines, [("crate", 2), ("::", 2), ("a", 2), (";", 2), ("b", 4)]);
    }
}
