//! Files: what is known of blobs.

use super::{bad_input, conflict, not_found, on_all, tenant, tenant_id};
use orrery_store::{DAY_MS, Error, FileId, FileKind, FileQuery, StoredFile, Tenant};

const FREE: u64 = u64::MAX;

pub fn file_id(text: &str) -> FileId {
    text.parse().expect("file id")
}

pub fn file(id: &str, tenant: &str, created_at_ms: i64) -> StoredFile {
    StoredFile {
        id: file_id(id),
        tenant: tenant_id(tenant),
        kind: FileKind::Upload,
        name: "rows.csv".into(),
        purpose: "training".into(),
        bytes: 10,
        sha256: [0x5a; 32],
        blob: "0f".repeat(32).parse().expect("blob id"),
        created_at_ms,
        expires_at_ms: None,
    }
}

fn query(tenant: &str) -> FileQuery {
    FileQuery {
        tenant: tenant_id(tenant),
        kind: FileKind::Upload,
        name: None,
        purpose: None,
        after: None,
        newest_first: false,
        live_at_ms: 50,
        rows_max: 100,
    }
}

fn ids(files: &[StoredFile]) -> Vec<&str> {
    files.iter().map(|file| file.id.as_str()).collect()
}

#[tokio::test]
async fn a_file_is_read_as_it_was_written_by_its_tenant_alone() {
    on_all(async |store| {
        let first =
            StoredFile { name: "'; DROP TABLE files; --".into(), expires_at_ms: Some(70), ..file("f1", "ten_a", 5) };
        not_found(store.create_file(&first, FREE).await);
        for id in ["ten_a", "ten_b"] {
            store.create_tenant(&tenant(id, 1)).await.expect("created");
        }
        store.create_file(&first, FREE).await.expect("created");
        conflict(store.create_file(&file("f1", "ten_b", 6), FREE).await);
        let (a, b, id) = (tenant_id("ten_a"), tenant_id("ten_b"), file_id("f1"));
        assert_eq!(store.file(&a, FileKind::Upload, &id).await.expect("read"), first);
        not_found(store.file(&b, FileKind::Upload, &id).await);
        not_found(store.file(&a, FileKind::Retained, &id).await);
        not_found(store.delete_file(&b, FileKind::Upload, &id).await);
        assert_eq!(store.file_blobs(&a).await.expect("listed"), [first.blob]);
        assert_eq!(store.file_blobs(&b).await.expect("listed"), []);
        assert_eq!(store.delete_file(&a, FileKind::Upload, &id).await.expect("deleted"), first);
        not_found(store.delete_file(&a, FileKind::Upload, &id).await);
        not_found(store.file(&a, FileKind::Upload, &id).await);
        bad_input(store.create_file(&StoredFile { name: "x".repeat(513), ..first.clone() }, FREE).await, "`filename`");
        bad_input(store.create_file(&StoredFile { purpose: "a\n".into(), ..first }, FREE).await, "control character");
    })
    .await;
}

#[tokio::test]
async fn lists_have_an_order_and_go_on_after_any_of_them() {
    on_all(async |store| {
        for id in ["ten_a", "ten_b"] {
            store.create_tenant(&tenant(id, 1)).await.expect("created");
        }
        for (id, at_ms) in [("f3", 7), ("f1", 7), ("f2", 7), ("f0", 9)] {
            store.create_file(&file(id, "ten_a", at_ms), FREE).await.expect("created");
        }
        store.create_file(&file("of_b", "ten_b", 8), FREE).await.expect("created");
        let other = StoredFile { purpose: "batch".into(), name: "other".into(), ..file("f9", "ten_a", 6) };
        store.create_file(&other, FREE).await.expect("created");
        let old = StoredFile { expires_at_ms: Some(50), ..file("gone", "ten_a", 7) };
        store.create_file(&old, FREE).await.expect("created");

        let all = store.files(&query("ten_a")).await.expect("listed");
        assert_eq!(ids(&all), ["f9", "f1", "f2", "f3", "f0"]);
        let page = FileQuery { newest_first: true, rows_max: 2, ..query("ten_a") };
        assert_eq!(ids(&store.files(&page).await.expect("listed")), ["f0", "f3"]);
        let next = FileQuery { after: Some(file_id("f3")), ..page.clone() };
        assert_eq!(ids(&store.files(&next).await.expect("listed")), ["f2", "f1"]);
        let next = FileQuery { after: Some(file_id("f1")), ..query("ten_a") };
        assert_eq!(ids(&store.files(&next).await.expect("listed")), ["f2", "f3", "f0"]);
        let batch = FileQuery { purpose: Some("batch".into()), ..query("ten_a") };
        assert_eq!(store.files(&batch).await.expect("listed"), [other]);
        let named = FileQuery { name: Some("other".into()), ..query("ten_a") };
        assert_eq!(ids(&store.files(&named).await.expect("listed")), ["f9"]);
        not_found(store.files(&FileQuery { after: Some(file_id("of_b")), ..page.clone() }).await);
        bad_input(store.files(&FileQuery { rows_max: 0, ..page }).await, "`limit` 0");
    })
    .await;
}

