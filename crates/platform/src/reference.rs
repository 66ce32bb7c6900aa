//! The references that a user can write for a model, and the rules for every name that becomes a part of a path.
//!
//! Nothing here touches the disk or the network: a name is checked before any path or address is made of it.
//! Start at [`Reference::parse`].

use crate::Error;
use crate::catalogue::{Catalogue, Entry};
use reqwest::Url;
use std::path::PathBuf;

/// Longest reference, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 2048;
/// Longest name, in bytes: what one entry of a folder can have, with room for the endings that we add.
pub const NAME_BYTES_MAX: usize = 192;

/// `NAME`, `hf:ORG/REPO[@REVISION][:FILE]`, `https://URL`, or a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Catalogue(Entry),
    /// A model that was pulled before, by the name that `list` shows.
    Stored(String),
    Hub(HubReference),
    Url(Url),
    /// A file or folder of this machine.
    Path(PathBuf),
}

/// A repository of the Hugging Face hub, or one file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubReference {
    /// `ORG/REPO`.
    pub repository: String,
    /// Branch, tag or commit; `main` where none is written.
    pub revision: String,
    pub file: Option<String>,
}

impl Reference {
    /// Parses a reference. A word that no rule takes is [`Reference::Stored`]: the data folder knows whether it exists.
    pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, Error> {
        check_text(text)?;
        if let Some(rest) = text.strip_prefix("hf:") {
            return HubReference::parse(rest).map(Self::Hub);
        }
        if text.contains("://") {
            return check_url(text).map(Self::Url);
        }
        if let Some(entry) = catalogue.find(text) {
            return Ok(Self::Catalogue(entry.clone()));
        }
        if text.contains('/') || text.starts_with('.') || text.ends_with(".gguf") {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        check_name(text)?;
        Ok(Self::Stored(text.to_owned()))
    }

    /// The model's folder in the data folder; `None` where the model is used in place and has none until it is pulled.
    pub fn stored_name(&self) -> Result<String, Error> {
        let name = match self {
            Self::Catalogue(entry) => entry.name.clone(),
            Self::Stored(name) => name.clone(),
            Self::Hub(hub) => hub.stored_name(),
            Self::Url(url) => stem(url_file(url)?).to_owned(),
            Self::Path(path) => {
                path.file_name().and_then(|name| name.to_str()).map(|name| stem(name).to_owned()).ok_or_else(|| {
                    Error::bad_input(format!("`{}` has no file name to call the model by", path.display()))
                })?
            }
        };
        check_name(&name)?;
        Ok(name)
    }

    /// The id under which the model is served.
    pub fn model_id(&self) -> Result<String, Error> {
        match self {
            Self::Hub(HubReference { repository, file: None, .. }) => Ok(repository.clone()),
            Self::Hub(HubReference { file: Some(file), .. }) => Ok(stem(base_name(file)).to_owned()),
            _ => self.stored_name(),
        }
    }
}

impl HubReference {
    fn parse(text: &str) -> Result<Self, Error> {
        let (repository, file) = match text.split_once(':') {
            Some((repository, file)) => (repository, Some(file.to_owned())),
            None => (text, None),
        };
        let (repository, revision) = repository.split_once('@').unwrap_or((repository, "main"));
        check_repository(repository)?;
        check_revision(revision)?;
        if let Some(file) = &file {
            check_file(file)?;
        }
        Ok(Self { repository: repository.to_owned(), revision: revision.to_owned(), file })
    }

    /// `ORG--REPO[--REVISION][--FILE]`: names of the hub contain no `--`, so two references never share a folder.
    fn stored_name(&self) -> String {
        let mut name = self.repository.replace('/', "--");
        if self.revision != "main" {
            name = format!("{name}--{}", self.revision.replace('/', "-"));
        }
        match &self.file {
            Some(file) => format!("{name}--{}", stem(file).replace('/', "-").replace(' ', "_")),
            None => name,
        }
    }
}

impl std::fmt::Display for HubReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "hf:{}", self.repository)?;
        if self.revision != "main" {
            write!(f, "@{}", self.revision)?;
        }
        self.file.iter().try_for_each(|file| write!(f, ":{file}"))
    }
}

/// Checks a name that becomes one folder or file: letters, digits, `.`, `_`, `-` and `+`, not beginning with a dot or a dash.
pub fn check_name(name: &str) -> Result<(), Error> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::bad_input(format!(
            "the name `{}` has {} bytes; at most {NAME_BYTES_MAX} are allowed",
            shown(name),
            name.len()
        )));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    if name.is_empty() || name.starts_with(['.', '-']) || name.contains("..") || !name.bytes().all(allowed) {
        return Err(Error::bad_input(format!(
            "`{}` is not a model name: use letters, digits, `.`, `_`, `-` and `+`, and begin with a letter or a digit",
            shown(name)
        )));
    }
    Ok(())
}

/// Checks `ORG/REPO` by the hub's own rules.
pub fn check_repository(repository: &str) -> Result<(), Error> {
    let well_formed = repository.split_once('/').is_some_and(|(organisation, name)| {
        [organisation, name]
            .iter()
            .all(|part| part.len() <= 96 && !part.contains("--") && !part.contains('+') && check_name(part).is_ok())
    });
    if well_formed {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "`{}` is not a repository of the hub: write hf:ORG/REPO or hf:ORG/REPO:FILE",
        shown(repository)
    )))
}

