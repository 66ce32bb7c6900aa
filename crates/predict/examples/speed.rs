//! What the queue costs over the bare session, and what batching brings.
//!
//!     cargo run --release -p orrery-predict --example speed
//!
//! It takes what the tests of this crate have fetched into `target/predict`. Each request is one row of ones; free
//! dimensions are 16.
#![forbid(unsafe_code)]

use orrery_predict::{
    Artefact, Data, DataType, MANIFEST_NAME, Model, Pending, Port, Request, Runtime, Settings, Tensor,
};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::{Duration, Instant};

const FREE_DIMENSION: usize = 16;
const WARM_UP: usize = 20;

const CLIENTS: usize = 32;
const REQUESTS: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let fetched = root.join("target/predict");
    let runtime = Runtime::load(&fetched.join("libonnxruntime.so"))?;
    for (name, model) in
        [("MiniLM, int8", fetched.join("minilm.onnx")), ("two columns", root.join("fixtures/predict/regression.onnx"))]
    {
        let folder = artefact(&std::fs::read(model)?)?;
        for (how, batch_max) in [("one by one", 1), ("batched", 64)] {
            let settings = Settings { batch_max, ..Settings::default() };
            let artefact = Artefact::open(folder.path(), &settings)?;
            let model = Model::load(&runtime, &artefact, &settings)?;
            let (median, inner) = alone(&model)?;
            let rate = together(&model)?;
            println!(
                "{name}, {how}: 1 client p50 {median:.3} ms, of which computing {inner:.3} ms; {CLIENTS} clients {rate:.0} \
                 requests/s"
            );
        }
    }
    Ok(())
}

/// The model as an artefact of no task, which says itself that it may be batched.
fn artefact(model: &[u8]) -> Result<tempfile::TempDir, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("model.onnx"), model)?;
    let sha256: String = Sha256::digest(model).iter().map(|byte| format!("{byte:02x}")).collect();
    let manifest = serde_json::json!({
        "format": 1, "name": "speed", "task": "other", "model": "model.onnx", "files": {"model.onnx": sha256},
        "pipeline": {"batching": true},
    });
    std::fs::write(folder.path().join(MANIFEST_NAME), manifest.to_string())?;
    Ok(folder)
}

fn request(model: &Model) -> Request {
    let ones = |port: &Port| {
        let free = |(place, dim): (usize, &i64)| match usize::try_from(*dim) {
            Ok(fixed) => fixed,
            Err(_) if place == 0 => 1,
            Err(_) => FREE_DIMENSION,
        };
        let shape: Vec<usize> = port.dims.iter().enumerate().map(free).collect();
        let count = shape.iter().product();
        let data = match port.dtype {
            DataType::Int64 => Data::Int64(vec![1; count]),
            DataType::Fp32 => Data::Fp32(vec![1.0; count]),
            dtype => Data::zeros(dtype, count),
        };
        Tensor::new(&*port.name, shape, data).expect("the shape is right")
    };
    Request { inputs: model.signature().inputs.iter().map(ones).collect(), ..Request::default() }
}

/// The median time of a request, and the mean of its computing, in milliseconds.
fn alone(model: &Model) -> orrery_predict::Result<(f64, f64)> {
    let one = || model.submit(request(model)).and_then(Pending::wait);
    for _ in 0..WARM_UP {
        one()?;
    }
    let before = model.statistics().compute_infer;
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        one()?;
        times.push(begun.elapsed());
    }
    times.sort();
    let after = model.statistics().compute_infer;
    let mean = Duration::from_nanos((after.ns - before.ns) / (after.count - before.count).max(1));
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok((median.as_secs_f64() * 1e3, mean.as_secs_f64() * 1e3))
}

/// Requests per second of so many clients, each of which waits for its answer.
fn together(model: &Model) -> orrery_predict::Result<f64> {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let client = || (0..REQUESTS).try_for_each(|_| model.submit(request(model)).and_then(Pending::wait).map(drop));
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("no panic"))
    })?;
    #[expect(clippy::cast_precision_loss, reason = "few requests")]
    let count = (CLIENTS * REQUESTS) as f64;
    Ok(count / begun.elapsed().as_secs_f64())
}
