//! `/v1/files`: OpenAI's Files API over the encrypted vault.

use crate::support::{Connection, Response, Server, check_error, form};
use orrery_platform::FileSettings;
use orrery_platform::accounts::{NewKey, TenantChange};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

const CANARY: &[u8] = b"zebra-canary-in-a-file-8812";

/// A key of another tenant.
async fn other_tenant(server: &Server, role: &str) -> (String, Connection) {
    let accounts = &server.backend.accounts;
    let by = accounts.authenticate(Some(&server.backend.key)).await.expect("a good key");
    let change = TenantChange { name: Some("other".into()), ..TenantChange::default() };
    let tenant = accounts.create_tenant(&by, change).await.expect("a tenant").id;
    let new = NewKey { role: role.into(), tenant: Some(tenant.clone()), ..NewKey::default() };
    let (_, key) = accounts.create_key(&by, new).await.expect("a key");
    (tenant, server.stranger().await.with_key(&key))
}

async fn send(connection: &mut Connection, parts: &[(&str, Option<&str>, &[u8])]) -> Response {
    let (content_type, body) = form(parts);
    connection.request("POST", "/v1/files", &[("content-type", &content_type)], &body).await
}

/// All files below a folder with what they hold.
fn on_disk(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("entry").path());
    let read = |path: PathBuf| match path.is_dir() {
        true => on_disk(&path),
        false => vec![(path.clone(), std::fs::read(path).expect("read"))],
    };
    entries.flat_map(read).collect()
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fn blobs(data: &Path) -> usize {
    on_disk(&data.join("blobs")).len()
}

#[tokio::test]
async fn a_file_is_uploaded_listed_read_and_deleted() {
    let server = Server::start().await;
    let file = server.upload("größe.csv", b"a,b\r\n1,2\r\n").await;
    assert_eq!(file.status, 200, "{}", file.text());
    let file = file.json();
    let id = file["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("file-"));
    // Of the content, by another program.
    assert_eq!(file["sha256"], "ea14f99c47575613ab22111122c847728c61007f6bfd7b062d02fcb99df3feb0");
    let wanted = json!({
        "id": id, "object": "file", "bytes": 10, "created_at": file["created_at"], "expires_at": null,
        "filename": "größe.csv", "purpose": "batch", "status": "processed", "status_details": null,
        "sha256": file["sha256"],
    });
    assert_eq!(file, wanted);
    assert_eq!(server.get(&format!("/v1/files/{id}")).await.json(), wanted);
    let list = server.get("/v1/files").await.json();
    assert_eq!(list, json!({"object": "list", "data": [wanted], "first_id": id, "last_id": id, "has_more": false}));
    let content = server.get(&format!("/v1/files/{id}/content")).await;
    assert_eq!((content.status, content.body.as_slice()), (200, &b"a,b\r\n1,2\r\n"[..]));
    assert_eq!(content.header("content-type"), Some("application/octet-stream"));
    assert_eq!(content.header("content-length"), Some("10"));
    let deleted = server.delete(&format!("/v1/files/{id}")).await.json();
    assert_eq!(deleted, json!({"id": id, "object": "file", "deleted": true}));
    for path in [format!("/v1/files/{id}"), format!("/v1/files/{id}/content")] {
        check_error(&server.get(&path).await, 404, Some("not_found"), None);
    }
    check_error(&server.delete(&format!("/v1/files/{id}")).await, 404, Some("not_found"), None);
    assert_eq!(server.get("/v1/files").await.json()["data"], json!([]));
}

#[tokio::test]
async fn pages_go_in_both_orders() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(server.upload(name, b"x").await.json()["id"].as_str().expect("an id").to_owned());
        // The order is by time, and ids are random.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let list = async |query: &str| {
        let list = server.get(&format!("/v1/files?{query}")).await.json();
        let names: Vec<String> = list["data"]
            .as_array()
            .expect("data")
            .iter()
            .map(|file| file["filename"].as_str().expect("a name").to_owned())
            .collect();
        (names.concat(), list["has_more"].as_bool().expect("has_more"))
    };
    assert_eq!(list("").await, ("cba".into(), false));
    assert_eq!(list("order=asc&limit=2").await, ("ab".into(), true));
    assert_eq!(list(&format!("order=asc&limit=2&after={}", ids[1])).await, ("c".into(), false));
    assert_eq!(list(&format!("after={}&limit=1", ids[2])).await, ("b".into(), true));
    assert_eq!(list("purpose=training").await, (String::new(), false));
    assert_eq!(list("purpose=batch").await, ("cba".into(), false));
    for (query, param) in [
        ("after=file-none", "after"),
        ("after=..%2f..", "after"),
        ("order=up", "order"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("purpose=fun", "purpose"),
        ("x=1", "x"),
    ] {
        check_error(&server.get(&format!("/v1/files?{query}")).await, 400, None, Some(param));
    }
}

