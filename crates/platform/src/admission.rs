//! Permission to run a model: no use case runs without an [`Admission`], and only this module makes one.

use crate::limits::Permit;
use crate::{Error, Principal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

const RETRY_AFTER_S: u64 = 1;

/// A permit to run one request; dropping it gives it back. Has no public constructor.
#[derive(Debug)]
pub struct Admission {
    gate: Arc<Gate>,
    by: Principal,
    /// What the request holds of its tenant's and key's limits, until it is known how much it will take.
    permit: Option<Permit>,
}

impl Admission {
    /// Who was admitted.
    pub fn by(&self) -> &Principal {
        &self.by
    }

    pub(crate) fn with_permit(mut self, permit: Permit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Once.
    pub(crate) fn take_permit(&mut self) -> Result<Permit, Error> {
        self.permit.take().ok_or_else(|| Error::internal("an admission was used twice"))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.out -= 1;
        if state.out == 0 {
            self.gate.idle.notify_waiters();
        }
    }
}

/// Counts the permits that are out, up to a limit.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: usize,
    state: Mutex<State>,
    idle: Notify,
}

#[derive(Debug, Default)]
struct State {
    out: usize,
    draining: bool,
}

impl Gate {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default(), idle: Notify::new() })
    }

    pub(crate) fn admit(self: &Arc<Self>, by: Principal) -> Result<Admission, Error> {
        let mut state = self.state();
        if state.draining {
            return Err(Error::Unavailable("the server is shutting down".into()));
        }
        if state.out >= self.limit {
            let message =
                format!("{} requests are being served, which is the limit; try again in {RETRY_AFTER_S} s", self.limit);
            return Err(Error::Overloaded { message, retry_after_s: RETRY_AFTER_S });
        }
        state.out += 1;
        Ok(Admission { gate: self.clone(), by, permit: None })
    }

    pub(crate) fn start_draining(&self) {
        self.state().draining = true;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state().draining
    }

    /// Waits until no permit is out; `false` when `grace` ran out first.
    pub(crate) async fn wait_idle(&self, grace: Duration) -> bool {
        let wait = async {
            loop {
                let notified = self.idle.notified();
                if self.state().out == 0 {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(grace, wait).await.is_ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn somebody() -> Principal {
        let (accounts, key) = crate::Accounts::ephemeral().await.expect("accounts");
        accounts.authenticate(Some(&key)).await.expect("a good key")
    }

    #[tokio::test]
    async fn permits_are_counted_and_come_back() {
        let (gate, by) = (Gate::new(2), somebody().await);
        let first = gate.admit(by.clone()).expect("first");
        let _second = gate.admit(by.clone()).expect("second");
        assert!(matches!(gate.admit(by.clone()), Err(Error::Overloaded { retry_after_s: 1, .. })));
        drop(first);
        let _third = gate.admit(by).expect("a permit came back");
    }

    #[tokio::test]
    async fn draining_refuses_and_waits_for_the_last_permit() {
        let (gate, by) = (Gate::new(2), somebody().await);
        let permit = gate.admit(by.clone()).expect("permit");
        gate.start_draining();
        assert!(matches!(gate.admit(by), Err(Error::Unavailable(_))));
        assert!(!gate.wait_idle(Duration::ZERO).await);
        let waiter = tokio::spawn({
            let gate = gate.clone();
            async move { gate.wait_idle(Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        drop(permit);
        assert!(waiter.await.expect("joined"));
    }
}
