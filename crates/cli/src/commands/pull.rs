//! x
use crate::args::Pull; use crate::config::Settings;
pub async fn run(_: &Pull, _: &Settings) -> anyhow::Result<()> { anyhow::bail!("x") }
