//! What counts as a change, and what does not.

use super::{key, key_id, on_all, row, tenant, tenant_id};
use orrery_store::{Price, Store};

/// Whether `changes` grew since it was `before`, which is brought up to date.
async fn grew(store: &dyn Store, before: &mut u64) -> bool {
    let now = store.changes().await.expect("changes");
    let grew = now > *before;
    *before = now;
    grew
}

#[tokio::test]
async fn changes_of_tenants_keys_and_prices_count_and_no_others() {
    on_all(async |store| {
        let mut seen = store.changes().await.expect("changes");
        store.create_tenant(&tenant("default", 1)).await.expect("created");
        assert!(grew(store, &mut seen).await, "a new tenant");
        store.update_tenant(&tenant("default", 1)).await.expect("updated");
        assert!(grew(store, &mut seen).await, "a changed tenant");
        store.create_key(&key("key_a", "default", 1)).await.expect("created");
        assert!(grew(store, &mut seen).await, "a new key");
        store.update_key(&key("key_a", "default", 1)).await.expect("updated");
        assert!(grew(store, &mut seen).await, "a changed key");
        store.revoke_key(&key_id("key_a"), 5).await.expect("revoked");
        assert!(grew(store, &mut seen).await, "a revocation");
        let price = Price { model: "m".into(), input_nano: 1, cached_nano: 1, output_nano: 1 };
        store.set_price(&price).await.expect("set");
        assert!(grew(store, &mut seen).await, "a price");
        store.remove_price("m").await.expect("removed");
        assert!(grew(store, &mut seen).await, "a removed price");

        store.append_usage(&[row("a", "default", "key_a")]).await.expect("appended");
        store.touch_keys(&[(key_id("key_a"), 5)]).await.expect("touched");
        store.create_tenant(&tenant("default", 1)).await.expect_err("taken");
        store.remove_price("m").await.expect_err("gone");
        assert!(!grew(store, &mut seen).await, "usage, last use, and what was refused");

        store.erase_tenant(&tenant_id("default"), 9).await.expect("erased");
        assert!(grew(store, &mut seen).await, "an erasure");
    })
    .await;
}
