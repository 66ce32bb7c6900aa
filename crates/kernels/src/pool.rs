//! A persistent pool of threads with spinning barriers.
//!
//! A parallel region costs about a microsecond while the threads spin; after a while without work they sleep. Which
//! thread does what never changes a result: work items are independent.

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
    /// Written only between regions, while every worker waits for `epoch`.
    job: UnsafeCell<Option<Job>>,
    epoch: AtomicU32,
    next: AtomicUsize,
    busy: AtomicUsize,
    sleepers: AtomicUsize,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleep: Mutex<()>,
    wake: Condvar,
}

#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    count: usize,
}

// SAFETY: `job` is the only field that is not Sync; the epoch protocol orders its writes before all reads, and the work
// that it points to is Sync and outlives the region.
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
            next: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
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
                    .spawn(move || shared.run_worker())
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
        self.shared.publish(count, work, self.workers.len());
        INSIDE.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.shared.claim_all(count, work)));
        INSIDE.set(false);
        self.shared.wait_for_workers();
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
    fn publish(&self, count: usize, work: &Work<'_>, workers: usize) {
        // SAFETY: only the lifetime is erased; `each` returns after the last worker has finished with it.
        let work: *const Work<'static> = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        // SAFETY: all workers wait for the next epoch, so nobody reads the job now.
        unsafe { *self.job.get() = Some(Job { work, count }) };
        self.next.store(0, Ordering::Relaxed);
        self.busy.store(workers, Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.sleep.lock());
            self.wake.notify_all();
        }
    }

    fn claim_all(&self, count: usize, work: &Work<'_>) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            work(index);
        }
    }

    fn wait_for_workers(&self) {
        let mut spins = 0u32;
        while self.busy.load(Ordering::Acquire) > 0 {
            spin_loop();
            spins = spins.wrapping_add(1);
            if spins > SPINS {
                std::thread::yield_now();
            }
        }
    }

    fn run_worker(&self) {
        INSIDE.set(true);
        let mut seen = 0;
        loop {
            seen = self.wait_for_epoch(seen);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            // SAFETY: the job was written before this epoch began and stays until `busy` is zero.
            let job = unsafe { *self.job.get() }.expect("invariant: an epoch without stop has a job");
            // SAFETY: the caller of `each` keeps the work alive until `busy` is zero.
            let work = unsafe { &*job.work };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.claim_all(job.count, work))) {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
            self.busy.fetch_sub(1, Ordering::Release);
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
