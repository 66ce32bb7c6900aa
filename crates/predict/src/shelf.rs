//! The loaded models, within a budget of memory.
//!
//! A model is loaded once, however many ask for it at the same time. When the budget is short, the model that was used the
//! longest time ago is dropped; one that somebody holds, or that has requests, never is. Start at [`Shelf::load`].

use crate::artefact::Artefact;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::runtime::Runtime;
use crate::settings::{Settings, ShelfSettings};
use crate::tasks::{Answer, Input};
use crate::workers::Workers;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::watch;

type Loaded = Result<Arc<Model>>;
/// What is told to those who wait: no handle, or a model would count as in use as long as the news is kept.
type News = Option<Result<Weak<Model>>>;

/// Reads and checks an artefact, on the thread that loads it.
type Open = Box<dyn FnOnce() -> Result<Artefact> + Send>;

/// Many models. Copies of the handle share them.
#[derive(Clone)]
pub struct Shelf {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    memory_bytes_max: u64,
    workers: Workers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    places: BTreeMap<String, Place>,
    /// Grows with each use.
    clock: u64,
}

struct Place {
    folder: PathBuf,
    /// What it takes by estimate; 0 until it is known.
    bytes: u64,
    holds: Holds,
}

enum Holds {
    /// Being loaded: the result comes to all who wait.
    Load(watch::Receiver<News>),
    Model {
        model: Arc<Model>,
        used: u64,
    },
}

/// One line of the shelf's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The name under which it was loaded.
    pub name: String,
    /// Whether it can be used, or is still being loaded.
    pub is_ready: bool,
    /// An estimate of the memory it takes.
    pub memory_bytes: u64,
}

impl Shelf {
    /// An empty shelf, with its threads for pipelines.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub fn new(runtime: Runtime, settings: &ShelfSettings) -> Result<Self> {
        let workers = Workers::start(settings.pipeline_threads, settings.pipeline_queue_max)?;
        let memory_bytes_max = settings.memory_bytes_max;
        Ok(Self { shared: Arc::new(Shared { runtime, memory_bytes_max, workers, state: Mutex::default() }) })
    }

    /// Loads the artefact in `folder` under `name`, or gives the model that stands there. Goes on when the caller goes away.
    ///
    /// # Errors
    /// As [`Artefact::open`] and [`Model::load`]; [`Error::Overloaded`] where the budget is short and no model can be
    /// dropped; [`Error::BadInput`] where `name` stands for another folder.
    pub async fn load(&self, name: &str, folder: &Path, settings: &Settings) -> Loaded {
        let (from, limits) = (folder.to_owned(), settings.clone());
        self.load_from(name, folder, Box::new(move || Artefact::open(&from, &limits)), settings).await
    }

    /// The same of files in memory. `name` has to stand for these files and no others.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_parts(&self, name: &str, parts: BTreeMap<String, Arc<[u8]>>, settings: &Settings) -> Loaded {
        let limits = settings.clone();
        self.load_from(name, Path::new(""), Box::new(move || Artefact::from_parts(&parts, &limits)), settings).await
    }

    async fn load_from(&self, name: &str, folder: &Path, open: Open, settings: &Settings) -> Loaded {
        let mut result = match self.claim(name, folder)? {
            Claim::Model(model) => return Ok(model),
            Claim::Wait(result) => result,
            Claim::Load(sender, result) => {
                self.start(name, open, settings, sender)?;
                result
            }
        };
        let lost = || Error::Internal("the thread that loaded the model is gone".into());
        let news = result.wait_for(Option::is_some).await.map_err(|_| lost())?.clone();
        // It may have had to make room again already.
        news.ok_or_else(lost)??.upgrade().ok_or_else(|| Error::Unloaded(name.to_owned()))
    }

    fn claim(&self, name: &str, folder: &Path) -> Result<Claim> {
        let mut state = self.shared.state();
        state.clock += 1;
        let now = state.clock;
        if let Some(place) = state.places.get_mut(name) {
            if place.folder != folder {
                let reason = "another model of this name is loaded; unload it first, or choose another name";
                return Err(Error::bad_input(name, reason));
            }
            return Ok(match &mut place.holds {
                Holds::Load(result) => Claim::Wait(result.clone()),
                Holds::Model { model, used } => {
                    *used = now;
                    Claim::Model(model.clone())
                }
            });
        }
        let (sender, result) = watch::channel(None);
        let place = Place { folder: folder.to_owned(), bytes: 0, holds: Holds::Load(result.clone()) };
        state.places.insert(name.to_owned(), place);
        Ok(Claim::Load(sender, result))
    }

    fn start(&self, name: &str, open: Open, settings: &Settings, done: watch::Sender<News>) -> Result<()> {
        let (shelf, name, settings) = (self.clone(), name.to_owned(), settings.clone());
        let place = name.clone();
        let thread = std::thread::Builder::new().name("predict-load".into()).spawn(move || {
            let loaded = shelf.fill(&name, open, &settings);
            let _ = done.send(Some(shelf.shared.settle(&name, loaded)));
        });
        thread.map(drop).map_err(|error| {
            self.shared.state().places.remove(&place);
            Error::Internal(format!("no thread to load the model could be started: {error}"))
        })
    }

    fn fill(&self, name: &str, open: Open, settings: &Settings) -> Loaded {
        let artefact = open()?;
        let dropped = self.shared.make_room(name, Model::memory_estimate(artefact.bytes()))?;
        // Outside the lock: it ends their threads.
        drop(dropped);
        Model::load(&self.shared.runtime, &artefact, settings).map(Arc::new)
    }

    /// The model under that name, which counts as a use of it.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is none, or it is still being loaded.
    pub fn get(&self, name: &str) -> Loaded {
        let mut state = self.shared.state();
        state.clock += 1;
        let now = state.clock;
        match state.places.get_mut(name).map(|place| &mut place.holds) {
            Some(Holds::Model { model, used }) => {
                *used = now;
                Ok(model.clone())
            }
            _ => Err(Error::NotFound(crate::error::shown(name))),
        }
    }

    /// Takes a model off the shelf. Requests that it has still run, and its memory is free when the last one is done.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is none, or it is still being loaded.
    pub fn unload(&self, name: &str) -> Result<()> {
        let mut state = self.shared.state();
        let is_ready = state.places.get(name).is_some_and(|place| matches!(place.holds, Holds::Model { .. }));
        if !is_ready {
            return Err(Error::NotFound(crate::error::shown(name)));
        }
        let place = state.places.remove(name);
        drop(state);
        drop(place);
        Ok(())
    }

    /// All models, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Listing> {
        let state = self.shared.state();
        let line = |(name, place): (&String, &Place)| Listing {
            name: name.clone(),
            is_ready: matches!(place.holds, Holds::Model { .. }),
            memory_bytes: place.bytes,
        };
        state.places.iter().map(line).collect()
    }

    /// Computes what the task of the model `name` takes.
    ///
    /// # Errors
    /// As [`Self::get`] and [`Model::predict`].
    pub async fn predict(&self, name: &str, input: Input, deadline: Option<Instant>) -> Result<Answer> {
        let model = self.get(name)?;
        model.predict(&self.shared.workers, input, deadline).await
    }

    /// The threads on which pipelines run.
    #[must_use]
    pub fn workers(&self) -> &Workers {
        &self.shared.workers
    }

    /// Unloads all models and waits for all threads. Blocking: for the end of the process.
    pub fn close(&self) {
        let places = std::mem::take(&mut self.shared.state().places);
        for place in places.into_values() {
            if let Holds::Model { model, .. } = place.holds {
                model.close();
            }
        }
        self.shared.workers.close();
    }
}

