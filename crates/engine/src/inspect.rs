//! A look at a model's files that loads no weights and starts nothing.

use crate::LoadError;
use orrery_model::{Model, weights::Checkpoint};
use std::path::{Path, PathBuf};

/// Reads everything but the weights and checks it; what was found, as names and values to show. Blocking.
///
/// # Errors
/// What is wrong with the model.
pub fn inspect(path: &Path) -> Result<Vec<(&'static str, String)>, LoadError> {
    Ok(Model::inspect(path)?)
}

/// The file or the folders that [`inspect`] reads from, with all links resolved.
///
/// # Errors
/// There is nothing.
pub fn places(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    Ok(Checkpoint::places(path)?)
}
