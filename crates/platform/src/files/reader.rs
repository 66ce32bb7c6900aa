//! A file's content in the clear, piece by piece.

use crate::Error;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use orrery_store::Pieces;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Decrypts while it is read; memory is bounded, whatever the file's size. Each piece is authentic when it comes; that none
/// is missing is known when it has ended without an error.
pub struct Reader(Pieces);

impl Reader {
    pub(super) fn new(pieces: Pieces) -> Self {
        Self(pieces)
    }

    /// Writes all of it, such as into a child's standard input, and flushes.
    ///
    /// # Errors
    /// The content was changed or cannot be read; or the writer's own.
    pub async fn copy_to(mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Error> {
        let failed = |error: std::io::Error| Error::disk("cannot pass a file's content on", error);
        let mut bytes = 0;
        while let Some(piece) = self.0.next().await {
            let piece = piece?;
            writer.write_all(&piece).await.map_err(failed)?;
            bytes += piece.len() as u64;
        }
        writer.flush().await.map_err(failed)?;
        Ok(bytes)
    }

    /// All of it, if it has at most so many bytes.
    ///
    /// # Errors
    /// It is larger; it was changed or cannot be read.
    pub async fn read(mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.0.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() > bytes_max {
                return Err(Error::TooLarge(format!("the file has more than {bytes_max} bytes")));
            }
        }
        Ok(bytes)
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context).map(|piece| piece.map(|piece| piece.map_err(Error::from)))
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader(…)")
    }
}