/// THREATS C5.
#[tokio::test]
async fn another_tenants_file_is_one_that_does_not_exist() {
    let server = Server::start().await;
    let (_, mut other) = other_tenant(&server, "tenant_admin").await;
    let id = send(&mut other, &[("purpose", None, b"training"), ("file", Some("a"), b"x")]).await.json()["id"].clone();
    let id = id.as_str().expect("an id");
    // A platform admin's too: whose key it is changes nothing.
    let mut message = Vec::new();
    for id in [id, "file-0000000000000000"] {
        for (method, suffix) in [("GET", ""), ("GET", "/content"), ("DELETE", "")] {
            let path = format!("/v1/files/{id}{suffix}");
            let response = server.connect().await.request(method, &path, &[], b"").await;
            let error = check_error(&response, 404, Some("not_found"), None);
            message.push(error["message"].as_str().expect("a message").replace(id, "ID"));
        }
    }
    message.dedup();
    assert_eq!(message, ["there is no file `ID`"]);
    assert_eq!(server.get("/v1/files").await.json()["data"], json!([]));
    check_error(&server.get(&format!("/v1/files?after={id}")).await, 400, None, Some("after"));
    assert_eq!(other.request("GET", &format!("/v1/files/{id}/content"), &[], b"").await.body, b"x");
}

