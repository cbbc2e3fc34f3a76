//! A pattern for function names: text in which `*` stands for anything, a name in, yes or no out.
//!
//! Non-goals: regular expressions; whoever writes them has to know what they cost.

/// The longest there may be, in bytes; the longest name in a kubelet has about 200.
const BYTES_MAX: usize = 300;
/// A pattern with fewer would fit nearly every name.
const LITERALS_MIN: usize = 4;
/// The time to match grows with them.
const STARS_MAX: usize = 8;

/// Matches whole names, `*` any run of characters, also an empty one. Nothing else is special:
/// names of methods have brackets, stars and dots in them, and a star matches itself too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What stands between the stars: always at least one piece.
    pieces: Vec<String>,
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("longer than {BYTES_MAX} bytes"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("{text:?} has a space or a control character: no name has"));
        }
        let pieces: Vec<_> = text.split('*').map(str::to_owned).collect();
        let pattern = Self { pieces };
        if pattern.literals() < LITERALS_MIN {
            return Err(format!("{text:?} has fewer than {LITERALS_MIN} characters besides `*`"));
        }
        if pattern.pieces.len() > STARS_MAX + 1 {
            return Err(format!("{text:?} has more than {STARS_MAX} stars"));
        }
        Ok(pattern)
    }

    /// How much of a name it fixes, in bytes.
    pub fn literals(&self) -> usize {
        self.pieces.iter().map(String::len).sum()
    }

    /// Whether `name` fits. Each piece is taken where it comes first: with stars alone, what fits
    /// at all fits this way, so nothing is tried twice.
    pub fn matches(&self, name: &str) -> bool {
        let (first, others) = self.pieces.split_first().map_or(("", &[][..]), |(f, o)| (f, o));
        let Some((last, middle)) = others.split_last() else { return name == first };
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        for piece in middle {
            let Some(at) = rest.find(piece.as_str()) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    const LOOP: &str = "k8s.io/kubernetes/pkg/kubelet.(*podWorkers).podWorkerLoop";

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_star_is_any_text_and_everything_else_is_itself() {
        let good =
            [LOOP, "*podWorkerLoop", "*.(*podWorkers).*", "k8s.io/*", "*pod*pod*", "*let*er*"];
        for pattern in good {
            assert!(fits(pattern, LOOP), "{pattern}");
        }
        let bad =
            ["podWorkerLoop", "k8s.io/kubernetes", "*podWorkerLoop.*x", "*Loop*pod*", "k8s?io/*"];
        for pattern in bad {
            assert!(!fits(pattern, LOOP), "{pattern}");
        }
    }

    #[test]
    fn the_ends_do_not_share_characters() {
        assert!(fits("main*in", "main.in"));
        assert!(!fits("main*in", "main"));
        assert!(fits("abab*ab", "ababab"));
        assert!(!fits("abab*ab*ab", "ababab"));
    }

    #[test]
    fn what_would_fit_everything_or_cost_too_much_is_refused() {
        for text in
            ["", "*", "***", "a*b*", "ma in", "main\n", "*a*b*c*d*e*f*g*h*", &"x".repeat(301)]
        {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
    }
}
