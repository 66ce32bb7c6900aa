//! `orrery pull MODEL…`.

use crate::args::Pull;
use crate::config::Settings;
use crate::failure::Interrupted;
use crate::progress::Pulling;
use crate::size;
use orrery_platform::{Catalogue, Progress, Puller, StoredModel};
use std::io::Write as _;
use std::sync::Arc;

/// Brings models into the data folder, one after another; stops at the first that cannot be had. What an interrupted
/// pull has received is kept, and the next one goes on from there.
///
/// # Errors
/// No source has the model, or the disk refuses.
pub async fn run(pull: &Pull, settings: &Settings) -> anyhow::Result<()> {
    let platform = &settings.platform;
    let puller = Puller::new(&platform.data_dir, Catalogue::embedded()?, platform.sources.clone())?;
    for text in &pull.models {
        let model = tokio::select! {
            model = one(&puller, text) => model?,
            _ = tokio::signal::ctrl_c() => return Err(Interrupted.into()),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} ({}) is in {}", model.manifest.name, size::show(model.bytes), model.path.display())?;
    }
    Ok(())
}

async fn one(puller: &Puller, text: &str) -> anyhow::Result<StoredModel> {
    let reference = puller.reference(text)?;
    let show = Arc::new(Pulling::new());
    let shown = Arc::clone(&show);
    let progress = Arc::new(move |progress: &Progress<'_>| shown.update(progress));
    let model = puller.pull(&reference, progress).await;
    show.finish();
    Ok(model?)
}
