//! All keys, tenants and prices in memory, so that no request waits for the database.
//!
//! A key is found by the sha256 of its text, so how long a search takes says nothing about any key's text.

use super::principal::Principal;
use super::standing::Runners;
use super::{key_text, now_ms};
use crate::Error;
use orrery_store::{Key, KeyId, Price, Store, Tenant, TenantId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct Snapshot {
    /// Of who read it: one that began later has seen more.
    turn: u64,
    changes: u64,
    keys: HashMap<[u8; 32], (Arc<Key>, Arc<Tenant>)>,
    prices: HashMap<String, Price>,
}

/// What requests are checked against.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    snapshot: RwLock<Arc<Snapshot>>,
    /// Readings that have begun.
    turns: AtomicU64,
    /// When keys were last used, not yet written down.
    used: Mutex<HashMap<KeyId, i64>>,
    /// When an unknown key last made us look for it.
    looked: Mutex<Option<Instant>>,
    runners: Arc<Runners>,
}

/// An unknown key may be one that another process has just made. Looking is cheap, but not for everybody at once.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Keyring {
    /// Reads everything again if something changed, whoever changed it.
    pub async fn refresh(&self, store: &dyn Store) -> Result<(), Error> {
        if let Some(fresh) = self.read(store).await? {
            self.install(fresh);
            self.end_revoked();
        }
        Ok(())
    }

    /// `None`: nothing has changed.
    async fn read(&self, store: &dyn Store) -> Result<Option<Snapshot>, Error> {
        let turn = self.turns.fetch_add(1, Ordering::SeqCst) + 1;
        // Read first: a change in between is seen again at the next look.
        let changes = store.changes().await?;
        if changes != 0 && changes == self.snapshot().changes {
            return Ok(None);
        }
        let tenants: HashMap<TenantId, Arc<Tenant>> =
            store.tenants().await?.into_iter().map(|tenant| (tenant.id.clone(), Arc::new(tenant))).collect();
        let with_tenant = |key: Key| Some((key.hash, (Arc::new(key.clone()), tenants.get(&key.tenant)?.clone())));
        let keys = store.keys(None).await?.into_iter().filter_map(with_tenant).collect();
        let prices = store.prices().await?.into_iter().map(|price| (price.model.clone(), price)).collect();
        Ok(Some(Snapshot { turn, changes, keys, prices }))
    }

    /// Two may read at once, and the one that began first may end last: what it has seen is old by then, a key that has just
    /// been revoked among it.
    fn install(&self, fresh: Snapshot) {
        let mut held = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        if held.turn < fresh.turn {
            *held = Arc::new(fresh);
        }
    }

    /// Requests that run.
    pub fn runners(&self) -> &Arc<Runners> {
        &self.runners
    }

    /// Ends requests whose keys are not good any more. One that expires meanwhile still ends what it began.
    pub fn end_revoked(&self) {
        let snapshot = self.snapshot();
        self.runners.end_unless(|key| match snapshot.keys.get(&key.hash) {
            Some((key, tenant)) => key.revoked_at_ms.is_none() && !tenant.suspended && tenant.erased_at_ms.is_none(),
            // Who comes without a key has none here.
            None => key.hash == [0; 32],
        });
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whose key this is. One that is not known is looked for in the store first.
    ///
    /// # Errors
    /// `Unauthenticated`, with what is wrong with the key.
    pub async fn authenticate(&self, text: &str, store: &dyn Store) -> Result<Principal, Error> {
        let is_new = key_text::is_well_formed(text) && !self.snapshot().keys.contains_key(&key_text::hash(text));
        if is_new
            && self.may_look()
            && let Err(error) = self.refresh(store).await
        {
            tracing::warn!(%error, "cannot look for a key that is not known");
        }
        self.known(text)
    }

    fn may_look(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let may = looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN);
        if may {
            *looked = Some(Instant::now());
        }
        may
    }

    fn known(&self, text: &str) -> Result<Principal, Error> {
        let refuse = |message: &str| Err(Error::Unauthenticated(message.to_owned()));
        if !key_text::is_well_formed(text) {
            return refuse("this is no key of this service: one begins with `orr_` and has 42 characters");
        }
        let snapshot = self.snapshot();
        let Some((key, tenant)) = snapshot.keys.get(&key_text::hash(text)) else {
            return refuse("this key is not known here; make one with `orrery key create`");
        };
        let now = now_ms();
        if key.revoked_at_ms.is_some() {
            return refuse("this key was revoked; use another one");
        }
        if key.expires_at_ms.is_some_and(|end| end <= now) {
            return refuse("this key has expired; ask for a new one");
        }
        if tenant.suspended || tenant.erased_at_ms.is_some() {
            return refuse("this key's tenant is suspended; ask the operator of this service");
        }
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id.clone(), now);
        Ok(Principal::of_key(tenant.clone(), key.clone()))
    }

    /// The price of a model; free where there is none.
    pub fn price(&self, model: &str) -> Price {
        let free = || Price { model: model.to_owned(), input_nano: 0, cached_nano: 0, output_nano: 0 };
        self.snapshot().prices.get(model).cloned().unwrap_or_else(free)
    }

    /// Writes down when keys were last used.
    pub async fn note_used(&self, store: &dyn Store) -> Result<(), Error> {
        let used: Vec<(KeyId, i64)> =
            std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect();
        if used.is_empty() {
            return Ok(());
        }
        Ok(store.touch_keys(&used).await?)
    }
}

#[cfg(test)]
mod tests {
    use crate::Accounts;
    use crate::accounts::NewKey;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_reading_that_ends_late_brings_no_revoked_key_back() {
        let (accounts, first) = Accounts::ephemeral().await.expect("accounts");
        let by = accounts.authenticate(Some(&first)).await.expect("a good key");
        let new = NewKey { role: "inference".into(), ..NewKey::default() };
        let (info, text) = accounts.create_key(&by, new).await.expect("a key");
        let keyring = &accounts.keyring;
        // Nothing is known, so that there is something to read.
        *keyring.snapshot.write().expect("no panic") = Arc::default();
        let late = keyring.read(accounts.store.as_ref()).await.expect("a store").expect("something new");
        accounts.revoke_key(&by, &info.id).await.expect("revoked");
        keyring.install(late);
        assert!(keyring.known(&text).is_err());
    }
}
