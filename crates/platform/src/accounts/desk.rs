//! What a request passes on its way in and out: the limits of its tenant and key, then the meter.

use super::principal::Principal;
use super::{Accounts, now_ms};
use crate::limits::{Now, Permit, RateLimits, Refusal, Reservation, Subject, month_start_ms};
use crate::metering::{Bill, Meter, MeterSettings, MeterStats, Metered};
use crate::{Error, Timings, Usage};
use orrery_store::{COUNT_MAX, Outcome, Price};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a request waits for what ended before to be in the ledger, when its tenant's sums are read for the first
/// time, and how long the end of the process waits for the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often tenants and keys that do nothing are forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// Tries to read sums between two sweeps.
const SEED_TRIES: usize = 3;

/// The journal of this process.
#[derive(Debug)]
pub(super) struct Metering {
    meter: Meter,
    folder: PathBuf,
}

/// What is sold to whom.
#[derive(Debug, Clone)]
pub(crate) struct Sale {
    pub model: String,
    /// Digest of the model's file; empty where it is not known.
    pub version: String,
    /// Such as `chat.completions`.
    pub endpoint: &'static str,
}

/// The bill of a request that runs. Dropping it is how a client goes away: what was counted is charged.
#[derive(Debug)]
pub(crate) struct Tab {
    reservation: Reservation,
    metered: Option<Metered>,
    price: Price,
    /// Output tokens that the meter knows.
    told: u64,
}

impl Accounts {
    /// Meters from now on: into a journal of this process's own in the folder of `settings`, and from there into the
    /// ledger. What processes that are gone have left in theirs goes to the ledger first.
    ///
    /// # Errors
    /// The disk is full, or the folder cannot be used.
    pub async fn start_metering(&self, settings: MeterSettings) -> Result<(), Error> {
        self.adopt(&settings).await?;
        let mut random = [0; 8];
        SystemRandom::new().fill(&mut random).map_err(|_| Error::internal("the system gives no random numbers"))?;
        let folder = settings.folder.join(format!("{:016x}", u64::from_le_bytes(random)));
        let settings = MeterSettings { folder: folder.clone(), ..settings };
        let meter = Meter::start(settings, self.store.clone()).await?;
        // A second call would find the first one's meter, and its own is closed again.
        let _ = self.metering.set(Metering { meter, folder });
        Ok(())
    }

