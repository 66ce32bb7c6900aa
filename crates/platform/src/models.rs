//! The models that run: loading, state, lookup, draining.
//!
//! Must not know: how a request becomes tokens (that is [`crate::chat`]). Start at [`Platform::start`].

use crate::admission::Gate;
use crate::catalogue::Catalogue;
use crate::pull::{Puller, blocking, unix_seconds};
use crate::sources::{Progress, SourceSettings, Step};
use crate::vetting::{Vetting, is_pinned};
use crate::{Accounts, Admission, Error, ModelStats, Principal, Reference, Store};
use orrery_engine::{Engine, Handle, Load, LoadError, Settings as EngineSettings};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Settings of the serving side.
#[derive(Debug, Clone)]
pub struct Settings {
    pub data_dir: PathBuf,
    /// References: catalogue names, stored names, `hf:…`, `https://…` or paths; the id of a path is its file stem.
    pub models: Vec<String>,
    pub sources: SourceSettings,
    pub isa: Option<String>,
    pub threads: Option<usize>,
    pub kv_memory_bytes: u64,
    pub quantize_q8_0: bool,
    /// Requests waiting per model; one more is refused.
    pub queue_max: usize,
    /// Sequences that run at the same time.
    pub sequences_max: usize,
    /// Tokens per step, decode and prefill together.
    pub step_tokens_max: usize,
    /// Rows of logits per step.
    pub step_logits_max: usize,
    /// Time that a step aims at; 0: no aim.
    pub step_target_ms: u64,
    pub prefix_cache: bool,
    /// Speculation by prompt lookup; the three below are the limits of its drafts.
    pub speculation_ngram: bool,
    pub draft_tokens_max: usize,
    pub draft_match_min: usize,
    pub draft_window: usize,
    /// Between flows: what a generated token counts as, and what one gets ahead after idleness.
    pub generated_token_cost: usize,
    pub burst_tokens: usize,
    /// Choices of one request.
    pub choices_max: usize,
    /// Alternatives reported for each token.
    pub logprobs_max: usize,
    /// Stop strings of one request, and bytes of one of them.
    pub stop_strings_max: usize,
    pub stop_bytes_max: usize,
    /// Admissions that are out at the same time, over all models; one more is refused.
    pub admissions_max: usize,
    /// Looks at model files that no digest pins, before they are opened.
    pub vetting: Vetting,
}

