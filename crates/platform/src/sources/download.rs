//! One file from an address to the disk: resume, sha256 while it streams, a bounded number of attempts.
//!
//! The bytes go to `target`, which is a staging file; publishing is the store's. Start at [`download`].

use super::http::{Credentials, Http, Reply, origin};
use super::{OnProgress, Progress, SourceError, Step};
use crate::reference::shown;
use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{StatusCode, Url};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

const COPY_BYTES: usize = 1 << 20;
/// Attempts in all, even when each one makes some progress.
const ATTEMPTS_MAX: u32 = 50;

/// What is known of a file before it comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub bytes: Option<u64>,
    pub sha256: Option<String>,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub bytes: u64,
    pub sha256: String,
}

/// One file to download.
pub(crate) struct Download<'a> {
    pub http: &'a Http,
    pub url: Url,
    pub credentials: Option<&'a Credentials>,
    /// Staging file; what an earlier attempt left in it is used.
    pub target: PathBuf,
    /// What to call it in progress and messages.
    pub name: &'a str,
    pub expected: Expected,
    /// Bytes of the model's files that are already there, and of all of them.
    pub before: u64,
    pub total: Option<u64>,
}

/// Downloads until the file is whole and right. The staging file stays for the next attempt when the source fails, and
/// goes when it is wrong or the disk is full.
pub(crate) async fn download(mut job: Download<'_>, progress: &OnProgress<'_>) -> Result<Received, SourceError> {
    let mut idle_attempts = 0;
    let mut began_anew = false;
    let mut delay = job.http.settings.retry_delay;
    for _ in 0..ATTEMPTS_MAX {
        let had = std::fs::metadata(&job.target).map_or(0, |metadata| metadata.len());
        let error = match attempt(&mut job, had, progress).await {
            Ok(received) => return Ok(received),
            // A broken start is this machine's fault, not the source's: once more from nothing.
            Err(SourceError::Refused(_)) if had > 0 && !began_anew => {
                began_anew = true;
                remove(&job.target);
                continue;
            }
            Err(error @ (SourceError::Unreachable(_) | SourceError::Busy(_))) => error,
            Err(error) => {
                if !matches!(error, SourceError::Missing(_)) {
                    remove(&job.target);
                }
                return Err(error);
            }
        };
        let has = std::fs::metadata(&job.target).map_or(0, |metadata| metadata.len());
        idle_attempts = if has > had { 0 } else { idle_attempts + 1 };
        // A source that has not sent a byte is passed over at once; one that was cut off gets another chance.
        let never_reached = has == 0 && !matches!(error, SourceError::Busy(_));
        if idle_attempts >= job.http.settings.attempts || never_reached {
            return Err(error);
        }
        tracing::info!(file = job.name, bytes = has, %error, "download was cut off; trying again");
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(job.http.settings.stall_timeout);
    }
    Err(SourceError::Unreachable(format!("{}: cut off {ATTEMPTS_MAX} times", origin(&job.url))))
}

async fn attempt(job: &mut Download<'_>, had: u64, progress: &OnProgress<'_>) -> Result<Received, SourceError> {
    if let Some(received) = already_whole(job, had).await? {
        return Ok(received);
    }
    let by = job.http.reach_by();
    let reply = job.http.get(&job.url, &range_headers(job, had), job.credentials, by).await?;
    learn(job, &reply)?;
    let start = start_of(&reply, had)?;
    remember_etag(&job.target, &reply)?;
    let sink = Sink::open(job.target.clone(), start).await?;
    let received = stream(job, reply, sink, start, by, progress).await?;
    check(job, &received)?;
    remove(&etag_path(&job.target));
    Ok(received)
}

/// An earlier run had the whole file: only its digest is to be checked.
async fn already_whole(job: &Download<'_>, had: u64) -> Result<Option<Received>, SourceError> {
    if had == 0 || job.expected.sha256.is_none() || job.expected.bytes != Some(had) {
        return Ok(None);
    }
    let received = Sink::open(job.target.clone(), had).await?.finish().await?;
    check(job, &received)?;
    Ok(Some(received))
}

