//! The rows of one forward pass: which tokens, of which sequences, at which positions, in which KV blocks.
//!
//! ```text
//! row      0   1   2   3 │ 4 │ 5   6
//! tokens   a   b   c   d │ x │ p   q        three spans: a chunk of a prompt, a decode, another prompt
//! position 64 65  66  67 │ 9 │ 0   1
//! ```

use orrery_kernels::attention::BLOCK_TOKENS;

/// Consecutive rows of a batch that belong to one sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Span {
    /// First row in the batch.
    pub row: usize,
    /// Rows (tokens) of this step.
    pub count: usize,
    /// Position of the first row in its sequence = tokens already in the KV cache.
    pub position: usize,
    /// Rows from the front whose keys and values the blocks hold already: only what follows from them is computed, and the
    /// blocks may be shared.
    pub stored: usize,
    /// The sequence's KV blocks in order, enough for `position + count` tokens.
    pub blocks: Vec<u32>,
}

/// The contents of one KV block copied to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCopy {
    pub from: u32,
    pub to: u32,
}

/// One step's work. Rows of all spans follow each other without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Done one after the other, before anything is computed.
    pub copies: Vec<BlockCopy>,
    pub tokens: Vec<u32>,
    pub spans: Vec<Span>,
    /// Rows whose logits are wanted, ascending. The output has one row of `vocabulary` logits for each.
    pub logits_rows: Vec<usize>,
}

/// What makes a batch impossible to run. All of it is a mistake of the caller, none of the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("the batch has no rows")]
    Empty,
    #[error("row {row}: token {token} is not below the vocabulary of {vocabulary}")]
    Token { row: usize, token: u32, vocabulary: usize },
    #[error("span {span} has {count} rows from row {row}; it has to have at least one, from row {wanted}")]
    Rows { span: usize, row: usize, count: usize, wanted: usize },
    #[error("the spans have {spans} rows, the batch {tokens} tokens")]
    RowCount { spans: usize, tokens: usize },
    #[error("span {span} ends at position {end}, past the context of {context}")]
    Context { span: usize, end: usize, context: usize },
    #[error("span {span} has {stored} stored rows of {count}")]
    Stored { span: usize, stored: usize, count: usize },
    #[error("KV block {from} is copied to {to}; both have to be below the {blocks} of the cache, and differ")]
    Copy { from: u32, to: u32, blocks: usize },
    #[error("span {span} has {found} KV blocks and needs {wanted}")]
    BlockCount { span: usize, found: usize, wanted: usize },
    #[error("span {span}: KV block {block} is not below the {blocks} of the cache")]
    Block { span: usize, block: u32, blocks: usize },
    #[error("span {span} writes KV block {block}, which also stands elsewhere in the batch")]
    SharedWrite { span: usize, block: u32 },
    #[error("logits of row {row} are wanted: rows have to ascend and be below {rows}")]
    LogitsRow { row: usize, rows: usize },
}

impl Batch {
    /// Position of each row in its sequence.
    pub(crate) fn positions(&self) -> impl Iterator<Item = u32> {
        self.spans.iter().flat_map(|span| (span.position..span.position + span.count).map(|position| position as u32))
    }

    /// Whether a model of `vocabulary` tokens and `context` positions can run this on a cache of `blocks` KV blocks.
    pub fn check(&self, vocabulary: usize, context: usize, blocks: usize) -> Result<(), BatchError> {
        if self.tokens.is_empty() {
            return Err(BatchError::Empty);
        }
        for (row, &token) in self.tokens.iter().enumerate() {
            if token as usize >= vocabulary {
                return Err(BatchError::Token { row, token, vocabulary });
            }
        }
        let exists = |block: u32| (block as usize) < blocks;
        if let Some(&BlockCopy { from, to }) =
            self.copies.iter().find(|copy| !exists(copy.from) || !exists(copy.to) || copy.from == copy.to)
        {
            return Err(BatchError::Copy { from, to, blocks });
        }
        let mut rows = 0;
        for (index, span) in self.spans.iter().enumerate() {
            if span.row != rows || span.count == 0 {
                return Err(BatchError::Rows { span: index, row: span.row, count: span.count, wanted: rows });
            }
            span.check(index, context, blocks)?;
            rows += span.count;
        }
        if rows != self.tokens.len() {
            return Err(BatchError::RowCount { spans: rows, tokens: self.tokens.len() });
        }
        self.check_logits_rows()?;
        self.check_writes()
    }

    fn check_logits_rows(&self) -> Result<(), BatchError> {
        let rows = self.tokens.len();
        let mut next = 0;
        for &row in &self.logits_rows {
            if row < next || row >= rows {
                return Err(BatchError::LogitsRow { row, rows });
            }
            next = row + 1;
        }
        Ok(())
    }

    /// Blocks may be shared to read (a common prefix); one that is written belongs to one place of one span.
    fn check_writes(&self) -> Result<(), BatchError> {
        let mut uses = std::collections::HashMap::<u32, usize>::new();
        for span in &self.spans {
            for &block in &span.blocks {
                *uses.entry(block).or_default() += 1;
            }
        }
        for (index, span) in self.spans.iter().enumerate() {
            if span.stored == span.count {
                continue;
            }
            let written = &span.blocks[(span.position + span.stored) / BLOCK_TOKENS..span.needed_blocks()];
            if let Some(&block) = written.iter().find(|block| uses[block] > 1) {
                return Err(BatchError::SharedWrite { span: index, block });
            }
        }
        Ok(())
    }
}

