//! The vault: blobs that are encrypted with a data key of their tenant, and the life of these keys.
//!
//! Master keys wrap data keys, data keys encrypt blobs. To rotate a data key is to make a new version: blobs that are
//! there stay readable by their older one. To change the master key is to wrap all data keys again, while the vault goes
//! on. To shred is to destroy a tenant's data keys.

use crate::blobs::{BlobId, Blobs, Pieces};
use crate::crypt::{CHUNK_BYTES, DataKey, HEADER_BYTES, Header, MasterKey, Masters, Opener, Sealer};
use crate::error::{Error, Result};
use crate::id::TenantId;
use crate::secrets::{Secrets, WrappedKey};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a new data key is tried when other processes make one too.
const TRIES: usize = 8;

/// Encrypted blobs. Cheap to clone; nothing secret is kept but the master keys.
#[derive(Debug, Clone)]
pub struct Vault {
    blobs: Blobs,
    secrets: Arc<dyn Secrets>,
    masters: Arc<Masters>,
}

/// What [`Vault::put`] has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub id: BlobId,
    /// Bytes of the content.
    pub bytes: u64,
}

impl Vault {
    /// A vault. `earlier` are master keys under which data keys may still be wrapped.
    pub fn new(blobs: Blobs, secrets: Arc<dyn Secrets>, current: MasterKey, earlier: Vec<MasterKey>) -> Self {
        Self::over(blobs, secrets, Masters::of(current, earlier))
    }

    /// The same with master keys that may be in files.
    pub fn over(blobs: Blobs, secrets: Arc<dyn Secrets>, masters: Masters) -> Self {
        Self { blobs, secrets, masters: Arc::new(masters) }
    }

    /// Where the blobs are.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Encrypts and stores what `content` gives, with the tenant's newest data key, which is made if there is none. It is
    /// on the disk when this returns; nothing is left of it if it fails. Memory is bounded, whatever its size.
    ///
    /// # Errors
    /// Those of `content`; `NotFound`, `Conflict`: no such tenant, or it is erased; `MasterKey`, `Full`, `Unavailable`.
    pub async fn put(
        &self,
        tenant: &TenantId,
        content: impl Stream<Item = Result<Bytes>> + Send + Unpin,
    ) -> Result<Stored> {
        let (version, key) = self.newest(tenant).await?;
        let mut first = Vec::with_capacity(HEADER_BYTES);
        let sealer = Sealer::new(&Header::new(version)?, &key, tenant, &mut first)?;
        let mut bytes = 0;
        let counted = content.inspect_ok(|piece| bytes += piece.len() as u64);
        let (id, _) = self.blobs.put(tenant, seal(counted, sealer, first)).await?;
        Ok(Stored { id, bytes })
    }

    /// The content of a blob, piece by piece. Each piece is authentic when it comes; that none is missing is known when the
    /// stream has ended without an error.
    ///
    /// # Errors
    /// `NotFound`: no such blob, or its data key is shredded; `MasterKey`, `Unavailable`; `Corrupt`, here or as the
    /// stream's last item.
    pub async fn get(&self, tenant: &TenantId, id: BlobId) -> Result<Pieces> {
        let mut pieces = self.blobs.get(tenant, id).await?;
        let mut begin = BytesMut::new();
        while begin.len() < HEADER_BYTES {
            let piece = pieces.try_next().await?;
            let cut = || Error::Corrupt(format!("the blob {id} is cut off in its header; restore a copy"));
            begin.extend_from_slice(&piece.ok_or_else(cut)?);
        }
        let rest = begin.split_off(HEADER_BYTES).freeze();
        let header: &[u8; HEADER_BYTES] =
            begin[..].try_into().map_err(|_| Error::internal("invariant: the header was just measured"))?;
        let header = Header::parse(header)?;
        let key = self.unwrap(&self.secrets.data_key(tenant, Some(header.version)).await?)?;
        let opener = Opener::new(&header, &key, tenant)?;
        Ok(open(stream::iter([Ok(rest)]).chain(pieces).boxed(), opener).boxed())
    }

    /// Makes a new data key for what is stored from now on, and returns its version.
    ///
    /// # Errors
    /// `NotFound`, `Conflict`: no such tenant, or it is erased; `Full`, `Unavailable`.
    pub async fn rotate(&self, tenant: &TenantId) -> Result<u32> {
        Ok(self.add_key(tenant).await?.0)
    }

