//! The audit log: rows in a chain.

use super::{bad_input, on_all, tenant_id};
use orrery_store::{AUDIT_ROWS_MAX, AuditEntry, AuditHead, AuditQuery, AuditVerdict};
use serde_json::{Map, Value, json};

fn details(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

pub fn entry(subject: &str, tenant: Option<&str>) -> AuditEntry {
    AuditEntry {
        at_ms: 1_700_000_000_000,
        actor: "key_admin".into(),
        tenant: tenant.map(tenant_id),
        action: "key.revoke".into(),
        subject: subject.into(),
        details: details(json!({"new": {"weight": 5, "name": "ü\"\\"}, "before": [null, true, -3]})),
    }
}

#[tokio::test]
async fn rows_follow_each_other() {
    on_all(async |store| {
        assert_eq!(store.audit_head().await.expect("head"), AuditHead::default());
        assert_eq!(store.verify_audit().await.expect("verified"), AuditVerdict::Intact(AuditHead::default()));
        let mut rows = Vec::new();
        for (subject, tenant) in [("a", None), ("b", Some("ten_a")), ("c", Some("ten_b")), ("d", Some("ten_a"))] {
            rows.push(store.append_audit(&entry(subject, tenant)).await.expect("appended"));
        }
        assert!(rows.windows(2).all(|pair| pair[1].previous == pair[0].hash));
        let head = AuditHead { rows: 4, hash: rows[3].hash };
        assert_eq!(store.audit_head().await.expect("head"), head);
        assert_eq!(store.verify_audit().await.expect("verified"), AuditVerdict::Intact(head));
        rows.reverse();
        assert_eq!(store.audit(&AuditQuery::default()).await.expect("read"), rows);
    })
    .await;
}

#[tokio::test]
async fn rows_are_read_by_tenant_and_page() {
    on_all(async |store| {
        for index in 0..10 {
            let tenant = if index % 2 == 0 { "ten_a" } else { "ten_b" };
            store.append_audit(&entry(&index.to_string(), Some(tenant))).await.expect("appended");
        }
        let read = async |query: AuditQuery| {
            let rows = store.audit(&query).await.expect("read");
            rows.iter().map(|row| row.sequence).collect::<Vec<u64>>()
        };
        let of_a = AuditQuery { tenant: Some(tenant_id("ten_a")), rows_max: 3, before: None };
        assert_eq!(read(of_a.clone()).await, [9, 7, 5]);
        assert_eq!(read(AuditQuery { before: Some(5), ..of_a }).await, [3, 1]);
        assert_eq!(read(AuditQuery { before: Some(3), ..AuditQuery::default() }).await, [2, 1]);
        for rows_max in [0, AUDIT_ROWS_MAX + 1] {
            bad_input(store.audit(&AuditQuery { rows_max, ..AuditQuery::default() }).await, "`rows_max`");
        }
    })
    .await;
}

#[tokio::test]
async fn what_has_no_canonical_form_is_refused() {
    on_all(async |store| {
        let good = entry("a", None);
        let mut deep = json!(1);
        (0..9).for_each(|_| deep = json!([deep]));
        for (bad, part) in [
            (AuditEntry { details: details(json!({"a": [0.5]})), ..good.clone() }, "0.5"),
            (AuditEntry { details: details(json!({"a": deep})), ..good.clone() }, "nested"),
            (AuditEntry { details: details(json!({"a": "x".repeat(4_096)})), ..good.clone() }, "bytes of details"),
            (AuditEntry { subject: "x".repeat(257), ..good.clone() }, "`subject`"),
            (AuditEntry { actor: "a\u{0}".into(), ..good.clone() }, "`actor`"),
        ] {
            bad_input(store.append_audit(&bad).await, part);
        }
        assert_eq!(store.audit_head().await.expect("head"), AuditHead::default());
    })
    .await;
}
