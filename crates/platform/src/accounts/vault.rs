//! Use cases around the vault: replacing the keys under which files are encrypted.

use super::Accounts;
use super::principal::Principal;
use crate::Error;
use crate::access::Action;
use serde_json::{Map, json};

impl Accounts {
    /// Makes a new data key for each tenant that has one, for what is stored from now on. Returns how many.
    ///
    /// # Errors
    /// `Forbidden`; `NoSpace`, `Unavailable`.
    pub async fn rotate_data_keys(&self, by: &Principal) -> Result<usize, Error> {
        self.note_rotation(by, "data").await?;
        self.files.rotate_data_keys().await
    }

    /// Replaces the master key and wraps all data keys by the new one. Servers go on meanwhile. Returns how many.
    ///
    /// # Errors
    /// `Forbidden`; `Conflict`: another process is at it; `NoSpace`, `Unavailable`.
    pub async fn rotate_master_key(&self, by: &Principal) -> Result<usize, Error> {
        self.note_rotation(by, "master").await?;
        self.files.rotate_master_key().await
    }

    async fn note_rotation(&self, by: &Principal, keys: &str) -> Result<(), Error> {
        by.check(Action::ManageVault)?;
        let details = Map::from_iter([("keys".to_owned(), json!(keys))]);
        self.note(by, "vault.rotate", None, "vault", details).await
    }
}
