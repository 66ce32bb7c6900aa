//! The format of an encrypted blob, written and read piece by piece.
//!
//! ```text
//! header   "ORRBLOB1"  8 bytes
//!          version     4 bytes, big endian: which data key of the tenant
//!          salt       32 bytes, random
//! chunks   64 KiB of the content each, encrypted, and a tag of 16 bytes; the last has 0 bytes to 64 KiB
//! ```
//!
//! A blob has a key of its own: HKDF-SHA256 of the data key, with the salt, over the header and the tenant's id, so that a
//! changed header or a blob of another tenant has another key. A chunk's nonce is its number and whether it is the last,
//! so that chunks cannot be moved, dropped or added. The last chunk is never missing: an empty blob has one, and a blob
//! that is cut off at a chunk's end does not open. This is the STREAM construction of Hoang, Reyhanitabar, Rogaway and
//! Vizár (2015).

use super::{DataKey, random};
use crate::error::{Error, Result};
use crate::id::TenantId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

/// Bytes of content in a chunk.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes before the first chunk.
pub(crate) const HEADER_BYTES: usize = 44;
const MAGIC: &[u8; 8] = b"ORRBLOB1";
const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 32;

/// What stands before the chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which data key of the tenant.
    pub(crate) version: u32,
    salt: [u8; SALT_BYTES],
}

impl Header {
    pub(crate) fn new(version: u32) -> Result<Self> {
        Ok(Self { version, salt: random()? })
    }

    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        let parts = rest.split_first_chunk::<4>().and_then(|(version, salt)| Some((version, salt.try_into().ok()?)));
        match parts {
            Some((version, salt)) if magic == MAGIC => Ok(Self { version: u32::from_be_bytes(*version), salt }),
            _ => Err(Error::Corrupt("a blob does not begin as one; restore a copy".into())),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&MAGIC[..], &self.version.to_be_bytes(), &self.salt].concat()
    }

    /// The key of this blob.
    fn key(&self, data_key: &DataKey, tenant: &TenantId) -> Result<LessSafeKey> {
        let root = Salt::new(HKDF_SHA256, &self.salt).extract(&data_key.0[..]);
        let info = [&self.to_bytes()[..], tenant.as_str().as_bytes()];
        let key = root.expand(&info, &AES_256_GCM).map_err(|_| Error::internal("invariant: HKDF gives 32 bytes"))?;
        Ok(LessSafeKey::new(UnboundKey::from(key)))
    }
}

