//! The places for connections, and who has to leave when all are taken.
//!
//! A connection is safe while it serves a request that brought a good key. Any other (in its handshake, idle between
//! requests, sending a head, reading an answer that everybody gets) may be closed to let a new one in: of the address that
//! has most of those, the one that has been so for longest. So whoever only holds connections open holds up nobody but
//! itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;
use tokio::task::{AbortHandle, Id};

/// Of the places, the share that is freed at once, so that a flood does not make us look at all of them each time.
const FREED_SHARE: usize = 64;

const WAITING: u8 = 0;
/// A request that brought no good key, or none yet, is being answered.
const OPEN: u8 = 1;
/// The same, and hyper has taken the whole answer.
const OPEN_DONE: u8 = 2;
const KEYED: u8 = 3;
const KEYED_DONE: u8 = 4;
/// Its place is given away and its task is about to end.
const GONE: u8 = 5;

/// What one connection is doing.
#[derive(Debug)]
pub struct Slot {
    phase: AtomicU8,
    epoch: Instant,
    /// Microseconds after `epoch`.
    since: AtomicU64,
}

impl Slot {
    pub fn new(epoch: Instant) -> Self {
        let slot = Self { phase: AtomicU8::new(WAITING), epoch, since: AtomicU64::new(0) };
        slot.touch();
        slot
    }

    fn touch(&self) {
        let since = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// A request has come. False: its connection has to leave, and nobody must work for it any more.
    pub fn begin(&self) -> bool {
        self.step(WAITING, OPEN) || self.phase.load(Ordering::Acquire) != GONE
    }

    /// Its key is good. False as in `begin`.
    pub fn keyed(&self) -> bool {
        self.step(OPEN, KEYED) || self.phase.load(Ordering::Acquire) != GONE
    }

    /// hyper has taken the whole answer.
    pub fn answered(&self) {
        let _ = self.step(OPEN, OPEN_DONE) || self.step(KEYED, KEYED_DONE);
    }

    /// Nothing that hyper has taken is left to be sent. True: a request has ended with it.
    pub fn flushed(&self) -> bool {
        if !matches!(self.phase.load(Ordering::Acquire), OPEN_DONE | KEYED_DONE) {
            return false;
        }
        self.touch();
        self.step(OPEN_DONE, WAITING) || self.step(KEYED_DONE, WAITING)
    }

    pub fn in_request(&self) -> bool {
        self.phase.load(Ordering::Acquire) != WAITING
    }

    fn may_leave(&self) -> bool {
        matches!(self.phase.load(Ordering::Acquire), WAITING | OPEN | OPEN_DONE)
    }

    /// False: it has been given a good key in the meantime.
    fn leave(&self) -> bool {
        [WAITING, OPEN, OPEN_DONE].into_iter().any(|phase| self.step(phase, GONE))
    }
}

struct Taken {
    slot: Arc<Slot>,
    address: IpAddr,
    task: AbortHandle,
}

/// All places; the accepting loop's own.
pub struct Slots {
    max: usize,
    taken: HashMap<Id, Taken>,
}

impl Slots {
    pub fn new(max: usize) -> Self {
        Self { max, taken: HashMap::new() }
    }

    /// Whether there is a place, if need be by taking some away.
    pub fn has_room(&mut self) -> bool {
        if self.taken.len() >= self.max {
            self.free();
        }
        self.taken.len() < self.max
    }

    pub fn take(&mut self, slot: Arc<Slot>, address: IpAddr, task: AbortHandle) {
        self.taken.insert(task.id(), Taken { slot, address: network(address), task });
    }

    pub fn give_back(&mut self, task: Id) {
        self.taken.remove(&task);
    }

    fn free(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for taken in self.taken.values().filter(|taken| taken.slot.may_leave()) {
            *counts.entry(taken.address).or_default() += 1;
        }
        let Some((most, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return };
        let theirs = self.taken.iter().filter(|(_, taken)| taken.address == most && taken.slot.may_leave());
        let mut theirs: Vec<(u64, Id)> =
            theirs.map(|(id, taken)| (taken.slot.since.load(Ordering::Relaxed), *id)).collect();
        theirs.sort_unstable_by_key(|(since, _)| *since);
        for (_, id) in theirs.iter().take((self.max / FREED_SHARE).max(1)) {
            let leaves = self.taken.get(id).is_some_and(|taken| taken.slot.leave());
            if leaves && let Some(taken) = self.taken.remove(id) {
                taken.task.abort();
            }
        }
    }
}

/// Whoever has an IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinSet;

    /// Places of these addresses, oldest first.
    fn taken(max: usize, addresses: &[&str]) -> (Slots, Vec<Arc<Slot>>, JoinSet<()>) {
        let (mut slots, mut tasks) = (Slots::new(max), JoinSet::new());
        let epoch = Instant::now();
        let made = addresses.iter().enumerate().map(|(age, address)| {
            let slot = Arc::new(Slot::new(epoch));
            slot.since.store(age as u64, Ordering::Relaxed);
            slots.take(Arc::clone(&slot), address.parse().expect("an address"), tasks.spawn(std::future::pending()));
            slot
        });
        let made = made.collect();
        (slots, made, tasks)
    }

    fn gone(slots: &[Arc<Slot>]) -> Vec<usize> {
        (0..slots.len()).filter(|place| slots[*place].phase.load(Ordering::Acquire) == GONE).collect()
    }

    #[tokio::test]
    async fn the_oldest_idle_one_of_who_has_most_leaves() {
        let (mut slots, made, mut tasks) =
            taken(5, &["192.0.2.1", "2001:db8::1", "2001:db8::2", "192.0.2.1", "2001:db8::3"]);
        assert!(slots.has_room());
        assert_eq!(gone(&made), [1]);
        assert!(tasks.join_next().await.expect("one").expect_err("aborted").is_cancelled());
        let (mut slots, ..) = taken(3, &["192.0.2.1"]);
        assert!(slots.has_room() && slots.taken.len() == 1);
    }

    #[tokio::test]
    async fn who_serves_a_good_key_stays() {
        let (mut slots, made, _tasks) = taken(3, &["192.0.2.1"; 3]);
        for slot in &made {
            assert!(slot.begin() && slot.keyed());
        }
        assert!(!slots.has_room());
        // Answered and not yet sent is not over.
        made[2].answered();
        assert!(!slots.has_room() && made[2].in_request());
        assert!(made[2].flushed() && !made[2].in_request() && !made[2].flushed());
        assert!(slots.has_room());
        assert_eq!(gone(&made), [2]);
        assert!(!made[2].begin() && !made[2].keyed());
    }

    #[tokio::test]
    async fn a_request_without_a_key_does_not_keep_its_place() {
        let (mut slots, made, _tasks) = taken(1, &["192.0.2.1"]);
        assert!(made[0].begin());
        assert!(slots.has_room());
        assert!(!made[0].keyed());
    }

    #[tokio::test]
    async fn a_share_is_freed_at_once() {
        let (mut slots, made, _tasks) = taken(640, &["192.0.2.1"; 640]);
        assert!(slots.has_room());
        assert_eq!(gone(&made), (0..10).collect::<Vec<_>>());
    }
}
