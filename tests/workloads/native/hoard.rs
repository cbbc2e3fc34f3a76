//! Grows through Rust's collections, on command: the leaky and the honest twin, and threads.
//!
//! `ready` at the start; then per line `NAME BYTES` one `ok bytes=N`: what it allocated. What is done
//! for a command is done in the function that has its name.

use std::{
    hint::black_box,
    io::{BufRead as _, Write as _},
    sync::mpsc,
    thread,
};

const PIECE_BYTES: usize = 64 * 1024;

/// Keeps what it makes.
#[inline(never)]
fn hoard(kept: &mut Vec<Vec<u8>>, bytes: usize) {
    for _ in 0..bytes / PIECE_BYTES {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        for at in 0..PIECE_BYTES {
            piece.push(black_box(at as u8));
        }
        kept.push(piece);
    }
}

/// Makes as much and keeps nothing.
#[inline(never)]
fn honest(bytes: usize) {
    for _ in 0..bytes / PIECE_BYTES {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        for at in 0..PIECE_BYTES {
            piece.push(black_box(at as u8));
        }
        drop(black_box(piece));
    }
}

/// One allocation so large that it is a mapping of its own.
#[inline(never)]
fn large(kept: &mut Vec<Vec<u8>>, bytes: usize) {
    kept.push(black_box(vec![1; bytes]));
}

/// A thread that touches so much of its stack, and stays.
#[inline(never)]
fn deep(bytes: usize) {
    let (ready, when_ready) = mpsc::channel();
    let body = move || {
        descend(bytes);
        ready.send(()).expect("main waits");
        loop {
            thread::park();
        }
    };
    thread::Builder::new().stack_size(2 * bytes + (1 << 20)).spawn(body).expect("a thread");
    when_ready.recv().expect("the thread is ready");
}

#[inline(never)]
fn descend(bytes: usize) {
    let page = black_box([1u8; 4096]);
    if bytes > page.len() {
        descend(bytes - page.len());
    }
    black_box(&page);
}

fn main() {
    let mut kept = Vec::with_capacity(1 << 20);
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let (name, bytes) = line.split_once(' ').expect("NAME BYTES");
        let bytes: usize = bytes.parse().expect("a number");
        match name {
            "hoard" => hoard(&mut kept, bytes),
            "honest" => honest(bytes),
            "large" => large(&mut kept, bytes),
            "deep" => deep(bytes),
            _ => panic!("no command {name}"),
        }
        println!("ok bytes={bytes}");
        std::io::stdout().flush().expect("stdout");
    }
}
