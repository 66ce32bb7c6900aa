//! `orrery rm MODEL…`.

use crate::args::Remove;
use crate::config::Settings;
use crate::size;
use orrery_platform::Store;
use std::io::Write as _;

/// Removes models; stops at the first that cannot be.
///
/// # Errors
/// There is no such model, or it is being pulled.
pub async fn run(remove: &Remove, settings: &Settings) -> anyhow::Result<()> {
    let store = Store::open(&settings.platform.data_dir)?;
    for name in &remove.models {
        let model = store.remove(name)?;
        writeln!(std::io::stdout(), "removed {name} ({})", size::show(model.bytes))?;
    }
    Ok(())
}
