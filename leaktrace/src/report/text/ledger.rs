//! RSS as lines that add up.

use super::bullet;
use crate::{
    display::{bytes, printable},
    ledger::{Ledger, Line, Part},
};

/// The lines that add up.
pub fn ledger(out: &mut String, ledger: &Ledger) {
    let part = |line: &Line| format!("{} {}", line.what.label(), bytes(line.bytes as f64));
    let shown = ledger.lines.iter().filter(|line| line.what != Part::Unexplained);
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by_key(|line| std::cmp::Reverse(line.bytes));
    let mut parts: Vec<_> = shown.into_iter().map(part).collect();
    parts.push(format!("unexplained {}", bytes(ledger.unexplained_bytes as f64)));
    let rss = bytes(ledger.rss_bytes as f64);
    bullet(out, "=", &format!("RSS {rss} = {}", parts.join(" + ")));
    let kernel: Vec<_> = ledger.kernel.iter().map(part).collect();
    if !kernel.is_empty() {
        bullet(out, " ", &format!("not in it: {}", kernel.join(", ")));
    }
    for why in &ledger.unavailable {
        bullet(out, "!", &printable(why.as_bytes()));
    }
}
