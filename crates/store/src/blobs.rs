//! Blobs: immutable files, each under the sha256 of what is stored.
//!
//! A blob is written under a name of its own in `staging/`, flushed to the disk, and renamed to where it belongs,
//! `tenants/TENANT/ab/abcd…`; then the folder is flushed. Whatever fails in between, a reader finds a whole blob or none.
//! What is stored is encrypted; that is `vault.rs`'s work, not this file's.

use crate::error::{Error, Result};
use crate::id::TenantId;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Place;
use object_store::{MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What is written at a time, in bytes; the least that object stores of the large clouds take as a part.
const PART_BYTES: usize = 5 * 1024 * 1024;
const STAGING: &str = "staging";
const TENANTS: &str = "tenants";

/// Names a blob: the sha256 of what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId([u8; 32]);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for BlobId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shown: String = text.chars().take(64).collect();
        let form = || Error::BadInput(format!("{shown:?} is no id of a blob: it has 64 digits, 0 to 9 and a to f"));
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.as_bytes().iter().all(digit) {
            return Err(form());
        }
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Vec<u8> = text.as_bytes().chunks(2).map_while(pair).collect();
        Ok(Self(bytes.try_into().map_err(|_| form())?))
    }
}

/// Pieces of a blob. After an error nothing more comes, and what came before is not to be used.
pub type Pieces = BoxStream<'static, Result<Bytes>>;

/// A place for blobs: a folder, or memory for tests.
#[derive(Debug, Clone)]
pub struct Blobs {
    objects: Arc<dyn ObjectStore>,
    /// `None` in memory.
    folder: Option<PathBuf>,
}

impl Blobs {
    /// Blobs in a folder, which is made if need be, for its owner alone. It may be in use by several processes.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    pub fn local(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let made = builder.create(folder).and_then(|()| folder.canonicalize());
        let folder = made.map_err(|error| Error::disk(&format!("opening the blobs in {shown}"), &error))?;
        // With `fsync` a put is on the disk when it returns: the file, its folder, and the folders that were made for it.
        let objects = LocalFileSystem::new_with_prefix(&folder).map_err(failed("opening the blobs"))?.with_fsync(true);
        Ok(Self { objects: Arc::new(objects), folder: Some(folder) })
    }

    /// Blobs that are forgotten when the last clone is dropped: the fake for tests.
    pub fn in_memory() -> Self {
        Self { objects: Arc::new(InMemory::new()), folder: None }
    }

    /// Stores what `pieces` gives, durably, and returns its name and how many bytes it has. Nothing is left of it if
    /// this fails; what is left when the process is killed, or the call dropped, [`sweep`](Blobs::sweep) deletes.
    ///
    /// # Errors
    /// Those of `pieces`; `Full`, `Unavailable`.
    pub(crate) async fn put(
        &self,
        tenant: &TenantId,
        pieces: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<(BlobId, u64)> {
        let name = TenantId::random()?.to_string();
        let staged = Place::from_iter([STAGING, name.as_str()]);
        let mut upload = self.objects.put_multipart(&staged).await.map_err(failed("writing a blob"))?;
        let stored = match write(&mut *upload, pieces).await {
            Ok((id, bytes)) => {
                let moved = self.objects.rename(&staged, &place(tenant, id)).await;
                moved.map_err(failed("publishing a blob")).map(|()| (id, bytes))
            }
            Err(error) => Err(error),
        };
        if stored.is_err() {
            let _ = upload.abort().await;
            self.discard(&staged).await;
        }
        stored
    }

    /// The stored bytes. That they are the ones that were written is known when the stream has ended without an error.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`; `Corrupt`, as the stream's last item.
    pub(crate) async fn get(&self, tenant: &TenantId, id: BlobId) -> Result<Pieces> {
        let found = self.objects.get(&place(tenant, id)).await.map_err(|error| missing(error, tenant, id))?;
        let pieces = found.into_stream().map_err(failed("reading a blob"));
        let checked = stream::try_unfold((pieces, Sha256::new()), move |(mut pieces, mut sha)| async move {
            match pieces.try_next().await? {
                Some(piece) => {
                    sha.update(&piece);
                    Ok(Some((piece, (pieces, sha))))
                }
                None if sha.finalize() == id.0 => Ok(None),
                None => Err(Error::Corrupt(format!("the blob {id} is not what was stored; restore a copy"))),
            }
        });
        Ok(checked.boxed())
    }

    /// How many bytes are stored, which is some more than the content has.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn stored_bytes(&self, tenant: &TenantId, id: BlobId) -> Result<u64> {
        let found = self.objects.head(&place(tenant, id)).await.map_err(|error| missing(error, tenant, id))?;
        Ok(found.size)
    }

    /// All blobs of a tenant with their stored bytes, in no order.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn list(&self, tenant: &TenantId) -> Result<Vec<(BlobId, u64)>> {
        let found = self.objects.list(Some(&home(tenant)));
        let named = |meta: &ObjectMeta| meta.location.filename().and_then(|name| name.parse().ok());
        let found = found.try_filter_map(|meta| async move { Ok(named(&meta).map(|id| (id, meta.size))) });
        found.try_collect().await.map_err(failed("listing blobs"))
    }

    /// The blobs of a tenant that were stored longer than `age` ago.
    pub(crate) async fn older(&self, tenant: &TenantId, age: Duration) -> Result<Vec<BlobId>> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(age);
        let last_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let found = self.objects.list(Some(&home(tenant)));
        let old = |meta: &ObjectMeta| meta.last_modified.timestamp_millis() <= last_ms;
        let named = |meta: &ObjectMeta| meta.location.filename().and_then(|name| name.parse::<BlobId>().ok());
        let found = found.try_filter_map(|meta| async move { Ok(named(&meta).filter(|_| old(&meta))) });
        found.try_collect().await.map_err(failed("listing blobs"))
    }

    /// Deletes a blob. Its bytes stay on the disk until they are overwritten; they are encrypted.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn delete(&self, tenant: &TenantId, id: BlobId) -> Result<()> {
        // A local store takes the deletion of what is not there for an error, others do not.
        self.stored_bytes(tenant, id).await?;
        self.objects.delete(&place(tenant, id)).await.map_err(|error| missing(error, tenant, id))
    }

    /// Deletes all blobs of a tenant, and returns how many.
    ///
    /// # Errors
    /// `Unavailable`: some may be left; call again.
    pub async fn delete_all(&self, tenant: &TenantId) -> Result<usize> {
        let blobs = self.list(tenant).await?;
        for (id, _) in &blobs {
            match self.delete(tenant, *id).await {
                // Another process was first.
                Ok(()) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(blobs.len())
    }

    /// Deletes what crashes left of unfinished puts, if it was last written longer than `age` ago, and returns how
    /// many. To be called at a start, with an age that no running put reaches.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sweep(&self, age: Duration) -> Result<usize> {
        let Some(folder) = self.folder.clone() else { return Ok(0) };
        let swept = blocking(move || remove_staged(&folder, "", Some(age))).await?;
        swept.map_err(|error| Error::disk("sweeping unfinished blobs", &error))
    }

    /// Deletes what a failed put left. The object store forgets its own file when the last steps fail.
    async fn discard(&self, staged: &Place) {
        let name = staged.filename().unwrap_or_default().to_owned();
        match self.folder.clone() {
            Some(folder) => drop(blocking(move || remove_staged(&folder, &name, None)).await),
            None => drop(self.objects.delete(staged).await),
        }
    }
}

