//! Encrypted blobs: what goes in comes out, for its tenant alone, and for nobody after shredding.

use crate::conformance::{not_found, tenant, tenant_id};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use orrery_store::{BlobId, Blobs, Error, MasterKey, Masters, Memory, Result, Secrets as _, Tenants as _, Vault};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const MASTER: [u8; 32] = [1; 32];
const CANARY: &[u8] = b"canary-of-a-prompt-5512";

pub fn pieces(content: &[u8], bytes: usize) -> impl Stream<Item = Result<Bytes>> + Send + Unpin + use<> {
    let pieces: Vec<_> = content.chunks(bytes).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

pub async fn read(vault: &Vault, tenant: &str, id: BlobId) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = vault.get(&tenant_id(tenant), id).await?.try_collect().await?;
    Ok(pieces.concat())
}

/// Two tenants.
async fn memory() -> Arc<Memory> {
    let memory = Arc::new(Memory::new());
    for id in ["ten_a", "ten_b"] {
        memory.create_tenant(&tenant(id, 1)).await.expect("created");
    }
    memory
}

fn vault(blobs: &Blobs, memory: &Arc<Memory>) -> Vault {
    Vault::new(blobs.clone(), memory.clone(), MasterKey::from_bytes(MASTER), vec![])
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let folder = tempfile::tempdir().expect("folder");
    for blobs in [Blobs::in_memory(), Blobs::local(&folder.path().join("blobs")).expect("blobs")] {
        let vault = vault(&blobs, &memory().await);
        let a = tenant_id("ten_a");
        let content: Vec<u8> = (0..6_000_000_u32).map(|index| (index * 7 % 251) as u8).collect();
        for bytes in [0, 1, 65_536, 65_537, content.len()] {
            let stored = vault.put(&a, pieces(&content[..bytes], 100_000)).await.expect("stored");
            assert_eq!(stored.bytes, bytes as u64);
            assert_eq!(read(&vault, "ten_a", stored.id).await.expect("read"), &content[..bytes]);
            let stored_bytes = blobs.stored_bytes(&a, stored.id).await.expect("size");
            let chunks = bytes.div_ceil(65_536).max(1) as u64;
            assert_eq!(stored_bytes, 44 + bytes as u64 + 16 * chunks);
            assert!(blobs.list(&a).await.expect("listed").contains(&(stored.id, stored_bytes)));
            // Another tenant does not even learn that it is there.
            not_found(read(&vault, "ten_b", stored.id).await);
            not_found(blobs.delete(&tenant_id("ten_b"), stored.id).await);
            blobs.delete(&a, stored.id).await.expect("deleted");
            not_found(read(&vault, "ten_a", stored.id).await);
            not_found(blobs.delete(&a, stored.id).await);
        }
        assert_eq!(blobs.list(&a).await.expect("listed"), []);
        assert_eq!(blobs.list(&tenant_id("ten_none")).await.expect("listed"), []);
        not_found(vault.put(&tenant_id("ten_none"), pieces(b"x", 1)).await);
    }
}

