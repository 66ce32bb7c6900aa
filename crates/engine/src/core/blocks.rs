//! The allocator of KV blocks: reference counts, names of full blocks, and eviction of the least recently used.
//!
//! Every block is in exactly one of three states, so that free + cached + used = total:
//!
//! ```text
//!   free ──allocate──▶ used (references ≥ 1) ──release──▶ cached (named, references = 0) ──evict──▶ used
//!     ▲                     │                                   │
//!     └──release, no name───┘                used ◀──acquire────┘
//! ```
//!
//! A block is found by its name when all its tokens are wanted, and below its parent's name when only some of them are: then
//! the front of it is worth a copy.

use super::prefix::BlockHash;
use std::collections::{BTreeMap, HashMap};

/// Blocks below one parent that a search looks at, the newest first.
const SIBLINGS_MAX: usize = 32;

/// What a named block holds.
#[derive(Debug, Clone)]
pub struct Name {
    /// Of `parent` and `tokens`.
    pub hash: BlockHash,
    pub parent: BlockHash,
    /// A block's worth, or fewer where the sequence ended within it.
    pub tokens: Box<[u32]>,
}

#[derive(Debug, Clone, Default)]
struct Block {
    references: u32,
    name: Option<Name>,
    /// Key in `recency` while cached.
    released_at: u64,
}

/// All KV blocks of one engine.
#[derive(Debug)]
pub struct BlockPool {
    blocks: Vec<Block>,
    free: Vec<u32>,
    /// Cached blocks, the one released longest ago first.
    recency: BTreeMap<u64, u32>,
    by_hash: HashMap<BlockHash, u32>,
    /// Named blocks by their parent's name, in the order of naming.
    by_parent: HashMap<BlockHash, Vec<u32>>,
    releases: u64,
}

