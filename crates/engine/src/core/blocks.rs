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
//! Every block that is used or cached has an owner: the flow that took it from the pool. An owner may have a floor: its cached
//! blocks are out of the others' reach while it has no more blocks than that, and are evicted for one of them only when it insists
//! and nobody else has any.
//!
//! A block is found by its name when all its tokens are wanted, and below its parent's name when only some of them are: then
//! the front of it is worth a copy.

use super::prefix::BlockHash;
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// Whose it is while it is used or cached.
    owner: u64,
    /// Key in the owner's `cached` while cached.
    released_at: u64,
}

/// The blocks of one flow.
#[derive(Debug, Clone, Default)]
struct Owner {
    used: usize,
    /// The one released longest ago first.
    cached: BTreeMap<u64, u32>,
    floor: usize,
}

impl Owner {
    /// Cached blocks that are kept from others.
    fn kept(&self) -> usize {
        self.cached.len().min(self.floor.saturating_sub(self.used))
    }

    fn oldest(&self) -> Option<u64> {
        self.cached.first_key_value().map(|(stamp, _)| *stamp)
    }
}

/// All KV blocks of one engine.
#[derive(Debug)]
pub struct BlockPool {
    blocks: Vec<Block>,
    free: Vec<u32>,
    cached: usize,
    owners: HashMap<u64, Owner>,
    /// Owners that have a floor.
    floored: BTreeSet<u64>,
    /// When the oldest cached block of each owner was released, and the owner.
    oldest: BTreeSet<(u64, u64)>,
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
            cached: 0,
            owners: HashMap::new(),
            floored: BTreeSet::new(),
            oldest: BTreeSet::new(),
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
        self.cached
    }

    /// Blocks that sequences hold.
    pub fn used(&self) -> usize {
        self.total() - self.available()
    }

    /// Blocks that `allocate` can give out.
    pub fn available(&self) -> usize {
        self.free() + self.cached()
    }

    /// Blocks of one owner that sequences hold.
    pub fn used_of(&self, owner: u64) -> usize {
        self.owners.get(&owner).map_or(0, |owner| owner.used)
    }

    /// Blocks of one owner that are cached.
    pub fn cached_of(&self, owner: u64) -> usize {
        self.owners.get(&owner).map_or(0, |owner| owner.cached.len())
    }

    /// Blocks, used and cached, that others leave an owner that has some. It holds until the owner has none.
    pub fn set_floor(&mut self, owner: u64, blocks: usize) {
        let Some(state) = self.owners.get_mut(&owner) else { return };
        state.floor = blocks;
        if blocks > 0 {
            self.floored.insert(owner);
        } else {
            self.floored.remove(&owner);
        }
    }

    /// Blocks that it can give out without touching what another owner's floor keeps.
    pub fn available_to(&self, owner: u64) -> usize {
        let others = self.floored.iter().filter(|id| **id != owner).filter_map(|id| self.owners.get(id));
        self.available() - others.map(Owner::kept).sum::<usize>()
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

    /// Takes an empty block, or evicts the cached one released longest ago that no floor keeps, or any. `None` when all are used.
    pub fn allocate(&mut self, owner: u64) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.evict(owner)?,
        };
        self.blocks[index as usize].references = 1;
        self.blocks[index as usize].owner = owner;
        self.owners.entry(owner).or_default().used += 1;
        Some(index)
    }

    fn evict(&mut self, by: u64) -> Option<u32> {
        let is_open = |(_, owner): &&(u64, u64)| {
            *owner == by || self.owners.get(owner).is_none_or(|owner| owner.kept() < owner.cached.len())
        };
        let (stamp, owner) = *self.oldest.iter().find(is_open).or_else(|| self.oldest.first())?;
        let index = self.uncache(owner, stamp)?;
        self.unname(index);
        self.forget_if_empty(owner);
        Some(index)
    }

    /// Adds a holder to a block that was found.
    pub fn acquire(&mut self, index: u32) {
        let Block { references, owner, released_at, .. } = self.blocks[index as usize];
        if references == 0 {
            self.uncache(owner, released_at);
            self.owners.entry(owner).or_default().used += 1;
        }
        self.blocks[index as usize].references += 1;
    }

    /// Removes a holder. The last one leaves the block cached when it has a name and `keep` is set, free otherwise.
    pub fn release(&mut self, index: u32, keep: bool) {
        let block = &mut self.blocks[index as usize];
        debug_assert!(block.references > 0, "invariant: a released block has a holder");
        block.references -= 1;
        if block.references > 0 {
            return;
        }
        let (owner, is_kept) = (block.owner, keep && block.name.is_some());
        self.owners.entry(owner).or_default().used -= 1;
        if is_kept {
            self.cache(owner, index);
        } else {
            self.unname(index);
            self.free.push(index);
            self.forget_if_empty(owner);
        }
    }

    fn cache(&mut self, owner: u64, index: u32) {
        let stamp = self.releases;
        self.releases += 1;
        self.blocks[index as usize].released_at = stamp;
        let cached = &mut self.owners.entry(owner).or_default().cached;
        if cached.is_empty() {
            self.oldest.insert((stamp, owner));
        }
        cached.insert(stamp, index);
        self.cached += 1;
    }

    fn uncache(&mut self, id: u64, stamp: u64) -> Option<u32> {
        let owner = self.owners.get_mut(&id)?;
        let is_oldest = owner.oldest() == Some(stamp);
        let index = owner.cached.remove(&stamp)?;
        self.cached -= 1;
        if is_oldest {
            self.oldest.remove(&(stamp, id));
            self.oldest.extend(owner.oldest().map(|next| (next, id)));
        }
        Some(index)
    }

    fn forget_if_empty(&mut self, id: u64) {
        if self.owners.get(&id).is_some_and(|owner| owner.used == 0 && owner.cached.is_empty()) {
            self.owners.remove(&id);
            self.floored.remove(&id);
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
        self.check_owners();
        let named = self.blocks.iter().filter(|block| block.name.is_some()).count();
        assert_eq!(named, self.by_hash.len(), "every name has its block");
        assert_eq!(named, self.by_parent.values().map(Vec::len).sum::<usize>(), "every block has one parent");
    }

    fn check_owners(&self) {
        let mut oldest = BTreeSet::new();
        assert!(self.floored.iter().all(|id| self.owners.contains_key(id)), "a floor is of an owner");
        for (id, owner) in &self.owners {
            assert_eq!(owner.floor > 0, self.floored.contains(id), "floor of flow {id}");
            let used = self.blocks.iter().filter(|block| block.references > 0 && block.owner == *id).count();
            assert_eq!(owner.used, used, "blocks that flow {id} uses");
            for (stamp, index) in &owner.cached {
                let block = &self.blocks[*index as usize];
                assert!(block.references == 0 && block.name.is_some(), "block {index} is cached");
                assert_eq!((block.released_at, block.owner), (*stamp, *id), "recency of block {index}");
            }
            oldest.extend(owner.oldest().map(|stamp| (stamp, *id)));
        }
        assert_eq!(self.oldest, oldest, "the oldest cached block of each flow");
        let of_owners = |count: fn(&Owner) -> usize| self.owners.values().map(count).sum::<usize>();
        assert_eq!(self.cached, of_owners(|owner| owner.cached.len()), "every cached block has its owner");
        assert_eq!(self.used(), of_owners(|owner| owner.used), "every used block has its owner");
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
        let held: Vec<u32> = (0..3).map(|_| pool.allocate(0).expect("free")).collect();
        assert_eq!(pool.allocate(0), None);
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
        assert_eq!(pool.allocate(0), Some(held[0]));
        assert_eq!(pool.find(&[0; 32]), None);
        assert_eq!(pool.allocate(0), Some(held[2]));
        assert_eq!(pool.allocate(0), Some(held[1]));
    }

    #[test]
    fn a_shared_block_is_free_after_its_last_holder() {
        let mut pool = BlockPool::new(1);
        let block = pool.allocate(0).expect("free");
        pool.acquire(block);
        pool.release(block, true);
        assert_eq!(pool.used(), 1);
        pool.release(block, true);
        assert_eq!((pool.used(), pool.free()), (0, 1));
    }

    #[test]
    fn the_longest_common_front_is_found_until_it_is_evicted() {
        let mut pool = BlockPool::new(3);
        let held: Vec<u32> = (0..3).map(|_| pool.allocate(0).expect("free")).collect();
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
        assert_eq!(pool.allocate(0), Some(held[0]));
        assert_eq!(find(&pool, &[1, 2, 3]), Some((held[1], 2)));
    }

    #[test]
    fn a_name_that_is_taken_stays_with_its_block() {
        let mut pool = BlockPool::new(2);
        let (a, b) = (pool.allocate(0).expect("free"), pool.allocate(0).expect("free"));
        pool.name(a, name(7, 9, &[]));
        pool.name(b, name(7, 9, &[]));
        assert_eq!(pool.find(&[7; 32]), Some(a));
        pool.release(b, true);
        pool.release(a, false);
        assert_eq!((pool.free(), pool.cached()), (2, 0));
        assert_eq!(pool.find(&[7; 32]), None);
    }

    /// Takes a block, names it and leaves it cached.
    fn cached(pool: &mut BlockPool, owner: u64, hash: u8) -> u32 {
        let block = pool.allocate(owner).expect("a block");
        pool.name(block, name(hash, 99, &[]));
        pool.release(block, true);
        block
    }

    #[test]
    fn a_floor_is_evicted_by_its_owner_or_when_nobody_else_has_any() {
        let mut pool = BlockPool::new(5);
        let own: Vec<u32> = (0..3).map(|i| cached(&mut pool, 1, i)).collect();
        pool.set_floor(1, 2);
        let others: Vec<u32> = (3..5).map(|i| cached(&mut pool, 2, i)).collect();
        // One of the three is beyond the floor, and the oldest of all; the other two are kept.
        assert_eq!((pool.available(), pool.available_to(1), pool.available_to(3)), (5, 5, 3));
        assert_eq!(pool.allocate(3), Some(own[0]));
        assert_eq!(pool.allocate(3), Some(others[0]));
        assert_eq!((pool.cached_of(1), pool.cached_of(2), pool.used_of(3)), (2, 1, 2));
        assert_eq!(pool.allocate(1), Some(own[1]), "its own hand is not held");
        assert_eq!(pool.allocate(3), Some(others[1]));
        assert_eq!(pool.allocate(3), Some(own[2]), "nobody else has any");
        assert_eq!(pool.allocate(1), None);
    }
}