enum Claim {
    Model(Arc<Model>),
    Wait(watch::Receiver<News>),
    Load(watch::Sender<News>, watch::Receiver<News>),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves `bytes` for the model that is being loaded as `name`. Gives the models that had to go.
    fn make_room(&self, name: &str, bytes: u64) -> Result<Vec<Place>> {
        let mut state = self.state();
        let mut dropped = Vec::new();
        loop {
            let taken: u64 = state.places.values().map(|place| place.bytes).sum();
            if taken.saturating_add(bytes) <= self.memory_bytes_max {
                break;
            }
            let Some(oldest) = state.oldest_unused() else {
                let limit = self.memory_bytes_max;
                return Err(Error::Overloaded(format!(
                    "the model needs {bytes} bytes of memory; models in use take {taken} of the {limit} that are allowed \
                     (`memory_bytes_max`)"
                )));
            };
            tracing::info!(model = oldest, "unloaded to make room for another model");
            dropped.extend(state.places.remove(&oldest));
        }
        if let Some(place) = state.places.get_mut(name) {
            place.bytes = bytes;
        }
        Ok(dropped)
    }

    /// The load under `name` is over. Where the shelf was closed meanwhile, the model is not put up.
    fn settle(&self, name: &str, loaded: Loaded) -> Result<Weak<Model>> {
        let mut state = self.state();
        state.clock += 1;
        let used = state.clock;
        let model = loaded.inspect_err(|_| drop(state.places.remove(name)))?;
        let news = Arc::downgrade(&model);
        if let Some(place) = state.places.get_mut(name) {
            place.holds = Holds::Model { model, used };
        }
        Ok(news)
    }
}

impl State {
    /// Handles are only given out under this lock, so one that is the only one stays so.
    fn oldest_unused(&self) -> Option<String> {
        let unused = self.places.iter().filter_map(|(name, place)| match &place.holds {
            Holds::Model { model, used } if Arc::strong_count(model) == 1 && model.is_idle() => Some((*used, name)),
            _ => None,
        });
        unused.min().map(|(_, name)| name.clone())
    }
}
