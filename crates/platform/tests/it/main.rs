//! Tests of the platform from outside: pulling from local servers, the data folder, models that run, limits.

mod corpus;
mod hub;
mod limits;
mod metering;
mod pull;
mod running;
mod server;
mod stored;
mod training;
mod wheel;

use orrery_platform::catalogue::{Catalogue, Entry, File, Source};
use orrery_platform::{Error, OnProgress, Puller, Reference, SourceSettings, StoredModel};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A file that begins like a model and that no two positions make look alike.
pub fn body(bytes: usize) -> Vec<u8> {
    let noise = (0..bytes as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8);
    b"GGUF".iter().copied().chain(noise).take(bytes).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Short waits, so that failures are quick; no server of these tests is slow unless it stalls for good.
pub fn settings(endpoint: &str) -> SourceSettings {
    SourceSettings {
        hub_endpoint: endpoint.to_owned(),
        reach_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_secs(2),
        retry_delay: Duration::from_millis(1),
        ..Default::default()
    }
}

/// A model of one file, `m.gguf`, with these contents and sources.
pub fn entry(contents: &[u8], sources: Vec<Source>) -> Entry {
    Entry {
        name: "tiny".into(),
        aliases: vec!["t".into()],
        task: "text-generation".into(),
        licence: "MIT".into(),
        description: "for tests".into(),
        files: vec![File { name: "m.gguf".into(), bytes: contents.len() as u64, sha256: sha256(contents) }],
        sources,
    }
}

pub fn hub_source() -> Source {
    Source::Hub { repository: "org/repo".into(), revision: "main".into() }
}

pub fn url_source(base: &str) -> Source {
    Source::Url { url: format!("{base}/other/m.gguf") }
}

pub fn puller(data: &Path, settings: SourceSettings) -> Puller {
    Puller::new(data, Catalogue::embedded().expect("embedded"), settings).expect("puller")
}

pub fn silent() -> Arc<OnProgress<'static>> {
    Arc::new(|_: &orrery_platform::Progress<'_>| {})
}

pub async fn pull_entry(data: &Path, settings: SourceSettings, entry: Entry) -> Result<StoredModel, Error> {
    puller(data, settings).pull(&Reference::Catalogue(entry), silent()).await
}

/// Nothing of a model is published, whatever is staged.
pub fn assert_nothing_published(data: &Path) {
    assert_eq!(std::fs::read_dir(data.join("models")).expect("models").count(), 0);
}
