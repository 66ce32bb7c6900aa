//! Tenants and their keys: who may use the service, and the use cases of those who manage that.
//!
//! Must not know: HTTP. Start at [`Accounts::open`] and [`Accounts::authenticate`].

mod desk;
mod first;
mod key_text;
mod keyring;
mod keys;
mod prices;
mod principal;
mod report;
mod standing;
mod tenants;
mod vault;

pub use keys::{KeyChange, KeyInfo, NewKey};
pub use prices::PriceInfo;
pub use principal::Principal;
pub use report::{AuditInfo, AuditPage, AuditVerdict, UsageInfo, UsageRequest};
pub use tenants::{LimitsInfo, TenantChange, TenantInfo};

use crate::Error;
use crate::files::{FileSettings, Files};
use crate::limits::Limiter;
use crate::predict::{PredictSettings, Predictions};
use crate::registry::Registry;
use crate::training::{Training, TrainingSettings};
use desk::Metering;
pub(crate) use desk::{Sale, Tab};
use keyring::Keyring;
use orrery_store::{AuditEntry, Database, Key, KeyId, Limits, Memory, Price, Role, Store, Tenant, TenantId};
use serde_json::{Map, Value};
pub(crate) use standing::Standing;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;

/// How often a running server looks whether another process changed a key: well within the second in which a revoked
/// key has to be dead.
const LOOK: Duration = Duration::from_millis(400);
/// How many looks pass between two writings of last uses.
const LOOKS_PER_NOTE: u32 = 25;
/// The file of the metadata in the data folder.
const DATABASE: &str = "orrery.db";

/// The accounts of one data folder.
#[derive(Debug)]
pub struct Accounts {
    store: Arc<dyn Store>,
    keyring: Keyring,
    files: Files,
    registry: Registry,
    training: Training,
    /// Who comes without a key, where keys are not asked for.
    anybody: Option<Principal>,
    limiter: Limiter,
    /// Set once, by who serves requests.
    metering: OnceLock<Metering>,
    /// Set once, by who runs models of the registry.
    predictions: OnceLock<Predictions>,
    /// Where the limiter's clock begins.
    clock: Instant,
}

/// Whether a request has to bring a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    Asked,
    /// Whoever comes is a platform admin of the first tenant; a good key still counts.
    NotAsked,
}

/// What [`Accounts::open`] found or made.
#[derive(Debug)]
pub struct Opened {
    pub accounts: Arc<Accounts>,
    /// The first key, when this was the first start. It is shown this once; the data folder keeps it too.
    pub first_key: Option<String>,
}

impl Accounts {
    /// Opens the accounts of a data folder. The first time, the tenant `default` and a key for a platform admin are made.
    ///
    /// # Errors
    /// The database is of a later version, damaged or cannot be read; the disk is full.
    pub async fn open(data_dir: &Path, keys: Keys) -> Result<Opened, Error> {
        Self::open_with(data_dir, keys, FileSettings::default(), TrainingSettings::default()).await
    }

    /// The same with limits on files and training.
    ///
    /// # Errors
    /// As [`Accounts::open`]; the vault's master key is missing, or others can read it.
    pub async fn open_with(
        data_dir: &Path,
        keys: Keys,
        files: FileSettings,
        training: TrainingSettings,
    ) -> Result<Opened, Error> {
        std::fs::create_dir_all(data_dir).map_err(|error| Error::disk("cannot make the data folder", error))?;
        let store: Arc<dyn Store> = Arc::new(Database::open(&data_dir.join(DATABASE)).await?);
        let first_key = first::ensure(store.as_ref(), Some(data_dir)).await?;
        let files = Files::open(data_dir, store.clone(), files).await?;
        let accounts = Self::over(store, keys, files, training).await?;
        Ok(Opened { accounts, first_key })
    }

