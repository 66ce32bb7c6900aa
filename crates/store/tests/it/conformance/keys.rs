//! Keys come, change, are used, and are revoked.

use super::{bad_input, conflict, key, key_id, not_found, on_all, tenant, tenant_id};
use orrery_store::{Key, Limits, Role};

#[tokio::test]
async fn a_key_is_read_as_it_was_written() {
    on_all(async |store| {
        store.create_tenant(&tenant("default", 1)).await.expect("created");
        store.create_tenant(&tenant("ten_b", 1)).await.expect("created");
        let mut first = key("key_a", "default", 5);
        // What only a use or a revocation may set is not taken over.
        let used = Key { last_used_at_ms: Some(3), revoked_at_ms: Some(4), ..first.clone() };
        store.create_key(&used).await.expect("created");
        store.create_key(&key("key_b", "ten_b", 3)).await.expect("created");
        assert_eq!(store.key(&first.id).await.expect("read"), first);

        (first.name, first.role, first.expires_at_ms) = ("other".into(), Role::PlatformAdmin, None);
        first.limits = Limits { concurrent_requests: Some(2), ..Limits::default() };
        let changed =
            Key { hash: [1; 32], hint: "x".into(), created_at_ms: 9, tenant: tenant_id("ten_b"), ..first.clone() };
        store.update_key(&changed).await.expect("updated");
        let all = store.keys(None).await.expect("listed");
        assert_eq!(all, [key("key_b", "ten_b", 3), first.clone()]);
        assert_eq!(store.keys(Some(&tenant_id("default"))).await.expect("listed"), [first]);
        assert_eq!(store.keys(Some(&tenant_id("ten_none"))).await.expect("listed"), []);
    })
    .await;
}

#[tokio::test]
async fn every_role_is_kept() {
    on_all(async |store| {
        store.create_tenant(&tenant("default", 1)).await.expect("created");
        for role in Role::ALL {
            let key = Key { role: *role, ..key(&format!("key_{role}"), "default", 1) };
            store.create_key(&key).await.expect("created");
            assert_eq!(store.key(&key.id).await.expect("read").role, *role);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_unknown_or_taken_is_refused() {
    on_all(async |store| {
        let first = key("key_a", "default", 5);
        not_found(store.create_key(&first).await);
        store.create_tenant(&tenant("default", 1)).await.expect("created");
        store.create_key(&first).await.expect("created");
        conflict(store.create_key(&Key { hash: [9; 32], ..first.clone() }).await);
        conflict(store.create_key(&Key { id: key_id("key_b"), ..first.clone() }).await);
        bad_input(store.create_key(&Key { name: "x".repeat(201), ..key("key_c", "default", 1) }).await, "`name`");
        bad_input(store.update_key(&Key { hint: "x".repeat(17), ..first.clone() }).await, "`hint`");
        assert_eq!(store.keys(None).await.expect("listed"), [first]);
        not_found(store.key(&key_id("key_none")).await);
        not_found(store.update_key(&key("key_none", "default", 1)).await);
        not_found(store.revoke_key(&key_id("key_none"), 1).await);
    })
    .await;
}

#[tokio::test]
async fn a_revocation_is_for_good() {
    on_all(async |store| {
        store.create_tenant(&tenant("default", 1)).await.expect("created");
        let first = key("key_a", "default", 5);
        store.create_key(&first).await.expect("created");
        store.revoke_key(&first.id, 50).await.expect("revoked");
        store.revoke_key(&first.id, 60).await.expect("revoked again");
        store.update_key(&first).await.expect("updated");
        assert_eq!(store.key(&first.id).await.expect("read").revoked_at_ms, Some(50));
    })
    .await;
}

#[tokio::test]
async fn the_last_use_only_grows() {
    on_all(async |store| {
        store.create_tenant(&tenant("default", 1)).await.expect("created");
        for id in ["key_a", "key_b"] {
            store.create_key(&key(id, "default", 5)).await.expect("created");
        }
        let (a, b) = (key_id("key_a"), key_id("key_b"));
        store.touch_keys(&[(a.clone(), 10), (key_id("key_none"), 5), (b.clone(), 7)]).await.expect("touched");
        store.touch_keys(&[(a.clone(), 9), (b.clone(), 8)]).await.expect("touched");
        store.touch_keys(&[]).await.expect("touched");
        assert_eq!(store.key(&a).await.expect("read").last_used_at_ms, Some(10));
        assert_eq!(store.key(&b).await.expect("read").last_used_at_ms, Some(8));
    })
    .await;
}
