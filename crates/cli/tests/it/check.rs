//! Models that nobody vouches for are looked at in a child before a server opens them.

use crate::run::{Server, finish, orrery};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models").join(name).canonicalize().expect("a fixture")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}

/// A small file whose metadata take far more memory than it: twice four million empty strings, which are zeros on the disk.
fn bomb(folder: &TempDir) -> PathBuf {
    const STRINGS: u64 = 1 << 22;
    let path = folder.path().join("bomb.gguf");
    let mut file = std::fs::File::create(&path).expect("made");
    file.write_all(b"GGUF\x03\0\0\0").expect("written");
    file.write_all(&[0u64.to_le_bytes(), 2u64.to_le_bytes()].concat()).expect("written");
    for key in ["tokenizer.ggml.tokens", "tokenizer.ggml.merges"] {
        let mut bytes = (key.len() as u64).to_le_bytes().to_vec();
        bytes.extend(key.as_bytes());
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(8u32.to_le_bytes());
        bytes.extend(STRINGS.to_le_bytes());
        file.write_all(&bytes).expect("written");
        let end = file.seek(SeekFrom::Current((8 * STRINGS) as i64)).expect("inside");
        file.set_len(end).expect("filled up");
    }
    path
}

#[test]
fn a_good_model_is_described_in_a_closed_sandbox() {
    let run = finish(orrery(&["check", text(&fixture("qwen3-q4_0.gguf"))]).env("ORRERY_SANDBOX", "require"));
    assert_eq!(run.code, Some(0), "{}", run.err);
    let shown = |name: &str| run.out.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(shown("architecture").ends_with("qwen3"), "{}", run.out);
    assert!(run.out.trim_end().ends_with("good; looked at in a sandbox"), "{}", run.out);
}

#[test]
fn links_of_the_hubs_cache_are_read_and_others_are_not() {
    let cache = TempDir::new().expect("a folder");
    let model = cache.path().join("models--a--b");
    let (blobs, snapshot) = (model.join("blobs"), model.join("snapshots/abc"));
    std::fs::create_dir_all(&blobs).and_then(|()| std::fs::create_dir_all(&snapshot)).expect("made");
    for entry in std::fs::read_dir(fixture("llama-f32")).expect("a fixture").flatten() {
        let name = entry.file_name();
        std::fs::copy(entry.path(), blobs.join(&name)).expect("copied");
        symlink(Path::new("../../blobs").join(&name), snapshot.join(&name)).expect("linked");
    }
    let run = finish(&mut orrery(&["check", "--json", text(&snapshot)]));
    assert_eq!(run.code, Some(0), "{}", run.err);
    let report: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!((&report["open"], &report["refusal"]), (&serde_json::json!([]), &serde_json::Value::Null));
    std::fs::remove_file(snapshot.join("config.json")).expect("removed");
    symlink(fixture("llama-f32/config.json"), snapshot.join("config.json")).expect("linked");
    let run = finish(&mut orrery(&["check", text(&snapshot)]));
    assert!(run.code == Some(1) && run.err.contains("leads out of the folder"), "{}", run.err);
}

#[test]
fn bad_files_are_refused_with_their_reason() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cut.gguf");
    let whole = std::fs::read(fixture("llama-q4_0.gguf")).expect("a fixture");
    std::fs::write(&path, &whole[..whole.len() - 1]).expect("written");
    let run = finish(&mut orrery(&["check", text(&path)]));
    assert!(run.code == Some(1) && run.err.contains("lies past the end of the file"), "{}", run.err);
    let run = finish(&mut orrery(&["check", "/nonexistent.gguf"]));
    assert!(run.code == Some(1) && run.err.contains("/nonexistent.gguf"), "{}", run.err);
    let run = finish(orrery(&["check", text(&bomb(&folder))]).env("ORRERY_SANDBOX_MEMORY", "128MiB"));
    assert!(run.code == Some(1) && run.err.contains("needed more memory"), "{}", run.err);
    // With room enough the same file is refused for what it lacks.
    let run = finish(&mut orrery(&["check", text(&bomb(&folder))]));
    assert!(run.code == Some(1) && run.err.contains("general.architecture"), "{}", run.err);
    let run = finish(orrery(&["check", text(&bomb(&folder))]).env("ORRERY_SANDBOX_TIMEOUT_MS", "1"));
    assert!(run.code == Some(1) && run.err.contains("took longer than 1 ms"), "{}", run.err);
}

#[test]
fn serve_does_not_open_what_the_child_refuses() {
    let data = TempDir::new().expect("a folder");
    let path = bomb(&data);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", text(data.path()), "--model", text(&path)];
    let run = finish(orrery(&serve).env("ORRERY_SANDBOX_MEMORY", "128MiB"));
    assert!(run.code == Some(1) && run.err.contains("is not opened: its check in a separate process"), "{}", run.err);
    // Without a sandbox the server's own reader sees the file.
    let run = finish(orrery(&serve).env("ORRERY_SANDBOX", "off"));
    assert!(run.code == Some(1) && !run.err.contains("separate process"), "{}", run.err);
}

#[test]
fn serve_opens_what_the_child_finds_good() {
    let data = TempDir::new().expect("a folder");
    let model = fixture("llama-q4_0.gguf");
    let mut server = Server::start(data.path(), &["--model", text(&model), "--kv-memory", "16MiB"]);
    assert!(server.ready().contains("llama-q4_0"));
    server.signal("TERM");
    assert!(server.wait().success());
}