fn range_headers(job: &Download<'_>, had: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let etag = std::fs::read(etag_path(&job.target)).ok().and_then(|etag| HeaderValue::from_bytes(&etag).ok());
    // Without a digest only an unchanged etag tells that the parts belong together.
    if had == 0 || (job.expected.sha256.is_none() && etag.is_none()) {
        return headers;
    }
    if let Ok(range) = HeaderValue::from_str(&format!("bytes={had}-")) {
        headers.insert(RANGE, range);
    }
    if let (None, Some(etag)) = (&job.expected.sha256, etag) {
        headers.insert(IF_RANGE, etag);
    }
    headers
}

/// Takes size and digest from the hub's headers where they were unknown, and refuses at once where they differ.
fn learn(job: &mut Download<'_>, reply: &Reply) -> Result<(), SourceError> {
    let header = |name: &str| reply.first.get(name).and_then(|value| value.to_str().ok());
    if let Some(sha256) =
        header("x-linked-etag").map(|etag| etag.trim_matches('"').to_ascii_lowercase()).filter(|etag| is_sha256(etag))
    {
        let expected = job.expected.sha256.get_or_insert_with(|| sha256.clone());
        if *expected != sha256 {
            return Err(wrong_digest(job, &sha256));
        }
    }
    if let Some(bytes) = header("x-linked-size").and_then(|size| size.parse().ok()) {
        let expected = *job.expected.bytes.get_or_insert(bytes);
        if expected != bytes {
            return Err(wrong_size(job, expected, bytes));
        }
    }
    Ok(())
}

/// Where the body begins in the file.
fn start_of(reply: &Reply, had: u64) -> Result<u64, SourceError> {
    match reply.response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let range =
                reply.response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let start = range
                .strip_prefix("bytes ")
                .and_then(|range| range.split('-').next())
                .and_then(|start| start.parse().ok());
            start.filter(|start| *start <= had).ok_or_else(|| {
                SourceError::Refused(format!(
                    "{} sent the range `{}` where bytes from {had} on were asked for",
                    origin(reply.response.url()),
                    shown(range)
                ))
            })
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            Err(SourceError::Refused("what was downloaded before is longer than the file".into()))
        }
        _ => Ok(0),
    }
}

