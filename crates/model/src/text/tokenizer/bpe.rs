//! The merge loop of byte-pair encoding, in O(n log n) whatever the input. Start at [`merge`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A run of the piece's bytes that is one token so far. `token` is `None` where the vocabulary has no such token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    pub(super) token: Option<u32>,
    pub(super) start: usize,
    /// 0 once the symbol has been merged into the one before it.
    pub(super) len: usize,
    previous: usize,
    next: usize,
}

const NONE: usize = usize::MAX;

/// What two neighbours become: the lowest `rank` is merged first, of equal ranks the leftmost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merged {
    pub(super) rank: u32,
    pub(super) token: u32,
}

/// (rank, left index, right index, joint length, token): ordered by rank, then from left to right.
type Candidate = Reverse<(u32, usize, usize, usize, u32)>;

/// Working memory, kept between pieces.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Candidate>,
}

impl Scratch {
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.candidates.clear();
    }

    /// Adds the next symbol of the piece, `len` > 0 bytes from `start`.
    pub(super) fn push(&mut self, token: Option<u32>, start: usize, len: usize) {
        let index = self.symbols.len();
        if let Some(last) = self.symbols.last_mut() {
            last.next = index;
        }
        self.symbols.push(Symbol { token, start, len, previous: index.checked_sub(1).unwrap_or(NONE), next: NONE });
    }

    /// The symbols that are left after merging, from left to right.
    pub(super) fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|symbol| symbol.len > 0)
    }

    fn propose(&mut self, left: usize, right: usize, lookup: &impl Fn(&Symbol, &Symbol) -> Option<Merged>) {
        if left == NONE || right == NONE {
            return;
        }
        let (a, b) = (&self.symbols[left], &self.symbols[right]);
        if let Some(merged) = lookup(a, b) {
            self.candidates.push(Reverse((merged.rank, left, right, a.len + b.len, merged.token)));
        }
    }
}

/// Merges the pushed symbols until `lookup` knows no pair of neighbours any more.
pub(super) fn merge(scratch: &mut Scratch, lookup: impl Fn(&Symbol, &Symbol) -> Option<Merged>) {
    for right in 1..scratch.symbols.len() {
        scratch.propose(right - 1, right, &lookup);
    }
    while let Some(Reverse((_, left, right, len, token))) = scratch.candidates.pop() {
        let (a, b) = (scratch.symbols[left], scratch.symbols[right]);
        // Stale: one of the two has been merged with another neighbour since.
        if a.len == 0 || b.len == 0 || a.next != right || a.len + b.len != len {
            continue;
        }
        scratch.symbols[left] = Symbol { token: Some(token), len, next: b.next, ..a };
        scratch.symbols[right].len = 0;
        if b.next != NONE {
            scratch.symbols[b.next].previous = left;
        }
        scratch.propose(a.previous, left, &lookup);
        scratch.propose(left, b.next, &lookup);
    }
}
