//! The Hugging Face hub: which files a repository has, and where they are.
//!
//! Documented at https://huggingface.co/docs/hub/api. Start at [`Hub::choose`].

use super::SourceError;
use super::download::{Expected, is_sha256};
use super::http::{Credentials, Http};
use crate::Error;
use crate::reference::{HubReference, base_name, check_file};
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::Deserialize;

const LISTING_BYTES_MAX: usize = 8 << 20;
const FILES_MAX: usize = 500;

/// The side files of a safetensors model that are read.
const SIDE_FILES: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors.index.json",
];

/// The hub at one endpoint.
pub(crate) struct Hub<'a> {
    http: &'a Http,
    endpoint: Url,
    pub credentials: Option<Credentials>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubFile {
    pub path: String,
    pub expected: Expected,
}

/// What to fetch of a repository.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The commit, where the hub tells it, so that all files are of one state.
    pub revision: String,
    pub licence: Option<String>,
    pub files: Vec<HubFile>,
}

#[derive(Deserialize)]
struct Listing {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl<'a> Hub<'a> {
    pub(crate) fn new(http: &'a Http) -> Result<Self, Error> {
        let endpoint = crate::reference::check_endpoint(http.settings.hub_endpoint.trim_end_matches('/'))?;
        let credentials =
            http.settings.hub_token.as_ref().map(|token| Credentials::bearer(&endpoint, token)).transpose()?;
        Ok(Self { http, endpoint, credentials })
    }

    /// The address of a file. All parts have been checked, so that none of them can leave its place.
    pub(crate) fn resolve(&self, repository: &str, revision: &str, file: &str) -> Result<Url, Error> {
        self.address(&format!("{repository}/resolve/{}/{file}", revision.replace('/', "%2F")))
    }

    /// Asks the hub what a reference means in files: one file, the whole safetensors folder, or the only GGUF.
    pub(crate) async fn choose(&self, reference: &HubReference) -> Result<Choice, SourceError> {
        let path = format!(
            "api/models/{}/revision/{}?blobs=true",
            reference.repository,
            reference.revision.replace('/', "%2F")
        );
        let reply = self
            .http
            .get(&self.address(&path)?, &HeaderMap::new(), self.credentials.as_ref(), self.http.reach_by())
            .await?;
        let text = self.http.text(reply, LISTING_BYTES_MAX).await?;
        let listing: Listing = serde_json::from_str(&text)
            .map_err(|error| SourceError::Refused(format!("the hub's list of {reference} cannot be read: {error}")))?;
        let revision =
            listing.sha.clone().filter(|sha| sha.len() == 40 && sha.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let licence = listing.tags.iter().find_map(|tag| tag.strip_prefix("license:")).map(crate::reference::shown);
        let files = pick(reference, listing.siblings)?;
        Ok(Choice { revision: revision.unwrap_or_else(|| reference.revision.clone()), licence, files })
    }

    fn address(&self, path: &str) -> Result<Url, Error> {
        let text = format!("{}/{path}", self.endpoint.as_str().trim_end_matches('/'));
        Url::parse(&text).map_err(|error| Error::bad_input(format!("the hub's address does not take a path: {error}")))
    }
}

fn pick(reference: &HubReference, siblings: Vec<Sibling>) -> Result<Vec<HubFile>, SourceError> {
    // A name that could not be a path of ours is no file to us.
    let files: Vec<HubFile> =
        siblings.into_iter().filter(|file| check_file(&file.rfilename).is_ok()).map(HubFile::from).collect();
    let ggufs: Vec<&HubFile> = files.iter().filter(|file| file.path.ends_with(".gguf")).collect();
    if let Some(wanted) = &reference.file {
        let found = files.iter().find(|file| file.path == *wanted).cloned();
        return found.map(|file| vec![file]).ok_or_else(|| missing_file(reference, wanted, &ggufs));
    }
    let is_weights = |file: &&HubFile| !file.path.contains('/') && file.path.ends_with(".safetensors");
    if files.iter().any(|file| is_weights(&file)) && files.iter().any(|file| file.path == "config.json") {
        let folder: Vec<HubFile> =
            files.iter().filter(|file| is_weights(file) || SIDE_FILES.contains(&file.path.as_str())).cloned().collect();
        return match folder.len() {
            ..=FILES_MAX => Ok(folder),
            count => Err(SourceError::Fatal(Error::bad_input(format!(
                "{reference} has {count} files; at most {FILES_MAX} are fetched"
            )))),
        };
    }
    match &ggufs[..] {
        [only] => Ok(vec![(*only).clone()]),
        [] => Err(SourceError::Fatal(Error::NotFound(format!(
            "{reference} has neither safetensors with a config.json nor a GGUF file"
        )))),
        several => Err(SourceError::Fatal(Error::bad_input(format!(
            "{reference} has several GGUF files; name one: {}",
            listed(reference, several)
        )))),
    }
}

fn missing_file(reference: &HubReference, wanted: &str, ggufs: &[&HubFile]) -> SourceError {
    let hint = if ggufs.is_empty() { String::new() } else { format!("; it has {}", listed(reference, ggufs)) };
    SourceError::Fatal(Error::NotFound(format!("hf:{} has no file `{wanted}`{hint}", reference.repository)))
}

fn listed(reference: &HubReference, files: &[&HubFile]) -> String {
    let names: Vec<String> =
        files.iter().take(40).map(|file| format!("hf:{}:{}", reference.repository, file.path)).collect();
    let more = files.len().saturating_sub(names.len());
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}

impl From<Sibling> for HubFile {
    fn from(file: Sibling) -> Self {
        let lfs = file.lfs.as_ref();
        let sha256 = lfs
            .and_then(|lfs| lfs.sha256.clone())
            .map(|sha256| sha256.to_ascii_lowercase())
            .filter(|sha256| is_sha256(sha256));
        let bytes = lfs.and_then(|lfs| lfs.size).or(file.size);
        Self { path: file.rfilename, expected: Expected { bytes, sha256 } }
    }
}

impl HubFile {
    /// The name in the model's folder.
    pub(crate) fn name(&self) -> &str {
        base_name(&self.path)
    }
}
