//! The hash of a call chain: a seed and return addresses in, one word out.
//!
//! It is 64 bits wide and each chain is entered once, so that two of a target's few thousand chains
//! have the same by chance as good as never; what they have in common must not make it likely.

/// 2^64 over the golden ratio (Knuth, TAOCP 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a chain begins with besides its addresses. It is spread first: a seed may itself be an
/// address, and two functions of equal shape lie as far from their closures as each other, so that
/// the exclusive or of both addresses is the same for both.
#[inline(always)]
pub const fn begin_chain(seed: u64) -> u64 {
    seed.wrapping_mul(SPREAD)
}

/// One step of a 64-bit FNV-1a-like mix over whole words, with a rotation so that high bits of
/// one frame reach the low bits of the next.
#[inline(always)]
pub const fn extend_chain(hash: u64, pc: u64) -> u64 {
    (hash ^ pc).wrapping_mul(SPREAD).rotate_left(29)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;

    use super::{begin_chain, extend_chain};

    /// Go statements of a thousand functions of equal shape, each of which starts its own closure.
    #[test]
    fn functions_of_equal_shape_have_different_chains() {
        let chain = |function: u64| {
            let (closure, creator_pc) = (function + 0x80, function + 0x45);
            extend_chain(extend_chain(begin_chain(closure), creator_pc), 0x40_1000)
        };
        let hashes: BTreeSet<_> = (0..1000).map(|i| chain(0x6a_0000 + i * 0x100)).collect();
        assert_eq!(hashes.len(), 1000);
    }

    #[test]
    fn the_order_of_frames_and_the_seed_count() {
        let chain = |words: [u64; 3]| {
            let [seed, one, other] = words;
            extend_chain(extend_chain(begin_chain(seed), one), other)
        };
        let words = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [0, 2, 3]];
        let hashes: BTreeSet<_> = words.into_iter().map(chain).collect();
        assert_eq!(hashes.len(), words.len());
    }
}