    /// Accounts that are gone with the process, for tests and for engines that serve nobody else; with their first key.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub async fn ephemeral() -> Result<(Arc<Self>, String), Error> {
        Self::ephemeral_with(Keys::Asked).await
    }

    /// The same, with or without asking for keys.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub async fn ephemeral_with(keys: Keys) -> Result<(Arc<Self>, String), Error> {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let key = first::ensure(store.as_ref(), None).await?.ok_or_else(|| Error::internal("a store was not new"))?;
        let files = Files::ephemeral(store.clone())?;
        Ok((Self::over(store, keys, files, TrainingSettings::default()).await?, key))
    }

    async fn over(
        store: Arc<dyn Store>,
        keys: Keys,
        files: Files,
        training: TrainingSettings,
    ) -> Result<Arc<Self>, Error> {
        let registry = Registry::new(store.clone(), files.clone());
        let training = Training::new(store.clone(), files.clone(), registry.clone(), training);
        let mut accounts = Self {
            store,
            keyring: Keyring::default(),
            files,
            registry,
            training,
            anybody: None,
            limiter: Limiter::default(),
            metering: OnceLock::new(),
            predictions: OnceLock::new(),
            clock: Instant::now(),
        };
        accounts.keyring.refresh(accounts.store.as_ref()).await?;
        if keys == Keys::NotAsked {
            accounts.anybody = Some(accounts.local("anybody").await?);
        }
        Ok(Arc::new(accounts))
    }

    /// The first key of a data folder, if it is kept there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn first_key(data_dir: &Path) -> Result<Option<String>, Error> {
        first::read(data_dir)
    }

    /// Keeps up with other processes, until the task is aborted.
    pub fn watch(self: &Arc<Self>) -> JoinHandle<()> {
        let accounts = self.clone();
        tokio::spawn(async move {
            let mut looks = 0;
            loop {
                tokio::time::sleep(LOOK).await;
                looks += 1;
                if let Err(error) = accounts.keyring.refresh(accounts.store.as_ref()).await {
                    tracing::warn!(%error, "cannot see whether keys have changed; the known ones stay");
                }
                if looks % LOOKS_PER_NOTE == 0 {
                    accounts.note_used().await;
                }
            }
        })
    }

    /// Writes down when keys were last used. What cannot be written is passed over: it is of no consequence.
    pub async fn note_used(&self) {
        if let Err(error) = self.keyring.note_used(self.store.as_ref()).await {
            tracing::warn!(%error, "cannot write down when keys were last used");
        }
    }

    /// The models that tenants have trained or brought.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Runs models of the registry from now on. ONNX Runtime's library is loaded when the first one is needed.
    pub fn start_predictions(&self, settings: PredictSettings) {
        // A second call changes nothing: the process has one library.
        let _ = self.predictions.set(Predictions::new(settings));
    }

    pub(crate) fn predictions(&self) -> Option<&Predictions> {
        self.predictions.get()
    }

    /// The training jobs of the tenants.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// The files of the tenants.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Whether whoever comes may do everything, without a key.
    pub fn is_open(&self) -> bool {
        self.anybody.is_some()
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// `Unauthenticated`: there is none, or it is nobody's, revoked, expired or suspended.
    pub async fn authenticate(&self, key: Option<&str>) -> Result<Principal, Error> {
        let found = match key {
            Some(key) => self.keyring.authenticate(key, self.store.as_ref()).await,
            None => Err(Error::Unauthenticated(
                "a key is needed: send the header `Authorization: Bearer KEY`; `orrery key show` prints the first one"
                    .into(),
            )),
        };
        match &self.anybody {
            Some(anybody) => Ok(found.unwrap_or_else(|_| anybody.clone())),
            None => found,
        }
    }

    /// Who stands for the person at the command line, who owns the data folder.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn operator(&self) -> Result<Principal, Error> {
        self.local("operator").await
    }

    async fn local(&self, name: &'static str) -> Result<Principal, Error> {
        let tenant = self.store.tenant(&TenantId::first()).await?;
        let key = Key {
            id: name.parse()?,
            tenant: tenant.id.clone(),
            name: name.to_owned(),
            hash: [0; 32],
            hint: String::new(),
            role: Role::PlatformAdmin,
            limits: Limits::default(),
            created_at_ms: now_ms(),
            expires_at_ms: None,
            last_used_at_ms: None,
            revoked_at_ms: None,
        };
        Ok(Principal::of_key(Arc::new(tenant), Arc::new(key)))
    }

    fn price(&self, model: &str) -> Price {
        self.keyring.price(model)
    }

    /// Notes an action before it is done: one that cannot be noted is not done.
    pub(crate) async fn note(
        &self,
        by: &Principal,
        action: &'static str,
        tenant: Option<&TenantId>,
        subject: &str,
        details: Map<String, Value>,
    ) -> Result<(), Error> {
        note(self.store.as_ref(), by, action, tenant, subject, details).await
    }

    /// What was changed counts from now on, in this process at once.
    async fn changed(&self) -> Result<(), Error> {
        self.keyring.refresh(self.store.as_ref()).await
    }

    /// A live tenant that `by` may see.
    async fn tenant_of(&self, by: &Principal, id: &TenantId) -> Result<Tenant, Error> {
        by.check_tenant(id)?;
        let tenant = self.store.tenant(id).await?;
        if tenant.erased_at_ms.is_some() {
            return Err(principal::unknown_tenant(id));
        }
        Ok(tenant)
    }

    /// A key that `by` may see.
    async fn key_of(&self, by: &Principal, id: &KeyId) -> Result<Key, Error> {
        let key = self.store.key(id).await?;
        by.check_tenant(&key.tenant).map_err(|_| principal::unknown_key(id))?;
        Ok(key)
    }
}

/// Notes an action before it is done: one that cannot be noted is not done.
pub(crate) async fn note(
    store: &dyn Store,
    by: &Principal,
    action: &'static str,
    tenant: Option<&TenantId>,
    subject: &str,
    details: Map<String, Value>,
) -> Result<(), Error> {
    let entry = AuditEntry {
        at_ms: now_ms(),
        actor: by.actor.to_string(),
        tenant: tenant.cloned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        details,
    };
    store.append_audit(&entry).await?;
    Ok(())
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
