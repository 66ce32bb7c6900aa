//! A loader whose models compute nothing, whatever their files are. Only with the feature `mock`: see `orrery_engine::mock`.

use crate::models::Loader;
use std::sync::Arc;
use std::time::Duration;

/// Every step of the engine takes so long.
pub fn loader(step: Duration) -> Arc<Loader> {
    Arc::new(move |_, _, settings, _| orrery_engine::mock::start(settings, step))
}
