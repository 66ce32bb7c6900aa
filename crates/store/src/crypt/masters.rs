//! The master keys in force: one that wraps, and, while it is being replaced, the one before it.
//!
//! In files the one in force is at a path, and the one before it beside that, with `.old` after its name. Every process
//! reads them again when it meets a data key that it cannot unwrap, so that a replacement needs no restart.

use super::MasterKey;
use crate::error::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Master keys, the one in force first.
#[derive(Debug)]
pub struct Masters {
    /// `None`: they are the caller's, and never change.
    path: Option<PathBuf>,
    keys: RwLock<Arc<Vec<MasterKey>>>,
}

impl Masters {
    /// Keys that the caller has.
    pub fn of(current: MasterKey, earlier: Vec<MasterKey>) -> Self {
        let keys = std::iter::once(current).chain(earlier).collect();
        Self { path: None, keys: RwLock::new(Arc::new(keys)) }
    }

    /// The keys at a path.
    ///
    /// # Errors
    /// `NotFound`: there is none. `BadInput`: it has another form, or others than its owner can read it; `Unavailable`.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: Some(path.to_owned()), keys: RwLock::new(Arc::new(read(path)?)) })
    }

    /// The same; where there is none, a new one is made.
    ///
    /// # Errors
    /// As [`Masters::open`], and `Full`.
    pub fn open_or_create(path: &Path) -> Result<Self> {
        match Self::open(path) {
            Err(Error::NotFound(_)) => match MasterKey::random()?.save_new(path) {
                // Another process was first.
                Ok(()) | Err(Error::Conflict(_)) => Self::open(path),
                Err(error) => Err(error),
            },
            opened => opened,
        }
    }

    pub(crate) fn keys(&self) -> Arc<Vec<MasterKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again.
    pub(crate) fn reload(&self) -> Result<()> {
        if let Some(path) = &self.path {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read(path)?);
        }
        Ok(())
    }

    /// Keeps others from replacing the key, until what is returned is dropped.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = beside(self.place()?, ".lock");
        let failed = |error: std::io::Error| Error::disk(&format!("locking {}", path.display()), &error);
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(Error::Conflict("another process is replacing the master key; wait until it has finished".into()))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Puts a new key in force and keeps the one before it. To be called under [`Masters::lock`], with none kept.
    pub(crate) fn replace(&self) -> Result<()> {
        let path = self.place()?;
        let (new, old) = (beside(path, ".new"), beside(path, ".old"));
        // One that was never put in force wraps nothing.
        let _ = fs::remove_file(&new);
        MasterKey::random()?.save_new(&new)?;
        let publish = || {
            // A link never replaces: the key before the one in force must not be lost.
            fs::hard_link(path, &old)?;
            sync_folder(path)?;
            fs::rename(&new, path)?;
            sync_folder(path)
        };
        publish().map_err(|error| Error::disk(&format!("replacing the master key {}", path.display()), &error))?;
        self.reload()
    }

    /// Deletes the key before the one in force. To be called when no data key is wrapped by it any more.
    pub(crate) fn forget_earlier(&self) -> Result<()> {
        let path = self.place()?;
        match fs::remove_file(beside(path, ".old")).and_then(|()| sync_folder(path)) {
            Ok(()) => self.reload(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.reload(),
            Err(error) => Err(Error::disk(&format!("deleting the master key before {}", path.display()), &error)),
        }
    }

    fn place(&self) -> Result<&Path> {
        self.path.as_deref().ok_or_else(|| Error::Conflict("the master key is not in a file; replace it there".into()))
    }
}

fn read(path: &Path) -> Result<Vec<MasterKey>> {
    // The one before first: if the key is replaced in between, nothing is missed.
    let earlier = match MasterKey::load(&beside(path, ".old")) {
        Err(Error::NotFound(_)) => None,
        earlier => Some(earlier?),
    };
    let current = MasterKey::load(path)?;
    let earlier = earlier.filter(|earlier| earlier.id() != current.id());
    Ok(std::iter::once(current).chain(earlier).collect())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
