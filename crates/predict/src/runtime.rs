//! ONNX Runtime's library: loaded once into the process, from a path that the operator set.
//!
//! Start at [`Runtime::load`].

use crate::error::{Error, Result};
use ort::environment::Environment;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What is asked for in messages about a missing or wrong library.
const WAY_OUT: &str = "set the path of `libonnxruntime.so` of ONNX Runtime 1.18 or newer for this machine (the Python \
                       package `onnxruntime` holds it in `onnxruntime/capi`)";

/// The library, ready to load models. One for the whole process: copies share it.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
}

static LOADED: Mutex<Option<(PathBuf, Runtime)>> = Mutex::new(None);

impl Runtime {
    /// Loads the library at `library`. A second call with the same path gives the same runtime. Blocking.
    ///
    /// # Errors
    /// [`Error::Library`]: there is no such file, it is not ONNX Runtime or too old a one, or the process has loaded
    /// another one already.
    pub fn load(library: &Path) -> Result<Self> {
        let refused = |reason: String| Error::Library { path: library.to_owned(), reason };
        let path = library.canonicalize().map_err(|error| refused(format!("{error}; {WAY_OUT}")))?;
        if !path.is_file() {
            return Err(refused(format!("is not a file; {WAY_OUT}")));
        }
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((first, runtime)) = &*loaded {
            let same = *first == path;
            let other =
                || format!("the process has loaded `{}` already; one library serves all models", first.display());
            return if same { Ok(runtime.clone()) } else { Err(refused(other())) };
        }
        let builder = ort::init_from(&path).map_err(|error| refused(format!("{error}; {WAY_OUT}")))?;
        let environment = builder
            .with_name("orrery")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|error| refused(format!("does not start: {error}")))?;
        environment.set_log_level(ort::logging::LogLevel::Warning);
        let runtime = Self { environment };
        *loaded = Some((path, runtime.clone()));
        Ok(runtime)
    }

    /// How the library was built: version control's id, kind of build, compiler flags.
    #[must_use]
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    pub(crate) const fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// What the library says goes to the debug log: errors reach the caller anyhow, and its messages name parts of models.
fn log(level: ort::logging::LogLevel, _category: &str, _id: &str, place: &str, message: &str) {
    tracing::debug!(target: "onnxruntime", ?level, place, "{message}");
}
