//! The `orrery` binary: reads flags, environment and file into settings, and runs one command.
//!
//! The only crate that reads the environment. Start at `run`, then `args` (the raw flags), `config` (the validated
//! settings) and `commands` (one file per command).
#![forbid(unsafe_code)]

mod args;
mod client;
mod commands;
mod config;
mod failure;
mod layers;
mod local;
mod logging;
mod money;
mod progress;
mod sandbox;
mod signals;
mod size;
mod sse;
mod table;
mod target;
mod time;

use anyhow::Context as _;
use args::{Arguments, Bench, Command, Evaluation, Measured};
use clap::Parser as _;
use config::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Command::Completions(completions) = &arguments.command {
        return commands::completions::run(completions);
    }
    if let Command::CheckModel(check) = &arguments.command {
        return commands::check::child(check);
    }
    if let Command::TrainWorker = &arguments.command {
        return commands::train_worker::run();
    }
    let mut layers = config::layers(arguments.global.config.as_deref(), &config::environment)?;
    arguments.lay(&mut layers)?;
    let mut settings = Settings::new(&layers, &config::environment)?;
    if !matches!(arguments.command, Command::Serve(_)) {
        settings = settings.quiet(&layers);
    }
    logging::start(&settings.log);
    if !settings.core_dumps {
        sandbox::walls::forbid_cores()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let result = runtime.block_on(dispatch(arguments.command, settings));
    // A model that is still loading must not hold up the exit.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: Command, settings: Settings) -> anyhow::Result<()> {
    match command {
        Command::Serve(_) => commands::serve::run(settings).await,
        Command::Pull(pull) => commands::pull::run(&pull, &settings).await,
        Command::List(list) => commands::list::run(&list, &settings).await,
        Command::Rm(remove) => commands::rm::run(&remove, &settings).await,
        Command::Check(check) => commands::check::run(&check, &settings).await,
        Command::CheckModel(check) => commands::check::child(&check),
        Command::Train(train) => commands::train::run(&train, &settings).await,
        Command::TrainWorker => commands::train_worker::run(),
        Command::Key(key) => commands::key::run(key.what, &settings).await,
        Command::Tenant(tenant) => commands::tenant::run(tenant.what, &settings).await,
        Command::Price(price) => commands::price::run(price.what, &settings).await,
        Command::Usage(usage) => commands::usage::run(&usage, &settings).await,
        Command::Audit(audit) => commands::audit::run(audit.what, &settings).await,
        Command::Vault(vault) => commands::vault::run(vault.what, &settings).await,
        Command::Chat(chat) => commands::chat::run(chat, settings).await,
        Command::Bench(Bench { what: Some(Measured::Engine(engine)), .. }) => {
            commands::bench::engine::run(&engine, settings).await
        }
        Command::Bench(Bench { what: Some(Measured::Roofline(roofline)), .. }) => {
            commands::bench::roofline::run(&roofline, settings).await
        }
        Command::Bench(bench) => commands::bench::run(bench, settings).await,
        Command::Eval(eval) => match eval.what {
            Evaluation::Perplexity(perplexity) => commands::eval::run(perplexity, settings).await,
        },
        Command::Completions(completions) => commands::completions::run(&completions),
    }
}
