//! What every implementation of the store does. Each test is one function that runs over all of them; a new
//! implementation is one more entry in [`on_all`].

pub mod audit;
mod changes;
pub mod files;
pub mod jobs;
mod keys;
mod ledger;
mod prices;
pub mod registry;
pub mod secrets;
mod tenants;

use orrery_store::{Database, Error, Key, KeyId, Limits, Memory, Outcome, Role, Store, Tenant, TenantId, UsageRow};

/// Runs `test` over a fresh store of each kind.
pub async fn on_all(test: impl AsyncFn(&dyn Store)) {
    test(&Memory::new()).await;
    let folder = tempfile::tempdir().expect("folder");
    let database = Database::open(&folder.path().join("orrery.db")).await.expect("database");
    test(&database).await;
    database.check().await.expect("whole");
}

pub fn tenant_id(text: &str) -> TenantId {
    text.parse().expect("tenant id")
}

pub fn key_id(text: &str) -> KeyId {
    text.parse().expect("key id")
}

/// A tenant with something in every field.
pub fn tenant(id: &str, created_at_ms: i64) -> Tenant {
    let limits = Limits { tokens_per_minute: Some(1_000), month_cost_nano: Some(5), ..Limits::default() };
    let name = format!("Tenant {id}, «Größe»");
    Tenant { weight: 7, kv_floor_percent: 3, limits, ..Tenant::new(tenant_id(id), name, created_at_ms) }
}

pub fn key(id: &str, tenant: &str, created_at_ms: i64) -> Key {
    let mut hash = [0xab; 32];
    hash[..id.len()].copy_from_slice(id.as_bytes());
    Key {
        id: key_id(id),
        tenant: tenant_id(tenant),
        name: format!("Key {id}"),
        hash,
        hint: "orr_abcd".into(),
        role: Role::Developer,
        limits: Limits { requests_per_minute: Some(60), ..Limits::default() },
        created_at_ms,
        expires_at_ms: Some(created_at_ms + 1_000),
        last_used_at_ms: None,
        revoked_at_ms: None,
    }
}

pub fn row(id: &str, tenant: &str, key: &str) -> UsageRow {
    UsageRow {
        id: id.into(),
        tenant: tenant_id(tenant),
        key: key_id(key),
        model: "smollm2".into(),
        version: "sha256:1234".into(),
        endpoint: "chat.completions".into(),
        input_tokens: 100,
        cached_tokens: 40,
        output_tokens: 20,
        queue_us: 1_000,
        prefill_us: 20_000,
        decode_us: 300_000,
        cost_nano: 7_000,
        outcome: Outcome::Completed,
        started_at_ms: 1_700_000_000_000,
        ended_at_ms: 1_700_000_000_321,
    }
}

pub fn not_found<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
}

pub fn conflict<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
}

/// Refused as bad input with a message that names `part`.
pub fn bad_input<T: std::fmt::Debug>(result: Result<T, Error>, part: &str) {
    assert!(matches!(&result, Err(Error::BadInput(message)) if message.contains(part)), "{part}: {result:?}");
}