    /// Takes over the journals whose processes are gone: their locks are free.
    async fn adopt(&self, settings: &MeterSettings) -> Result<(), Error> {
        let Ok(entries) = std::fs::read_dir(&settings.folder) else { return Ok(()) };
        for folder in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()) {
            let settings = MeterSettings { folder: folder.clone(), ..settings.clone() };
            match Meter::start(settings, self.store.clone()).await {
                Ok(meter) => remove_if_done(&folder, meter.close(PATIENCE).await),
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the ledger, a while. What is not in it by then is taken up by the next start.
    pub async fn stop_metering(&self) {
        if let Some(Metering { meter, folder }) = self.metering.get() {
            remove_if_done(folder, meter.close(PATIENCE).await);
        }
    }

    /// How the meter does, where there is one.
    pub fn meter_stats(&self) -> Option<MeterStats> {
        self.metering.get().map(|metering| metering.meter.stats())
    }

    /// Forgets who does nothing, so that memory is bounded, until the task is aborted.
    pub(crate) fn sweep(self: &Arc<Self>) -> JoinHandle<()> {
        let accounts = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let now = accounts.now();
                if accounts.metering.get().is_none_or(|metering| metering.meter.pending() == 0) {
                    accounts.limiter.sweep(now, now.mono_ns);
                }
            }
        })
    }

    /// Takes a request and a place from the limits.
    ///
    /// # Errors
    /// `Limited`; `Unavailable`: what was spent this month cannot be read.
    pub(crate) async fn pass(&self, by: &Principal) -> Result<Permit, Error> {
        self.seed(by).await?;
        self.limiter.admit(&subject(by), self.now()).map_err(limited)
    }

    /// Reserves what a request may take at the most, its prompt included.
    pub(crate) fn reserve(
        &self,
        permit: Permit,
        model: &str,
        prompt_tokens: usize,
        tokens_max: usize,
    ) -> Result<(Reservation, Price), Error> {
        let price = self.price(model);
        let (prompt, output) = (prompt_tokens as u64, tokens_max as u64);
        let cost = cost(&price, prompt, 0, output);
        let reservation = permit.reserve(prompt.saturating_add(output), cost, self.now()).map_err(limited)?;
        Ok((reservation, price))
    }

    /// Opens the bill of a request that was accepted.
    pub(crate) fn bill(
        &self,
        by: &Principal,
        sale: Sale,
        (reservation, price): (Reservation, Price),
    ) -> Result<Tab, Error> {
        let bill = Bill {
            tenant: by.tenant.id.clone(),
            key: by.key.id.clone(),
            price: price.clone(),
            version: sale.version,
            endpoint: sale.endpoint.to_owned(),
        };
        let metered = self.metering.get().map(|metering| metering.meter.begin(bill)).transpose()?;
        Ok(Tab { reservation, metered, price, told: 0 })
    }

    /// What a client may still do.
    pub fn rate_limits(&self, by: &Principal) -> RateLimits {
        self.limiter.headers(&subject(by), self.now())
    }

    /// Reads what the tenant and the key have spent this month, unless it is known.
    async fn seed(&self, by: &Principal) -> Result<(), Error> {
        let (tenant, key) = (&by.tenant.id, &by.key.id);
        for key in [None, Some(key)] {
            for _ in 0..SEED_TRIES {
                if self.limiter.is_seeded(tenant, key) {
                    break;
                }
                let asked = self.now();
                if let Some(metering) = self.metering.get() {
                    let flushed = tokio::time::timeout(PATIENCE, metering.meter.flush()).await;
                    flushed.map_err(|_| {
                        Error::Unavailable("what was used this month cannot be read now; try again soon".into())
                    })?;
                }
                let spent = self.store.spent(tenant, key, month_start_ms(asked.wall_ms)).await?;
                self.limiter.seed(tenant, key, asked, spent);
            }
        }
        Ok(())
    }

    fn now(&self) -> Now {
        let mono_ns = u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now { mono_ns, wall_ms: now_ms() }
    }
}

impl Tab {
    /// The id of the request's row in the ledger.
    pub fn request_id(&self) -> Option<&str> {
        self.metered.as_ref().map(Metered::id)
    }

    /// Counts what has been produced so far. To be called before it is sent.
    pub fn count(&mut self, usage: Usage) {
        let [input, cached, output] =
            [usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens].map(|count| count as u64);
        if let Some(metered) = &self.metered {
            metered.prompt(input, cached);
            metered.tokens(output.saturating_sub(self.told));
        }
        self.told = self.told.max(output);
        self.reservation.tell(input + output, cost(&self.price, input, cached, output));
    }

    /// The request has ended; only now its last event may be sent.
    pub fn close(self, outcome: Outcome, timings: Timings) {
        let Some(metered) = self.metered else { return };
        if let Err(error) = metered.finish(outcome, timings) {
            tracing::warn!(%error, "the end of a request is in memory alone");
        }
    }
}

fn cost(price: &Price, input: u64, cached: u64, output: u64) -> u64 {
    price.cost_nano(input, cached.min(input), output).unwrap_or(COUNT_MAX)
}

fn subject(by: &Principal) -> Subject<'_> {
    let (tenant, key) = (by.tenant.as_ref(), by.key.as_ref());
    Subject { tenant: &tenant.id, tenant_limits: &tenant.limits, key: &key.id, key_limits: &key.limits }
}

fn limited(refusal: Refusal) -> Error {
    use crate::limits::LimitKind;
    let retry_after_ms = refusal.retry_after_ms();
    match refusal.kind {
        LimitKind::Unseeded => Error::Unavailable(refusal.message),
        kind => Error::Limited {
            is_budget: matches!(kind, LimitKind::MonthTokens | LimitKind::MonthCost),
            message: refusal.message,
            retry_after_ms,
        },
    }
}

fn remove_if_done(folder: &Path, pending: u64) {
    if pending > 0 {
        tracing::warn!(pending, "requests are not in the ledger yet; the next start goes on");
    } else if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(%error, "an empty journal of usage cannot be removed");
    }
}
