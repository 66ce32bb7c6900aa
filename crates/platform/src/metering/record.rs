//! Records of the journal: to bytes and back.
//!
//! ```text
//! magic 4 | bytes of the body 4 | CRC-32 of these four bytes and the body 4 | body
//! body: kind 1 | id of the request 16 | what the kind holds
//! ```
//!
//! Numbers are little-endian; a text has its length (2 bytes) before it. Must not know: files. Start at [`scan`].

use super::Bill;
use orrery_store::{COUNT_MAX, Outcome, Price, UsageRow};

const MAGIC: [u8; 4] = *b"\xF5ORJ";
const HEADER_BYTES: usize = 12;
/// A longer body is no body.
const BODY_BYTES_MAX: usize = 1024;
/// Bytes of a whole record of a request's beginning, at most: the store bounds the texts in it.
pub(super) const BEGIN_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX;
/// Bytes of a whole record of its progress.
pub(super) const PROGRESS_BYTES: usize = HEADER_BYTES + 17 + 32;
/// Bytes of a whole record of its end.
pub(super) const END_BYTES: usize = HEADER_BYTES + 17 + 57;

/// What a request is called here: random, so that neither chance nor a client repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(pub [u8; 16]);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "req_{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Tokens so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closing {
    pub counts: Counts,
    pub queue_us: u64,
    pub prefill_us: u64,
    pub decode_us: u64,
    pub outcome: Outcome,
    pub ended_at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Begin { id: Id, bill: Bill, started_at_ms: i64 },
    Progress { id: Id, counts: Counts, at_ms: i64 },
    End { id: Id, closing: Closing },
}

impl Record {
    pub(super) fn id(&self) -> Id {
        match self {
            Self::Begin { id, .. } | Self::Progress { id, .. } | Self::End { id, .. } => *id,
        }
    }
}

/// The ledger's row. One function for the running process and for the one that finds the journal, so that both give the
/// same row.
pub(super) fn usage_row(id: Id, bill: &Bill, started_at_ms: i64, closing: &Closing) -> UsageRow {
    let input_tokens = closing.counts.input.min(COUNT_MAX);
    let cached_tokens = closing.counts.cached.min(input_tokens);
    let output_tokens = closing.counts.output.min(COUNT_MAX);
    let cost = bill.price.cost_nano(input_tokens, cached_tokens, output_tokens);
    let cost_nano = cost.unwrap_or_else(|error| {
        tracing::error!(request = %id, %error, "a cost is cut to the highest that the ledger holds");
        COUNT_MAX
    });
    UsageRow {
        id: id.to_string(),
        tenant: bill.tenant.clone(),
        key: bill.key.clone(),
        model: bill.price.model.clone(),
        version: bill.version.clone(),
        endpoint: bill.endpoint.clone(),
        input_tokens,
        cached_tokens,
        output_tokens,
        queue_us: closing.queue_us.min(COUNT_MAX),
        prefill_us: closing.prefill_us.min(COUNT_MAX),
        decode_us: closing.decode_us.min(COUNT_MAX),
        cost_nano,
        outcome: closing.outcome,
        started_at_ms,
        ended_at_ms: closing.ended_at_ms,
    }
}

pub(super) fn put_begin(out: &mut Vec<u8>, id: Id, bill: &Bill, started_at_ms: i64) {
    put(out, 1, id, |out| {
        for number in [bill.price.input_nano, bill.price.cached_nano, bill.price.output_nano] {
            out.extend(number.to_le_bytes());
        }
        out.extend(started_at_ms.to_le_bytes());
        let texts = [bill.tenant.as_str(), bill.key.as_str(), &bill.price.model, &bill.version, &bill.endpoint];
        for text in texts {
            out.extend((text.len() as u16).to_le_bytes());
            out.extend(text.as_bytes());
        }
    });
}

pub(super) fn put_progress(out: &mut Vec<u8>, id: Id, counts: Counts, at_ms: i64) {
    put(out, 2, id, |out| {
        put_counts(out, counts);
        out.extend(at_ms.to_le_bytes());
    });
}