async fn stream(
    job: &Download<'_>,
    mut reply: Reply,
    sink: Sink,
    start: u64,
    first_by: Instant,
    progress: &OnProgress<'_>,
) -> Result<Received, SourceError> {
    let remaining = reply.response.content_length();
    let whole = job.expected.bytes.or(remaining.map(|remaining| start + remaining));
    let bytes_max = whole.unwrap_or(job.http.settings.file_max_bytes).min(job.http.settings.file_max_bytes);
    let total = job.total.or(whole.map(|whole| job.before + whole));
    let mut done = start;
    let mut by = first_by;
    let mut outcome = Ok(());
    loop {
        match job.http.chunk(&mut reply.response, by).await {
            Ok(None) => break,
            Ok(Some(chunk)) if done + chunk.len() as u64 > bytes_max => {
                outcome = Err(SourceError::Refused(format!(
                    "{} sends more than the {bytes_max} bytes that `{}` has",
                    origin(&job.url),
                    job.name
                )));
                break;
            }
            Ok(Some(chunk)) => {
                done += chunk.len() as u64;
                if sink.send(chunk).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
        by = Instant::now() + job.http.settings.stall_timeout;
        progress(&Progress {
            step: Step::Downloading,
            what: job.name,
            bytes_done: job.before + done,
            bytes_total: total,
        });
    }
    // The writer's failure counts more: it is why the sending stopped.
    let received = sink.finish().await?;
    outcome?;
    match whole {
        Some(whole) if received.bytes < whole => Err(SourceError::Unreachable(format!(
            "{} ended `{}` after {} of {whole} bytes",
            origin(&job.url),
            job.name,
            received.bytes
        ))),
        _ => Ok(received),
    }
}

fn check(job: &Download<'_>, received: &Received) -> Result<(), SourceError> {
    if let Some(bytes) = job.expected.bytes.filter(|bytes| *bytes != received.bytes) {
        return Err(wrong_size(job, bytes, received.bytes));
    }
    match &job.expected.sha256 {
        Some(sha256) if *sha256 != received.sha256 => Err(wrong_digest(job, &received.sha256)),
        _ => Ok(()),
    }
}

fn wrong_digest(job: &Download<'_>, found: &str) -> SourceError {
    let expected = job.expected.sha256.as_deref().unwrap_or_default();
    SourceError::Refused(format!(
        "{} has another `{}`: its sha256 is {found}, expected was {expected}",
        origin(&job.url),
        job.name
    ))
}

fn wrong_size(job: &Download<'_>, expected: u64, found: u64) -> SourceError {
    SourceError::Refused(format!(
        "{} has another `{}`: {found} bytes, expected were {expected}",
        origin(&job.url),
        job.name
    ))
}

fn remember_etag(target: &Path, reply: &Reply) -> Result<(), SourceError> {
    let strong = reply.response.headers().get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/"));
    let Some(etag) = strong else {
        remove(&etag_path(target));
        return Ok(());
    };
    std::fs::write(etag_path(target), etag.as_bytes()).map_err(|error| SourceError::disk("staging a download", error))
}

fn etag_path(target: &Path) -> PathBuf {
    target.with_added_extension("etag")
}

/// Removes a staging file; one that is not there is fine, and one that cannot be removed is found by the next pull.
pub(crate) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file that is written and hashed on a thread of its own. Dropping it leaves what has been sent in the file.
struct Sink {
    sender: mpsc::Sender<Bytes>,
    task: JoinHandle<std::io::Result<Received>>,
}

impl Sink {
    /// Keeps the first `start` bytes of the file, which are hashed again, and writes after them.
    async fn open(path: PathBuf, start: u64) -> Result<Self, SourceError> {
        let (sender, receiver) = mpsc::channel(16);
        let task = spawn_blocking(move || write_and_hash(&path, start, receiver));
        Ok(Self { sender, task })
    }

    /// Fails when the writer has stopped; [`Sink::finish`] tells why.
    async fn send(&self, chunk: Bytes) -> Result<(), ()> {
        self.sender.send(chunk).await.map_err(drop)
    }

    async fn finish(self) -> Result<Received, SourceError> {
        drop(self.sender);
        let written = self
            .task
            .await
            .map_err(|_| SourceError::Fatal(crate::Error::internal("the thread that writes a download has died")))?;
        written.map_err(|error| SourceError::disk("writing a download", error))
    }
}

fn write_and_hash(path: &Path, start: u64, mut chunks: mpsc::Receiver<Bytes>) -> std::io::Result<Received> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    let mut hash = Sha256::new();
    hash_start(&mut file, start, &mut hash)?;
    if file.metadata()?.is_file() {
        file.set_len(start)?;
    }
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = start;
    while let Some(chunk) = chunks.blocking_recv() {
        file.write_all(&chunk)?;
        hash.update(&chunk);
        bytes += chunk.len() as u64;
    }
    file.sync_all()
        .or_else(|error| if error.kind() == std::io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) })?;
    Ok(Received { bytes, sha256: hexadecimal(&hash.finalize()) })
}

fn hash_start(file: &mut File, bytes: u64, hash: &mut Sha256) -> std::io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(COPY_BYTES as u64) as usize;
        let part = &mut buffer[..part];
        file.read_exact(part)?;
        hash.update(&*part);
        left -= part.len() as u64;
    }
    Ok(())
}
