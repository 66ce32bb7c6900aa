//! IDX, the format of the MNIST files: big-endian sizes, then bytes. Pictures and labels are two files, packed by gzip or
//! not.
//!
//! Source: <http://yann.lecun.com/exdb/mnist/>.

use std::io::{Cursor, Read};

use super::{Limits, Pictures, over_limit};
use crate::{Error, Pixels, Result};

/// What a file of unsigned bytes begins with, before the number of its dimensions.
const BYTES: [u8; 3] = [0, 0, 8];

/// Pictures (3 dimensions, or 4 with channels) and their labels (1 dimension).
pub(super) fn read(pictures: impl Read, labels: impl Read, limits: &Limits) -> Result<Pictures> {
    let (sizes, values) = array(pictures, "pictures", limits)?;
    let (height, width, channels) = match sizes[..] {
        [_, height, width] => (height, width, 1),
        [_, height, width, channels @ (1 | 3)] => (height, width, channels),
        _ => return Err(Error::BadData(format!("pictures of the sizes {sizes:?}; send [count, height, width]"))),
    };
    let (label_sizes, labels) = array(labels, "labels", limits)?;
    if label_sizes.len() != 1 || label_sizes[0] != sizes[0] {
        let (pictures, rows) = (sizes[0], label_sizes[0].min(sizes[0]) + 1);
        let message = format!("row {rows}: there are {pictures} pictures and labels of the sizes {label_sizes:?}");
        return Err(Error::BadData(message));
    }
    let classes: Vec<String> = labels.iter().map(u8::to_string).collect();
    Pictures::new(Pixels { rows: sizes[0], height, width, channels, values }, &classes)
}

/// Whether a file begins as one of this format does, unpacked.
pub(super) fn is_idx(bytes: &[u8]) -> bool {
    bytes.starts_with(&BYTES) && bytes.get(3).is_some_and(|dimensions| (1..=4).contains(dimensions))
}

fn array(mut source: impl Read, what: &str, limits: &Limits) -> Result<(Vec<usize>, Vec<u8>)> {
    let unreadable = |source| Error::File { what: format!("reading the {what}"), source };
    let mut start = Vec::new();
    source.by_ref().take(2).read_to_end(&mut start).map_err(unreadable)?;
    let is_packed = start == [0x1f, 0x8b];
    let whole = Cursor::new(start).chain(source);
    let mut source: Box<dyn Read + '_> =
        if is_packed { Box::new(flate2::read::MultiGzDecoder::new(whole)) } else { Box::new(whole) };
    let mut head = [0; 4];
    source.read_exact(&mut head).map_err(unreadable)?;
    if !is_idx(&head) {
        return Err(Error::BadData(format!("the file of {what} begins with {head:02x?}, not as IDX of bytes does")));
    }
    let mut sizes = Vec::new();
    for _ in 0..head[3] {
        let mut size = [0; 4];
        source.read_exact(&mut size).map_err(unreadable)?;
        sizes.push(u32::from_be_bytes(size) as usize);
    }
    let bytes = sizes.iter().try_fold(1_usize, |bytes, &size| bytes.checked_mul(size)).unwrap_or(usize::MAX);
    if sizes[0] > limits.rows_max {
        return Err(over_limit(&format!("{} {what}", sizes[0]), "rows_max", limits.rows_max));
    }
    if bytes > limits.memory_bytes_max {
        return Err(over_limit(&format!("{what} of {bytes} bytes"), "memory_bytes_max", limits.memory_bytes_max));
    }
    // The buffer grows with what is there, whatever the head says.
    let mut values = Vec::new();
    source.take(bytes as u64 + 1).read_to_end(&mut values).map_err(unreadable)?;
    if values.len() != bytes || bytes == 0 {
        let row = values.len() / (bytes / sizes[0].max(1)).max(1) + 1;
        let (found, more) = (values.len().min(bytes), if values.len() > bytes { " and more" } else { "" });
        let message = format!("row {row}: the {what} have {found} bytes{more}, and the sizes {sizes:?} make {bytes}");
        return Err(Error::BadData(message));
    }
    Ok((sizes, values))
}
