//! Names of KV blocks by their contents: a chain of sha256 digests.
//!
//! A block's keys and values depend on every token before it, so its name covers them all: digest(parent ‖ tokens), where
//! the first block's parent is a root made of the salt. Requests with different salts never share a name. sha256 because a
//! collision would hand one request another's memory.

use sha2::{Digest, Sha256};

/// The name of a full block, or of a chain's root.
pub type BlockHash = [u8; 32];

/// The root of a chain. `private`: a number that no other request has, so that nothing is shared beyond it.
pub fn root(salt: &[u8], private: Option<u64>) -> BlockHash {
    let mut digest = Sha256::new();
    match private {
        None => digest.update(b"shared"),
        Some(request) => {
            digest.update(b"private");
            digest.update(request.to_le_bytes());
        }
    }
    digest.update(salt);
    digest.finalize().into()
}

/// The name of the block that holds `tokens` after the block named `parent`.
pub fn chain(parent: &BlockHash, tokens: impl IntoIterator<Item = u32>) -> BlockHash {
    let mut digest = Sha256::new();
    digest.update(parent);
    for token in tokens {
        digest.update(token.to_le_bytes());
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{chain, root};

    #[test]
    fn a_name_covers_salt_order_and_everything_before() {
        let plain = root(b"", None);
        let first = chain(&plain, [1, 2]);
        assert_ne!(first, chain(&root(b"tenant", None), [1, 2]));
        assert_ne!(first, chain(&root(b"", Some(0)), [1, 2]));
        assert_ne!(first, chain(&plain, [2, 1]));
        assert_ne!(chain(&first, [3]), chain(&chain(&plain, [9, 2]), [3]));
        assert_eq!(chain(&first, [3]), chain(&chain(&plain, [1, 2]), [3]));
    }

    #[test]
    fn private_roots_differ_by_request() {
        assert_ne!(root(b"s", Some(1)), root(b"s", Some(2)));
        assert_ne!(root(b"shared", None), root(b"", None));
    }
}
