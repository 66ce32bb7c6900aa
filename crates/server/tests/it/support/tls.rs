//! Certificates made on the spot, and a client that speaks TLS.

use super::{Connection, PATIENCE, Server};
use orrery_server::{Settings, Tls, TlsFiles};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A self-signed certificate for `localhost`, and its key.
pub struct Identity {
    pub certificate: String,
    pub der: CertificateDer<'static>,
    pub key: String,
}

impl Identity {
    pub fn new() -> Self {
        Self::valid(2020, 2120)
    }

    /// Valid from the first day of one year to that of another.
    pub fn valid(from: i32, to: i32) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate: certificate.pem(), der: certificate.der().clone(), key: key.serialize_pem() }
    }
}

/// A folder with `cert.pem` and `key.pem`.
pub struct Pair {
    folder: TempDir,
}

impl Pair {
    pub fn new(identity: &Identity) -> Self {
        let pair = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        pair.put(identity);
        pair
    }

    pub fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.folder.path().join("cert.pem"), key: self.folder.path().join("key.pem") }
    }

    pub fn put(&self, identity: &Identity) {
        self.put_certificate(&identity.certificate);
        replace(&self.files().key, &identity.key);
    }

    pub fn put_certificate(&self, text: &str) {
        replace(&self.files().certificate, text);
    }
}

/// As certbot and others do: whole beside it, then in its place.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("writable");
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).expect("ours");
    std::fs::rename(&beside, path).expect("in place");
}

impl Server {
    pub async fn tls(settings: Settings, pair: &Pair) -> Self {
        let tls = Tls::load(pair.files()).expect("a good pair");
        Self::over(settings, Some(tls)).await
    }

    /// A TLS connection whose requests bring the first key.
    pub async fn connect_tls(&self, identity: &Identity) -> Connection {
        let stream = handshake(self, identity, rustls::ALL_VERSIONS, &[]).await.expect("a handshake");
        Connection::over(stream).with_key(&self.backend.key)
    }
}

/// A handshake with a client that trusts `identity` alone.
pub async fn handshake(
    server: &Server,
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.der.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(PATIENCE, shaken).await.expect("in time")
}
