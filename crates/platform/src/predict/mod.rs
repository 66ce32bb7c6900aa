//! Predictions: models of the registry, run for their tenants with tensors in and tensors out.
//!
//! A version's files go from the vault into memory and from there to ONNX Runtime; nothing of them is on the disk in the
//! clear. Must not know: HTTP. Start at [`Accounts::infer`](crate::Accounts::infer).

mod tensors;

pub use tensors::{Content, Described, ModelPort, NamedTensor, TensorAnswer, TensorRequest};

use crate::accounts::Principal;
use crate::accounts::Sale;
use crate::registry::Registry;
use crate::{Accounts, Action, Admission, Error, Platform, Timings, Usage};
use orrery_predict::{Model, Request, Runtime, Settings, Shelf, ShelfSettings};
use orrery_store::{ModelVersion, Outcome, Route, TenantId};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::OnceCell;

/// What such a request is called in the ledger.
const ENDPOINT: &str = "models.infer";
const RETRY_AFTER_S: u64 = 1;

/// How models of the registry are run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PredictSettings {
    /// ONNX Runtime's library, `libonnxruntime.so`. `None`: no model of the registry can be run.
    pub library: Option<PathBuf>,
    pub model: Settings,
    pub shelf: ShelfSettings,
}

/// The models that are loaded. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Predictions {
    shared: Arc<Shared>,
}

struct Shared {
    settings: PredictSettings,
    shelf: OnceCell<Shelf>,
    /// Requests so far, by which those for a canary are chosen.
    count: AtomicU64,
}

impl Predictions {
    pub(crate) fn new(settings: PredictSettings) -> Self {
        Self { shared: Arc::new(Shared { settings, shelf: OnceCell::new(), count: AtomicU64::new(0) }) }
    }

    /// The shelf, with ONNX Runtime's library loaded at the first call.
    async fn shelf(&self) -> Result<&Shelf, Error> {
        let library = self.shared.settings.library.clone().ok_or_else(no_library)?;
        let settings = self.shared.settings.shelf.clone();
        let open = || {
            crate::pull::blocking(move || {
                let runtime = Runtime::load(&library).map_err(refusal)?;
                Shelf::new(runtime, &settings).map_err(refusal)
            })
        };
        self.shared.shelf.get_or_try_init(open).await
    }

    /// The version that a route leads this request to: of each hundred requests, the canary's percentage go to it.
    fn choose(&self, route: &Route) -> u32 {
        let Some((canary, percent)) = route.canary else { return route.version };
        let count = self.shared.count.fetch_add(1, Ordering::Relaxed);
        // 37 has no divisor in common with 100: a hundred in a row meet each remainder once, and are mixed.
        if count.wrapping_mul(37) % 100 < u64::from(percent) { canary } else { route.version }
    }

    async fn model(&self, registry: &Registry, tenant: &TenantId, version: &ModelVersion) -> Result<Arc<Model>, Error> {
        let shelf = self.shelf().await?;
        let place = format!("{tenant}/{}@{}", version.name, version.version);
        if let Ok(model) = shelf.get(&place) {
            return Ok(model);
        }
        let settings = &self.shared.settings.model;
        let bytes_max = usize::try_from(settings.file_bytes_max).unwrap_or(usize::MAX);
        let parts = registry.parts_of(tenant, version, bytes_max).await?;
        shelf.load_parts(&place, parts, settings).await.map_err(refusal)
    }
}

