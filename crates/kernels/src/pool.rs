//! A persistent pool of threads with spinning barriers.
//!
//! A parallel region costs about a microsecond while the threads spin; after a while without work they sleep. Every thread
//! begins with a share of neighbouring items, so that it reads memory in sequence, and then helps the others. A region ends when
//! its items are done: a thread that the system keeps from running delays nobody unless it holds an item. Which thread
//! does what never changes a result: items are independent.

use crate::Error;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Spins before a thread sleeps: some hundred microseconds, longer than the gaps within a step.
const SPINS: u32 = 40_000;

/// Spins before the caller yields its processor to whoever still holds an item.
const PATIENCE: u32 = 2_000;

type Work<'a> = dyn Fn(usize) + Sync + 'a;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Threads that wait for parallel regions. Dropping it joins them.
pub struct Pool {
    shared: Arc<Shared>,
    region: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Written only between regions, while `entry` is closed and nobody is inside.
    job: UnsafeCell<Option<Job>>,
    /// Number of the latest region; workers that wait look for a change.
    epoch: AtomicU32,
    /// Workers inside the region, and [`CLOSED`] while there is none to enter.
    entry: AtomicUsize,
    /// The next item of each thread's share.
    next: Box<[Line]>,
    sleepers: AtomicUsize,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// A counter with a cache line of its own.
#[repr(align(128))]
struct Line(AtomicUsize);

/// No worker may enter; the other bits count those inside.
const CLOSED: usize = 1 << (usize::BITS - 1);

#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    count: usize,
}

// SAFETY: `job` is the only field that is not Sync. It is written while `entry` is closed and empty, and read by workers that
// entered; opening and entering order the two. The work that it points to is Sync and outlives the region.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is followed only within a region.
unsafe impl Send for Shared {}

