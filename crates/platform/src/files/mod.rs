//! Files of tenants: uploaded, listed, read, deleted. Their contents are in the vault, encrypted.
//!
//! Must not know: HTTP, multipart, wire types. Start at [`Files::begin`]; a job that needs a file's content starts at
//! [`Files::open_of_tenant`].

mod parts;
mod purpose;
mod reader;
mod settings;
mod upkeep;
mod upload;

pub use purpose::Purpose;
pub use reader::Reader;
pub use settings::FileSettings;
pub use upload::{NewFile, Upload};

use crate::Error;
use crate::access::Action;
use crate::accounts::{Principal, now_ms};
use crate::reference::shown;
use crate::retained::Queue;
use orrery_store::{
    Blobs, FILE_ROWS_MAX, FileId, FileKind, FileQuery, MasterKey, Masters, Store, StoredFile, TenantId, Vault,
};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Where the blobs are in the data folder, and where its master key is unless the settings name another place.
const BLOBS: &str = "blobs";
const MASTER_KEY: &str = "vault.key";

/// The files of all tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    vault: Vault,
    settings: FileSettings,
    /// Uploads that run, by tenant, and in all.
    uploads: Mutex<HashMap<TenantId, usize>>,
    running: watch::Sender<usize>,
    retained: Queue,
}

/// A file, as it is shown. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    pub id: String,
    pub filename: String,
    pub purpose: String,
    pub bytes: u64,
    /// Of the content, in hexadecimal.
    pub sha256: String,
    pub created_at_ms: i64,
    pub expires_at_ms: Option<i64>,
}

/// Which files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePage {
    pub purpose: Option<String>,
    /// Those that come after this one in the list.
    pub after: Option<String>,
    pub oldest_first: bool,
    /// At most so many; 0 is as many as there may be.
    pub files_max: usize,
}

impl Files {
    /// The files of a data folder. The first time, a master key is made.
    ///
    /// # Errors
    /// The folder cannot be used; the master key is missing, although there are data keys under it, or others can read it.
    pub(crate) async fn open(data_dir: &Path, store: Arc<dyn Store>, settings: FileSettings) -> Result<Self, Error> {
        let path = settings.master_key.clone().unwrap_or_else(|| data_dir.join(MASTER_KEY));
        let masters = match Masters::open(&path) {
            Err(orrery_store::Error::NotFound(_)) => {
                if let Some(key) = store.data_keys(None).await?.into_iter().next() {
                    return Err(Error::bad_input(format!(
                        "there is no master key {}, and files are encrypted under {}; put it back, or name its place \
                         in `files.master_key`",
                        path.display(),
                        key.master
                    )));
                }
                Masters::open_or_create(&path)
            }
            opened => opened,
        }?;
        let blobs = Blobs::local(&data_dir.join(BLOBS))?;
        let vault = Vault::over(blobs, store.clone(), masters);
        Ok(Self::over(store, vault, settings))
    }

    /// Files that are gone with the process.
    pub(crate) fn ephemeral(store: Arc<dyn Store>) -> Result<Self, Error> {
        let vault = Vault::new(Blobs::in_memory(), store.clone(), MasterKey::random()?, vec![]);
        Ok(Self::over(store, vault, FileSettings::default()))
    }

    fn over(store: Arc<dyn Store>, vault: Vault, settings: FileSettings) -> Self {
        Self(Arc::new(Inner {
            store,
            vault,
            settings,
            uploads: Mutex::default(),
            running: watch::Sender::new(0),
            retained: Queue::new(),
        }))
    }

    /// Uploads that run.
    pub fn uploads(&self) -> usize {
        *self.0.running.borrow()
    }

    /// Waits until no upload runs.
    pub async fn wait_idle(&self) {
        // The sender lives as long as this does.
        let _ = self.0.running.subscribe().wait_for(|running| *running == 0).await;
    }

    pub fn settings(&self) -> &FileSettings {
        &self.0.settings
    }

    /// A page of the tenant's files, and whether more come after it. Newest first, unless it is asked for otherwise.
    ///
    /// # Errors
    /// `Forbidden`; `BadInput`: a purpose that there is not, or no file `after`.
    pub async fn list(&self, by: &Principal, page: FilePage) -> Result<(Vec<FileInfo>, bool), Error> {
        by.check(Action::ReadFiles)?;
        let purpose = page.purpose.map(|name| name.parse::<Purpose>()).transpose()?;
        let rows_max = if page.files_max == 0 { FILE_ROWS_MAX } else { page.files_max.min(FILE_ROWS_MAX) };
        let mut query = self.query(by, FileKind::Upload, page.after.as_deref())?;
        query.purpose = purpose.map(|purpose| purpose.as_str().to_owned());
        query.newest_first = !page.oldest_first;
        let (files, more) = self.page(query, rows_max).await?;
        Ok((files.into_iter().map(FileInfo::from).collect(), more))
    }

    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn file(&self, by: &Principal, id: &str) -> Result<FileInfo, Error> {
        by.check(Action::ReadFiles)?;
        Ok(self.live(&by.tenant.id, FileKind::Upload, id).await?.into())
    }

