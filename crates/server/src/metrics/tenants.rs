//! Counters by tenant: by its id, never by its name, and for no more tenants than the settings say.
//!
//! The first tenants that send a request get labels of their own; all after them share `other`. So the number of time
//! series is bounded whoever makes tenants, and no label changes its meaning while the process runs. They are for watching;
//! the ledger is what is billed.

use orrery_platform::Error;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The label of the tenants that came too late for one of their own.
const OTHER: &str = "other";

type ByTenant = Family<[(&'static str, String); 2], Counter>;

/// How an accepted request ended, in the ledger's words.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    Completed,
    Failed,
    Cancelled,
}

const OUTCOMES: [&str; 3] = ["completed", "failed", "cancelled"];

#[derive(Debug, Clone, Copy)]
pub enum Tokens {
    Input,
    Cached,
    Output,
}

const TOKENS: [&str; 3] = ["input", "cached", "output"];

/// Why a request with a good key was not accepted.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    Rate,
    Budget,
    Queue,
    Auth,
}

const REFUSALS: [&str; 4] = ["rate", "budget", "queue", "auth"];

impl Refusal {
    pub fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Limited { is_budget: true, .. } => Some(Self::Budget),
            Error::Limited { is_budget: false, .. } => Some(Self::Rate),
            Error::Overloaded { .. } => Some(Self::Queue),
            Error::Forbidden(_) => Some(Self::Auth),
            _ => None,
        }
    }
}

/// The counters of one label.
#[derive(Debug)]
pub struct Tenant {
    requests: [Counter; 3],
    tokens: [Counter; 3],
    refused: [Counter; 4],
}

impl Tenant {
    pub fn ended(&self, outcome: Outcome) {
        self.requests[outcome as usize].inc();
    }

    pub fn tokens(&self, kind: Tokens, count: usize) {
        self.tokens[kind as usize].inc_by(count as u64);
    }

    pub fn refused(&self, reason: Refusal) {
        self.refused[reason as usize].inc();
    }
}

pub struct Tenants {
    max: usize,
    requests: ByTenant,
    tokens: ByTenant,
    refused: ByTenant,
    /// By label; at most `max` and `other`.
    known: Mutex<HashMap<String, Arc<Tenant>>>,
}

impl Tenants {
    pub fn new(registry: &mut Registry, max: usize) -> Self {
        let mut register = |name: &str, help: &str| {
            let family = ByTenant::default();
            registry.register(name, help, family.clone());
            family
        };
        Self {
            max,
            requests: register("orrery_tenant_requests", "Accepted requests of a tenant by how they ended"),
            tokens: register(
                "orrery_tenant_tokens",
                "Tokens of a tenant: output as it is made, input and what of it was cached once a prompt is done",
            ),
            refused: register(
                "orrery_tenant_refused",
                "Requests of a tenant that were refused, by what was in the way",
            ),
            known: Mutex::default(),
        }
    }

    /// The counters of a tenant. Only for ids of real tenants: each may become a label.
    pub fn of(&self, id: &str) -> Arc<Tenant> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = known.get(id) {
            return tenant.clone();
        }
        let label = if known.len() < self.max { id } else { OTHER };
        known.entry(label.to_owned()).or_insert_with(|| Arc::new(self.make(label))).clone()
    }

    /// All of a tenant's series begin at once, with zero, so that a rate has something to begin from.
    fn make(&self, label: &str) -> Tenant {
        Tenant {
            requests: OUTCOMES.map(|outcome| counter(&self.requests, label, ("outcome", outcome))),
            tokens: TOKENS.map(|kind| counter(&self.tokens, label, ("kind", kind))),
            refused: REFUSALS.map(|reason| counter(&self.refused, label, ("reason", reason))),
        }
    }
}

fn counter(family: &ByTenant, tenant: &str, (name, value): (&'static str, &str)) -> Counter {
    family.get_or_create(&[("tenant", tenant.to_owned()), (name, value.to_owned())]).clone()
}
