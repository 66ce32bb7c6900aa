//! The bytes of a connection: where its requests begin and end, the same in whatever pieces the bytes come.

use orrery_server::dry_run::framed;

pub fn run(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let whole = framed([data]);
    assert!(whole <= data.len());
    assert_eq!(framed(data.chunks(usize::from(*size).max(1))), whole, "in pieces of {size}");
    // What was let through is good on its own.
    assert_eq!(framed([&data[..whole]]), whole);
}
