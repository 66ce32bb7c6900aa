//! Tests of metering with a disk and a ledger that fail on purpose.

mod disk;
mod faults;
mod ledger;
mod meter;
mod records;
mod segments;

use super::journal::Journal;
use super::record::Id;
use super::request::{Bill, Metered};
use super::{MeterSettings, open};
use crate::{Error, Timings};
use disk::Disk;
use orrery_store::{KeyId, Outcome, Price, TenantId, UsageRow};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Small numbers without pattern, the same for one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn bill() -> Bill {
    Bill {
        tenant: TenantId::first(),
        key: "key_test".parse::<KeyId>().expect("id"),
        price: Price { model: "tiny".into(), input_nano: 7, cached_nano: 3, output_nano: 11 },
        version: "sha256:1".into(),
        endpoint: "chat.completions".into(),
    }
}

/// Short waits and small files.
fn settings() -> MeterSettings {
    MeterSettings {
        write_ms: 1,
        sync_ms: 2,
        segment_bytes: 8 << 10,
        journal_max_bytes: 1 << 20,
        batch_ms: 1,
        batch_rows: 8,
        append_timeout_ms: 20,
        retry_ms: 1,
        retry_max_ms: 4,
        ..MeterSettings::new(Path::new("nowhere"))
    }
}

fn journal(disk: &Disk) -> Result<Arc<Journal>, Error> {
    open(settings(), Box::new(disk.clone()), None).map(Arc::new)
}

fn timings() -> Timings {
    Timings { queue: Duration::from_micros(1), prefill: Duration::from_micros(2), decode: Duration::from_micros(3) }
}

/// The rows that a start after this moment would find.
fn rows_left(disk: &Disk) -> Vec<UsageRow> {
    super::replay::read(disk).expect("readable").rows.into_iter().map(|(_, row)| row).collect()
}

/// Cost by hand.
fn cost(row: &UsageRow) -> u64 {
    (row.input_tokens - row.cached_tokens) * 7 + row.cached_tokens * 3 + row.output_tokens * 11
}

fn finish(metered: Metered, output: u64) -> Result<UsageRow, Error> {
    metered.prompt(10, 4);
    metered.tokens(output);
    metered.finish(Outcome::Completed, timings())
}
