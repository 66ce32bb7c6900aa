//! HTTPS from end to end: `serve` with a certificate, and `chat` that trusts it.

use crate::run::{Server, finish, orrery};
use crate::usage::FIXTURE;
use rcgen::{CertificateParams, KeyPair};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes `cert.pem` and `key.pem`, for this machine's own address.
fn write_pair(folder: &Path, mode: u32) -> [String; 2] {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let paths = ["cert.pem", "key.pem"].map(|name| folder.join(name));
    std::fs::write(&paths[0], certificate.pem()).expect("writable");
    std::fs::write(&paths[1], key.serialize_pem()).expect("writable");
    std::fs::set_permissions(&paths[1], std::fs::Permissions::from_mode(mode)).expect("ours");
    paths.map(|path| path.to_str().expect("UTF-8 path").to_owned())
}

#[test]
fn a_server_with_a_certificate_is_chatted_with() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let [certificate, key] = write_pair(folder.path(), 0o600);
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    let mut server = Server::start(folder.path(), &[&tls[..], &["--model", FIXTURE, "--log", "text/warn"]].concat());
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    server.ready();
    let data_dir = folder.path().to_str().expect("UTF-8 path");
    let shown = finish(&mut orrery(&["key", "show", "--data-dir", data_dir]));
    let ask = ["chat", "hi", "--max-tokens", "2", "--url", &server.url, "--api-key", shown.out.trim()];
    let asked = finish(orrery(&ask).env("SSL_CERT_FILE", &certificate));
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    // Whoever does not trust it says so.
    let distrusted = finish(&mut orrery(&ask));
    assert_eq!(distrusted.code, Some(1), "{}", distrusted.err);
    assert!(distrusted.err.contains("certificate"), "{}", distrusted.err);

    // The server of the configuration, found by itself.
    let file = folder.path().join("orrery.toml");
    let listen = server.url.strip_prefix("https://").expect("https");
    let text = format!("[server]\nlisten = \"{listen}\"\ntls_cert = \"{certificate}\"\ntls_key = \"{key}\"\n");
    std::fs::write(&file, text).expect("writable");
    let ask = ["chat", "hi", "--max-tokens", "2", "--data-dir", data_dir, "--config", file.to_str().expect("UTF-8")];
    let asked = finish(orrery(&ask).env("SSL_CERT_FILE", &certificate));
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    assert!(asked.err.contains("using the server at https://"), "{}", asked.err);
    let distrusted = finish(&mut orrery(&ask));
    assert_eq!(distrusted.code, Some(1), "{}", distrusted.err);
    assert!(distrusted.err.contains("SSL_CERT_FILE") && distrusted.err.contains("--url"), "{}", distrusted.err);

    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_key_that_is_open_to_others_ends_serve_before_anything_else() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let [certificate, key] = write_pair(folder.path(), 0o644);
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key, "--data-dir"];
    let run = finish(orrery(&arguments).arg(folder.path()));
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{}", run.err);
    assert!(run.err.contains("key.pem is open to others (mode 0644)"), "{}", run.err);
}
