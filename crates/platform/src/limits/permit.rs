//! What an admitted request holds in its hands: first a [`Permit`], then a [`Reservation`].

use super::Now;
use super::refusal::Refusal;
use super::scope::{Account, End, Held};
use orrery_store::Spent;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One request, counted, and one place among those that run at one time. Dropping it gives back the place alone: a
/// request that turns out to be bad counts too.
#[derive(Debug)]
#[must_use = "dropping it ends the request"]
pub struct Permit(Hold);

/// A permit, and the most that its request may take. Dropping it gives back the place and what was not needed of the
/// rest, by the last [`tell`](Self::tell).
#[derive(Debug)]
#[must_use = "dropping it ends the request"]
pub struct Reservation {
    hold: Hold,
    tokens: AtomicU64,
    cost_nano: AtomicU64,
}

impl Permit {
    pub(super) fn new(account: Arc<Mutex<Account>>, held: Held) -> Self {
        Self(Hold { account, held, end: Some(End::Unreserved) })
    }

    /// Reserves the most that the request may take: the tokens of its prompt, cached ones too, and those that it may
    /// generate; and what they would cost.
    ///
    /// # Errors
    /// A limit is in the way: the permit ends, as if the request had never come.
    pub fn reserve(self, tokens_max: u64, cost_max_nano: u64, now: Now) -> Result<Reservation, Refusal> {
        let mut hold = self.0;
        let most = Spent { tokens: tokens_max, cost_nano: cost_max_nano };
        let reserved = lock(&hold.account).reserve(&hold.held, most, now);
        match reserved {
            Ok(tokens_charge) => {
                hold.end = Some(End::Settled { tokens_charge, most, used: Spent::default() });
                Ok(Reservation { hold, tokens: AtomicU64::new(0), cost_nano: AtomicU64::new(0) })
            }
            Err(refusal) => {
                hold.end = None;
                Err(refusal)
            }
        }
    }
}

impl Reservation {
    /// Says how much the request has taken since it began; smaller numbers than before change nothing. It is cheap, and
    /// takes no lock.
    pub fn tell(&self, tokens: u64, cost_nano: u64) {
        self.tokens.fetch_max(tokens, Ordering::Relaxed);
        self.cost_nano.fetch_max(cost_nano, Ordering::Relaxed);
    }

    /// Ends the request, which has taken so much in all, and gives back the rest of what was reserved. More than was
    /// reserved is charged too: later requests wait for it.
    pub fn settle(self, tokens: u64, cost_nano: u64) {
        self.tokens.store(tokens, Ordering::Relaxed);
        self.cost_nano.store(cost_nano, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(End::Settled { used, .. }) = &mut self.hold.end {
            *used = Spent { tokens: *self.tokens.get_mut(), cost_nano: *self.cost_nano.get_mut() };
        }
    }
}

/// Gives back what is held, once, whatever became of the request.
#[derive(Debug)]
struct Hold {
    account: Arc<Mutex<Account>>,
    held: Held,
    /// `None`: it has been given back.
    end: Option<End>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            lock(&self.account).release(&self.held, end);
        }
    }
}

/// A panic cannot leave an account half changed: its sums are plain numbers.
pub(super) fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
