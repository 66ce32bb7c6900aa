//! A Python package index: the address of a wheel.
//!
//! The simple repository API, as JSON and as HTML (https://packaging.python.org/en/latest/specifications/simple-repository-api/).
//! Start at [`find_wheel`].

use super::SourceError;
use super::http::{Credentials, Http};
use crate::Error;
use crate::reference::shown;
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use std::collections::BTreeMap;

const PAGE_BYTES_MAX: usize = 16 << 20;
const ACCEPTED: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// A wheel that the index lists.
pub(crate) struct Wheel {
    pub url: Url,
    /// The index's credentials, for a wheel on the same host.
    pub credentials: Option<Credentials>,
}

#[derive(Deserialize)]
struct Page {
    files: Vec<PageFile>,
}

#[derive(Deserialize)]
struct PageFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

/// Looks up `wheel` of `project`. A digest in the index that differs from `sha256` is refused.
pub(crate) async fn find_wheel(http: &Http, project: &str, wheel: &str, sha256: &str) -> Result<Wheel, SourceError> {
    let mut index = Url::parse(http.settings.pypi_index.trim_end_matches('/'))
        .map_err(|error| Error::bad_input(format!("the package index is not an address: {error}")))?;
    let credentials = Credentials::take_from(&mut index)?;
    let index = crate::reference::check_endpoint(&format!(
        "{}/{}/",
        index.as_str().trim_end_matches('/'),
        project.to_ascii_lowercase().replace(['_', '.'], "-")
    ))?;
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]);
    let reply = http.get(&index, &headers, credentials.as_ref(), http.reach_by()).await?;
    let base = reply.response.url().clone();
    let is_json = reply.response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().starts_with(b"application/") && kind.to_str().is_ok_and(|kind| kind.contains("json"))
    });
    let text = http.text(reply, PAGE_BYTES_MAX).await?;
    let files = if is_json { json_files(&text)? } else { html_files(&text) };
    let file = files.into_iter().find(|file| file.filename == wheel);
    let file = file.ok_or_else(|| SourceError::Missing(format!("the package index has no `{wheel}`")))?;
    if let Some(found) = file.hashes.get("sha256").filter(|found| !found.eq_ignore_ascii_case(sha256)) {
        return Err(SourceError::Refused(format!(
            "the package index has another `{wheel}`: its sha256 is {}, expected was {sha256}",
            shown(found)
        )));
    }
    let url = base.join(&file.url).map_err(|error| {
        SourceError::Refused(format!("the package index has no usable address for `{wheel}`: {error}"))
    })?;
    let url = crate::reference::check_endpoint(url.as_str())
        .map_err(|error| SourceError::Refused(format!("the package index: {error}")))?;
    Ok(Wheel { url, credentials })
}

fn json_files(text: &str) -> Result<Vec<PageFile>, SourceError> {
    let page: Page = serde_json::from_str(text)
        .map_err(|error| SourceError::Refused(format!("the package index's list cannot be read: {error}")))?;
    Ok(page.files)
}

/// Anchors of the HTML form: `<a href="URL#sha256=DIGEST">NAME</a>`. Linear in the page.
fn html_files(text: &str) -> Vec<PageFile> {
    let mut files = Vec::new();
    for anchor in text.split("<a ").skip(1) {
        let parts = anchor.split_once('>').and_then(|(attributes, rest)| {
            let href = attributes.split_once("href=\"")?.1.split_once('"')?.0;
            Some((href, rest.split_once("</a>")?.0))
        });
        let Some((href, name)) = parts else { continue };
        let href = href.replace("&amp;", "&");
        let (url, fragment) = href.split_once('#').unwrap_or((&href, ""));
        let hashes = fragment
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(kind, digest)| (kind.to_owned(), digest.to_owned()))
            .collect();
        files.push(PageFile { filename: name.trim().to_owned(), url: url.to_owned(), hashes });
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_of_the_html_form() {
        let page = "<html><a href=\"../../x/a-1.whl?t=1&amp;u=2#sha256=ab\" data-requires-python=\"&gt;=3\">a-1.whl</a><br><a name='x'>b</a>\n<a href=\"b\"> b.whl </a><a href=\"open";
        let files: Vec<_> = html_files(page)
            .into_iter()
            .map(|file| (file.filename, file.url, file.hashes.get("sha256").cloned()))
            .collect();
        assert_eq!(
            files,
            [
                ("a-1.whl".into(), "../../x/a-1.whl?t=1&u=2".into(), Some("ab".into())),
                ("b.whl".into(), "b".into(), None)
            ]
        );
    }
}
