//! `orrery key`: the keys of the data folder.

use crate::args::{KeyCommand, KeyCreate, KeyList, KeyRevoke};
use crate::config::Settings;
use crate::table::table;
use crate::time;
use anyhow::Context as _;
use orrery_platform::accounts::{KeyInfo, Keys, NewKey};
use orrery_platform::{Accounts, Principal};
use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::Arc;

/// # Errors
/// The data folder's database cannot be opened, or refuses.
pub async fn run(command: KeyCommand, settings: &Settings) -> anyhow::Result<()> {
    match command {
        KeyCommand::Show => show(settings),
        KeyCommand::Create(create) => self::create(create, settings).await,
        KeyCommand::List(list) => self::list(&list, settings).await,
        KeyCommand::Revoke(revoke) => self::revoke(&revoke, settings).await,
    }
}

/// The accounts of the data folder, and who asks: the person who owns it.
///
/// # Errors
/// The database cannot be opened.
pub async fn open(settings: &Settings) -> anyhow::Result<(Arc<Accounts>, Principal)> {
    let folder = &settings.platform.data_dir;
    let accounts =
        Accounts::open_with(folder, Keys::Asked, settings.files.clone(), settings.training.clone()).await?.accounts;
    let by = accounts.operator().await?;
    Ok((accounts, by))
}

fn show(settings: &Settings) -> anyhow::Result<()> {
    let folder = &settings.platform.data_dir;
    let key = Accounts::first_key(folder)?.with_context(|| {
        format!(
            "{} has no first key: `orrery serve` makes one when it starts for the first time, and `orrery key create` \
             makes others",
            folder.display()
        )
    })?;
    writeln!(std::io::stdout().lock(), "{key}")?;
    Ok(())
}

async fn create(create: KeyCreate, settings: &Settings) -> anyhow::Result<()> {
    let length = create.expires.as_deref().map(time::length_ms).transpose()?;
    let (accounts, by) = open(settings).await?;
    let new = NewKey {
        tenant: create.tenant,
        name: create.name,
        role: create.role,
        expires_at_ms: length.map(|length| time::now_ms() + length),
        ..NewKey::default()
    };
    let (key, text) = accounts.create_key(&by, new).await?;
    let mut out = std::io::stdout().lock();
    if create.json {
        let mut json = as_json(&key);
        json["key"] = text.into();
        writeln!(out, "{json:#}")?;
        return Ok(());
    }
    // The key alone on the standard output, for scripts.
    eprintln!("made {} ({}) of tenant {}; its text is shown this once:", key.id, key.role, key.tenant);
    writeln!(out, "{text}")?;
    Ok(())
}

async fn list(list: &KeyList, settings: &Settings) -> anyhow::Result<()> {
    let (accounts, by) = open(settings).await?;
    let keys = accounts.keys(&by, list.tenant.as_deref()).await?;
    let mut out = std::io::stdout().lock();
    if list.json {
        writeln!(out, "{:#}", Value::from_iter(keys.iter().map(as_json)))?;
        return Ok(());
    }
    let header = ["ID", "TENANT", "NAME", "KEY", "ROLE", "LAST USED", "STATE"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(keys.iter().map(row)).collect();
    for line in table(&rows) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

async fn revoke(revoke: &KeyRevoke, settings: &Settings) -> anyhow::Result<()> {
    let (accounts, by) = open(settings).await?;
    for id in &revoke.ids {
        let key = accounts.revoke_key(&by, id).await?;
        writeln!(std::io::stdout().lock(), "revoked {} ({}…)", key.id, key.hint)?;
    }
    Ok(())
}

fn row(key: &KeyInfo) -> [String; 7] {
    let now = time::now_ms();
    let state = match (key.revoked_at_ms, key.expires_at_ms) {
        (Some(at), _) => format!("revoked {}", time::minute(at)),
        (None, Some(end)) if end <= now => format!("expired {}", time::minute(end)),
        (None, Some(end)) => format!("until {}", time::minute(end)),
        (None, None) => "good".to_owned(),
    };
    let used = key.last_used_at_ms.map_or_else(|| "never".to_owned(), time::minute);
    let hint = format!("{}…", key.hint);
    [key.id.clone(), key.tenant.clone(), key.name.clone(), hint, key.role.clone(), used, state]
}

fn as_json(key: &KeyInfo) -> Value {
    json!({
        "id": key.id, "tenant": key.tenant, "name": key.name, "hint": key.hint, "role": key.role,
        "created_at_ms": key.created_at_ms, "expires_at_ms": key.expires_at_ms,
        "last_used_at_ms": key.last_used_at_ms, "revoked_at_ms": key.revoked_at_ms,
    })
}