impl std::fmt::Debug for Predictions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Predictions").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Computes a request's tensors with a model of its tenant. It counts as a request, and has a row in the ledger.
    ///
    /// # Errors
    /// `Forbidden`, `Limited`; `NotFound`: the tenant has no such model; `BadField` names the tensor at fault;
    /// `Overloaded`; `Unavailable`: the server has no library to run it with.
    pub async fn infer(&self, by: &Principal, request: TensorRequest) -> Result<TensorAnswer, Error> {
        by.check(Action::Infer)?;
        let permit = self.pass(by).await?;
        let (version, model) = self.loaded(by, &request.model).await?;
        let inputs = request.inputs.into_iter().map(NamedTensor::into_tensor).collect::<Result<_, _>>()?;
        let reserved = self.reserve(permit, &version.name, 0, 0)?;
        let sale = Sale { model: version.name.clone(), version: version.digest.clone(), endpoint: ENDPOINT };
        let mut tab = self.bill(by, sale, reserved)?;
        tab.count(Usage::default());
        let began = Instant::now();
        let computed = model.infer(Request { inputs, outputs: request.outputs, deadline: None }).await;
        let outcome = if computed.is_ok() { Outcome::Completed } else { Outcome::Failed };
        tab.close(outcome, Timings { prefill: began.elapsed(), ..Timings::default() });
        let outputs = computed.map_err(refusal)?;
        let outputs = outputs.into_iter().map(NamedTensor::of).collect::<Result<_, _>>()?;
        Ok(TensorAnswer { model: version.name, version: version.version, outputs })
    }

    /// What a model of the tenant takes and gives. Loads it.
    ///
    /// # Errors
    /// As [`Accounts::infer`].
    pub async fn describe(&self, by: &Principal, model: &str) -> Result<Described, Error> {
        by.check(Action::ReadModels)?;
        let (version, model) = self.loaded(by, model).await?;
        Ok(Described::of(&version, model.signature()))
    }

    async fn loaded(&self, by: &Principal, text: &str) -> Result<(ModelVersion, Arc<Model>), Error> {
        let tenant = &by.tenant.id;
        let resolved = self.registry().resolve(tenant, text).await?;
        let predictions = self.predictions().ok_or_else(no_library)?;
        let number = predictions.choose(&resolved.route);
        let version = self.registry().stored(tenant, &resolved.name, number).await?;
        let model = predictions.model(self.registry(), tenant, &version).await?;
        Ok((version, model))
    }
}

impl Platform {
    /// [`Accounts::infer`] with a place among the requests that are served at the same time.
    ///
    /// # Errors
    /// The same, and those of a server that drains.
    pub async fn infer(&self, by: &Principal, request: TensorRequest) -> Result<TensorAnswer, Error> {
        by.check(Action::Infer)?;
        let _place: Admission = self.place(by)?;
        self.accounts().infer(by, request).await
    }
}

fn no_library() -> Error {
    Error::Unavailable(
        "this server cannot run models in ONNX's format: the setting `predict.library` must be the path of ONNX Runtime's \
         `libonnxruntime.so` (the Python package `onnxruntime` holds it in `onnxruntime/capi`)"
            .into(),
    )
}

/// What a model refused, by what the caller can do.
pub(crate) fn refusal(error: orrery_predict::Error) -> Error {
    use orrery_predict::Error as From;
    let message = error.to_string();
    match error {
        From::BadInput { input, .. } => Error::BadField { field: input, message },
        From::BadArtefact(_) | From::Run(_) => Error::bad_input(message),
        From::NotFound(_) => Error::NotFound(message),
        From::Overloaded(_) => Error::Overloaded { message, retry_after_s: RETRY_AFTER_S },
        From::Deadline | From::Unloaded(_) => Error::Unavailable(message),
        From::Library { .. } => {
            tracing::error!(%message, "models in ONNX's format cannot be run");
            no_library()
        }
        From::Settings(_) | From::Disk { .. } | From::Internal(_) => {
            Error::Internal { message, source: Some(Box::new(error)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_gets_its_percentage() {
        let predictions = Predictions::new(PredictSettings::default());
        let route = Route { version: 1, canary: Some((2, 30)), shadow: None };
        let chosen: Vec<u32> = (0..100).map(|_| predictions.choose(&route)).collect();
        assert_eq!(chosen.iter().filter(|version| **version == 2).count(), 30);
        assert!(
            chosen.iter().take(20).any(|version| *version == 2) && chosen.iter().skip(80).any(|version| *version == 2)
        );
    }
}
