//! Model files of an unknown origin: somebody else looks at them before this process opens them.
//!
//! Owns when that happens. Must not know how: the caller of [`crate::Platform`] brings it, since looking needs a process that may
//! die. Files whose digests the catalogue pins need no look: they are what they were when the entry was written.

use crate::catalogue::Entry;
use crate::store::StoredModel;
use crate::{Error, Reference};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Looks at the model at a path; the reason why it must not be opened, if there is one. Blocking.
pub type Look = dyn Fn(&Path) -> Result<(), String> + Send + Sync;

/// Who looks at model files; by default nobody does.
#[derive(Clone, Default)]
pub struct Vetting(Option<Arc<Look>>);

impl fmt::Debug for Vetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Vetting(on)" } else { "Vetting(off)" })
    }
}

impl Vetting {
    pub fn by(look: impl Fn(&Path) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(look)))
    }

    /// Blocking.
    pub(crate) fn pass(&self, path: &Path) -> Result<(), Error> {
        let Some(look) = &self.0 else { return Ok(()) };
        look(path).map_err(|reason| Error::bad_input(format!("{} is not opened: {reason}", path.display())))
    }
}

/// Whether the files are those that the catalogue pins: they had these digests when they were stored.
pub(crate) fn is_pinned(reference: &Reference, stored: Option<&StoredModel>) -> bool {
    let (Reference::Catalogue(entry), Some(stored)) = (reference, stored) else { return false };
    let same = |entry: &Entry| {
        let files = &stored.manifest.files;
        files.len() == entry.files.len()
            && files
                .iter()
                .zip(&entry.files)
                .all(|(file, pinned)| file.name == pinned.name && file.sha256 == pinned.sha256)
    };
    same(entry)
}

/// Reads everything of a model but its weights, in this process, and checks it; what was found, as names and values to show.
/// Blocking.
///
/// # Errors
/// What is wrong with the model.
pub fn inspect(path: &Path) -> Result<Vec<(&'static str, String)>, Error> {
    orrery_engine::inspect(path).map_err(|error| refused(path, &error))
}

/// The file or the folders that [`inspect`] reads from, with all links resolved.
///
/// # Errors
/// There is nothing.
pub fn places(path: &Path) -> Result<Vec<PathBuf>, Error> {
    orrery_engine::places(path).map_err(|error| refused(path, &error))
}

fn refused(path: &Path, error: &orrery_engine::LoadError) -> Error {
    let (message, path) = (error.to_string(), path.display().to_string());
    Error::bad_input(if message.contains(&path) { message } else { format!("{path}: {message}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalogue;
    use crate::store::{Manifest, ManifestFile};

    #[test]
    fn only_files_with_the_catalogues_digests_are_pinned() {
        let catalogue = Catalogue::embedded().expect("embedded");
        let entry = catalogue.find("smollm2").expect("the default model").clone();
        let files = entry.files.iter().map(|file| ManifestFile {
            name: file.name.clone(),
            bytes: file.bytes,
            sha256: file.sha256.clone(),
        });
        let manifest = Manifest {
            name: entry.name.clone(),
            source: "somewhere".into(),
            task: entry.task.clone(),
            licence: None,
            pulled_at: 0,
            files: files.collect(),
        };
        let good = StoredModel { manifest, path: PathBuf::new(), bytes: 0 };
        let reference = Reference::Catalogue(entry);
        assert!(is_pinned(&reference, Some(&good)));
        assert!(!is_pinned(&reference, None));
        assert!(!is_pinned(&Reference::Stored("smollm2-135m-instruct".into()), Some(&good)));
        let mut other = good.clone();
        other.manifest.files[0].sha256 = "0".repeat(64);
        assert!(!is_pinned(&reference, Some(&other)));
        other.manifest.files.clear();
        assert!(!is_pinned(&reference, Some(&other)));
    }
}
