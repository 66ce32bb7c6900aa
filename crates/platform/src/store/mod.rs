//! The data folder of models: layout, manifests, list, remove, publish.
//!
//! ```text
//! DATA/models/NAME/manifest.json   what the model is; a folder without it is not a model
//! DATA/models/NAME/FILE            the model's files
//! DATA/staging/NAME/…              downloads that are not finished; safe to delete when nothing is being pulled
//! DATA/locks/NAME.lock             held while NAME is pulled or removed
//! ```
//!
//! A model appears in `models/` by one rename, with all its files checked and on the disk. Must not know: sources.
//! Start at [`Store`].

mod lock;

pub(crate) use lock::Lock;

use crate::Error;
use crate::reference::check_name;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// The models of one data folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// What a stored model is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub name: String,
    /// Where it came from: `hf:…`, `pypi:…`, an address without its query, or a path.
    pub source: String,
    pub task: String,
    /// SPDX identifier, where it is known.
    pub licence: Option<String>,
    /// Unix seconds.
    pub pulled_at: u64,
    pub files: Vec<ManifestFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
}

/// A model in the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredModel {
    #[serde(flatten)]
    pub manifest: Manifest,
    /// What to load: the GGUF file, or the folder of a safetensors model.
    pub path: PathBuf,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Store {
    /// Opens a data folder, and makes it where it does not exist.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let store = Self { root: data_dir.to_owned() };
        for folder in ["models", "staging", "locks"] {
            let folder = store.root.join(folder);
            fs::create_dir_all(&folder).map_err(|error| Error::disk(&format!("making {}", folder.display()), error))?;
        }
        Ok(store)
    }

    /// All models, by name. A folder that is no whole model is left out.
    pub fn list(&self) -> Result<Vec<StoredModel>, Error> {
        let folder = self.root.join("models");
        let disk = |error| Error::disk(&format!("reading {}", folder.display()), error);
        let mut models = Vec::new();
        for entry in fs::read_dir(&folder).map_err(disk)? {
            if let Some(name) = entry.map_err(disk)?.file_name().to_str().filter(|name| check_name(name).is_ok()) {
                models.extend(self.find(name)?);
            }
        }
        models.sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
        Ok(models)
    }

    /// One model by the name that [`Store::list`] shows. `None` also when its files are not what its manifest says.
    pub fn find(&self, name: &str) -> Result<Option<StoredModel>, Error> {
        check_name(name)?;
        let folder = self.model_folder(name);
        let Some(manifest) = read_manifest(&folder.join(MANIFEST)).filter(|manifest| manifest.name == name) else {
            return Ok(None);
        };
        let is_whole = |file: &ManifestFile| {
            check_name(&file.name).is_ok()
                && fs::metadata(folder.join(&file.name))
                    .is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.bytes)
        };
        if !manifest.files.iter().all(is_whole) {
            tracing::warn!(model = name, "the model's files are not what its manifest says; it will be pulled again");
            return Ok(None);
        }
        let path = match &manifest.files[..] {
            [only] if only.name.ends_with(".gguf") => folder.join(&only.name),
            _ => folder,
        };
        let bytes = manifest.files.iter().map(|file| file.bytes).sum();
        Ok(Some(StoredModel { manifest, path, bytes }))
    }

    /// Removes a model. A server that has loaded it keeps its mapped files until it stops.
    pub fn remove(&self, name: &str) -> Result<StoredModel, Error> {
        let model = match self.find(name)? {
            Some(model) => model,
            None => return Err(self.unknown(name)?),
        };
        let _lock = Lock::try_take(&self.lock_path(name))?
            .ok_or_else(|| Error::Conflict(format!("the model `{name}` is being pulled; wait for that to end")))?;
        let disk = |error| Error::disk(&format!("removing the model `{name}`"), error);
        let trash = self.staging_folder(name).join("trash");
        remove_folder(&trash).and_then(|()| fs::create_dir_all(self.staging_folder(name))).map_err(disk)?;
        // Gone by one rename; what takes longer happens out of sight.
        fs::rename(self.model_folder(name), &trash).map_err(disk)?;
        remove_folder(&self.staging_folder(name)).map_err(disk)?;
        Ok(model)
    }

    /// The error for a name that no model has.
    pub(crate) fn unknown(&self, name: &str) -> Result<Error, Error> {
        let names: Vec<String> = self.list()?.into_iter().map(|model| model.manifest.name).collect();
        let there = if names.is_empty() {
            "the data folder has no models".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        Ok(Error::NotFound(format!("there is no model `{}`; {there}", crate::reference::shown(name))))
    }

    /// The folder for unfinished files of `name`; the caller holds the lock.
    pub(crate) fn staging(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.staging_folder(name);
        fs::create_dir_all(&folder).map_err(|error| Error::disk(&format!("making {}", folder.display()), error))?;
        Ok(folder)
    }

    pub(crate) fn lock_path(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(format!("{name}.lock"))
    }

    /// Publishes the staged files under their names, by one rename at the end. The caller holds the lock; `staged` are the
    /// staging files in the order of `manifest.files`.
    pub(crate) fn publish(&self, manifest: &Manifest, staged: &[PathBuf]) -> Result<(), Error> {
        let name = &manifest.name;
        self.publish_files(manifest, staged)
            .map_err(|error| Error::disk(&format!("publishing the model `{name}`"), error))
    }

    fn publish_files(&self, manifest: &Manifest, staged: &[PathBuf]) -> std::io::Result<()> {
        let staging = self.staging_folder(&manifest.name);
        let folder = staging.join("publish");
        remove_folder(&folder)?;
        fs::create_dir(&folder)?;
        for (file, staged) in manifest.files.iter().zip(staged) {
            fs::rename(staged, folder.join(&file.name))?;
        }
        let mut file = File::create_new(folder.join(MANIFEST))?;
        file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
        file.sync_all()?;
        sync_folder(&folder)?;
        let target = self.model_folder(&manifest.name);
        // What stands there is no whole model, or the pull would have ended before.
        remove_folder(&target)?;
        fs::rename(&folder, &target)?;
        sync_folder(&self.root.join("models"))?;
        remove_folder(&staging)
    }

    fn model_folder(&self, name: &str) -> PathBuf {
        self.root.join("models").join(name)
    }

    fn staging_folder(&self, name: &str) -> PathBuf {
        self.root.join("staging").join(name)
    }
}

fn read_manifest(path: &Path) -> Option<Manifest> {
    let metadata = fs::metadata(path).ok()?;
    if metadata.len() > MANIFEST_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn remove_folder(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes renames in a folder last through a power cut.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
