//! The folder of a job: checkpoints and the finished model, readable by its owner alone, gone when the job has ended.

use crate::Error;
use crate::registry::NewPart;
use bytes::Bytes;
use orrery_store::{JobId, Store};
use std::path::{Path, PathBuf};

/// Where jobs' folders are in the data folder.
const JOBS: &str = "jobs";
/// Where a worker leaves the model.
pub const ARTEFACT: &str = "artefact";

/// The folder of one job.
pub fn of_job(data_dir: &Path, id: &JobId) -> PathBuf {
    data_dir.join(JOBS).join(id.as_str())
}

/// Makes it, if it is not there.
pub fn make(folder: &Path) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| Error::disk("cannot make a job's folder", error))
}

/// Removes it with all that is in it.
pub fn remove(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "a job's folder is left for the next start");
        }
        _ => {}
    }
}

/// All files of the finished model. Blocking.
pub fn read_artefact(folder: &Path) -> Result<Vec<NewPart>, Error> {
    let failed = |error| Error::disk("cannot read what a job made", error);
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(folder.join(ARTEFACT)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let content = std::fs::read(entry.path()).map_err(failed)?;
        parts.push(NewPart { name, content: Bytes::from(content) });
    }
    parts.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(parts)
}

/// Removes the folders of jobs that have ended or are no more.
pub async fn sweep(data_dir: &Path, store: &dyn Store) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(data_dir.join(JOBS)) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let id: Option<JobId> = name.to_str().and_then(|name| name.parse().ok());
        let live = match &id {
            Some(id) => match store.job(id).await {
                Ok(job) => !job.status.is_final(),
                Err(orrery_store::Error::NotFound(_)) => false,
                Err(error) => return Err(error.into()),
            },
            None => false,
        };
        if !live {
            remove(&entry.path());
        }
    }
    Ok(())
}
