//! Tenants come, change, and are erased.

use super::{bad_input, conflict, key, not_found, on_all, row, tenant, tenant_id};
use orrery_store::{Limits, Redaction, RedactionMode, Tenant};

#[tokio::test]
async fn a_tenant_is_read_as_it_was_written() {
    on_all(async |store| {
        let mut first = tenant("default", 5);
        store.create_tenant(&first).await.expect("created");
        store.create_tenant(&tenant("ten_early", 1)).await.expect("created");
        assert_eq!(store.tenant(&first.id).await.expect("read"), first);
        conflict(store.create_tenant(&first).await);
        not_found(store.tenant(&tenant_id("ten_none")).await);

        first.name = "'; DROP TABLE tenants; --".into();
        first.redaction = Redaction { request: RedactionMode::Mask, response: RedactionMode::Refuse };
        first.limits = Limits { queue_share_percent: Some(100), month_tokens: Some(0), ..Limits::default() };
        (first.weight, first.retention_days, first.suspended) = (1_000, 30, true);
        store.update_tenant(&first).await.expect("updated");
        let listed = store.tenants().await.expect("listed");
        assert_eq!(listed, [tenant("ten_early", 1), first]);
    })
    .await;
}

#[tokio::test]
async fn an_update_keeps_what_never_changes() {
    on_all(async |store| {
        store.create_tenant(&tenant("default", 5)).await.expect("created");
        store.update_tenant(&Tenant { erased_at_ms: Some(9), ..tenant("default", 6) }).await.expect("updated");
        assert_eq!(store.tenant(&tenant_id("default")).await.expect("read"), tenant("default", 5));
        not_found(store.update_tenant(&tenant("ten_none", 1)).await);
    })
    .await;
}

#[tokio::test]
async fn bounds_are_held() {
    on_all(async |store| {
        let good = tenant("default", 1);
        let limits = |limits| Tenant { limits, ..good.clone() };
        for (bad, part) in [
            (Tenant { weight: 0, ..good.clone() }, "`weight` 0"),
            (Tenant { weight: 1_001, ..good.clone() }, "`weight` 1001"),
            (Tenant { kv_floor_percent: 101, ..good.clone() }, "`kv_floor_percent` 101"),
            (Tenant { name: "x".repeat(201), ..good.clone() }, "`name` has 201"),
            (Tenant { name: "a\nb".into(), ..good.clone() }, "control character"),
            (limits(Limits { queue_share_percent: Some(101), ..Limits::default() }), "`queue_share_percent`"),
            (limits(Limits { month_tokens: Some(u64::MAX), ..Limits::default() }), "`month_tokens`"),
        ] {
            bad_input(store.create_tenant(&bad).await, part);
        }
        assert_eq!(store.tenants().await.expect("listed"), []);
        store.create_tenant(&good).await.expect("created");
        bad_input(store.update_tenant(&Tenant { weight: 0, ..good.clone() }).await, "`weight` 0");
        assert_eq!(store.tenant(&good.id).await.expect("read"), good);
    })
    .await;
}

#[tokio::test]
async fn erasure_leaves_ids_and_numbers_alone() {
    on_all(async |store| {
        let (gone, other) = (tenant_id("ten_gone"), tenant_id("ten_other"));
        for id in ["ten_gone", "ten_other"] {
            store.create_tenant(&tenant(id, 1)).await.expect("created");
            store.create_key(&key(&format!("key_{id}"), id, 2)).await.expect("created");
            store.append_usage(&[row(id, id, &format!("key_{id}"))]).await.expect("appended");
        }
        store.erase_tenant(&gone, 77).await.expect("erased");
        // Again is no error, and keeps the time.
        store.erase_tenant(&gone, 88).await.expect("erased");

        let left = store.tenant(&gone).await.expect("read");
        assert_eq!((left.name.as_str(), left.erased_at_ms, left.limits), ("", Some(77), Limits::default()));
        assert_eq!(store.keys(Some(&gone)).await.expect("listed"), []);
        assert_eq!(store.usage_row("ten_gone").await.expect("read").output_tokens, 20);
        assert_eq!(store.tenant(&other).await.expect("read"), tenant("ten_other", 1));
        assert_eq!(store.keys(Some(&other)).await.expect("listed").len(), 1);

        conflict(store.update_tenant(&tenant("ten_gone", 1)).await);
        conflict(store.create_tenant(&tenant("ten_gone", 1)).await);
        conflict(store.create_key(&key("key_new", "ten_gone", 1)).await);
        not_found(store.erase_tenant(&tenant_id("ten_none"), 1).await);
    })
    .await;
}