pub(super) fn put_end(out: &mut Vec<u8>, id: Id, closing: &Closing) {
    put(out, 3, id, |out| {
        put_counts(out, closing.counts);
        for number in [closing.queue_us, closing.prefill_us, closing.decode_us] {
            out.extend(number.to_le_bytes());
        }
        out.extend(closing.ended_at_ms.to_le_bytes());
        out.push(match closing.outcome {
            Outcome::Completed => 0,
            Outcome::Cancelled => 1,
            Outcome::Failed => 2,
            Outcome::Interrupted => 3,
        });
    });
}

fn put_counts(out: &mut Vec<u8>, counts: Counts) {
    for number in [counts.input, counts.cached, counts.output] {
        out.extend(number.to_le_bytes());
    }
}

fn put(out: &mut Vec<u8>, kind: u8, id: Id, rest: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(MAGIC);
    out.extend([0; HEADER_BYTES - MAGIC.len()]);
    out.push(kind);
    out.extend(id.0);
    rest(out);
    let bytes = ((out.len() - start - HEADER_BYTES) as u32).to_le_bytes();
    let sum = checksum(bytes, &out[start + HEADER_BYTES..]);
    out[start + 4..start + 8].copy_from_slice(&bytes);
    out[start + 8..start + HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(bytes: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes);
    hasher.update(body);
    hasher.finalize()
}

/// What stands in a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub records: Vec<Record>,
    /// Bytes before a good record are no records: not the work of a crash between two writes.
    pub damaged: bool,
}

/// Reads all records that are whole. A record that is cut off at the end is dropped, and what cannot be read in the
/// middle is skipped up to the next whole record.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut found = Scan::default();
    let mut at = 0;
    let mut skipped = false;
    while let Some(start) = next_magic(bytes, at) {
        skipped |= start > at;
        match read(&bytes[start..]) {
            Some((record, length)) => {
                found.records.push(record);
                found.damaged |= skipped;
                skipped = false;
                at = start + length;
            }
            None => {
                skipped = true;
                at = start + 1;
            }
        }
    }
    found
}

fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(MAGIC.len()).position(|window| window == MAGIC).map(|offset| from + offset)
}

/// The record at the beginning of `bytes`, and its length.
fn read(bytes: &[u8]) -> Option<(Record, usize)> {
    let mut fields = Fields(bytes);
    let _magic = fields.take(MAGIC.len())?;
    let length: [u8; 4] = fields.array()?;
    let sum = u32::from_le_bytes(fields.array()?);
    let body_bytes = u32::from_le_bytes(length) as usize;
    if body_bytes > BODY_BYTES_MAX {
        return None;
    }
    let body = fields.take(body_bytes)?;
    let record = (checksum(length, body) == sum).then(|| Fields(body).record()).flatten()?;
    Some((record, HEADER_BYTES + body_bytes))
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let bytes = u16::from_le_bytes(self.array()?).into();
        std::str::from_utf8(self.take(bytes)?).ok().map(str::to_owned)
    }

    fn counts(&mut self) -> Option<Counts> {
        Some(Counts { input: self.number()?, cached: self.number()?, output: self.number()? })
    }

    fn record(mut self) -> Option<Record> {
        let kind = self.take(1)?.first().copied()?;
        let id = Id(self.array()?);
        let record = match kind {
            1 => self.begin(id)?,
            2 => Record::Progress { id, counts: self.counts()?, at_ms: self.time()? },
            3 => Record::End { id, closing: self.closing()? },
            _ => return None,
        };
        self.0.is_empty().then_some(record)
    }

    fn begin(&mut self, id: Id) -> Option<Record> {
        let (input_nano, cached_nano, output_nano) = (self.number()?, self.number()?, self.number()?);
        let started_at_ms = self.time()?;
        let tenant = self.text()?.try_into().ok()?;
        let key = self.text()?.try_into().ok()?;
        let price = Price { model: self.text()?, input_nano, cached_nano, output_nano };
        let bill = Bill { tenant, key, price, version: self.text()?, endpoint: self.text()? };
        Some(Record::Begin { id, bill, started_at_ms })
    }

    fn closing(&mut self) -> Option<Closing> {
        Some(Closing {
            counts: self.counts()?,
            queue_us: self.number()?,
            prefill_us: self.number()?,
            decode_us: self.number()?,
            ended_at_ms: self.time()?,
            outcome: match self.take(1)? {
                [0] => Outcome::Completed,
                [1] => Outcome::Cancelled,
                [2] => Outcome::Failed,
                [3] => Outcome::Interrupted,
                _ => return None,
            },
        })
    }
}