impl Default for Settings {
    fn default() -> Self {
        let engine = EngineSettings::default();
        Self {
            data_dir: PathBuf::from("data"),
            models: vec![crate::DEFAULT_MODEL.to_owned()],
            sources: SourceSettings::default(),
            isa: None,
            threads: None,
            kv_memory_bytes: 1 << 30,
            quantize_q8_0: false,
            queue_max: engine.queue_max,
            sequences_max: engine.sequences_max,
            step_tokens_max: engine.step_tokens_max,
            step_logits_max: engine.step_logits_max,
            step_target_ms: engine.step_target_ms,
            prefix_cache: engine.prefix_cache,
            speculation_ngram: engine.speculation_ngram,
            draft_tokens_max: engine.draft_tokens_max,
            draft_match_min: engine.draft_match_min,
            draft_window: engine.draft_window,
            generated_token_cost: engine.generated_token_cost,
            burst_tokens: engine.burst_tokens,
            choices_max: engine.choices_max,
            logprobs_max: engine.logprobs_max,
            stop_strings_max: engine.stop_strings_max,
            stop_bytes_max: engine.stop_bytes_max,
            admissions_max: 4096,
            vetting: Vetting::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum ModelState {
    /// 0 to 1, and what is being done ("waiting", "downloading", "extracting", "loading").
    Loading {
        progress: f32,
        step: &'static str,
    },
    Ready,
    Failed(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    pub state: ModelState,
    pub context: Option<usize>,
}

/// Time for what is retained to reach the disk at the end.
const LAST: Duration = Duration::from_secs(5);

/// Loads a model and starts its engine: [`Engine::load`], or a test's own. Blocking; progress from 0 to 1.
pub type Loader =
    dyn Fn(&Path, &Load, EngineSettings, &mut dyn FnMut(f32)) -> Result<(Engine, Handle), LoadError> + Send + Sync;

/// The running service. Shared by all handlers.
pub struct Platform {
    accounts: Arc<Accounts>,
    slots: Vec<Arc<Slot>>,
    gate: Arc<Gate>,
    loading: Mutex<Vec<JoinHandle<()>>>,
}

/// One model that is served, from before it is there.
struct Slot {
    id: String,
    aliases: Vec<String>,
    created: u64,
    state: watch::Sender<ModelState>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    engine: Option<Engine>,
    handle: Option<Handle>,
    /// Digest of the model's file, where it is one of the data folder.
    version: String,
    stopped: bool,
}

impl Platform {
    /// Checks the references, starts loading the models in the background and returns at once. Needs a tokio runtime.
    pub fn start(settings: Settings, accounts: Arc<Accounts>) -> Result<Arc<Self>, Error> {
        Self::start_with(settings, accounts, Catalogue::embedded()?, Arc::new(Engine::load))
    }

    /// The same with a catalogue and a loader of the caller's own.
    pub fn start_with(
        settings: Settings,
        accounts: Arc<Accounts>,
        catalogue: Catalogue,
        loader: Arc<Loader>,
    ) -> Result<Arc<Self>, Error> {
        if settings.models.is_empty() {
            return Err(Error::bad_input("no model is named; name one, such as smollm2"));
        }
        // Before anything is downloaded for a machine that could not run it.
        let engine = engine_settings(&settings);
        load_settings(&settings).check(&engine).map_err(|error| Error::bad_input(error.to_string()))?;
        let puller = Arc::new(Puller::new(&settings.data_dir, catalogue, settings.sources.clone())?);
        let mut slots: Vec<Arc<Slot>> = Vec::new();
        let mut references = Vec::new();
        for text in &settings.models {
            let reference = puller.reference(text)?;
            let slot = Slot::new(&reference)?;
            if slots.iter().any(|other| other.id == slot.id) {
                return Err(Error::bad_input(format!("two models would have the id `{}`; serve one of them", slot.id)));
            }
            slots.push(Arc::new(slot));
            references.push(reference);
        }
        let settings = Arc::new(settings);
        let tasks = slots.iter().zip(references).map(|(slot, reference)| {
            let (slot, puller, settings, loader) = (slot.clone(), puller.clone(), settings.clone(), loader.clone());
            tokio::spawn(async move {
                if let Err(error) = slot.load(&reference, &puller, &settings, loader).await {
                    tracing::error!(model = slot.id, %error, "the model cannot be served");
                    slot.state.send_replace(ModelState::Failed(error.to_string()));
                }
            })
        });
        let mut tasks: Vec<JoinHandle<()>> = tasks.collect();
        tasks.extend([accounts.watch(), accounts.sweep(), accounts.files().keep_tidy()]);
        tasks.push(accounts.files().write_retained());
        let loading = Mutex::new(tasks);
        Ok(Arc::new(Self { accounts, slots, gate: Gate::new(settings.admissions_max), loading }))
    }

    /// Who may use the service.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    pub fn models(&self) -> Vec<ModelInfo> {
        let info = |slot: &Arc<Slot>| ModelInfo {
            id: slot.id.clone(),
            created: slot.created,
            state: slot.state.borrow().clone(),
            context: slot.running().handle.as_ref().map(|handle| handle.shape().context),
        };
        self.slots.iter().map(info).collect()
    }

    /// All models are ready and nothing is draining.
    pub fn is_ready(&self) -> bool {
        !self.gate.is_draining() && self.slots.iter().all(|slot| *slot.state.borrow() == ModelState::Ready)
    }

    /// Waits until every model is ready, or one has failed.
    pub async fn wait_ready(&self) -> Result<(), Error> {
        for slot in &self.slots {
            let mut state = slot.state.subscribe();
            let settled = state.wait_for(|state| !matches!(state, ModelState::Loading { .. })).await;
            match settled.map(|state| state.clone()) {
                Ok(ModelState::Failed(reason)) => {
                    return Err(Error::Unavailable(format!("the model `{}` cannot be served: {reason}", slot.id)));
                }
                Ok(_) => {}
                Err(_) => return Err(Error::internal(format!("the model `{}` has no state", slot.id))),
            }
        }
        Ok(())
    }

    /// Takes a permit; refused with `Unavailable` while draining and `Overloaded` past the limit.
    ///
    /// # Errors
    /// `Forbidden`, `Limited`, `Overloaded`, `Unavailable`.
    pub async fn admit(&self, by: Principal) -> Result<Admission, Error> {
        by.check(crate::Action::Infer)?;
        let admission = self.gate.admit(by)?;
        let permit = self.accounts.pass(admission.by()).await?;
        Ok(admission.with_permit(permit))
    }

    /// A place among the requests that are served, without one of its tenant's limits.
    pub(crate) fn place(&self, by: &Principal) -> Result<Admission, Error> {
        self.gate.admit(by.clone())
    }

    /// Engine statistics by model id, of the models that are ready.
    pub fn stats(&self) -> Vec<ModelStats> {
        self.slots
            .iter()
            .filter_map(|slot| Some(ModelStats::new(&slot.id, &slot.running().handle.as_ref()?.stats())))
            .collect()
    }

    /// Not ready from now on; `admit` refuses. Requests that run go on.
    pub fn start_draining(&self) {
        self.gate.start_draining();
    }

    /// Waits until no admission is out, then stops the engines; `false` when `grace` ran out first (what was left is
    /// then cancelled).
    pub async fn drain(&self, grace: Duration) -> bool {
        self.start_draining();
        let idle = async { tokio::join!(self.gate.wait_idle(grace), self.accounts.files().wait_idle()).0 };
        let finished = tokio::time::timeout(grace, idle).await.unwrap_or(false);
        self.retain_the_last(LAST).await;
        let loading: Vec<_> = self.loading.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        for task in loading {
            task.abort();
        }
        self.accounts.note_used().await;
        self.accounts.stop_metering().await;
        for slot in &self.slots {
            let engine = slot.stop();
            if let Some(engine) = engine
                && tokio::task::spawn_blocking(move || engine.stop()).await.is_err()
            {
                tracing::error!(model = slot.id, "the engine did not stop cleanly");
            }
        }
        finished
    }

    /// The engine of a model by its id or an alias of the catalogue.
    pub(crate) fn handle(&self, model: &str) -> Result<Handle, Error> {
        Ok(self.served(model)?.0)
    }

    /// The same with what the model is called, and the digest of its file.
    pub(crate) fn served(&self, model: &str) -> Result<(Handle, String, String), Error> {
        let slot = self
            .slots
            .iter()
            .find(|slot| slot.id == model)
            .or_else(|| self.slots.iter().find(|slot| slot.aliases.iter().any(|alias| alias == model)));
        let Some(slot) = slot else {
            let served: Vec<&str> = self.slots.iter().map(|slot| slot.id.as_str()).collect();
            return Err(Error::NotFound(format!(
                "the model `{}` is not served here; served: {}",
                crate::reference::shown(model),
                served.join(", ")
            )));
        };
        let (handle, version) = {
            let running = slot.running();
            (running.handle.clone(), running.version.clone())
        };
        if let Some(handle) = handle {
            return Ok((handle, slot.id.clone(), version));
        }
        let state = slot.state.borrow().clone();
        Err(Error::Unavailable(match state {
            ModelState::Loading { progress, step } => {
                format!("the model `{}` is not ready: {step}, {:.0} %", slot.id, progress * 100.0)
            }
            ModelState::Failed(_) => format!("the model `{}` could not be loaded; the server's log says why", slot.id),
            ModelState::Ready => format!("the model `{}` has been stopped", slot.id),
        }))
    }
}

/// Digest of the file, or of the first of a folder's, as it was checked when it was pulled; empty for what was not.
fn version(settings: &Settings, path: &Path) -> String {
    let stored = Store::open(&settings.data_dir).and_then(|store| store.list()).unwrap_or_default();
    let found = stored.into_iter().find(|model| model.path == path);
    found.and_then(|model| model.manifest.files.into_iter().next()).map_or_else(String::new, |file| file.sha256)
}

impl Slot {
    fn new(reference: &Reference) -> Result<Self, Error> {
        let aliases = match reference {
            Reference::Catalogue(entry) => entry.aliases.clone(),
            _ => Vec::new(),
        };
        let (state, _) = watch::channel(ModelState::Loading { progress: 0.0, step: "waiting" });
        Ok(Self { id: reference.model_id()?, aliases, created: unix_seconds(), state, running: Mutex::default() })
    }

    /// Pulls what is missing, loads it in a blocking thread, and is ready.
    async fn load(
        self: &Arc<Self>,
        reference: &Reference,
        puller: &Puller,
        settings: &Settings,
        loader: Arc<Loader>,
    ) -> Result<(), Error> {
        let path = {
            let slot = self.clone();
            puller.resolve(reference, Arc::new(move |progress: &Progress<'_>| slot.show(progress))).await?
        };
        tracing::info!(model = self.id, path = %path.display(), "loading");
        self.running().version = version(settings, &path);
        let (load, engine) = (load_settings(settings), engine_settings(settings));
        let slot = self.clone();
        let stored = reference.stored_name().ok().and_then(|name| puller.store().find(&name).ok().flatten());
        let vetting = if is_pinned(reference, stored.as_ref()) { Vetting::default() } else { settings.vetting.clone() };
        let (engine, handle) = blocking(move || {
            vetting.pass(&path)?;
            let mut progress = |progress: f32| {
                slot.state.send_replace(ModelState::Loading { progress, step: "loading" });
            };
            loader(&path, &load, engine, &mut progress).map_err(|error| load_error(&path, error))
        })
        .await?;
        if let Some(late) = self.accept(engine, handle) {
            return blocking(move || {
                late.stop();
                Err(Error::Unavailable("the server is shutting down".into()))
            })
            .await;
        }
        self.state.send_replace(ModelState::Ready);
        tracing::info!(model = self.id, "ready");
        Ok(())
    }

    /// Takes a loaded engine, or gives it back when the slot has been stopped meanwhile.
    fn accept(&self, engine: Engine, handle: Handle) -> Option<Engine> {
        let mut running = self.running();
        if running.stopped {
            return Some(engine);
        }
        running.engine = Some(engine);
        running.handle = Some(handle);
        None
    }

    fn stop(&self) -> Option<Engine> {
        let mut running = self.running();
        running.stopped = true;
        running.handle = None;
        running.engine.take()
    }

    fn show(&self, progress: &Progress<'_>) {
        let step = match progress.step {
            Step::Waiting => "waiting for another download",
            Step::Downloading => "downloading",
            Step::Extracting => "extracting",
            Step::Copying => "copying",
        };
        let share = progress
            .bytes_total
            .filter(|total| *total > 0)
            .map_or(0.0, |total| progress.bytes_done as f32 / total as f32);
        self.state.send_replace(ModelState::Loading { progress: share.min(1.0), step });
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn load_settings(settings: &Settings) -> Load {
    Load {
        isa: settings.isa.clone(),
        threads: settings.threads,
        kv_memory_bytes: settings.kv_memory_bytes,
        quantize_q8_0: settings.quantize_q8_0,
    }
}

fn engine_settings(settings: &Settings) -> EngineSettings {
    EngineSettings {
        queue_max: settings.queue_max,
        sequences_max: settings.sequences_max,
        step_tokens_max: settings.step_tokens_max,
        step_logits_max: settings.step_logits_max,
        step_target_ms: settings.step_target_ms,
        prefix_cache: settings.prefix_cache,
        speculation_ngram: settings.speculation_ngram,
        draft_tokens_max: settings.draft_tokens_max,
        draft_match_min: settings.draft_match_min,
        draft_window: settings.draft_window,
        generated_token_cost: settings.generated_token_cost,
        burst_tokens: settings.burst_tokens,
        choices_max: settings.choices_max,
        logprobs_max: settings.logprobs_max,
        stop_strings_max: settings.stop_strings_max,
        stop_bytes_max: settings.stop_bytes_max,
    }
}

fn load_error(path: &Path, error: LoadError) -> Error {
    match error {
        LoadError::Settings(message) => Error::bad_input(message),
        error => Error::Internal { message: format!("{}: {error}", path.display()), source: Some(Box::new(error)) },
    }
}
