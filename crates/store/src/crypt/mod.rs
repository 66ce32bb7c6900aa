//! Encryption at rest: master keys wrap data keys, and a data key of a tenant encrypts its blobs.
//!
//! Everything is AES-256 in GCM. `stream.rs` has the format of a blob. Keys are wiped from memory when they are dropped,
//! and never printed.

mod master;
mod masters;
mod stream;

use crate::error::{Error, Result};
pub use master::MasterKey;
pub use masters::Masters;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt;
pub(crate) use stream::{CHUNK_BYTES, HEADER_BYTES, Header, Opener, Sealer};
use zeroize::Zeroizing;

/// Length of every key.
const KEY_BYTES: usize = 32;

/// What encrypts one tenant's blobs, in the clear. It lives as long as one blob is read or written.
pub(crate) struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    pub(crate) fn random() -> Result<Self> {
        Ok(Self(Zeroizing::new(random()?)))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::internal("the system gives no random numbers"))?;
    Ok(bytes)
}
