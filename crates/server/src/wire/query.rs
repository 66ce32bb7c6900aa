//! A typed reader of a URL's query: each mistake becomes a 400 that names the parameter; an unknown one is refused, since a
//! filter that is silently left out gives wrong sums.

use crate::error::ApiError;
use axum::extract::Query as Extracted;
use axum::extract::Request;
use axum::http::Uri;
use std::collections::BTreeMap;

/// The parameters of one request, read one by one.
#[derive(Debug, Default)]
pub struct Query {
    values: BTreeMap<String, String>,
}

impl Query {
    pub fn of(request: &Request) -> Result<Self, ApiError> {
        Self::read(request.uri())
    }

    /// The same of an address.
    pub fn read(uri: &Uri) -> Result<Self, ApiError> {
        let Ok(Extracted(pairs)) = Extracted::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(ApiError::body("The URL's query is not `name=value&…`."));
        };
        let mut values = BTreeMap::new();
        for (name, value) in pairs {
            let name = crate::state::printable(&name);
            if values.insert(name.clone(), value).is_some() {
                return Err(ApiError::invalid(name.clone(), format!("`{name}` stands in the URL twice.")));
            }
        }
        Ok(Self { values })
    }

    pub fn text(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).filter(|value| !value.is_empty())
    }

    pub fn integer(&mut self, name: &str, min: i64, max: i64) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => {
                let shown = crate::state::printable(&text);
                let message = format!("`{name}` is {shown}; it must be an integer between {min} and {max}.");
                Err(ApiError::invalid(name, message))
            }
        }
    }

    /// Values with commas between them.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// Refuses what was not read.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.values.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::invalid(name.clone(), format!("`{name}` is no parameter of this route."))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, ApiError> {
        Query::read(&format!("/x?{text}").parse().expect("a URI"))
    }

    #[test]
    fn parameters_are_read_once_each() {
        let mut read = query("a=1&b=x,%20y&c=").expect("good");
        assert_eq!(read.integer("a", 0, 9).expect("in range"), Some(1));
        assert_eq!(read.list("b"), ["x", "y"]);
        assert_eq!(read.text("c"), None);
        assert!(read.finish().is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        let param = |result: Result<(), ApiError>| result.err().and_then(|error| error.body.param);
        assert_eq!(param(query("a=1&a=2").map(drop)), Some("a".into()));
        assert_eq!(param(query("a=10").and_then(|mut read| read.integer("a", 0, 9).map(drop))), Some("a".into()));
        assert_eq!(param(query("z=1").and_then(Query::finish)), Some("z".into()));
    }
}