    /// Wraps every data key that an earlier master key wraps by the current one, and returns how many. When it returns,
    /// the earlier ones are of no use any more, unless another process still wraps by one. After a failure it goes on where it stopped.
    ///
    /// # Errors
    /// `MasterKey`: one is wrapped by a master key that was not given; `Full`, `Unavailable`.
    pub async fn rewrap(&self) -> Result<usize> {
        let masters = self.masters.keys();
        let current = first(&masters)?;
        let mut rewrapped = 0;
        for old in self.secrets.data_keys(None).await? {
            if old.master == current.id() {
                continue;
            }
            let key = self.unwrap(&old)?;
            let new = current.wrap(&key, &old.tenant, old.version, old.created_at_ms)?;
            match self.secrets.rewrap_data_key(&new, &old.master).await {
                Ok(()) => rewrapped += 1,
                // Another process was first: it was wrapped again, or shredded.
                Err(Error::Conflict(_) | Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rewrapped)
    }

    /// Puts a new master key in force, wraps all data keys by it, deletes the one before, and returns how many data keys
    /// there were. Processes that have the vault open go on: they read the files again when they have to. After a failure
    /// both keys are kept, and the next call goes on.
    ///
    /// # Errors
    /// `Conflict`: another process is at it, or the keys are in no file; as [`Vault::rewrap`].
    pub async fn rotate_master(&self) -> Result<usize> {
        let _lock = self.masters.lock()?;
        self.masters.reload()?;
        // What a run that was cut off has left.
        self.rewrap().await?;
        self.masters.forget_earlier()?;
        self.masters.replace()?;
        let rewrapped = self.rewrap().await?;
        self.masters.forget_earlier()?;
        Ok(rewrapped)
    }

    /// Deletes the tenant's blobs that are not among `named` and are older than `age`, and returns how many: what is left
    /// when a process is killed between a blob and its entry. To be called with an age that no such moment reaches.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn remove_strays(&self, tenant: &TenantId, named: &[BlobId], age: Duration) -> Result<usize> {
        let named: HashSet<BlobId> = named.iter().copied().collect();
        let mut removed = 0;
        for id in self.blobs.older(tenant, age).await?.into_iter().filter(|id| !named.contains(id)) {
            match self.blobs.delete(tenant, id).await {
                Ok(()) => removed += 1,
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Destroys the tenant's data keys, then deletes its blobs. When the first is done no copy of a blob, wherever it may
    /// lie, can be read again. Again is no error.
    ///
    /// # Errors
    /// `Unavailable`: call again.
    pub async fn shred(&self, tenant: &TenantId) -> Result<()> {
        self.secrets.shred_data_keys(tenant, now_ms()).await?;
        self.blobs.delete_all(tenant).await.map(drop)
    }

    async fn newest(&self, tenant: &TenantId) -> Result<(u32, DataKey)> {
        match self.secrets.data_key(tenant, None).await {
            Ok(wrapped) => Ok((wrapped.version, self.unwrap(&wrapped)?)),
            Err(Error::NotFound(_)) => self.add_key(tenant).await,
            Err(error) => Err(error),
        }
    }

    async fn add_key(&self, tenant: &TenantId) -> Result<(u32, DataKey)> {
        let key = DataKey::random()?;
        let mut tries = 1;
        loop {
            let version = self.secrets.next_data_key(tenant).await?;
            let wrapped = first(&self.masters.keys())?.wrap(&key, tenant, version, now_ms())?;
            match self.secrets.add_data_key(&wrapped).await {
                Ok(()) => {
                    self.follow(&wrapped, &key).await?;
                    return Ok((version, key));
                }
                // Another process took the version, or the tenant is erased: then it stays so.
                Err(Error::Conflict(_)) if tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Wraps a data key that was just added again if the master key was replaced meanwhile: who replaces it may have
    /// listed the data keys before this one was there.
    async fn follow(&self, added: &WrappedKey, key: &DataKey) -> Result<()> {
        self.masters.reload()?;
        let masters = self.masters.keys();
        let current = first(&masters)?;
        if current.id() == added.master {
            return Ok(());
        }
        let new = current.wrap(key, &added.tenant, added.version, added.created_at_ms)?;
        match self.secrets.rewrap_data_key(&new, &added.master).await {
            Err(Error::Conflict(_) | Error::NotFound(_)) => Ok(()),
            done => done,
        }
    }

    /// A master key that is not known may be a new one.
    fn unwrap(&self, key: &WrappedKey) -> Result<DataKey> {
        let open = || {
            let masters = self.masters.keys();
            masters.iter().find(|master| master.id() == key.master).map(|master| master.unwrap(key))
        };
        if let Some(opened) = open() {
            return opened;
        }
        self.masters.reload()?;
        let missing = || Error::MasterKey { tenant: key.tenant.to_string(), wanted: key.master.clone() };
        open().ok_or_else(missing)?
    }
}

fn first(masters: &[MasterKey]) -> Result<&MasterKey> {
    masters.first().ok_or_else(|| Error::internal("invariant: a vault has a master key"))
}

/// Encrypts a stream. A chunk takes some ten microseconds, so it may be done between two awaits.
fn seal(
    content: impl Stream<Item = Result<Bytes>> + Send + Unpin,
    sealer: Sealer,
    first: Vec<u8>,
) -> impl Stream<Item = Result<Bytes>> + Send {
    stream::try_unfold((content, Some(sealer), first), |(mut content, mut sealer, mut out)| async move {
        while let Some(open) = &mut sealer {
            match content.try_next().await? {
                Some(piece) => open.push(&piece, &mut out)?,
                None => sealer.take().map_or(Ok(()), |sealer| sealer.finish(&mut out))?,
            }
            if out.len() >= CHUNK_BYTES {
                break;
            }
        }
        let piece = Bytes::from(std::mem::take(&mut out));
        Ok((!piece.is_empty()).then_some((piece, (content, sealer, out))))
    })
}

/// Decrypts a stream.
fn open(pieces: Pieces, opener: Opener) -> impl Stream<Item = Result<Bytes>> + Send {
    stream::try_unfold((pieces, Some(opener)), |(mut pieces, mut opener)| async move {
        let mut out = Vec::new();
        while let Some(open) = &mut opener
            && out.is_empty()
        {
            match pieces.try_next().await? {
                Some(piece) => open.push(&piece, &mut out)?,
                None => opener.take().map_or(Ok(()), |opener| opener.finish(&mut out))?,
            }
        }
        Ok((!out.is_empty()).then(|| (Bytes::from(out), (pieces, opener))))
    })
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
