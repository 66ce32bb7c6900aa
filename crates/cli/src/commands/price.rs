//! `orrery price`: the price list of the data folder.

use super::key::open;
use crate::args::PriceCommand;
use crate::config::Settings;
use crate::money;
use crate::table::table;
use orrery_platform::accounts::PriceInfo;
use serde_json::{Value, json};
use std::io::Write as _;

/// # Errors
/// The data folder's database cannot be opened, or refuses.
pub async fn run(command: PriceCommand, settings: &Settings) -> anyhow::Result<()> {
    let (accounts, by) = open(settings).await?;
    let mut out = std::io::stdout().lock();
    match command {
        PriceCommand::List { json } => {
            let prices = accounts.prices(&by).await?;
            if json {
                let as_json = |price: &PriceInfo| {
                    json!({
                        "model": price.model, "input_nano": price.input_nano, "cached_nano": price.cached_nano,
                        "output_nano": price.output_nano,
                    })
                };
                writeln!(out, "{:#}", Value::from_iter(prices.iter().map(as_json)))?;
                return Ok(());
            }
            let header = ["MODEL", "INPUT/M", "CACHED/M", "OUTPUT/M"].map(str::to_owned);
            let row = |price: &PriceInfo| {
                let [input, cached, output] =
                    [price.input_nano, price.cached_nano, price.output_nano].map(money::show_price);
                [price.model.clone(), input, cached, output]
            };
            let rows: Vec<[String; 4]> = std::iter::once(header).chain(prices.iter().map(row)).collect();
            table(&rows).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        PriceCommand::Set { model, input, cached, output } => {
            let price = PriceInfo {
                input_nano: money::price(&input)?,
                cached_nano: money::price(cached.as_deref().unwrap_or(&input))?,
                output_nano: money::price(&output)?,
                model,
            };
            accounts.set_price(&by, price.clone()).await?;
            writeln!(out, "set the price of {}", price.model)?;
        }
        PriceCommand::Rm { model } => {
            accounts.remove_price(&by, &model).await?;
            writeln!(out, "{model} is free from now on")?;
        }
    }
    Ok(())
}
