//! `orrery list`: the models of the data folder, then those of the catalogue that are not there yet.

use crate::args::List;
use crate::config::Settings;
use crate::size;
use crate::table::table;
use orrery_platform::{Catalogue, Store, StoredModel};
use serde_json::{Value, json};
use std::io::Write as _;

/// Prints a table or JSON.
///
/// # Errors
/// The data folder cannot be read.
pub async fn run(list: &List, settings: &Settings) -> anyhow::Result<()> {
    let stored = Store::open(&settings.platform.data_dir)?.list()?;
    let catalogue = Catalogue::embedded()?;
    let known = |name: &str| stored.iter().any(|model| model.manifest.name == name);
    let available: Vec<_> = catalogue.entries().iter().filter(|entry| !known(&entry.name)).collect();
    let mut out = std::io::stdout().lock();
    if list.json {
        let available: Vec<Value> = available
            .iter()
            .map(|entry| json!({"name": entry.name, "task": entry.task, "licence": entry.licence, "bytes": entry.bytes()}))
            .collect();
        writeln!(
            out,
            "{:#}",
            json!({"data_dir": settings.platform.data_dir, "models": stored, "catalogue": available})
        )?;
        return Ok(());
    }
    let rows =
        stored.iter().map(row).chain(available.iter().map(|entry| {
            [entry.name.clone(), size::show(entry.bytes()), entry.licence.clone(), "not pulled".to_owned()]
        }));
    let header = ["NAME", "SIZE", "LICENCE", "STATE"].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(rows).collect();
    for line in table(&rows) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn row(model: &StoredModel) -> [String; 4] {
    let licence = model.manifest.licence.clone().unwrap_or_else(|| "unknown".to_owned());
    [model.manifest.name.clone(), size::show(model.bytes), licence, "pulled".to_owned()]
}
