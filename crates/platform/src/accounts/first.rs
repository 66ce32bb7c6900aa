//! The first start: a tenant and a key, so that the service can be used at once and by nobody else.

use super::{key_text, now_ms};
use crate::Error;
use orrery_store::{Key, KeyId, Limits, Role, Store, Tenant, TenantId};
use std::io::Write as _;
use std::path::Path;

/// The file of the first key in the data folder, readable by its owner alone.
const FILE: &str = "first.key";

/// Makes what the first start needs; the key's text when this was it. The file comes before the database's row, so that
/// no crash leaves a key that nobody knows.
pub(super) async fn ensure(store: &dyn Store, data_dir: Option<&Path>) -> Result<Option<String>, Error> {
    match store.create_tenant(&Tenant::new(TenantId::first(), "default", now_ms())).await {
        Ok(()) | Err(orrery_store::Error::Conflict(_)) => {}
        Err(error) => return Err(error.into()),
    }
    if !store.keys(None).await?.is_empty() {
        return Ok(None);
    }
    let text = key_text::generate()?;
    if let Some(data_dir) = data_dir {
        write(data_dir, &text)?;
    }
    let key = Key {
        id: KeyId::random()?,
        tenant: TenantId::first(),
        name: "first".to_owned(),
        hash: key_text::hash(&text),
        hint: key_text::hint(&text),
        role: Role::PlatformAdmin,
        limits: Limits::default(),
        created_at_ms: now_ms(),
        expires_at_ms: None,
        last_used_at_ms: None,
        revoked_at_ms: None,
    };
    store.create_key(&key).await?;
    Ok(Some(text))
}

fn write(data_dir: &Path, text: &str) -> Result<(), Error> {
    let disk = |error| Error::disk("cannot keep the first key in the data folder", error);
    let mut file = tempfile::Builder::new().prefix(".first-key").tempfile_in(data_dir).map_err(disk)?;
    file.write_all(format!("{text}\n").as_bytes()).map_err(disk)?;
    file.as_file().sync_all().map_err(disk)?;
    file.persist(data_dir.join(FILE)).map_err(|error| disk(error.error))?;
    Ok(())
}

pub(super) fn read(data_dir: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(data_dir.join(FILE)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::disk("cannot read the first key in the data folder", error)),
    }
}
