//! `orrery-store`: what Orrery remembers: tenants, keys, prices, the ledger of usage, the audit log, data keys, files
//! and their blobs.
//!
//! It owns SQL, files and cryptography at rest, and knows no use case: who may do what, and when, is `platform`'s.
//! There is one trait for each concern, and two implementations of all of them: [`Database`] (SQLite) and [`Memory`] (a
//! strict fake for tests). [`Store`] is all concerns at once: callers hold an `Arc<dyn Store>`.
//!
//! Start at `ledger.rs` for a concern's types and contract, and at `database/mod.rs` for how a transaction is made.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod audit;
mod blobs;
mod changes;
mod crypt;
mod database;
mod error;
mod files;
mod id;
mod jobs;
mod keys;
mod ledger;
mod memory;
mod names;
mod prices;
mod registry;
mod secrets;
mod tenants;
mod vault;

pub use audit::{
    AUDIT_ROWS_MAX, Audit, AuditEntry, AuditFault, AuditHead, AuditQuery, AuditRow, AuditVerdict, DETAILS_BYTES_MAX,
};
pub use blobs::{BlobId, Blobs, Pieces};
pub use changes::Changes;
pub use crypt::{MasterKey, Masters};
pub use database::{Database, SCHEMA_VERSION};
pub use error::{Error, Result};
pub use files::{FILE_NAME_BYTES_MAX, FILE_ROWS_MAX, FileKind, FileQuery, Files, StoredFile};
pub use id::{FileId, ID_BYTES_MAX, JobId, KeyId, TenantId};
pub use jobs::{
    EVENT_BYTES_MAX, JOB_EVENTS_MAX, JOB_ROWS_MAX, JOB_TEXT_BYTES_MAX, Job, JobEnd, JobEvent, JobQuery, JobStatus,
    Jobs, Lease, LeaseRequest,
};
pub use keys::{Key, Keys, Role};
pub use ledger::{
    APPEND_ROWS_MAX, DAY_MS, GroupBy, Ledger, Outcome, Spent, USAGE_GROUPS_MAX, UsageQuery, UsageRow, UsageSum,
};
pub use memory::Memory;
pub use prices::{MODEL_BYTES_MAX, PRICE_NANO_MAX, Price, Prices};
pub use registry::{Alias, MANIFEST_BYTES_MAX, MODEL_NAME_BYTES_MAX, ModelVersion, Registry, Route, check_model_name};
pub use secrets::{Secrets, WrappedKey};
pub use tenants::{
    COUNT_MAX, Limits, NAME_BYTES_MAX, Redaction, RedactionMode, Tenant, Tenants, WEIGHT_DEFAULT, WEIGHT_MAX,
};

pub use vault::{Stored, Vault};

/// All concerns of metadata. An `Arc<dyn Store>` turns into an `Arc<dyn Keys>` or another one by itself.
pub trait Store: Tenants + Keys + Prices + Ledger + Audit + Secrets + Files + Jobs + Registry + Changes {}

impl<T: Tenants + Keys + Prices + Ledger + Audit + Secrets + Files + Jobs + Registry + Changes> Store for T {}
