//! One loaded model: its signature, its queue, its pipeline.
//!
//! Start at [`Model::load`]; [`Model::infer`] takes tensors, [`Model::predict`] what the model's task takes.

use crate::artefact::{Artefact, Manifest};
use crate::batching::{Batcher, Pending, Statistics};
use crate::error::{Error, Result};
use crate::runner::Runner;
use crate::runtime::Runtime;
use crate::session::Session;
use crate::settings::Settings;
use crate::signature::{Port, Signature};
use crate::tasks::{self, Answer, Input, Pipeline, Plan};
use crate::tensor::{Data, Tensor};
use crate::workers::Workers;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Tensors for a model.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// One for each input, in any order.
    pub inputs: Vec<Tensor>,
    /// Names of the outputs that are wanted; all where there is none.
    pub outputs: Vec<String>,
    /// When the result is of no use any more.
    pub deadline: Option<Instant>,
}

/// A loaded model. It is unloaded when the last handle is dropped.
pub struct Model {
    manifest: Manifest,
    signature: Signature,
    batcher: Batcher,
    pipeline: Option<Arc<dyn Pipeline>>,
    memory_bytes: u64,
    request_bytes_max: usize,
    /// Runs of one request to the pipeline that are in the queue at a time.
    runs_max: usize,
}

/// What a model takes beyond its files: the session itself, and the library's memory for a first run.
const SESSION_BYTES: u64 = 8 << 20;

impl Model {
    /// Loads an artefact. Blocking, for seconds where the model is large.
    ///
    /// # Errors
    /// [`Error::BadArtefact`]: ONNX Runtime cannot load the model, or it is not what its task needs.
    pub fn load(runtime: &Runtime, artefact: &Artefact, settings: &Settings) -> Result<Self> {
        settings.check()?;
        // What reads foreign files may panic on one that it did not foresee.
        let load = AssertUnwindSafe(|| Self::load_checked(runtime, artefact, settings));
        let broken =
            |_| Err(Error::BadArtefact("its files are not what they are said to be: reading them broke off".into()));
        catch_unwind(load).unwrap_or_else(broken)
    }

    fn load_checked(runtime: &Runtime, artefact: &Artefact, settings: &Settings) -> Result<Self> {
        let mut session = Session::open(runtime, artefact, settings)?;
        let pipeline = tasks::pipeline(artefact, session.signature(), settings)?;
        if settings.warm_up {
            warm_up(&mut session, settings);
        }
        let batches = artefact.manifest().pipeline.batching.unwrap_or(!artefact.couples_rows());
        let memory_bytes = Self::memory_estimate(artefact.bytes());
        let manifest = artefact.manifest().clone();
        Self::start(manifest, Box::new(session), Start { pipeline, batches, memory_bytes }, settings)
    }

    /// A model that `runner` computes: the seam for tests, with no pipeline.
    ///
    /// # Errors
    /// A setting with which nothing could run.
    pub fn with_runner(manifest: Manifest, runner: Box<dyn Runner>, settings: &Settings) -> Result<Self> {
        settings.check()?;
        let batches = manifest.pipeline.batching.unwrap_or(true);
        Self::start(manifest, runner, Start { pipeline: None, batches, memory_bytes: SESSION_BYTES }, settings)
    }

    fn start(manifest: Manifest, runner: Box<dyn Runner>, start: Start, settings: &Settings) -> Result<Self> {
        let signature = runner.signature().clone();
        let batches = start.batches && signature.has_free_rows() && settings.batch_max > 1;
        let batcher = Batcher::start(&manifest.name, runner, batches, settings)?;
        let Start { pipeline, memory_bytes, .. } = start;
        let request_bytes_max = settings.request_bytes_max;
        let runs_max = settings.batch_max.min(settings.queue_max).max(1);
        Ok(Self { manifest, signature, batcher, pipeline, memory_bytes, request_bytes_max, runs_max })
    }

    /// Bytes that a model of files of so many bytes will take: weights once more than on the disk by half, as the library
    /// keeps them packed for its kernels too.
    pub(crate) const fn memory_estimate(file_bytes: u64) -> u64 {
        file_bytes.saturating_add(file_bytes / 2).saturating_add(SESSION_BYTES)
    }