/// Writes all pieces into an upload and completes it.
async fn write(
    upload: &mut dyn MultipartUpload,
    pieces: impl Stream<Item = Result<Bytes>> + Send,
) -> Result<(BlobId, u64)> {
    const DOING: &str = "writing a blob";
    let mut pieces = std::pin::pin!(pieces);
    let (mut sha, mut bytes, mut part) = (Sha256::new(), 0, Vec::new());
    while let Some(piece) = pieces.try_next().await? {
        sha.update(&piece);
        bytes += piece.len() as u64;
        part.extend_from_slice(&piece);
        if part.len() >= PART_BYTES {
            upload.put_part(std::mem::take(&mut part).into()).await.map_err(failed(DOING))?;
        }
    }
    if !part.is_empty() {
        upload.put_part(part.into()).await.map_err(failed(DOING))?;
    }
    upload.complete().await.map_err(failed(DOING))?;
    Ok((BlobId(sha.finalize().into()), bytes))
}

fn home(tenant: &TenantId) -> Place {
    Place::from_iter([TENANTS, tenant.as_str()])
}

fn place(tenant: &TenantId, id: BlobId) -> Place {
    let name = id.to_string();
    Place::from_iter([TENANTS, tenant.as_str(), &name[..2], &name])
}

/// Removes files of the staging folder whose names begin with `prefix`, and that are older than `age`.
fn remove_staged(folder: &Path, prefix: &str, age: Option<Duration>) -> std::io::Result<usize> {
    let entries = match std::fs::read_dir(folder.join(STAGING)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = |age| written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|past| past >= age));
        let named = entry.file_name().to_string_lossy().starts_with(prefix);
        if named && age.is_none_or(is_old) && std::fs::remove_file(entry.path()).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Internal { message: "a task of the blobs".into(), source: Some(Box::new(error)) })
}

fn missing(error: object_store::Error, tenant: &TenantId, id: BlobId) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound(format!("tenant `{tenant}` has no blob {id}")),
        error => failed("finding a blob")(error),
    }
}

/// Turns the object store's error into ours; what the system said lies somewhere in its chain of sources.
fn failed(doing: &'static str) -> impl Fn(object_store::Error) -> Error {
    move |error| {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                return Error::disk(doing, io);
            }
            source = cause.source();
        }
        Error::Unavailable(format!("{doing}: {error}"))
    }
}
