//! `bench`: measures Orrery, alone or in turn with other servers.
//!
//! Everything is measured through the release build's own commands (`orrery bench --json`), so that Orrery and its peers
//! are driven by one client. `serve` has the columns and the pairs, `figures` the statistics and tables, `plot` the pictures.

mod engine;
mod fairness;
mod figures;
mod gateway;
mod kernels;
mod orrery;
mod plot;
mod serve;
mod soak;

use anyhow::Result;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Drive Orrery's server and its peers' in turn, over HTTP and with the same client
    Serve(Box<serve::Serve>),
    /// Measure the engine alone, without HTTP
    Engine(engine::Engine),
    /// Measure and plot a polite tenant's time to the first token, alone and beside others
    Fairness(fairness::Fairness),
    /// Measure what Orrery adds to a request, over a model that computes nothing (wants `wrk`)
    Gateway(gateway::Gateway),
    /// Drive a server for long with all kinds of requests, and fail if its memory, descriptors, blocks or journal grow
    Soak(soak::Soak),
    /// Measure the kernels, as a share of what the machine can do
    Kernels(kernels::Kernels),
}

/// # Errors
/// Something cannot be built, started or measured.
pub fn run(bench: &Bench) -> Result<()> {
    match &bench.what {
        What::Serve(serve) => serve::run(serve),
        What::Engine(engine) => engine::run(engine),
        What::Fairness(fairness) => fairness::run(fairness),
        What::Gateway(gateway) => gateway::run(gateway),
        What::Soak(soak) => soak::run(soak),
        What::Kernels(kernels) => kernels::run(kernels),
    }
}