/// THREATS D2.
#[tokio::test]
async fn what_is_wrong_with_a_form_is_named() {
    let server = Server::start().await;
    let (purpose, file): ((&str, Option<&str>, &[u8]), _) =
        (("purpose", None, b"batch"), ("file", Some("a"), &b"x"[..]));
    for (parts, param) in [
        (vec![purpose], "file"),
        (vec![file], "purpose"),
        (vec![purpose, ("file", None, b"x")], "file"),
        (vec![purpose, file, file], "file"),
        (vec![purpose, purpose, file], "purpose"),
        (vec![("purpose", None, b"fun"), file], "purpose"),
        (vec![("purpose", None, b"fine-tune-results"), file], "purpose"),
        (vec![("purpose", None, b"\xff"), file], "purpose"),
        (vec![("purpose", None, &[b'x'; 2000]), file], "purpose"),
        (vec![purpose, ("expires_after[seconds]", None, b"5"), file], "expires_after"),
    ] {
        let response = send(&mut server.connect().await, &parts).await;
        check_error(&response, 400, None, Some(param));
    }
    let name = "x".repeat(600);
    let response = send(&mut server.connect().await, &[purpose, ("file", Some(&name), b"x")]).await;
    check_error(&response, 400, None, Some("file"));
    let response = server.post("/v1/files", &json!({"purpose": "batch"})).await;
    check_error(&response, 415, Some("unsupported_media_type"), None);
    // The file first, and a part that is not known.
    let good = [file, ("later", None, b"?"), purpose, ("expires_after[anchor]", None, b"created_at")];
    let good = [&good[..], &[("expires_after[seconds]", None, b"3600")]].concat();
    let made = send(&mut server.connect().await, &good).await.json();
    assert_eq!(made["expires_at"].as_i64(), made["created_at"].as_i64().map(|at| at + 3600));
    assert_eq!(server.get("/v1/files").await.json()["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn limits_of_a_file_and_of_a_tenant_are_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = FileSettings { file_max_bytes: 100_000, quota_bytes: 150_000, ..FileSettings::default() };
    let server = Server::in_folder(folder.path(), settings).await;
    let content = vec![7; 100_001];
    check_error(&server.upload("a", &content).await, 413, Some("request_too_large"), None);
    // Announced, before a byte of it comes.
    let mut connection = server.connect().await;
    connection.begin("POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: 900000\r\n").await;
    connection.raw(b"\r\n").await;
    check_error(&connection.response().await, 413, Some("request_too_large"), None);

    let first = server.upload("a", &content[..100_000]).await.json()["id"].clone();
    let refused = server.upload("b", &content[..50_001]).await;
    check_error(&refused, 429, Some("insufficient_quota"), None);
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert_eq!(server.upload("b", &content[..50_000]).await.status, 200);
    check_error(&server.upload("c", b"x").await, 429, Some("insufficient_quota"), None);
    let (_, mut other) = other_tenant(&server, "developer").await;
    assert_eq!(send(&mut other, &[("purpose", None, b"batch"), ("file", Some("a"), b"x")]).await.status, 200);
    assert_eq!(server.delete(&format!("/v1/files/{}", first.as_str().expect("an id"))).await.status, 200);
    assert_eq!(server.upload("c", b"x").await.status, 200);
    assert_eq!(blobs(folder.path()), 3, "what was refused and deleted has left nothing");
}

/// Two uploads that fit alone and not together: the one that is published second is refused.
#[tokio::test]
async fn uploads_at_one_time_do_not_pass_the_quota_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = FileSettings { quota_bytes: 10, tenant_uploads_max: 2, ..FileSettings::default() };
    let server = Server::in_folder(folder.path(), settings).await;
    let (content_type, body) = form(&[("purpose", None, b"batch"), ("file", Some("a"), b"0123456")]);
    let (head, tail) = body.split_at(body.len() - 4);
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = server.connect().await;
        let length = body.len();
        connection
            .begin(&format!(
                "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n"
            ))
            .await;
        connection.raw(b"\r\n").await;
        connection.raw(head).await;
        connections.push(connection);
    }
    // Both have their places.
    let files = server.backend.accounts.files().clone();
    tokio::time::timeout(crate::support::PATIENCE, async {
        while files.uploads() < 2 {
            tokio::task::yield_now().await
        }
    })
    .await
    .expect("in time");
    check_error(&server.upload("third", b"x").await, 429, Some("rate_limit_exceeded"), None);
    let mut statuses = Vec::new();
    for mut connection in connections {
        connection.raw(tail).await;
        statuses.push(connection.response().await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 429]);
    files.wait_idle().await;
    assert_eq!(blobs(folder.path()), 1);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::in_folder(folder.path(), FileSettings::default()).await;
    let files = server.backend.accounts.files().clone();
    // Over one part of what is written at a time, so that some is on the disk.
    let (content_type, body) = form(&[("purpose", None, b"batch"), ("file", Some("a"), &vec![5; 6_000_000])]);
    let mut connection = server.connect().await;
    connection
        .begin(&format!(
            "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n",
            body.len()
        ))
        .await;
    connection.raw(b"\r\n").await;
    connection.raw(&body[..5_900_000]).await;
    tokio::time::timeout(crate::support::PATIENCE, async {
        while blobs(folder.path()) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await
        }
    })
    .await
    .expect("some is on the disk");
    drop(connection);
    tokio::time::timeout(crate::support::PATIENCE, files.wait_idle()).await.expect("in time");
    assert_eq!(blobs(folder.path()), 0);
    assert_eq!(server.get("/v1/files").await.json()["data"], json!([]));
}

/// What a killed process leaves: half a blob, and a whole one without an entry.
#[tokio::test]
async fn what_a_kill_leaves_is_swept() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::in_folder(folder.path(), FileSettings::default()).await;
    let id = server.upload("kept", b"kept").await.json()["id"].clone();
    let staging = folder.path().join("blobs/staging");
    std::fs::create_dir_all(&staging).expect("made");
    std::fs::write(staging.join("half#1"), b"half").expect("written");
    let (path, bytes) = on_disk(&folder.path().join("blobs/tenants")).remove(0);
    let stray = path.parent().and_then(Path::parent).expect("the tenant's folder").join("0f");
    std::fs::create_dir_all(&stray).expect("made");
    std::fs::write(stray.join("0f".repeat(32)), bytes).expect("written");
    let files = server.backend.accounts.files();
    assert_eq!(files.tidy(Duration::from_secs(3600)).await.expect("tidied"), 0, "they may be in use");
    assert_eq!(files.tidy(Duration::ZERO).await.expect("tidied"), 2);
    let content = server.get(&format!("/v1/files/{}/content", id.as_str().expect("an id"))).await;
    assert_eq!(content.body, b"kept");
}

