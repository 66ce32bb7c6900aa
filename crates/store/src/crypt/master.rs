//! The master key: a file beside the data, or wherever the operator keeps it.

use super::{DataKey, KEY_BYTES, random};
use crate::error::{Error, Result};
use crate::id::TenantId;
use crate::secrets::WrappedKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Encrypts data keys. Whoever has it and the data folder can read every blob; without it nobody can.
pub struct MasterKey {
    id: String,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl MasterKey {
    /// A new random key. What is wrapped by it is lost when it is.
    ///
    /// # Errors
    /// `Internal`: the system gives no random numbers.
    pub fn random() -> Result<Self> {
        Ok(Self::from_bytes(random()?))
    }

    /// A key from 32 random bytes, such as a secret store gives.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        let digest = Sha256::new().chain_update("orrery master key id").chain_update(bytes).finalize();
        let id = digest.iter().take(8).fold("mk_".to_owned(), |id, byte| format!("{id}{byte:02x}"));
        Self { id, key: Zeroizing::new(bytes) }
    }

    /// Reads a key from a file: 64 hexadecimal digits.
    ///
    /// # Errors
    /// `NotFound`; `BadInput`: it has another form, or others than its owner can read it; `Unavailable`.
    pub fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let doing = format!("reading the master key {shown}");
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotFound(format!("there is no master key {shown}")));
            }
            text => Zeroizing::new(text.map_err(|error| Error::disk(&doing, &error))?),
        };
        require_private(path)?;
        let digits = text.trim_ascii();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let plain = digits.len() == 2 * KEY_BYTES && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes: Option<Vec<u8>> = plain.then(|| digits.as_bytes().chunks(2).map_while(pair).collect());
        let bytes = bytes.map(Zeroizing::new).and_then(|bytes| <[u8; KEY_BYTES]>::try_from(&bytes[..]).ok());
        let form = || Error::BadInput(format!("{shown} is no master key: it must hold 64 hexadecimal digits"));
        Ok(Self::from_bytes(bytes.ok_or_else(form)?))
    }

    /// Writes the key to a new file that its owner alone can read. It is on the disk when this returns.
    ///
    /// # Errors
    /// `Conflict`: there is such a file; it is left alone. `Full`, `Unavailable`.
    pub fn save_new(&self, path: &Path) -> Result<()> {
        let doing = format!("writing the master key {}", path.display());
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::Conflict(format!("there is a master key {} already; it is left as it is", path.display()))
            }
            _ => Error::disk(&doing, &error),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Written whole under another name first: half a key must never stand under this one.
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", self.id));
        let temporary = Path::new(&temporary);
        let text = Zeroizing::new(self.key.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")));
        let publish = || {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            // A link, unlike a rename, never replaces.
            std::fs::hard_link(temporary, path)?;
            std::fs::File::open(folder)?.sync_all()
        };
        let published = publish();
        let _ = std::fs::remove_file(temporary);
        published.map_err(failed)
    }

    /// Names the key, and tells nothing about it.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn wrap(
        &self,
        key: &DataKey,
        tenant: &TenantId,
        version: u32,
        created_at_ms: i64,
    ) -> Result<WrappedKey> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = key.0.to_vec();
        let bound = self.bound(tenant, version);
        let done = self.cipher()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed);
        done.map_err(|_| Error::internal("a data key could not be wrapped"))?;
        let wrapped = [&nonce[..], &sealed].concat();
        Ok(WrappedKey { tenant: tenant.clone(), version, master: self.id.clone(), wrapped, created_at_ms })
    }

    pub(crate) fn unwrap(&self, key: &WrappedKey) -> Result<DataKey> {
        let (tenant, version) = (&key.tenant, key.version);
        let wrong = || Error::Corrupt(format!("data key {version} of tenant `{tenant}` was changed; restore a copy"));
        let (nonce, sealed) = key.wrapped.split_first_chunk::<NONCE_LEN>().ok_or_else(wrong)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.cipher()?.open_in_place(nonce, self.bound(tenant, version), &mut sealed);
        let bytes = <[u8; KEY_BYTES]>::try_from(&*opened.map_err(|_| wrong())?).map_err(|_| wrong())?;
        Ok(DataKey(Zeroizing::new(bytes)))
    }

    fn cipher(&self) -> Result<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &self.key[..]);
        Ok(LessSafeKey::new(key.map_err(|_| Error::internal("invariant: a master key has 32 bytes"))?))
    }

    /// A wrapped key is good for this tenant and version alone.
    fn bound(&self, tenant: &TenantId, version: u32) -> Aad<String> {
        Aad::from(format!("orrery data key\n{}\n{tenant}\n{version}", self.id))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

#[cfg(unix)]
fn require_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| Error::disk(&format!("reading {shown}"), &error))?;
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::BadInput(format!("others than its owner can read the master key {shown}; run `chmod 600 {shown}`")))
}

#[cfg(not(unix))]
fn require_private(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_for_its_tenant_and_version_alone() {
        let (master, key) = (MasterKey::random().expect("key"), DataKey::random().expect("key"));
        let tenant: TenantId = "ten_a".parse().expect("id");
        let wrapped = master.wrap(&key, &tenant, 3, 5).expect("wrapped");
        assert_eq!(*master.unwrap(&wrapped).expect("unwrapped").0, *key.0);
        let corrupt = |wrapped: &WrappedKey, master: &MasterKey| {
            assert!(matches!(master.unwrap(wrapped), Err(Error::Corrupt(_))));
        };
        corrupt(&wrapped, &MasterKey::random().expect("key"));
        corrupt(&WrappedKey { version: 4, ..wrapped.clone() }, &master);
        corrupt(&WrappedKey { tenant: "ten_b".parse().expect("id"), ..wrapped.clone() }, &master);
        for index in 0..wrapped.wrapped.len() {
            let mut bad = wrapped.clone();
            bad.wrapped[index] ^= 1;
            corrupt(&bad, &master);
            bad.wrapped.truncate(index);
            corrupt(&bad, &master);
        }
    }

    #[test]
    fn nothing_prints_a_key() {
        let master = MasterKey::from_bytes([0xab; KEY_BYTES]);
        let shown = format!("{master:?} {:?}", DataKey(Zeroizing::new([0xab; KEY_BYTES])));
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    }
}
