//! x
use crate::args::List; use crate::config::Settings;
pub async fn run(_: &List, _: &Settings) -> anyhow::Result<()> { anyhow::bail!("x") }
