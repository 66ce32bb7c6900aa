//! x
use crate::args::Remove; use crate::config::Settings;
pub async fn run(_: &Remove, _: &Settings) -> anyhow::Result<()> { anyhow::bail!("x") }