impl BlockPool {
    pub fn new(total: usize) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        Self {
            blocks: vec![Block::default(); total as usize],
            free: (0..total).rev().collect(),
            recency: BTreeMap::new(),
            by_hash: HashMap::new(),
            by_parent: HashMap::new(),
            releases: 0,
        }
    }

    pub fn total(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that hold nothing.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Blocks that no sequence holds but whose contents may be hit.
    pub fn cached(&self) -> usize {
        self.recency.len()
    }

    /// Blocks that sequences hold.
    pub fn used(&self) -> usize {
        self.total() - self.available()
    }

    /// Blocks that `allocate` can give out.
    pub fn available(&self) -> usize {
        self.free() + self.cached()
    }

    pub fn references(&self, block: u32) -> u32 {
        self.blocks[block as usize].references
    }

    /// The block of that name, used or cached.
    pub fn find(&self, hash: &BlockHash) -> Option<u32> {
        self.by_hash.get(hash).copied()
    }

    /// The block below `parent` that begins with the most of `tokens`, and how many those are; the newest of equals. `None` where
    /// none has the first.
    pub fn find_front(&self, parent: &BlockHash, tokens: &[u32]) -> Option<(u32, usize)> {
        let siblings = self.by_parent.get(parent)?;
        let newest = siblings.len().saturating_sub(SIBLINGS_MAX);
        let common = |index: &u32| {
            let held = self.blocks[*index as usize].name.as_ref().map_or(&[][..], |name| &name.tokens);
            held.iter().zip(tokens).take_while(|(held, wanted)| held == wanted).count()
        };
        let counts = siblings[newest..].iter().map(|index| (*index, common(index)));
        counts.filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)
    }

    /// Takes an empty block, or evicts the cached one released longest ago. `None` when all are used.
    pub fn allocate(&mut self) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let (_, index) = self.recency.pop_first()?;
                self.unname(index);
                index
            }
        };
        self.blocks[index as usize].references = 1;
        Some(index)
    }

    /// Adds a holder to a block that was found.
    pub fn acquire(&mut self, index: u32) {
        let block = &mut self.blocks[index as usize];
        if block.references == 0 {
            self.recency.remove(&block.released_at);
        }
        block.references += 1;
    }

    /// Removes a holder. The last one leaves the block cached when it has a name and `keep` is set, free otherwise.
    pub fn release(&mut self, index: u32, keep: bool) {
        let block = &mut self.blocks[index as usize];
        debug_assert!(block.references > 0, "invariant: a released block has a holder");
        block.references -= 1;
        if block.references > 0 {
            return;
        }
        if keep && block.name.is_some() {
            block.released_at = self.releases;
            self.recency.insert(self.releases, index);
            self.releases += 1;
        } else {
            self.unname(index);
            self.free.push(index);
        }
    }

    /// Names a used block. Where the name is taken, the block stays nameless: two sequences computed the same tokens.
    pub fn name(&mut self, index: u32, name: Name) {
        debug_assert!(self.blocks[index as usize].name.is_none(), "invariant: a block is named once");
        if let std::collections::hash_map::Entry::Vacant(entry) = self.by_hash.entry(name.hash) {
            entry.insert(index);
            self.by_parent.entry(name.parent).or_default().push(index);
            self.blocks[index as usize].name = Some(name);
        }
    }

    fn unname(&mut self, index: u32) {
        let Some(name) = self.blocks[index as usize].name.take() else { return };
        self.by_hash.remove(&name.hash);
        if let Some(siblings) = self.by_parent.get_mut(&name.parent) {
            siblings.retain(|sibling| *sibling != index);
            if siblings.is_empty() {
                self.by_parent.remove(&name.parent);
            }
        }
    }

    /// Panics unless every block is in exactly one state and `holders` (block → sequences that hold it) agrees with the
    /// reference counts.
    pub fn check(&self, holders: &HashMap<u32, u32>) {
        let used = self.blocks.iter().filter(|block| block.references > 0).count();
        assert_eq!(self.free() + self.cached() + used, self.total(), "free + cached + used = total");
        for (index, block) in self.blocks.iter().enumerate() {
            let index = index as u32;
            let held = holders.get(&index).copied().unwrap_or(0);
            assert_eq!(block.references, held, "references of block {index}");
            if let Some(name) = &block.name {
                assert_eq!(self.by_hash.get(&name.hash), Some(&index), "name of block {index}");
                assert!(self.by_parent[&name.parent].contains(&index), "block {index} is below its parent");
            }
        }
        for index in &self.free {
            let block = &self.blocks[*index as usize];
            assert!(block.references == 0 && block.name.is_none(), "block {index} is free");
        }
        for (stamp, index) in &self.recency {
            let block = &self.blocks[*index as usize];
            assert!(block.references == 0 && block.name.is_some(), "block {index} is cached");
            assert_eq!(block.released_at, *stamp, "recency of block {index}");
        }
        let named = self.blocks.iter().filter(|block| block.name.is_some()).count();
        assert_eq!(named, self.by_hash.len(), "every name has its block");
        assert_eq!(named, self.by_parent.values().map(Vec::len).sum::<usize>(), "every block has one parent");
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockPool, Name};

    fn name(hash: u8, parent: u8, tokens: &[u32]) -> Name {
        Name { hash: [hash; 32], parent: [parent; 32], tokens: tokens.into() }
    }

    #[test]
    fn the_block_released_longest_ago_is_evicted_first() {
        let mut pool = BlockPool::new(3);
        let held: Vec<u32> = (0..3).map(|_| pool.allocate().expect("free")).collect();
        assert_eq!(pool.allocate(), None);
        for (i, block) in held.iter().enumerate() {
            pool.name(*block, name(i as u8, 9, &[]));
        }
        for i in [1, 0, 2] {
            pool.release(held[i], true);
        }
        assert_eq!((pool.free(), pool.cached(), pool.used()), (0, 3, 0));
        // A hit makes block 1 the most recent.
        pool.acquire(held[1]);
        pool.release(held[1], true);
        assert_eq!(pool.allocate(), Some(held[0]));
        assert_eq!(pool.find(&[0; 32]), None);
        assert_eq!(pool.allocate(), Some(held[2]));
        assert_eq!(pool.allocate(), Some(held[1]));
    }

    #[test]
    fn a_shared_block_is_free_after_its_last_holder() {
        let mut pool = BlockPool::new(1);
        let block = pool.allocate().expect("free");
        pool.acquire(block);
        pool.release(block, true);
        assert_eq!(pool.used(), 1);
        pool.release(block, true);
        assert_eq!((pool.used(), pool.free()), (0, 1));
    }

    #[test]
    fn the_longest_common_front_is_found_until_it_is_evicted() {
        let mut pool = BlockPool::new(3);
        let held: Vec<u32> = (0..3).map(|_| pool.allocate().expect("free")).collect();
        pool.name(held[0], name(0, 9, &[1, 2, 3, 4]));
        pool.name(held[1], name(1, 9, &[1, 2, 8]));
        pool.name(held[2], name(2, 5, &[1, 2, 3, 4]));
        let find = |pool: &BlockPool, tokens: &[u32]| pool.find_front(&[9; 32], tokens);
        assert_eq!(find(&pool, &[1, 2, 3, 7]), Some((held[0], 3)));
        assert_eq!(find(&pool, &[1, 2, 8, 4]), Some((held[1], 3)));
        assert_eq!(find(&pool, &[1]).map(|found| found.1), Some(1));
        assert_eq!(find(&pool, &[2, 2]), None);
        assert_eq!(pool.find_front(&[4; 32], &[1]), None);
        pool.release(held[0], true);
        assert_eq!(pool.allocate(), Some(held[0]));
        assert_eq!(find(&pool, &[1, 2, 3]), Some((held[1], 2)));
    }

    #[test]
    fn a_name_that_is_taken_stays_with_its_block() {
        let mut pool = BlockPool::new(2);
        let (a, b) = (pool.allocate().expect("free"), pool.allocate().expect("free"));
        pool.name(a, name(7, 9, &[]));
        pool.name(b, name(7, 9, &[]));
        assert_eq!(pool.find(&[7; 32]), Some(a));
        pool.release(b, true);
        pool.release(a, false);
        assert_eq!((pool.free(), pool.cached()), (2, 0));
        assert_eq!(pool.find(&[7; 32]), None);
    }
}
