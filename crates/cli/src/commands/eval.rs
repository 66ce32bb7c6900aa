//! x
use crate::args::Perplexity; use crate::config::Settings;
pub async fn run(_: Perplexity, _: Settings) -> anyhow::Result<()> { anyhow::bail!("x") }
