//! Requests to sources: redirects by hand, so that credentials stay with the host they are for, and a time limit up to
//! the first byte.
//!
//! Must not know: what is fetched. Start at [`Http::get`].

use super::{SourceError, SourceSettings};
use crate::Error;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use tokio::time::{Instant, timeout_at};

const REDIRECTS_MAX: usize = 8;
const NO_CERTIFICATES: &str = "this machine has no CA certificates to check it by; install them (Debian: apt-get install \
                               ca-certificates) or name a bundle in SSL_CERT_FILE";

/// An HTTP client with the settings of the sources.
pub(crate) struct Http {
    client: reqwest::Client,
    /// The machine has CA certificates, without which no https address can be trusted.
    has_certificates: bool,
    pub(crate) settings: SourceSettings,
}

/// A header that only one origin may see.
pub(crate) struct Credentials {
    origin: Url,
    header: HeaderValue,
}

impl Credentials {
    pub(crate) fn bearer(origin: &Url, token: &str) -> Result<Self, Error> {
        Self::new(origin, format!("Bearer {token}"))
    }

    /// Takes user and password out of an address.
    pub(crate) fn take_from(url: &mut Url) -> Result<Option<Self>, Error> {
        if url.username().is_empty() && url.password().is_none() {
            return Ok(None);
        }
        let pair =
            format!("{}:{}", percent_decoded(url.username()), percent_decoded(url.password().unwrap_or_default()));
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| Error::bad_input("the index address cannot carry a user and a password"))?;
        Self::new(url, format!("Basic {}", base64(pair.as_bytes()))).map(Some)
    }

    fn new(origin: &Url, value: String) -> Result<Self, Error> {
        let mut header = HeaderValue::from_str(&value)
            .map_err(|_| Error::bad_input("a token or password has characters that no header can carry"))?;
        header.set_sensitive(true);
        Ok(Self { origin: origin.clone(), header })
    }
}

/// A successful answer whose body has not been read yet.
pub(crate) struct Reply {
    pub response: Response,
    /// Headers of the first answer, which is a redirect where a hub passes on to its storage.
    pub first: HeaderMap,
}