#[tokio::test]
async fn a_put_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let vault = vault(&Blobs::local(folder.path()).expect("blobs"), &memory().await);
    // Over one part, so that some is written already.
    let part = Ok(Bytes::from(vec![0; 6_000_000]));
    let cut = stream::iter([part, Err(Error::BadInput("the client went away".into()))]);
    let result = vault.put(&tenant_id("ten_a"), cut).await;
    assert!(matches!(&result, Err(Error::BadInput(message)) if message.contains("went away")), "{result:?}");
    assert_eq!(files(folder.path()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_canary_is_in_no_file_and_every_flipped_bit_is_found() {
    let folder = tempfile::tempdir().expect("folder");
    let memory = memory().await;
    let vault = vault(&Blobs::local(folder.path()).expect("blobs"), &memory);
    let stored = vault.put(&tenant_id("ten_a"), pieces(CANARY, 5)).await.expect("stored");
    let found = files(folder.path());
    assert_eq!(found.len(), 1, "{found:?}");
    let whole = std::fs::read(&found[0]).expect("read");
    assert!(!whole.windows(CANARY.len()).any(|window| window == CANARY));
    for index in 0..whole.len() {
        let mut bad = whole.clone();
        bad[index] ^= 1;
        std::fs::write(&found[0], &bad).expect("written");
        let result = read(&vault, "ten_a", stored.id).await;
        // A changed version is a data key that there never was.
        assert!(matches!(result, Err(Error::Corrupt(_) | Error::NotFound(_))), "byte {index}: {result:?}");
        std::fs::write(&found[0], &whole[..index]).expect("written");
        let result = read(&vault, "ten_a", stored.id).await;
        assert!(matches!(result, Err(Error::Corrupt(_))), "{index} bytes: {result:?}");
    }
    std::fs::write(&found[0], &whole).expect("written");
    assert_eq!(read(&vault, "ten_a", stored.id).await.expect("read"), CANARY);
}

#[tokio::test]
async fn a_blob_moved_to_another_tenant_does_not_open() {
    let folder = tempfile::tempdir().expect("folder");
    let vault = vault(&Blobs::local(folder.path()).expect("blobs"), &memory().await);
    let stored = vault.put(&tenant_id("ten_a"), pieces(CANARY, 5)).await.expect("stored");
    let own = vault.put(&tenant_id("ten_b"), pieces(b"own", 5)).await.expect("stored");
    let path = &files(&folder.path().join("tenants/ten_a"))[0];
    let moved = folder
        .path()
        .join("tenants/ten_b")
        .join(path.strip_prefix(folder.path().join("tenants/ten_a")).expect("below"));
    std::fs::create_dir_all(moved.parent().expect("folder")).expect("made");
    std::fs::copy(path, moved).expect("copied");
    assert!(matches!(read(&vault, "ten_b", stored.id).await, Err(Error::Corrupt(_))));
    assert_eq!(read(&vault, "ten_b", own.id).await.expect("read"), b"own");
}

#[tokio::test]
async fn data_keys_rotate_and_old_blobs_stay_readable() {
    let (blobs, memory) = (Blobs::in_memory(), memory().await);
    let (vault, a) = (vault(&blobs, &memory), tenant_id("ten_a"));
    let old = vault.put(&a, pieces(b"old", 5)).await.expect("stored");
    assert_eq!(vault.rotate(&a).await.expect("rotated"), 2);
    let new = vault.put(&a, pieces(b"new", 5)).await.expect("stored");
    assert_eq!(read(&vault, "ten_a", old.id).await.expect("read"), b"old");
    assert_eq!(read(&vault, "ten_a", new.id).await.expect("read"), b"new");
    assert_eq!(memory.data_keys(Some(&a)).await.expect("listed").len(), 2);
    assert_eq!(vault.rotate(&tenant_id("ten_b")).await.expect("rotated"), 1);
}

#[tokio::test]
async fn the_master_key_changes_while_the_vault_goes_on() {
    let (blobs, memory) = (Blobs::in_memory(), memory().await);
    let (old, a) = (vault(&blobs, &memory), tenant_id("ten_a"));
    let stored = old.put(&a, pieces(b"content", 5)).await.expect("stored");
    old.rotate(&a).await.expect("rotated");
    let master = || MasterKey::from_bytes([2; 32]);
    let new_alone = Vault::new(blobs.clone(), memory.clone(), master(), vec![]);
    let result = read(&new_alone, "ten_a", stored.id).await;
    let wanted = MasterKey::from_bytes(MASTER);
    assert!(matches!(&result, Err(Error::MasterKey { wanted: id, .. }) if id == wanted.id()), "{result:?}");
    assert!(matches!(new_alone.rewrap().await, Err(Error::MasterKey { .. })));

    let both = Vault::new(blobs.clone(), memory.clone(), master(), vec![wanted]);
    assert_eq!(read(&both, "ten_a", stored.id).await.expect("read"), b"content");
    // One is wrapped by the new master key already.
    both.put(&tenant_id("ten_b"), pieces(b"b", 1)).await.expect("stored");
    assert_eq!(both.rewrap().await.expect("wrapped"), 2);
    assert_eq!(both.rewrap().await.expect("wrapped"), 0);
    assert_eq!(read(&new_alone, "ten_a", stored.id).await.expect("read"), b"content");
    assert!(matches!(read(&old, "ten_a", stored.id).await, Err(Error::MasterKey { .. })));
}

#[tokio::test]
async fn what_is_shredded_is_noise() {
    let folder = tempfile::tempdir().expect("folder");
    let memory = memory().await;
    let (vault, a) = (vault(&Blobs::local(folder.path()).expect("blobs"), &memory), tenant_id("ten_a"));
    let stored = vault.put(&a, pieces(CANARY, 5)).await.expect("stored");
    let kept = vault.put(&tenant_id("ten_b"), pieces(b"kept", 5)).await.expect("stored");
    let path = files(&folder.path().join("tenants/ten_a")).remove(0);
    let copy = std::fs::read(&path).expect("read");
    vault.shred(&a).await.expect("shredded");
    vault.shred(&a).await.expect("again");
    assert!(!path.exists());
    // A copy that somebody kept does not help, nor does the next key of the tenant.
    vault.rotate(&a).await.expect("rotated");
    std::fs::create_dir_all(path.parent().expect("folder")).expect("made");
    std::fs::write(&path, copy).expect("written");
    not_found(read(&vault, "ten_a", stored.id).await);
    assert_eq!(read(&vault, "ten_b", kept.id).await.expect("read"), b"kept");
}

#[tokio::test]
async fn what_a_crash_leaves_is_swept_once_it_is_old() {
    let folder = tempfile::tempdir().expect("folder");
    let blobs = Blobs::local(folder.path()).expect("blobs");
    let vault = vault(&blobs, &memory().await);
    let stored = vault.put(&tenant_id("ten_a"), pieces(CANARY, 5)).await.expect("stored");
    let (old, young) = (folder.path().join("staging/x#1"), folder.path().join("staging/y"));
    let file = std::fs::File::create(&old).expect("made");
    file.set_modified(SystemTime::now() - Duration::from_secs(7_200)).expect("made old");
    std::fs::write(&young, "x").expect("written");
    assert_eq!(blobs.sweep(Duration::from_secs(3_600)).await.expect("swept"), 1);
    assert!(!old.exists() && young.exists());
    assert_eq!(read(&vault, "ten_a", stored.id).await.expect("read"), CANARY);
}

#[tokio::test]
async fn ids_of_blobs_are_checked_before_any_path_is_built() {
    for bad in ["", "../../etc/passwd", &"A".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
        assert!(matches!(bad.parse::<BlobId>(), Err(Error::BadInput(_))), "{bad}");
    }
    let id = "0f".repeat(32);
    assert_eq!(id.parse::<BlobId>().expect("id").to_string(), id);
}

#[cfg(unix)]
#[tokio::test]
async fn a_master_key_is_kept_in_a_private_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("master.key");
    not_found(MasterKey::load(&path));
    let master = MasterKey::random().expect("key");
    master.save_new(&path).expect("saved");
    assert_eq!(MasterKey::load(&path).expect("loaded").id(), master.id());
    let other = MasterKey::random().expect("key");
    assert!(matches!(other.save_new(&path), Err(Error::Conflict(_))));
    assert_eq!(MasterKey::load(&path).expect("loaded").id(), master.id());
    assert_eq!(files(folder.path()), std::slice::from_ref(&path));

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("opened");
    assert!(matches!(MasterKey::load(&path), Err(Error::BadInput(message)) if message.contains("chmod 600")));
    std::fs::write(&path, "00ff").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("closed");
    assert!(matches!(MasterKey::load(&path), Err(Error::BadInput(message)) if message.contains("64 hex")));
}

#[cfg(unix)]
#[tokio::test]
async fn a_master_key_in_a_file_is_replaced_while_others_use_it() {
    let folder = tempfile::tempdir().expect("folder");
    let (path, memory, blobs) = (folder.path().join("vault.key"), memory().await, Blobs::in_memory());
    let open = || Vault::over(blobs.clone(), memory.clone(), Masters::open_or_create(&path).expect("keys"));
    let (server, command) = (open(), open());
    let a = tenant_id("ten_a");
    let stored = server.put(&a, pieces(b"content", 5)).await.expect("stored");
    let before = std::fs::read_to_string(&path).expect("read");
    assert_eq!(command.rotate_master().await.expect("replaced"), 1);
    assert_ne!(std::fs::read_to_string(&path).expect("read"), before);
    // The one before is gone, and the server finds the new one by itself, to read and to make data keys.
    let mut names: Vec<_> =
        files(folder.path()).into_iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect();
    names.sort();
    assert_eq!(names, ["vault.key", "vault.key.lock"]);
    assert_eq!(read(&server, "ten_a", stored.id).await.expect("read"), b"content");
    let stale = open();
    command.rotate_master().await.expect("replaced");
    let new = stale.put(&tenant_id("ten_b"), pieces(b"b", 1)).await.expect("stored");
    let masters: std::collections::BTreeSet<String> =
        memory.data_keys(None).await.expect("listed").into_iter().map(|key| key.master).collect();
    let current = MasterKey::load(&path).expect("loaded");
    assert_eq!(masters.into_iter().collect::<Vec<_>>(), [current.id()]);
    assert_eq!(read(&command, "ten_b", new.id).await.expect("read"), b"b");
}

#[cfg(unix)]
#[tokio::test]
async fn a_replacement_that_was_cut_off_goes_on() {
    let folder = tempfile::tempdir().expect("folder");
    let (path, memory, blobs) = (folder.path().join("vault.key"), memory().await, Blobs::in_memory());
    let open = || Vault::over(blobs.clone(), memory.clone(), Masters::open_or_create(&path).expect("keys"));
    let a = tenant_id("ten_a");
    let stored = open().put(&a, pieces(b"content", 5)).await.expect("stored");
    memory.set_unavailable(true);
    assert!(matches!(open().rotate_master().await, Err(Error::Unavailable(_))));
    memory.set_unavailable(false);
    // Cut off after the new key is in force, with the data keys still wrapped by the old one.
    std::fs::copy(&path, folder.path().join("vault.key.old")).expect("kept");
    std::fs::remove_file(&path).expect("removed");
    MasterKey::random().expect("key").save_new(&path).expect("in force");
    assert_eq!(read(&open(), "ten_a", stored.id).await.expect("read"), b"content");
    open().rotate_master().await.expect("replaced");
    assert!(!folder.path().join("vault.key.old").exists());
    assert_eq!(read(&open(), "ten_a", stored.id).await.expect("read"), b"content");
}

#[tokio::test]
async fn strays_are_removed_once_they_are_old() {
    let folder = tempfile::tempdir().expect("folder");
    let vault = vault(&Blobs::local(folder.path()).expect("blobs"), &memory().await);
    let a = tenant_id("ten_a");
    let named = vault.put(&a, pieces(b"named", 5)).await.expect("stored");
    let stray = vault.put(&a, pieces(b"stray", 5)).await.expect("stored");
    assert_eq!(vault.remove_strays(&a, &[named.id], Duration::from_secs(3_600)).await.expect("swept"), 0);
    assert_eq!(vault.remove_strays(&a, &[named.id], Duration::ZERO).await.expect("swept"), 1);
    not_found(read(&vault, "ten_a", stray.id).await);
    assert_eq!(read(&vault, "ten_a", named.id).await.expect("read"), b"named");
}
