//! `orrery vault`: the keys under which files are encrypted.

use super::key::open;
use crate::args::{VaultCommand, VaultKeys};
use crate::config::Settings;
use std::io::Write as _;

/// # Errors
/// The data folder's database or the master key cannot be opened or written.
pub async fn run(command: VaultCommand, settings: &Settings) -> anyhow::Result<()> {
    let (accounts, by) = open(settings).await?;
    let mut out = std::io::stdout().lock();
    let VaultCommand::Rotate { only } = command;
    if only != Some(VaultKeys::Data) {
        let wrapped = accounts.rotate_master_key(&by).await?;
        writeln!(out, "a new master key is in force; data keys wrapped by it: {wrapped}")?;
    }
    if only != Some(VaultKeys::Master) {
        let tenants = accounts.rotate_data_keys(&by).await?;
        writeln!(out, "tenants with a new data key: {tenants}")?;
    }
    Ok(())
}
