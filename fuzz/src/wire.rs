//! What a client sends: a body, by its first byte of which route, or the query of an address. Read and checked as the routes do.

use orrery_server::Limits;
use orrery_server::dry_run::{Kind, read};

pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    if let Err(message) = read(kind, data, &Limits::default()) {
        assert!(!message.is_empty() && message.len() < 2_000, "{kind:?}: {} bytes of message", message.len());
    }
}
