//! Limits of training.

use std::path::PathBuf;
use std::time::Duration;

/// How jobs are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingSettings {
    /// Jobs at one time; 0: none are run, and none are taken.
    pub workers: usize,
    /// Jobs of one tenant at one time.
    pub tenant_workers: u32,
    /// Jobs of one tenant that wait; one more is refused.
    pub tenant_queue_max: usize,
    /// Workers that may be lost before a job has failed.
    pub attempts_max: u32,
    /// Without a sign for so long, a worker is taken to be lost.
    pub lease: Duration,
    /// How long one job may run, over all its attempts that were not lost.
    pub time_max: Duration,
    /// Memory of one worker.
    pub memory_max_bytes: u64,
    /// Disk of one worker.
    pub disk_max_bytes: u64,
    /// Largest file that is trained on.
    pub file_max_bytes: u64,
    /// How long a worker may take to write its last checkpoint when the server ends or the job is cancelled.
    pub grace: Duration,
    /// The command that starts a worker, with its arguments.
    pub command: Vec<PathBuf>,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            workers: 1,
            tenant_workers: 1,
            tenant_queue_max: 100,
            attempts_max: 3,
            lease: Duration::from_secs(15),
            time_max: Duration::from_secs(3600),
            memory_max_bytes: 4 << 30,
            disk_max_bytes: 4 << 30,
            file_max_bytes: 512 << 20,
            grace: Duration::from_secs(10),
            command: Vec::new(),
        }
    }
}
