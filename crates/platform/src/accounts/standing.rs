//! Requests that run, and whether their keys are still good: one whose key is revoked ends, whoever reads its answer or does
//! not.

use super::Accounts;
use super::principal::Principal;
use orrery_engine::Canceller;
use orrery_store::Key;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All requests that run.
#[derive(Debug, Default)]
pub(super) struct Runners {
    next: AtomicU64,
    running: Mutex<HashMap<u64, Runner>>,
}

#[derive(Debug)]
struct Runner {
    key: Arc<Key>,
    lost: Arc<AtomicBool>,
    canceller: Canceller,
}

impl Runners {
    /// Cancels those whose keys do not stand any more.
    pub fn end_unless(&self, stands: impl Fn(&Key) -> bool) {
        for runner in self.running().values().filter(|runner| !stands(&runner.key)) {
            if !runner.lost.swap(true, Ordering::AcqRel) {
                runner.canceller.cancel();
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<u64, Runner>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that runs, from its start until this is dropped.
#[derive(Debug)]
pub(crate) struct Standing {
    runners: Arc<Runners>,
    number: u64,
    lost: Arc<AtomicBool>,
}

impl Standing {
    /// Whether the key was revoked, or its tenant suspended or erased, since the request began. It is cancelled then.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.runners.running().remove(&self.number);
    }
}

impl Accounts {
    /// Watches over a request that begins.
    pub(crate) fn stand(&self, by: &Principal, canceller: Canceller) -> Standing {
        let runners = self.keyring.runners().clone();
        let (number, lost) = (runners.next.fetch_add(1, Ordering::Relaxed), Arc::new(AtomicBool::new(false)));
        let runner = Runner { key: by.key.clone(), lost: lost.clone(), canceller };
        runners.running().insert(number, runner);
        // The key may have been revoked between the door and here.
        self.keyring.end_revoked();
        Standing { runners, number, lost }
    }
}
