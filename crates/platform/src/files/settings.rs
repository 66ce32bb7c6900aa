//! Limits of files.

use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// Largest file.
    pub file_max_bytes: u64,
    /// All files of a tenant.
    pub quota_bytes: u64,
    /// Uploads at one time, of all tenants and of one.
    pub uploads_max: usize,
    pub tenant_uploads_max: usize,
    /// All models of a tenant, every version.
    pub models_quota_bytes: u64,
    /// All that is retained for a tenant. What would go over is not retained.
    pub retained_quota_bytes: u64,
    /// What waits to be retained. What would go over is not retained.
    pub retained_queue_bytes: usize,
    /// Where the master key is; `None`: in the data folder.
    pub master_key: Option<PathBuf>,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            file_max_bytes: 512 << 20,
            quota_bytes: 10 << 30,
            models_quota_bytes: 20 << 30,
            uploads_max: 32,
            tenant_uploads_max: 8,
            retained_quota_bytes: 1 << 30,
            retained_queue_bytes: 16 << 20,
            master_key: None,
        }
    }
}