#[tokio::test]
async fn a_quota_is_of_one_tenant_and_one_kind() {
    on_all(async |store| {
        for id in ["ten_a", "ten_b"] {
            store.create_tenant(&Tenant { retention_days: 1, ..tenant(id, 1) }).await.expect("created");
        }
        store.create_file(&file("f1", "ten_a", 5), 25).await.expect("created");
        store.create_file(&file("f2", "ten_b", 5), 25).await.expect("created");
        let kept = StoredFile { kind: FileKind::Retained, expires_at_ms: Some(6), ..file("k1", "ten_a", 5) };
        store.create_file(&kept, 25).await.expect("created");
        store.create_file(&file("f3", "ten_a", 5), 20).await.expect("exactly full");
        let result = store.create_file(&file("f4", "ten_a", 5), 29).await;
        assert!(matches!(&result, Err(Error::OverQuota(message)) if message.contains("29 bytes")), "{result:?}");
        assert_eq!(store.file_bytes(&tenant_id("ten_a"), FileKind::Upload).await.expect("sum"), 20);
        store.delete_file(&tenant_id("ten_a"), FileKind::Upload, &file_id("f1")).await.expect("deleted");
        store.create_file(&file("f4", "ten_a", 5), 29).await.expect("there is room again");
        let huge = StoredFile { bytes: (1 << 53) - 1, ..file("f5", "ten_b", 5) };
        assert!(matches!(store.create_file(&huge, 1 << 53).await, Err(Error::OverQuota(_))));
    })
    .await;
}

#[tokio::test]
async fn what_is_retained_stays_as_long_as_its_tenant_wants() {
    on_all(async |store| {
        let mut keeps = Tenant { retention_days: 2, ..tenant("ten_a", 1) };
        store.create_tenant(&keeps).await.expect("created");
        let kept =
            |id: &str, expires_at_ms| StoredFile { kind: FileKind::Retained, expires_at_ms, ..file(id, "ten_a", 5) };
        conflict(store.create_file(&kept("k1", None), FREE).await);
        conflict(store.create_file(&kept("k1", Some(6 + 2 * DAY_MS)), FREE).await);
        store.create_file(&kept("k1", Some(5 + 2 * DAY_MS)), FREE).await.expect("created");
        store.create_file(&kept("k2", Some(7)), FREE).await.expect("created");
        store.create_file(&file("f1", "ten_a", 5), FREE).await.expect("created");
        assert_eq!(ids(&store.expired_files(6, 9).await.expect("listed")), [] as [&str; 0]);
        assert_eq!(ids(&store.expired_files(7, 9).await.expect("listed")), ["k2"]);
        store.shorten_files(&keeps.id, FileKind::Retained, DAY_MS).await.expect("shortened");
        let left = store.file(&keeps.id, FileKind::Retained, &file_id("k1")).await.expect("read");
        assert_eq!(left.expires_at_ms, Some(5 + DAY_MS));
        store.shorten_files(&keeps.id, FileKind::Retained, 0).await.expect("shortened");
        assert_eq!(ids(&store.expired_files(7, 9).await.expect("listed")), ["k1", "k2"]);
        assert_eq!(ids(&store.expired_files(7, 1).await.expect("listed")), ["k1"]);
        keeps.retention_days = 0;
        store.update_tenant(&keeps).await.expect("changed");
        conflict(store.create_file(&kept("k3", Some(6)), FREE).await);
    })
    .await;
}

#[tokio::test]
async fn erasure_takes_the_files_of_the_tenant_and_no_other() {
    on_all(async |store| {
        for id in ["ten_a", "ten_b"] {
            store.create_tenant(&tenant(id, 1)).await.expect("created");
            store.create_file(&file(&format!("f_{id}"), id, 5), FREE).await.expect("created");
        }
        let gone = tenant_id("ten_a");
        store.erase_tenant(&gone, 9).await.expect("erased");
        assert_eq!(store.files(&query("ten_a")).await.expect("listed"), []);
        assert_eq!(store.file_blobs(&gone).await.expect("listed"), []);
        assert_eq!(ids(&store.files(&query("ten_b")).await.expect("listed")), ["f_ten_b"]);
        conflict(store.create_file(&file("f2", "ten_a", 5), FREE).await);
    })
    .await;
}
