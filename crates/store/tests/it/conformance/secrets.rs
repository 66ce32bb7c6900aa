//! Wrapped data keys: versions, wrapping again, shredding.

use super::{bad_input, conflict, not_found, on_all, tenant, tenant_id};
use orrery_store::WrappedKey;

pub fn wrapped(tenant: &str, version: u32) -> WrappedKey {
    let wrapped = format!("wrapped {version} of {tenant}").into_bytes();
    WrappedKey { tenant: tenant_id(tenant), version, master: "master-1".into(), wrapped, created_at_ms: 3 }
}

#[tokio::test]
async fn versions_count_up() {
    on_all(async |store| {
        let (a, first, second) = (tenant_id("ten_a"), wrapped("ten_a", 1), wrapped("ten_a", 2));
        not_found(store.add_data_key(&first).await);
        store.create_tenant(&tenant("ten_a", 1)).await.expect("created");
        store.create_tenant(&tenant("ten_b", 1)).await.expect("created");
        not_found(store.data_key(&a, None).await);
        assert_eq!(store.next_data_key(&a).await.expect("next"), 1);
        store.add_data_key(&first).await.expect("added");
        conflict(store.add_data_key(&first).await);
        conflict(store.add_data_key(&wrapped("ten_a", 3)).await);
        bad_input(store.add_data_key(&wrapped("ten_a", 0)).await, "`version` 0");
        bad_input(store.add_data_key(&WrappedKey { wrapped: vec![], ..second.clone() }).await, "wrapped key");
        store.add_data_key(&second).await.expect("added");
        store.add_data_key(&wrapped("ten_b", 1)).await.expect("added");

        assert_eq!(store.next_data_key(&a).await.expect("next"), 3);
        assert_eq!(store.data_key(&a, None).await.expect("newest"), second);
        assert_eq!(store.data_key(&a, Some(1)).await.expect("read"), first);
        not_found(store.data_key(&a, Some(3)).await);
        assert_eq!(store.data_keys(Some(&a)).await.expect("listed"), [first.clone(), second.clone()]);
        assert_eq!(store.data_keys(None).await.expect("listed"), [first, second, wrapped("ten_b", 1)]);
    })
    .await;
}

#[tokio::test]
async fn a_key_is_wrapped_again_once() {
    on_all(async |store| {
        store.create_tenant(&tenant("ten_a", 1)).await.expect("created");
        store.add_data_key(&wrapped("ten_a", 1)).await.expect("added");
        let again = WrappedKey { master: "master-2".into(), wrapped: vec![0, 255], ..wrapped("ten_a", 1) };
        conflict(store.rewrap_data_key(&again, "master-0").await);
        store.rewrap_data_key(&WrappedKey { created_at_ms: 99, ..again.clone() }, "master-1").await.expect("wrapped");
        assert_eq!(store.data_keys(None).await.expect("listed"), std::slice::from_ref(&again));
        conflict(store.rewrap_data_key(&again, "master-1").await);
        not_found(store.rewrap_data_key(&wrapped("ten_a", 2), "master-1").await);
    })
    .await;
}

#[tokio::test]
async fn a_shredded_version_never_comes_back() {
    on_all(async |store| {
        let a = tenant_id("ten_a");
        for id in ["ten_a", "ten_b"] {
            store.create_tenant(&tenant(id, 1)).await.expect("created");
            store.add_data_key(&wrapped(id, 1)).await.expect("added");
        }
        assert_eq!(store.shred_data_keys(&a, 7).await.expect("shredded"), 1);
        assert_eq!(store.shred_data_keys(&a, 7).await.expect("shredded"), 0);
        not_found(store.data_key(&a, None).await);
        not_found(store.data_key(&a, Some(1)).await);
        not_found(store.rewrap_data_key(&wrapped("ten_a", 1), "master-1").await);
        conflict(store.add_data_key(&wrapped("ten_a", 1)).await);
        store.add_data_key(&wrapped("ten_a", 2)).await.expect("added");
        assert_eq!(store.data_keys(None).await.expect("listed"), [wrapped("ten_a", 2), wrapped("ten_b", 1)]);

        store.erase_tenant(&a, 8).await.expect("erased");
        assert_eq!(store.data_keys(None).await.expect("listed"), [wrapped("ten_b", 1)]);
        conflict(store.add_data_key(&wrapped("ten_a", 3)).await);
    })
    .await;
}