    /// A file and its content in the clear.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn open_file(&self, by: &Principal, id: &str) -> Result<(FileInfo, Reader), Error> {
        by.check(Action::ReadFiles)?;
        self.open_of_tenant(&by.tenant.id, id).await
    }

    /// The same for a job that works for a tenant.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn open_of_tenant(&self, tenant: &TenantId, id: &str) -> Result<(FileInfo, Reader), Error> {
        let file = self.live(tenant, FileKind::Upload, id).await?;
        let reader = self.reader(&file).await?;
        Ok((file.into(), reader))
    }

    /// Deletes a file for good.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn delete(&self, by: &Principal, id: &str) -> Result<(), Error> {
        by.check(Action::ManageFiles)?;
        let file = self.live(&by.tenant.id, FileKind::Upload, id).await?;
        self.remove(&file).await
    }

    /// Deletes what is left of an erased tenant's blobs. Their keys are gone with the tenant.
    pub(crate) async fn shred(&self, tenant: &TenantId) -> Result<(), Error> {
        Ok(self.0.vault.shred(tenant).await?)
    }

    /// Makes new data keys for all tenants that have one; what is stored stays readable. Returns how many.
    pub(crate) async fn rotate_data_keys(&self) -> Result<usize, Error> {
        let mut tenants: Vec<TenantId> =
            self.0.store.data_keys(None).await?.into_iter().map(|key| key.tenant).collect();
        tenants.dedup();
        for tenant in &tenants {
            self.0.vault.rotate(tenant).await?;
        }
        Ok(tenants.len())
    }

    /// Replaces the master key, and returns how many data keys are wrapped by it now.
    pub(crate) async fn rotate_master_key(&self) -> Result<usize, Error> {
        Ok(self.0.vault.rotate_master().await?)
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.0.vault
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.retained
    }

    pub(crate) async fn reader(&self, file: &StoredFile) -> Result<Reader, Error> {
        Ok(Reader::new(self.0.vault.get(&file.tenant, file.blob).await?))
    }

    /// The entry goes first: a blob that nothing names is deleted later if it cannot be now.
    pub(crate) async fn remove(&self, file: &StoredFile) -> Result<(), Error> {
        self.0.store.delete_file(&file.tenant, file.kind, &file.id).await.map_err(of_file(file.id.as_str()))?;
        match self.0.vault.blobs().delete(&file.tenant, file.blob).await {
            Ok(()) | Err(orrery_store::Error::NotFound(_)) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a deleted file's blob is left for the next sweep");
                Ok(())
            }
        }
    }

    /// A file that has not expired.
    pub(crate) async fn live(&self, tenant: &TenantId, kind: FileKind, id: &str) -> Result<StoredFile, Error> {
        let parsed: FileId = id.parse().map_err(|_| unknown(id))?;
        let file = self.0.store.file(tenant, kind, &parsed).await.map_err(of_file(id))?;
        if file.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms()) { Err(unknown(id)) } else { Ok(file) }
    }

    pub(crate) fn query(&self, by: &Principal, kind: FileKind, after: Option<&str>) -> Result<FileQuery, Error> {
        let after = after.map(|id| id.parse().map_err(|_| no_after(id))).transpose()?;
        let tenant = by.tenant.id.clone();
        let (name, purpose, newest_first) = (None, None, true);
        Ok(FileQuery { tenant, kind, name, purpose, after, newest_first, live_at_ms: now_ms(), rows_max: 1 })
    }

    /// One row more is read than is shown, to know whether there is one.
    pub(crate) async fn page(&self, mut query: FileQuery, rows_max: usize) -> Result<(Vec<StoredFile>, bool), Error> {
        query.rows_max = (rows_max + 1).min(FILE_ROWS_MAX);
        let mut files = self.0.store.files(&query).await.map_err(|error| match (&query.after, error) {
            (Some(after), orrery_store::Error::NotFound(_)) => no_after(after.as_str()),
            (_, error) => error.into(),
        })?;
        let more = files.len() > rows_max || (rows_max == FILE_ROWS_MAX && files.len() == FILE_ROWS_MAX);
        files.truncate(rows_max);
        Ok((files, more))
    }
}

fn unknown(id: &str) -> Error {
    Error::NotFound(format!("there is no file `{}`", shown(id)))
}

fn no_after(id: &str) -> Error {
    Error::BadInput { param: Some("after"), message: format!("`after` is {}, and there is no such file", shown(id)) }
}

fn of_file(id: &str) -> impl FnOnce(orrery_store::Error) -> Error {
    move |error| match error {
        orrery_store::Error::NotFound(_) => unknown(id),
        error => error.into(),
    }
}

impl From<StoredFile> for FileInfo {
    fn from(file: StoredFile) -> Self {
        Self {
            id: file.id.into(),
            filename: file.name,
            purpose: file.purpose,
            bytes: file.bytes,
            sha256: file.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
            created_at_ms: file.created_at_ms,
            expires_at_ms: file.expires_at_ms,
        }
    }
}