impl Pool {
    /// `None`: one thread for each core. The caller's thread is one of them.
    pub fn new(threads: Option<usize>) -> Result<Self, Error> {
        let max = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = threads.unwrap_or(max);
        if threads == 0 || threads > max {
            return Err(Error::Threads { threads, max });
        }
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(None),
            epoch: AtomicU32::new(0),
            entry: AtomicUsize::new(CLOSED),
            next: (0..threads).map(|_| Line(AtomicUsize::new(0))).collect(),
            sleepers: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let workers = (1..threads)
            .map(|index| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("compute-{index}"))
                    .spawn(move || shared.run_worker(index))
                    .map_err(|error| Error::Spawn(error.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { shared, region: Mutex::new(()), workers })
    }

    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `work(index)` once for every index below `count`, on all threads; returns when all are done. A panic of
    /// `work` comes out here. Regions of several callers follow each other; a nested region runs on its own thread.
    pub fn each(&self, count: usize, work: &Work<'_>) {
        if self.workers.is_empty() || count <= 1 || INSIDE.get() {
            return (0..count).for_each(work);
        }
        let _region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.publish(count, work);
        INSIDE.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.shared.claim_all(0, count, work)));
        INSIDE.set(false);
        self.shared.close();
        let elsewhere = self.shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = outcome.err().or(elsewhere) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        drop(self.shared.sleep.lock());
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker's panic was already handed to its region's caller.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn publish(&self, count: usize, work: &Work<'_>) {
        // SAFETY: only the lifetime is erased; `each` returns after the last worker has left the region.
        let work: *const Work<'static> = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        // SAFETY: `entry` is closed and nobody is inside, so nobody reads the job now.
        unsafe { *self.job.get() = Some(Job { work, count }) };
        for (thread, next) in self.next.iter().enumerate() {
            next.0.store(self.share(thread, count), Ordering::Relaxed);
        }
        self.entry.store(0, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.sleep.lock());
            self.wake.notify_all();
        }
    }

    /// First item of a thread's share.
    fn share(&self, thread: usize, count: usize) -> usize {
        count * thread / self.next.len()
    }

    /// Does the thread's own share, then what is left of the others'.
    fn claim_all(&self, thread: usize, count: usize, work: &Work<'_>) {
        let threads = self.next.len();
        for owner in (thread..threads).chain(0..thread) {
            let end = self.share(owner + 1, count);
            loop {
                let index = self.next[owner].0.fetch_add(1, Ordering::Relaxed);
                if index >= end {
                    break;
                }
                work(index);
            }
        }
    }

    /// Lets no more workers in and waits for those inside.
    fn close(&self) {
        self.entry.fetch_or(CLOSED, Ordering::AcqRel);
        let mut spins = 0u32;
        while self.entry.load(Ordering::Acquire) != CLOSED {
            spin_loop();
            spins = spins.saturating_add(1);
            if spins > PATIENCE {
                std::thread::yield_now();
            }
        }
    }

    /// The job of the open region, which stays as it is until [`Shared::leave`]; `None` when the region is over.
    fn enter(&self) -> Option<Job> {
        let open = |entry| (entry & CLOSED == 0).then_some(entry + 1);
        self.entry.fetch_update(Ordering::AcqRel, Ordering::Relaxed, open).ok()?;
        // SAFETY: the job was written before the region was opened and stays until nobody is inside.
        unsafe { *self.job.get() }
    }

    fn leave(&self) {
        self.entry.fetch_sub(1, Ordering::Release);
    }

    fn run_worker(&self, thread: usize) {
        INSIDE.set(true);
        let mut seen = 0;
        loop {
            seen = self.wait_for_epoch(seen);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let Some(job) = self.enter() else { continue };
            // SAFETY: the caller of `each` keeps the work alive until nobody is inside.
            let work = unsafe { &*job.work };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.claim_all(thread, job.count, work))) {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
            self.leave();
        }
    }

    fn wait_for_epoch(&self, seen: u32) -> u32 {
        for _ in 0..SPINS {
            let epoch = self.epoch.load(Ordering::Acquire);
            if epoch != seen {
                return epoch;
            }
            spin_loop();
        }
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.epoch.load(Ordering::SeqCst) == seen {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        self.epoch.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Pool {
        Pool::new(None).expect("all cores")
    }

    #[test]
    fn every_index_runs_once_in_every_region() {
        let pool = pool();
        for region in 0..2_000 {
            let count = region % 37;
            let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            pool.each(count, &|index| {
                seen[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1), "region {region}");
        }
    }

    /// The later shares are done at once, so that their threads claim items of the first one side by side with its own.
    #[test]
    fn uneven_items_that_several_threads_claim_run_once() {
        let pool = pool();
        let count = 2_000;
        let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        for region in 1..=300 {
            pool.each(count, &|index| {
                let pauses = if index < count / pool.threads() { index % 3 } else { 0 };
                (0..pauses).for_each(|_| spin_loop());
                seen[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == region), "region {region}");
        }
    }

    #[test]
    fn a_sleeping_pool_wakes_up() {
        let pool = pool();
        while pool.shared.sleepers.load(Ordering::SeqCst) < pool.workers.len() {
            std::thread::yield_now();
        }
        let sum = AtomicUsize::new(0);
        pool.each(100, &|index| {
            sum.fetch_add(index, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 4950);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = pool();
        for bad in 0..8 {
            let region = || pool.each(8, &|index| assert_ne!(index, bad));
            assert!(catch_unwind(AssertUnwindSafe(region)).is_err());
        }
        let count = AtomicUsize::new(0);
        pool.each(8, &|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 8);
    }

    #[test]
    fn nested_regions_and_many_callers_do_not_deadlock() {
        let pool = pool();
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    pool.each(10, &|_| {
                        pool.each(10, &|_| {
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                });
            }
        });
        assert_eq!(count.into_inner(), 400);
    }

    #[test]
    fn thread_counts_outside_the_machine_are_refused() {
        assert!(matches!(Pool::new(Some(0)), Err(Error::Threads { threads: 0, .. })));
        assert!(matches!(Pool::new(Some(1 << 20)), Err(Error::Threads { .. })));
    }
}
