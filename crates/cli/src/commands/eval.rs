//! `orrery eval`: measures of a model's quality.

use crate::args::Perplexity;
use crate::config::Settings;
use crate::progress;
use anyhow::Context as _;
use orrery_platform::evaluate::PerplexityRequest;
use orrery_platform::{Accounts, Platform};
use std::io::Write as _;
use std::time::Instant;

/// Perplexity of the first model on a text.
///
/// # Errors
/// The text cannot be read, or the model cannot be loaded or cannot take a window of that length.
pub async fn run(perplexity: Perplexity, mut settings: Settings) -> anyhow::Result<()> {
    let path = &perplexity.text;
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the text {}", path.display()))?;
    settings.platform.models.truncate(1);
    let (accounts, key) = Accounts::ephemeral().await?;
    let by = accounts.authenticate(Some(&key)).await?;
    let platform = Platform::start(settings.platform, accounts)?;
    progress::loading(&platform).await?;
    let model = platform.models().into_iter().next().context("no model is loaded")?.id;
    let start = Instant::now();
    let window = usize::try_from(perplexity.window)?;
    let tokens_max = perplexity.tokens.map(usize::try_from).transpose()?;
    let request = PerplexityRequest { model: model.clone(), text, window, tokens_max };
    let bar = progress::windows();
    let show = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let result = platform.perplexity(&platform.admit(by).await?, request, &show).await?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    if perplexity.json {
        let json = serde_json::json!({
            "model": model, "text": path, "window": window, "tokens": result.tokens, "nll": result.nll,
            "perplexity": result.perplexity, "seconds": seconds,
        });
        writeln!(out, "{json:#}")?;
    } else {
        writeln!(out, "model       {model}")?;
        writeln!(out, "tokens      {} in windows of {window}", result.tokens)?;
        writeln!(out, "mean NLL    {:.5} nats", result.nll)?;
        writeln!(out, "perplexity  {:.4}", result.perplexity)?;
        writeln!(out, "time        {seconds:.1} s")?;
    }
    Ok(())
}