impl Span {
    fn needed_blocks(&self) -> usize {
        (self.position + self.count).div_ceil(BLOCK_TOKENS)
    }

    fn check(&self, span: usize, context: usize, blocks: usize) -> Result<(), BatchError> {
        if self.stored > self.count {
            return Err(BatchError::Stored { span, stored: self.stored, count: self.count });
        }
        let end = self.position.saturating_add(self.count);
        if end > context {
            return Err(BatchError::Context { span, end, context });
        }
        if self.blocks.len() < self.needed_blocks() {
            return Err(BatchError::BlockCount { span, found: self.blocks.len(), wanted: self.needed_blocks() });
        }
        match self.blocks.iter().find(|&&block| block as usize >= blocks) {
            Some(&block) => Err(BatchError::Block { span, block, blocks }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk of four rows at position 64 and a decode at position 9; the cache has 8 blocks.
    fn good() -> Batch {
        Batch {
            copies: vec![BlockCopy { from: 7, to: 3 }],
            tokens: vec![1, 2, 3, 4, 5],
            spans: vec![
                Span { row: 0, count: 4, position: 64, stored: 0, blocks: vec![0, 1, 2] },
                Span { row: 4, count: 1, position: 9, stored: 0, blocks: vec![3] },
            ],
            logits_rows: vec![3, 4],
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Batch), expected: Result<(), BatchError>) {
        let mut batch = good();
        change(&mut batch);
        assert_eq!(batch.check(10, 128, 8), expected);
    }

    #[test]
    fn a_sound_batch_passes() {
        check(|_| (), Ok(()));
        assert_eq!(good().positions().collect::<Vec<_>>(), [64, 65, 66, 67, 9]);
    }

    #[test]
    fn a_prefix_may_be_shared_and_blocks_reserved() {
        let blocks = vec![0, 1, 3, 4];
        check(|batch| batch.spans[1] = Span { row: 4, count: 1, position: 64, stored: 0, blocks }, Ok(()));
    }

    #[test]
    fn rows_that_are_stored_write_nothing() {
        let shared = |stored| Span { row: 4, count: 1, position: 65, stored, blocks: vec![0, 1, 4] };
        let all =
            |batch: &mut Batch| batch.spans[0] = Span { stored: 4, blocks: vec![0, 1, 4], ..batch.spans[0].clone() };
        check(|batch| (all(batch), batch.spans[1] = shared(1)).1, Ok(()));
        check(|batch| (all(batch), batch.spans[1] = shared(0)).1, Err(BatchError::SharedWrite { span: 1, block: 4 }));
        check(|batch| batch.spans[1].stored = 2, Err(BatchError::Stored { span: 1, stored: 2, count: 1 }));
    }

    #[test]
    fn copies_are_checked() {
        for (from, to) in [(8, 0), (0, 8), (2, 2)] {
            let expected = Err(BatchError::Copy { from, to, blocks: 8 });
            check(move |batch| batch.copies = vec![BlockCopy { from, to }], expected);
        }
    }

    #[test]
    fn tokens_and_rows_are_checked() {
        check(|batch| *batch = Batch::default(), Err(BatchError::Empty));
        check(|batch| batch.tokens[2] = 10, Err(BatchError::Token { row: 2, token: 10, vocabulary: 10 }));
        check(|batch| batch.spans[1].row = 3, Err(BatchError::Rows { span: 1, row: 3, count: 1, wanted: 4 }));
        check(|batch| batch.spans[1].count = 0, Err(BatchError::Rows { span: 1, row: 4, count: 0, wanted: 4 }));
        check(|batch| batch.tokens.push(1), Err(BatchError::RowCount { spans: 5, tokens: 6 }));
    }

    #[test]
    fn positions_and_blocks_are_checked() {
        check(|batch| batch.spans[1].position = 128, Err(BatchError::Context { span: 1, end: 129, context: 128 }));
        check(
            |batch| batch.spans[1].position = usize::MAX,
            Err(BatchError::Context { span: 1, end: usize::MAX, context: 128 }),
        );
        check(|batch| batch.spans[0].blocks.truncate(2), Err(BatchError::BlockCount { span: 0, found: 2, wanted: 3 }));
        check(|batch| batch.spans[1].blocks[0] = 8, Err(BatchError::Block { span: 1, block: 8, blocks: 8 }));
    }

    #[test]
    fn a_written_block_belongs_to_one_place() {
        check(|batch| batch.spans[1].blocks[0] = 1, Err(BatchError::SharedWrite { span: 1, block: 1 }));
        check(|batch| batch.spans[0].blocks[2] = 0, Err(BatchError::SharedWrite { span: 0, block: 0 }));
    }

    #[test]
    fn logits_rows_ascend() {
        for rows in [vec![4, 3], vec![3, 3], vec![5]] {
            let row = *rows.last().unwrap();
            check(move |batch| batch.logits_rows = rows, Err(BatchError::LogitsRow { row, rows: 5 }));
        }
    }
}
