//! TLS: a certificate and its key from PEM files, checked before anything listens, and read again when they change.
//!
//! Both files are one pair: a new pair takes effect as a whole or not at all. Connections that are open keep what they
//! began with. Must not know sockets or HTTP.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore, ServerConfig};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// A chain with its key is a few kilobytes; what is larger is another file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A certificate that ends within this time is told of in the log, as often as the second says.
const NOTICE: Duration = Duration::from_secs(14 * DAY_S);
const NOTICE_EVERY: Duration = Duration::from_secs(DAY_S);
const DAY_S: u64 = 86_400;

/// Where the certificate chain (the server's own certificate first) and its private key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why a pair of files cannot be used; names the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// What new connections are served with.
pub struct Tls {
    files: TlsFiles,
    /// Of the files that were read last, good or bad.
    stamps: Option<[Stamp; 2]>,
    /// Of the pair that is in use.
    chain: Vec<CertificateDer<'static>>,
    /// When the log was last told of its end.
    noticed: Option<SystemTime>,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads and checks the pair.
    ///
    /// # Errors
    /// A file that cannot be read or is no PEM of its kind, a key that others can read or that belongs to another
    /// certificate, or a certificate that is not valid now.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = files.stamps().ok();
        let (config, chain) = files.read(SystemTime::now())?;
        let current = watch::Sender::new(Arc::new(config));
        let mut tls = Self { files, stamps, chain, noticed: None, current };
        tls.notice(SystemTime::now());
        Ok(tls)
    }

    /// The pair that is in use, now and later.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.current.subscribe()
    }

    /// Looks at the files every `period` and takes a new pair over. A bad one is logged once, and the old one stays.
    pub(crate) async fn keep_fresh(mut self, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            // It fails when the runtime ends, and everything with it.
            let Ok(back) = looked.await else { return };
            self = back;
        }
    }

    /// Tells the log, once a day, of a certificate that ends soon or has ended.
    fn notice(&mut self, now: SystemTime) {
        let is_due = |noticed| now.duration_since(noticed).map_or(true, |since| since >= NOTICE_EVERY);
        if !self.noticed.is_none_or(is_due) {
            return;
        }
        self.noticed = Some(now);
        if let Some(notice) = self.files.ending(&self.chain, now) {
            tracing::warn!("{notice}");
        }
    }

    fn look(&mut self) {
        self.notice(SystemTime::now());
        // A file that is away for a moment, while somebody replaces it, is no news yet.
        let Ok(stamps) = self.files.stamps() else { return };
        if self.stamps == Some(stamps) {
            return;
        }
        let read = self.files.read(SystemTime::now());
        if self.files.stamps().ok() != Some(stamps) {
            // Written to while it was read: the next look sees the whole.
            return;
        }
        self.stamps = Some(stamps);
        match read {
            Ok((config, chain)) => {
                (self.chain, self.noticed) = (chain, None);
                self.current.send_replace(Arc::new(config));
                tracing::info!(certificate = %self.files.certificate.display(), "took over a new TLS certificate");
                self.notice(SystemTime::now());
            }
            Err(error) => tracing::error!(%error, "the new TLS certificate cannot be used; the old one stays in use"),
        }
    }
}

/// What tells one state of a file from another without reading it. A replaced file has another inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified: metadata.modified().ok(), bytes: metadata.len(), inode }
    }
}

impl TlsFiles {
    fn stamps(&self) -> std::io::Result<[Stamp; 2]> {
        let stamp = |path: &Path| std::fs::metadata(path).map(|metadata| Stamp::of(&metadata));
        Ok([stamp(&self.certificate)?, stamp(&self.key)?])
    }

