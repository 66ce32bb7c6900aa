//! What strangers send, through the readers that the routes use, and nothing behind them: for fuzzing, and to ask whether a
//! body would be taken. No wire type leaves: the answer is only whether, and if not, why.

use crate::Limits;
use crate::body;
use crate::error::ApiError;
use crate::framing::Framing;
use crate::routes::{detokenize, tokenize};
use crate::wire::chat::ChatBody;
use crate::wire::completion::CompletionBody;
use crate::wire::{accounts, query::Query};

/// What a text claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Chat,
    Completion,
    Tokenize,
    Detokenize,
    NewKey,
    KeyChange,
    TenantChange,
    Price,
    /// The part of an address behind its `?`.
    Query,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Chat,
        Self::Completion,
        Self::Tokenize,
        Self::Detokenize,
        Self::NewKey,
        Self::KeyChange,
        Self::TenantChange,
        Self::Price,
        Self::Query,
    ];
}

/// Reads `bytes` as a route would.
///
/// # Errors
/// The message that the client would get.
pub fn read(kind: Kind, bytes: &[u8], limits: &Limits) -> Result<(), String> {
    let read = if kind == Kind::Query { query(bytes) } else { object(kind, bytes, limits) };
    read.map_err(|error| error.body.message)
}

/// How many bytes of a connection are let through, all of them or up to a fault; they may come in any pieces.
pub fn framed<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> usize {
    let mut framing = Framing::new();
    let mut passed = 0;
    for piece in pieces {
        match framing.feed(piece) {
            Ok(()) => passed += piece.len(),
            Err(fault) => return passed + fault.at,
        }
    }
    passed
}

fn object(kind: Kind, bytes: &[u8], limits: &Limits) -> Result<(), ApiError> {
    let fields = body::parse_object(bytes)?;
    match kind {
        Kind::Chat => ChatBody::read(fields, limits).map(drop),
        Kind::Completion => CompletionBody::read(fields, limits).map(|body| drop(body.into_requests())),
        Kind::Tokenize => tokenize::TokenizeBody::read(fields).map(drop),
        Kind::Detokenize => detokenize::read(fields).map(drop),
        Kind::NewKey => accounts::new_key(fields).map(drop),
        Kind::KeyChange => accounts::key_change(fields).map(drop),
        Kind::TenantChange => accounts::tenant_change(fields).map(drop),
        Kind::Price => accounts::price(fields).map(drop),
        Kind::Query => Ok(()),
    }
}

fn query(bytes: &[u8]) -> Result<(), ApiError> {
    let address = [b"/?", bytes].concat();
    let Ok(uri) = axum::http::Uri::from_maybe_shared(address) else { return Ok(()) };
    let mut query = Query::read(&uri)?;
    query.integer("limit", 1, 1000)?;
    query.text("tenant");
    query.list("group_by");
    query.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_refused_as_its_route_would() {
        for kind in Kind::ALL {
            let bad: &[u8] = if kind == Kind::Query { b"limit=0" } else { b"[]" };
            assert!(read(kind, bad, &Limits::default()).is_err(), "{kind:?}");
        }
        let good = br#"{"model": "m", "messages": [{"role": "user", "content": "a"}]}"#;
        assert_eq!(read(Kind::Chat, good, &Limits::default()), Ok(()));
        let message = read(Kind::Completion, good, &Limits::default()).expect_err("no prompt");
        assert!(message.contains("prompt"), "{message}");
        assert_eq!(read(Kind::Query, b"limit=5&tenant=a&group_by=day", &Limits::default()), Ok(()));
        assert_eq!(framed([&b"GET / HTTP/1.1\r\n\n"[..]]), 16);
    }
}