    /// What `orrery.json` says.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What it takes and gives.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// An estimate of the memory it takes.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// What it has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.batcher.statistics()
    }

    /// Whether rows of several requests are computed together.
    #[must_use]
    pub fn batches(&self) -> bool {
        self.batcher.batches()
    }

    /// Whether there is nothing to compute.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.batcher.is_idle()
    }

    /// Checks a request and puts it into the queue.
    ///
    /// # Errors
    /// [`Error::BadInput`] names the tensor at fault; [`Error::Overloaded`]: the queue is full.
    pub fn submit(&self, request: Request) -> Result<Pending> {
        let bytes: usize = request.inputs.iter().map(|tensor| tensor.data().bytes()).sum();
        if bytes > self.request_bytes_max {
            let limit = self.request_bytes_max;
            let reason = format!("the request's tensors take {bytes} bytes; at most {limit} are computed at once");
            return Err(Error::bad_input("inputs", reason));
        }
        let inputs = self.signature.check(request.inputs)?;
        let outputs = self.signature.outputs_of(&request.outputs)?;
        self.batcher.submit(inputs, outputs, request.deadline)
    }

    /// Computes a request. Dropping the future cancels it.
    ///
    /// # Errors
    /// As [`Self::submit`], and [`Error::Run`], [`Error::Deadline`].
    pub async fn infer(&self, request: Request) -> Result<Vec<Tensor>> {
        self.submit(request)?.await
    }

    /// Computes what the model's task takes. Preparing and finishing run on `workers`.
    ///
    /// # Errors
    /// [`Error::BadInput`] names the item at fault; else as [`Self::infer`].
    pub async fn predict(&self, workers: &Workers, input: Input, deadline: Option<Instant>) -> Result<Answer> {
        let pipeline = self.pipeline()?;
        let Plan { runs, finish } = workers.run(move || pipeline.plan(input)).await?;
        let mut results = Vec::with_capacity(runs.len());
        let mut runs = runs.into_iter();
        while let Some(pending) = self.submit_some(&mut runs, deadline)? {
            for run in pending {
                results.push(run.await?);
            }
        }
        workers.run(move || finish(results)).await
    }

    /// The same on the calling thread. Blocking: not for async workers, where it panics.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn predict_blocking(&self, input: Input, deadline: Option<Instant>) -> Result<Answer> {
        let Plan { runs, finish } = self.pipeline()?.plan(input)?;
        let mut results = Vec::with_capacity(runs.len());
        let mut runs = runs.into_iter();
        while let Some(pending) = self.submit_some(&mut runs, deadline)? {
            for run in pending {
                results.push(run.wait()?);
            }
        }
        finish(results)
    }

    fn pipeline(&self) -> Result<Arc<dyn Pipeline>> {
        let none = || Error::bad_input("inputs", "this model has no task; send it tensors");
        self.pipeline.clone().ok_or_else(none)
    }

    /// A few runs at a time, so that one request with many items does not fill the queue by itself. `None` after the last.
    fn submit_some(
        &self,
        runs: &mut impl Iterator<Item = Request>,
        deadline: Option<Instant>,
    ) -> Result<Option<Vec<Pending>>> {
        let some = runs.take(self.runs_max).map(|run| self.submit(Request { deadline, ..run }));
        let pending = some.collect::<Result<Vec<_>>>()?;
        Ok((!pending.is_empty()).then_some(pending))
    }

    /// Takes no more requests and waits for its thread's end. Blocking.
    pub fn close(&self) {
        self.batcher.close();
    }
}

/// What a model is started with.
struct Start {
    pipeline: Option<Arc<dyn Pipeline>>,
    batches: bool,
    memory_bytes: u64,
}

/// Computes one row of zeros. What it gives is of no matter, nor whether it can be computed: some models take no zeros.
fn warm_up(session: &mut Session, settings: &Settings) {
    let made = |port: &Port| {
        let shape: Vec<usize> = port.dims.iter().map(|dim| usize::try_from(*dim).unwrap_or(1)).collect();
        let count = shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim))?;
        (count <= settings.request_bytes_max / 8)
            .then(|| Tensor::made(&*port.name, shape, Data::zeros(port.dtype, count)))
    };
    let inputs: Option<Vec<Tensor>> = session.signature().inputs.iter().map(made).collect();
    let outputs: Vec<usize> = (0..session.signature().outputs.len()).collect();
    if let Some(Err(error)) = inputs.map(|inputs| session.run(&inputs, &outputs)) {
        tracing::debug!(%error, "the made-up request of the warm-up could not be computed");
    }
}