    /// What to say of a chain that ends soon, or has ended.
    fn ending(&self, chain: &[CertificateDer<'static>], now: SystemTime) -> Option<String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let by = UnixTime::since_unix_epoch(now + NOTICE);
        let ends = chain.iter().filter_map(|certificate| match validity(certificate, &provider, by) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                Some(not_after.as_secs())
            }
            _ => None,
        });
        let (end, now, path) = (ends.min()?, now.as_secs(), self.certificate.display());
        Some(match end.checked_sub(now) {
            Some(left) => format!("the TLS certificate {path} expires in {}; renew it", roughly(left)),
            None => format!(
                "the TLS certificate {path} expired {} ago, and clients refuse it; renew it",
                roughly(now - end)
            ),
        })
    }

    /// The pair, checked as of `now`.
    fn read(&self, now: SystemTime) -> Result<(ServerConfig, Vec<CertificateDer<'static>>), TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = self.chain()?;
        self.check_dates(&chain, &provider, now)?;
        let key = self.private_key()?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| TlsError(format!("TLS cannot be set up: {error}")))?
            .with_no_client_auth();
        let mut config = builder.with_single_cert(chain.clone(), key).map_err(|error| self.unfit(&error))?;
        // HTTP/2 is not spoken here, and a client that can nothing else hears so in the handshake.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((config, chain))
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let path = self.certificate.display();
        let (text, _) = read_file("certificate", &self.certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.map_err(|error| TlsError(format!("the TLS certificate {path} is damaged: {error}")))?;
        if chain.is_empty() {
            let want = "it must be PEM, the server's certificate first and those that signed it after it";
            return Err(TlsError(format!("the TLS certificate {path} has no `BEGIN CERTIFICATE` in it; {want}")));
        }
        Ok(chain)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = self.key.display();
        let (text, metadata) = read_file("key", &self.key)?;
        check_private(&self.key, &metadata)?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let want = "it must be a PEM file with one unencrypted private key (PKCS#8, PKCS#1 or SEC1)";
            TlsError(format!("the TLS key {path} cannot be used: {error}; {want}"))
        })
    }

    /// Every certificate of the chain is valid at `now`.
    fn check_dates(
        &self,
        chain: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
    ) -> Result<(), TlsError> {
        let unix = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let path = self.certificate.display();
        for (place, certificate) in chain.iter().enumerate() {
            let place = place + 1;
            match validity(certificate, provider, UnixTime::since_unix_epoch(unix)) {
                Ok(()) => {}
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after })) => {
                    let ago = time.as_secs().saturating_sub(not_after.as_secs());
                    return Err(TlsError(format!(
                        "certificate {place} of {path} expired {} ago; renew it",
                        roughly(ago)
                    )));
                }
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before })) => {
                    let left = not_before.as_secs().saturating_sub(time.as_secs());
                    return Err(TlsError(format!(
                        "certificate {place} of {path} is not valid before {} from now; is this machine's clock right?",
                        roughly(left)
                    )));
                }
                Err(error) => {
                    return Err(TlsError(format!("certificate {place} of {path} is damaged: {error}")));
                }
            }
        }
        Ok(())
    }

    fn unfit(&self, error: &Error) -> TlsError {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        match error {
            Error::InconsistentKeys(_) => {
                TlsError(format!("the TLS key {key} is not that of the certificate {certificate}"))
            }
            error => TlsError(format!("the TLS key {key} and the certificate {certificate} cannot be used: {error}")),
        }
    }
}

/// Whether a certificate can be read and is valid at `now`. rustls tells that of a certificate that it verifies, and it
/// looks at the dates before it looks for who signed it: so it is told to trust this one, and only what it says of the dates
/// counts.
fn validity(certificate: &CertificateDer<'static>, provider: &Arc<CryptoProvider>, now: UnixTime) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    let verifier = built.map_err(|error| Error::General(error.to_string()))?;
    let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    match verifier.verify_server_cert(certificate, &[], &name, &[], now) {
        Err(
            error @ Error::InvalidCertificate(
                CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::BadEncoding,
            ),
        ) => Err(error),
        _ => Ok(()),
    }
}

fn read_file(what: &str, path: &Path) -> Result<(Vec<u8>, Metadata), TlsError> {
    let bad = |error: std::io::Error| TlsError(format!("the TLS {what} {} cannot be read: {error}", path.display()));
    let file = File::open(path).map_err(bad)?;
    let metadata = file.metadata().map_err(bad)?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        let message = format!("the TLS {what} {} is not a PEM file: it is no file, or over 1 MiB", path.display());
        return Err(TlsError(message));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(bad)?;
    Ok((text, metadata))
}

/// Owner and group may read the key (a group is how Debian's `ssl-cert` and Kubernetes' `fsGroup` hand one over); nobody
/// else may, and nobody but the owner may write it.
#[cfg(unix)]
fn check_private(path: &Path, metadata: &Metadata) -> Result<(), TlsError> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    if mode & 0o027 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(TlsError(format!(
        "the TLS key {path} is open to others (mode {mode:04o}); close it with `chmod 600 {path}`, or 640 for a group"
    )))
}

#[cfg(not(unix))]
fn check_private(_: &Path, _: &Metadata) -> Result<(), TlsError> {
    Ok(())
}

fn roughly(seconds: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(86_400, "days"), (3_600, "hours"), (60, "minutes")];
    let step = STEPS.iter().find(|(length, _)| seconds >= 2 * length);
    step.map_or_else(|| format!("{seconds} seconds"), |(length, name)| format!("{} {name}", seconds / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_near_is_told_and_one_that_is_far_is_not() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let chain = [params.self_signed(&key).expect("a certificate").der().clone()];
        let files = TlsFiles { certificate: "cert.pem".into(), key: "key.pem".into() };
        // The beginning of 2030.
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
        let day = NOTICE_EVERY;
        assert_eq!(files.ending(&chain, end - 15 * day), None);
        let told = |now| files.ending(&chain, now).expect("told");
        assert_eq!(told(end - 7 * day), "the TLS certificate cert.pem expires in 7 days; renew it");
        assert!(told(end + 3 * day).contains("expired 3 days ago"));
    }

    #[test]
    fn times_for_people() {
        assert_eq!(roughly(59), "59 seconds");
        assert_eq!(roughly(600), "10 minutes");
        assert_eq!(roughly(86_400 * 3 + 5), "3 days");
    }
}
