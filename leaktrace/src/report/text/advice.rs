//! What something is known for, in a few lines: advice, never evidence.

use super::bullet;
use crate::signatures::{Advice, KnownIssue};

/// Appends the most specific advice.
pub fn advice(out: &mut String, advice: &[Advice]) {
    let Some(advice) = advice.first() else { return };
    let usual = if advice.usual { " (usual in healthy programs)" } else { "" };
    bullet(out, "?", &format!("looks like {}{usual}: {}", advice.family, advice.meaning));
    for issue in &advice.issues {
        bullet(out, " ", &known(issue));
    }
    bullet(out, " ", &format!("check first: {}", advice.check));
}

/// An issue, and whether this program has it.
fn known(issue: &KnownIssue) -> String {
    let affects = match issue.affects_program {
        Some(true) => ": this version has it",
        Some(false) => ": this version is not affected",
        None => "",
    };
    let fixed =
        issue.fixed_in.as_ref().map_or_else(String::new, |fixed| format!(", fixed in {fixed}"));
    let what = issue.what.as_ref().map_or_else(String::new, |what| format!("; {what}"));
    format!("known: {}{fixed}{affects}{what}", issue.id)
}