/// The number of a chunk, and whether it is the last.
fn nonce(index: u64, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    bytes[NONCE_LEN - 1] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

/// Encrypts. Pieces of any size go in; what comes out is appended to `out`.
pub(crate) struct Sealer {
    key: LessSafeKey,
    index: u64,
    /// Content that is not yet sealed, one chunk at most: it may be the last.
    open: Vec<u8>,
}

impl Sealer {
    /// Begins a blob: its header is appended to `out`.
    pub(crate) fn new(header: &Header, data_key: &DataKey, tenant: &TenantId, out: &mut Vec<u8>) -> Result<Self> {
        let key = header.key(data_key, tenant)?;
        out.extend_from_slice(&header.to_bytes());
        Ok(Self { key, index: 0, open: Vec::with_capacity(CHUNK_BYTES) })
    }

    pub(crate) fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) -> Result<()> {
        while !piece.is_empty() {
            if self.open.len() == CHUNK_BYTES {
                self.seal(false, out)?;
            }
            let (taken, rest) = piece.split_at(piece.len().min(CHUNK_BYTES - self.open.len()));
            self.open.extend_from_slice(taken);
            piece = rest;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, out: &mut Vec<u8>) -> Result<()> {
        self.seal(true, out)
    }

    fn seal(&mut self, last: bool, out: &mut Vec<u8>) -> Result<()> {
        let sealed = self.key.seal_in_place_separate_tag(nonce(self.index, last), Aad::empty(), &mut self.open);
        let tag = sealed.map_err(|_| Error::internal("a chunk of a blob could not be encrypted"))?;
        out.extend_from_slice(&self.open);
        out.extend_from_slice(tag.as_ref());
        self.open.clear();
        self.index += 1;
        Ok(())
    }
}

/// Decrypts. Nothing is appended to `out` that was not found to be authentic; that it is whole is known after `finish`.
pub(crate) struct Opener {
    key: LessSafeKey,
    index: u64,
    sealed: Vec<u8>,
}

impl Opener {
    pub(crate) fn new(header: &Header, data_key: &DataKey, tenant: &TenantId) -> Result<Self> {
        let key = header.key(data_key, tenant)?;
        Ok(Self { key, index: 0, sealed: Vec::with_capacity(CHUNK_BYTES + TAG_BYTES) })
    }

    pub(crate) fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) -> Result<()> {
        const FULL: usize = CHUNK_BYTES + TAG_BYTES;
        while !piece.is_empty() {
            // More follows, so it is not the last.
            if self.sealed.len() == FULL {
                self.open(false, out)?;
            }
            let (taken, rest) = piece.split_at(piece.len().min(FULL - self.sealed.len()));
            self.sealed.extend_from_slice(taken);
            piece = rest;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, out: &mut Vec<u8>) -> Result<()> {
        self.open(true, out)
    }

    fn open(&mut self, last: bool, out: &mut Vec<u8>) -> Result<()> {
        let index = self.index;
        let opened = self.key.open_in_place(nonce(index, last), Aad::empty(), &mut self.sealed);
        let wrong = |_| Error::Corrupt(format!("chunk {index} of a blob is not as it was written; restore a copy"));
        out.extend_from_slice(opened.map_err(wrong)?);
        self.sealed.clear();
        self.index += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        id.parse().expect("id")
    }

    fn seal(content: &[u8], piece: usize, key: &DataKey) -> Vec<u8> {
        let mut out = Vec::new();
        let header = Header::new(7).expect("header");
        let mut sealer = Sealer::new(&header, key, &tenant("ten_a"), &mut out).expect("sealer");
        content.chunks(piece).for_each(|piece| sealer.push(piece, &mut out).expect("sealed"));
        sealer.finish(&mut out).expect("finished");
        out
    }

    fn open(sealed: &[u8], piece: usize, key: &DataKey, of: &str) -> Result<Vec<u8>> {
        let (header, chunks) = sealed.split_first_chunk::<HEADER_BYTES>().expect("header");
        let mut opener = Opener::new(&Header::parse(header)?, key, &tenant(of))?;
        let mut out = Vec::new();
        chunks.chunks(piece).try_for_each(|piece| opener.push(piece, &mut out))?;
        opener.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn any_size_in_any_pieces() {
        let key = DataKey::random().expect("key");
        let content: Vec<u8> = (0..3 * CHUNK_BYTES + 5).map(|index| (index * 31 % 251) as u8).collect();
        for bytes in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, content.len()] {
            for piece in [997, CHUNK_BYTES, 1 << 20] {
                let sealed = seal(&content[..bytes], piece, &key);
                let chunks = bytes.div_ceil(CHUNK_BYTES).max(1);
                assert_eq!(sealed.len(), HEADER_BYTES + bytes + chunks * TAG_BYTES);
                assert_eq!(open(&sealed, piece / 2, &key, "ten_a").expect("opened"), &content[..bytes]);
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let key = DataKey::random().expect("key");
        let sealed = seal(b"a canary of 31 bytes, or so, yes", 10, &key);
        for index in 0..sealed.len() {
            for bit in 0..8 {
                let mut bad = sealed.clone();
                bad[index] ^= 1 << bit;
                assert!(matches!(open(&bad, 1, &key, "ten_a"), Err(Error::Corrupt(_))), "byte {index}, bit {bit}");
            }
        }
        for bytes in HEADER_BYTES..sealed.len() {
            assert!(matches!(open(&sealed[..bytes], 99, &key, "ten_a"), Err(Error::Corrupt(_))), "{bytes} bytes");
        }
        assert!(matches!(open(&[&sealed[..], b"x"].concat(), 99, &key, "ten_a"), Err(Error::Corrupt(_))));
        assert!(matches!(open(&sealed, 99, &key, "ten_b"), Err(Error::Corrupt(_))), "another tenant");
        let other = DataKey::random().expect("key");
        assert!(matches!(open(&sealed, 99, &other, "ten_a"), Err(Error::Corrupt(_))), "another key");
    }

    #[test]
    fn chunks_cannot_be_moved_dropped_or_added() {
        const FULL: usize = CHUNK_BYTES + TAG_BYTES;
        let key = DataKey::random().expect("key");
        let sealed = seal(&vec![5; 3 * CHUNK_BYTES], CHUNK_BYTES, &key);
        let (header, chunks) = sealed.split_at(HEADER_BYTES);
        let chunk = |index: usize| &chunks[index * FULL..(index + 1) * FULL];
        for order in [&[0, 1][..], &[1, 0, 2], &[0, 2], &[0, 1, 2, 2], &[0, 1, 1, 2], &[2], &[]] {
            let chunks: Vec<&[u8]> = order.iter().map(|index| chunk(*index)).collect();
            let bad = [header, &chunks.concat()].concat();
            assert!(matches!(open(&bad, 4096, &key, "ten_a"), Err(Error::Corrupt(_))), "{order:?}");
        }
        assert_eq!(open(&sealed, 4096, &key, "ten_a").expect("opened"), vec![5; 3 * CHUNK_BYTES]);
    }

    #[test]
    fn the_same_content_never_looks_the_same() {
        let key = DataKey::random().expect("key");
        assert_ne!(seal(&[0; 100], 100, &key)[HEADER_BYTES..], seal(&[0; 100], 100, &key)[HEADER_BYTES..]);
    }
}