/// THREATS F2 and F3.
#[tokio::test]
async fn a_canary_is_in_no_file_before_and_after_erasure() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::in_folder(folder.path(), FileSettings::default()).await;
    let (tenant, mut other) = other_tenant(&server, "developer").await;
    let name = "zebra-name-7391.csv";
    let content = [CANARY, &[b'x'; 200_000], CANARY].concat();
    let file = send(&mut other, &[("purpose", None, b"training"), ("file", Some(name), &content)]).await.json();
    let path = format!("/v1/files/{}/content", file["id"].as_str().expect("an id"));
    assert_eq!(other.request("GET", &path, &[], b"").await.body, content);
    let kept = server.upload("kept", b"kept").await.json()["id"].clone();
    let found = |text: &[u8]| on_disk(folder.path()).iter().filter(|(_, bytes)| holds(bytes, text)).count();
    assert!(found(name.as_bytes()) > 0, "the search finds what is there");
    assert_eq!(found(CANARY), 0);
    assert_eq!(blobs(folder.path()), 2);

    // A flipped bit ends the answer before its end.
    let (blob, whole) = on_disk(&folder.path().join(format!("blobs/tenants/{tenant}"))).remove(0);
    let mut bad = whole.clone();
    bad[100_000] ^= 1;
    std::fs::write(&blob, &bad).expect("written");
    other.send("GET", &path, &[], b"").await;
    let _ = other.read_head().await;
    assert!(other.rest().await.len() < content.len());
    std::fs::write(&blob, &whole).expect("written");

    assert_eq!(server.delete(&format!("/v1/tenants/{tenant}")).await.status, 204);
    assert_eq!((found(name.as_bytes()), found(CANARY)), (0, 0));
    assert_eq!(blobs(folder.path()), 1, "no blob of the tenant is left");
    // A copy that somebody kept is noise: no data key of the tenant is left.
    std::fs::create_dir_all(blob.parent().expect("a folder")).expect("made");
    std::fs::write(&blob, &whole).expect("written");
    assert_eq!(server.backend.accounts.files().tidy(Duration::ZERO).await.expect("tidied"), 1);
    let content = server.get(&format!("/v1/files/{}/content", kept.as_str().expect("an id"))).await;
    assert_eq!(content.body, b"kept");
}

#[tokio::test]
async fn keys_are_replaced_while_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::in_folder(folder.path(), FileSettings::default()).await;
    let id = server.upload("a", b"old").await.json()["id"].clone();
    // Another process on the same folder.
    let opened = orrery_platform::Accounts::open(folder.path(), orrery_platform::accounts::Keys::Asked).await;
    let command = opened.expect("accounts").accounts;
    let by = command.operator().await.expect("the operator");
    assert_eq!(command.rotate_master_key(&by).await.expect("replaced"), 1);
    assert_eq!(command.rotate_data_keys(&by).await.expect("rotated"), 1);
    let path = format!("/v1/files/{}/content", id.as_str().expect("an id"));
    assert_eq!(server.get(&path).await.body, b"old");
    let new = server.upload("b", b"new").await.json()["id"].clone();
    assert_eq!(server.get(&format!("/v1/files/{}/content", new.as_str().expect("an id"))).await.body, b"new");
    let audit: Value = server.get("/v1/audit").await.json();
    let actions: Vec<&str> =
        audit["data"].as_array().expect("rows").iter().filter_map(|row| row["action"].as_str()).collect();
    assert_eq!(actions, ["vault.rotate", "vault.rotate"]);
    // Without the master key nothing opens, and it says what is missing.
    std::fs::remove_file(folder.path().join("vault.key")).expect("removed");
    let opened = orrery_platform::Accounts::open(folder.path(), orrery_platform::accounts::Keys::Asked).await;
    assert!(opened.is_err_and(|error| error.to_string().contains("vault.key")));
}
