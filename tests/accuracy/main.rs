//! `cargo xtask accuracy`: how often the verdict is right, over scenarios whose truth is known.

#[path = "mod.rs"]
mod accuracy;

fn main() {
    let _ = accuracy::schedule::schedule;
}
