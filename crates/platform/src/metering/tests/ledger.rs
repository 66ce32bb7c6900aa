//! A ledger that fails: before it writes, after it has written, or without an answer. It checks that a row that comes
//! again is the same row.

use super::Random;
use async_trait::async_trait;
use orrery_store::{Error, KeyId, Ledger, Result, Spent, TenantId, UsageQuery, UsageRow, UsageSum};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct FailingLedger(Mutex<State>);

#[derive(Debug)]
pub(super) struct State {
    pub rows: BTreeMap<String, UsageRow>,
    random: u64,
    /// Of ten attempts, how many go wrong.
    pub faults: u64,
    /// Rows of this model are never taken.
    pub refuses: Option<String>,
    /// Rows of the largest attempt.
    pub rows_max: usize,
}

impl FailingLedger {
    pub(super) fn new(seed: u64, faults: u64) -> Self {
        let random = seed * 2 + 1;
        Self(Mutex::new(State { rows: BTreeMap::new(), random, faults, refuses: None, rows_max: 0 }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }
}

impl State {
    fn append(&mut self, rows: &[UsageRow]) -> usize {
        let before = self.rows.len();
        for row in rows {
            let stored = self.rows.entry(row.id.clone()).or_insert_with(|| row.clone());
            assert_eq!(stored, row, "a row comes again and is another one");
        }
        self.rows.len() - before
    }
}

#[async_trait]
impl Ledger for FailingLedger {
    async fn append_usage(&self, rows: &[UsageRow]) -> Result<usize> {
        let hangs = {
            let mut state = self.state();
            state.rows_max = state.rows_max.max(rows.len());
            if rows.iter().any(|row| Some(&row.model) == state.refuses.as_ref()) {
                return Err(Error::BadInput("made to refuse".into()));
            }
            let mut random = Random(state.random);
            let wrong = random.below(10) < state.faults;
            let how = random.below(5);
            state.random = random.0;
            match how {
                _ if !wrong => return Ok(state.append(rows)),
                0 => return Err(Error::Full("made to be full".into())),
                1 => return Err(Error::Unavailable("made to fail".into())),
                2 => {
                    state.append(rows);
                    return Err(Error::Unavailable("made to fail after all was written".into()));
                }
                3 => {
                    state.append(rows);
                    true
                }
                _ => true,
            }
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(0)
    }

    async fn usage_row(&self, id: &str) -> Result<UsageRow> {
        self.state().rows.get(id).cloned().ok_or_else(|| Error::NotFound(id.to_owned()))
    }

    async fn usage(&self, _: &UsageQuery) -> Result<Vec<UsageSum>> {
        Err(Error::NotFound("not in this fake".into()))
    }

    async fn spent(&self, _: &TenantId, _: Option<&KeyId>, _: i64) -> Result<Spent> {
        Err(Error::NotFound("not in this fake".into()))
    }
}