/// Checks a branch, tag or commit.
pub fn check_revision(revision: &str) -> Result<(), Error> {
    if revision.len() <= 96 && revision.split('/').all(|part| check_name(part).is_ok()) {
        return Ok(());
    }
    Err(Error::bad_input(format!("`{}` is not a revision: write a branch, a tag or a commit", shown(revision))))
}

/// Checks the path of a file inside a repository or a wheel: up to eight folders, none of them hidden or `..`.
pub fn check_file(file: &str) -> Result<(), Error> {
    let part_is_fine = |part: &str| check_name(&part.replace([' ', '(', ')', ',', '='], "_")).is_ok();
    if file.len() <= NAME_BYTES_MAX && file.split('/').count() <= 8 && file.split('/').all(part_is_fine) {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "`{}` is not the path of a file in a repository, such as `model.gguf` or `gguf/model.gguf`",
        shown(file)
    )))
}

/// Checks an address: `https`, or `http` to this machine itself.
pub fn check_url(text: &str) -> Result<Url, Error> {
    let url = check_endpoint(text)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Error::bad_input(format!("`{}` is not encrypted; addresses begin with https://", shown(text))));
    }
    Ok(url)
}

/// Checks the address of a hub or an index from the settings: `http` is allowed, for a mirror in one's own network.
pub fn check_endpoint(text: &str) -> Result<Url, Error> {
    let url =
        Url::parse(text).map_err(|error| Error::bad_input(format!("`{}` is not an address: {error}", shown(text))))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(Error::bad_input(format!("addresses begin with https://, not {}:", shown(url.scheme()))));
    }
    Ok(url)
}

/// Whether an address is of this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The last part of a path inside a repository or a wheel.
pub fn base_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// The file name at the end of an address.
pub fn url_file(url: &Url) -> Result<&str, Error> {
    let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    check_name(name)
        .map_err(|_| Error::bad_input(format!("the address ends in `{}`, which is no file name", shown(name))))?;
    Ok(name)
}

/// A text from outside as it may stand in a message: short, with control characters escaped.
pub fn shown(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(80)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

fn check_text(text: &str) -> Result<(), Error> {
    let problem = if text.is_empty() {
        "it is empty".to_owned()
    } else if text.len() > REFERENCE_BYTES_MAX {
        format!("it has {} bytes; at most {REFERENCE_BYTES_MAX} are allowed", text.len())
    } else if text.chars().any(char::is_control) {
        "it contains a control character".to_owned()
    } else if text.contains('\\') {
        "it contains a backslash".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::bad_input(format!(
        "`{}` is not a model: {problem}; write NAME, hf:ORG/REPO[:FILE], https://… or a path",
        shown(text)
    )))
}

fn stem(name: &str) -> &str {
    name.strip_suffix(".gguf").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference, Error> {
        Reference::parse(text, &Catalogue::embedded().expect("embedded"))
    }

    #[test]
    fn every_form_is_recognised() {
        assert!(matches!(parse("smollm2"), Ok(Reference::Catalogue(entry)) if entry.name == "smollm2-135m-instruct"));
        assert_eq!(parse("org--repo").expect("stored"), Reference::Stored("org--repo".into()));
        assert_eq!(parse("./a/model.gguf").expect("path"), Reference::Path("./a/model.gguf".into()));
        assert_eq!(parse("model.gguf").expect("path"), Reference::Path("model.gguf".into()));
        assert!(matches!(parse("https://example.org/m.gguf"), Ok(Reference::Url(_))));
        let hub = HubReference { repository: "o/r".into(), revision: "v1".into(), file: Some("d/f x.gguf".into()) };
        assert_eq!(parse("hf:o/r@v1:d/f x.gguf").expect("hub"), Reference::Hub(hub));
    }

    #[test]
    fn names_and_ids() {
        let check = |text: &str, name: &str, id: &str| {
            let reference = parse(text).expect(text);
            assert_eq!(reference.stored_name().expect(text), name);
            assert_eq!(reference.model_id().expect(text), id);
        };
        check("smollm2", "smollm2-135m-instruct", "smollm2-135m-instruct");
        check("hf:Org/Repo-1", "Org--Repo-1", "Org/Repo-1");
        check("hf:Org/Repo@dev:sub/a.Q4.gguf", "Org--Repo--dev--sub-a.Q4", "a.Q4");
        check("/models/tiny.gguf", "tiny", "tiny");
        check("https://example.org/x/m.gguf?download=true", "m", "m");
    }

    #[test]
    fn hostile_references_are_refused() {
        let long = "a".repeat(10_000);
        let long_name = "a".repeat(300);
        for text in [
            "",
            "a\0b",
            "a\nb",
            "..\\..\\x",
            &long,
            &long_name,
            "hf:",
            "hf:a",
            "hf:../..",
            "hf:a/..",
            "hf:a/b/c",
            "hf:a/b:../x",
            "hf:a/b:/etc/passwd",
            "hf:a/b:.hidden",
            "hf:a/b@../x",
            "hf:a/b@:f",
            "hf:a--b/c",
            "http://example.org/m.gguf",
            "file:///etc/passwd",
            "ftp://x/y",
            "https://",
            "-rf",
            "a b",
            "naïve",
        ] {
            assert!(matches!(parse(text), Err(Error::BadInput { .. })), "{}", shown(text));
        }
        for name in ["../../x", "..", ".", "a/b", "", "a\0", ".hidden", "a..b"] {
            assert!(matches!(check_name(name), Err(Error::BadInput { .. })), "{name:?}");
        }
        assert!(parse(&long).expect_err("long").to_string().len() < 400);
    }
}
