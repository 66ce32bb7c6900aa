//! Reading and deleting what is retained, for the tenant's administrators. Each look at a content is in the audit log.

use super::Record;
use crate::access::Action;
use crate::accounts::{Accounts, Principal, now_ms};
use crate::{Error, Files};
use orrery_store::{FileKind, StoredFile, TenantId};

/// The largest record that is read back.
const RECORD_MAX: usize = 256 << 20;

/// One request and its answer, and until when they are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct RetainedInfo {
    pub record: Record,
    pub expires_at_ms: i64,
}

/// Which of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetainedPage {
    pub model: Option<String>,
    /// Those that come after this one in the list.
    pub after: Option<String>,
    pub newest_first: bool,
    /// At most so many.
    pub records_max: usize,
}

impl Accounts {
    /// A page of what is retained of the tenant's requests, and whether more come after it.
    ///
    /// # Errors
    /// `Forbidden`; `BadInput`: there is none `after`.
    pub async fn retained(&self, by: &Principal, page: RetainedPage) -> Result<(Vec<RetainedInfo>, bool), Error> {
        by.check(Action::ReadRetained)?;
        self.note_retained(by, "retained.list", by.tenant_id()).await?;
        let mut query = self.files().query(by, FileKind::Retained, page.after.as_deref())?;
        (query.name, query.newest_first) = (page.model, page.newest_first);
        let (files, more) = self.files().page(query, page.records_max).await?;
        let mut records = Vec::with_capacity(files.len());
        for file in files {
            match self.files().record(&file).await {
                Ok(record) => records.push(record),
                // It has just been deleted.
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((records, more))
    }

    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn retained_one(&self, by: &Principal, id: &str) -> Result<RetainedInfo, Error> {
        by.check(Action::ReadRetained)?;
        let file =
            self.files().live(&by.tenant.id, FileKind::Retained, id).await.map_err(|error| unknown(error, id))?;
        self.note_retained(by, "retained.read", file.id.as_str()).await?;
        self.files().record(&file).await
    }

    /// Deletes one before its time.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn delete_retained(&self, by: &Principal, id: &str) -> Result<(), Error> {
        by.check(Action::ReadRetained)?;
        let file =
            self.files().live(&by.tenant.id, FileKind::Retained, id).await.map_err(|error| unknown(error, id))?;
        self.note_retained(by, "retained.delete", file.id.as_str()).await?;
        self.files().remove(&file).await
    }

    async fn note_retained(&self, by: &Principal, action: &'static str, subject: &str) -> Result<(), Error> {
        self.note(by, action, Some(&by.tenant.id), subject, serde_json::Map::new()).await
    }
}

impl Files {
    async fn record(&self, file: &StoredFile) -> Result<RetainedInfo, Error> {
        let content = self.reader(file).await?.read(RECORD_MAX).await?;
        let record = serde_json::from_slice(&content)
            .map_err(|error| Error::internal(format!("what is retained as {} cannot be read: {error}", file.id)))?;
        Ok(RetainedInfo { record, expires_at_ms: file.expires_at_ms.unwrap_or(i64::MAX) })
    }

    /// The tenant keeps what is retained for so many days from now on: what is older goes at once.
    pub(crate) async fn keep_for(&self, tenant: &TenantId, days: u32) -> Result<(), Error> {
        let keep_ms = i64::from(days) * orrery_store::DAY_MS;
        self.store().shorten_files(tenant, FileKind::Retained, keep_ms).await?;
        self.sweep(now_ms()).await.map(drop)
    }
}

/// Of files is spoken elsewhere.
fn unknown(error: Error, id: &str) -> Error {
    match error {
        Error::NotFound(_) => Error::NotFound(format!("there is no retained answer `{}`", crate::reference::shown(id))),
        error => error,
    }
}