impl Http {
    pub(crate) fn new(settings: SourceSettings) -> Result<Self, Error> {
        // A provider that the program has installed already serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(settings.connect_timeout)
                .user_agent(concat!("orrery/", env!("CARGO_PKG_VERSION")))
        };
        // Without any certificate this fails. What is on this machine can be served all the same, and a mirror without TLS
        // be used.
        let whole = builder().build();
        let has_certificates = whole.is_ok();
        let client = whole.or_else(|_| builder().tls_certs_only([]).build()).map_err(|error| Error::Internal {
            message: "the HTTP client cannot be built".into(),
            source: Some(Box::new(error)),
        })?;
        Ok(Self { client, has_certificates, settings })
    }

    /// The time by which a source must have answered, from now on.
    pub(crate) fn reach_by(&self) -> Instant {
        Instant::now() + self.settings.reach_timeout
    }

    /// GET with redirects. `credentials` go to their own origin only, and never back there from a foreign one.
    pub(crate) async fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        credentials: Option<&Credentials>,
        by: Instant,
    ) -> Result<Reply, SourceError> {
        let mut url = url.clone();
        let mut first = None;
        let mut trusted = true;
        for _ in 0..=REDIRECTS_MAX {
            if url.scheme() == "https" && !self.has_certificates {
                return Err(SourceError::Unreachable(format!("{}: {NO_CERTIFICATES}", origin(&url))));
            }
            let mut request = self.client.get(url.clone()).headers(headers.clone());
            let own = credentials.filter(|credentials| credentials.origin.origin() == url.origin());
            // Never in the clear, but to this machine itself.
            trusted &= own.is_some() && (url.scheme() == "https" || crate::reference::is_loopback(&url));
            if let (true, Some(credentials)) = (trusted, own) {
                request = request.header(AUTHORIZATION, credentials.header.clone());
            }
            let response = timeout_at(by, request.send())
                .await
                .map_err(|_| SourceError::Unreachable(format!("{} did not answer in time", origin(&url))))?
                .map_err(|error| SourceError::Unreachable(format!("{}: {}", origin(&url), reason(error))))?;
            let first = first.get_or_insert_with(|| response.headers().clone());
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return check_status(&url, response).map(|response| Reply { response, first: std::mem::take(first) });
            }
            url = redirected(&url, &response)?;
        }
        Err(SourceError::Unreachable(format!("{} redirects more than {REDIRECTS_MAX} times", origin(&url))))
    }

    /// Reads a whole body of at most `bytes_max`.
    pub(crate) async fn text(&self, mut reply: Reply, bytes_max: usize) -> Result<String, SourceError> {
        let from = origin(reply.response.url());
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut reply.response, self.reach_by()).await? {
            if body.len() + chunk.len() > bytes_max {
                return Err(SourceError::Refused(format!(
                    "{from}: an answer of more than {bytes_max} bytes where a list was expected"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map_err(|_| SourceError::Refused(format!("{from}: the answer is not text")))
    }

    /// The next part of a body, or `None` at its end.
    pub(crate) async fn chunk(
        &self,
        response: &mut Response,
        by: Instant,
    ) -> Result<Option<bytes::Bytes>, SourceError> {
        let from = origin(response.url());
        match timeout_at(by, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(SourceError::Unreachable(format!("{from}: {}", reason(error)))),
            Err(_) => Err(SourceError::Unreachable(format!("{from} stopped sending"))),
        }
    }
}

fn redirected(url: &Url, response: &Response) -> Result<Url, SourceError> {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    let next = next.ok_or_else(|| SourceError::Unreachable(format!("{} redirects to nowhere", origin(url))))?;
    if !matches!(next.scheme(), "http" | "https") || (url.scheme() == "https" && next.scheme() != "https") {
        return Err(SourceError::Refused(format!("{} redirects to an address that is not https", origin(url))));
    }
    Ok(next)
}

fn check_status(url: &Url, response: Response) -> Result<Response, SourceError> {
    let status = response.status();
    // 416: the caller asked for a part past the end.
    if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(response);
    }
    let place = format!("{}{}", origin(url), url.path());
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(SourceError::Missing(format!("{place} does not exist ({status})")))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(SourceError::Missing(format!(
            "{place} is private, gated or unknown ({status}); for the hub, set HF_TOKEN"
        ))),
        status if status.is_server_error() || matches!(status.as_u16(), 408 | 429) => {
            let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let wait =
                wait.map(|wait| format!(", try again after {}", crate::reference::shown(wait))).unwrap_or_default();
            Err(SourceError::Busy(format!("{place} answers {status}{wait}")))
        }
        _ => Err(SourceError::Refused(format!("{place} answers {status}"))),
    }
}

/// Scheme, host and port: what may stand in a log line.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// An address from the settings without its user, password and query.
pub(crate) fn redacted(text: &str) -> String {
    Url::parse(text).map_or_else(|_| "(not an address)".into(), |url| format!("{}{}", origin(&url), url.path()))
}

/// The innermost cause, which says more than the outer layers, and no address (it may carry a signature).
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hexadecimal = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let value = hexadecimal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of RFC 4648, section 10.
    #[test]
    fn base64_vectors() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn credentials_leave_the_address() {
        let mut url = Url::parse("https://me:p%40ss@index.example/simple").expect("url");
        let credentials = Credentials::take_from(&mut url).expect("valid").expect("some");
        assert_eq!(url.as_str(), "https://index.example/simple");
        assert_eq!(credentials.header.to_str().expect("text"), format!("Basic {}", base64(b"me:p@ss")));
        let settings = SourceSettings {
            hub_token: Some("s3cret".into()),
            pypi_index: "https://me:s3cret@index.example/simple".into(),
            ..Default::default()
        };
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
