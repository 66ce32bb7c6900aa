//! The default model for tests, pulled with the product itself into a folder that all test runs share.

use crate::run::{finish, orrery};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub const NAME: &str = "smollm2-135m-instruct";

/// A data folder that holds the model: `target/models`. The first test pulls it (98 MB); a pull at the same time, in
/// this process or another, waits for the same download. Where it cannot be had the test fails: it never skips.
pub fn data_dir() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
        let folder = target.join("models");
        let pulled = finish(orrery(&["pull", NAME, "--data-dir"]).arg(&folder));
        assert_eq!(pulled.code, Some(0), "the model for the tests cannot be pulled: {}", pulled.err);
        folder
    })
}
