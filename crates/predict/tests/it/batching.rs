//! Batching with a fake runner: its laws, whatever the workload, and single cases.

use crate::sample::{load, small};
use crate::session::{run, tensor};
use orrery_predict::{
    Data, DataType, Error, Manifest, Model, Pending, Port, Request, Result, Runner, Settings, Signature, Tensor,
};
use proptest::prelude::*;
use serde_json::json;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Gives `10 x`. A row of -1 fails, a row of -2 panics. Writes down how many rows each step had; waits at a gate, where it
/// has one, so that a test decides when requests pile up.
struct Fake {
    signature: Signature,
    steps: Arc<Mutex<Vec<usize>>>,
    gate: Option<Gate>,
    /// Gives one row only, though its signature says that rows follow.
    folds: bool,
}

struct Gate {
    entered: Sender<()>,
    open: Receiver<()>,
}

impl Runner for Fake {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &[usize]) -> Result<Vec<Tensor>> {
        assert_eq!(outputs, [0]);
        let Data::Int64(values) = inputs[0].data() else { panic!("{inputs:?}") };
        if let Some(gate) = &self.gate {
            gate.entered.send(()).expect("the test listens");
            gate.open.recv().expect("the test opens");
        }
        self.steps.lock().expect("no panic").push(inputs[0].shape()[0]);
        assert!(!values.contains(&-2), "a row of -2");
        if values.contains(&-1) {
            return Err(Error::Run("a row of -1".into()));
        }
        if self.folds {
            return Ok(vec![tensor("y", [1, 1], Data::Int64(vec![values.iter().sum()]))]);
        }
        let products = values.iter().map(|value| value * 10).collect();
        Ok(vec![tensor("y", inputs[0].shape(), Data::Int64(products))])
    }
}

fn signature() -> Signature {
    let port = |name: &str| Port { name: name.into(), dtype: DataType::Int64, dims: vec![-1, -1] };
    Signature { inputs: vec![port("x")], outputs: vec![port("y")] }
}

struct Bench {
    model: Model,
    steps: Arc<Mutex<Vec<usize>>>,
}

fn bench(settings: &Settings, gate: Option<Gate>, folds: bool) -> Bench {
    let steps = Arc::<Mutex<Vec<usize>>>::default();
    let fake = Fake { signature: signature(), steps: steps.clone(), gate, folds };
    let files = json!({"m.onnx": "0".repeat(64)});
    let manifest = json!({"format": 1, "name": "fake", "task": "other", "model": "m.onnx", "files": files});
    let manifest = Manifest::parse(manifest.to_string().as_bytes()).expect("a manifest");
    Bench { model: Model::with_runner(manifest, Box::new(fake), settings).expect("it starts"), steps }
}

impl Bench {
    fn submit(&self, values: &[i64], width: usize, deadline: Option<Instant>) -> Result<Pending> {
        let inputs = vec![tensor("x", [values.len() / width, width], Data::Int64(values.to_vec()))];
        self.model.submit(Request { inputs, outputs: Vec::new(), deadline })
    }

    fn steps(&self) -> Vec<usize> {
        self.steps.lock().expect("no panic").clone()
    }
}

/// The test's side of a gate: a first request is let in and held, and others pile up behind it.
struct Held {
    entered: Receiver<()>,
    open: Sender<()>,
    first: Pending,
}

fn held(settings: &Settings, folds: bool) -> (Bench, Held) {
    let ((entered_in, entered), (open, open_in)) = (channel(), channel());
    let bench = bench(settings, Some(Gate { entered: entered_in, open: open_in }), folds);
    let first = bench.submit(&[1], 1, None).expect("room");
    entered.recv().expect("it enters");
    (bench, Held { entered, open, first })
}

impl Held {
    /// Opens the gate for good.
    fn open(self) -> (Result<Vec<Tensor>>, Receiver<()>) {
        for _ in 0..1_000 {
            let _ = self.open.send(());
        }
        (self.first.wait(), self.entered)
    }
}

fn values(result: Result<Vec<Tensor>>) -> Vec<i64> {
    match result.expect("computed").remove(0).into_data() {
        Data::Int64(values) => values,
        other => panic!("{other:?}"),
    }
}

#[derive(Debug, Clone)]
struct Item {
    rows: usize,
    width: usize,
    fails: bool,
    is_late: bool,
    is_dropped: bool,
}

fn item() -> impl Strategy<Value = Item> {
    let odd = || prop::bool::weighted(0.15);
    (1..4_usize, 1..3_usize, odd(), odd(), odd()).prop_map(|(rows, width, fails, is_late, is_dropped)| Item {
        rows,
        width,
        fails,
        is_late,
        is_dropped,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Each request is answered once with its own rows; what fails, fails alone; what was dropped is not computed; no step
    /// is larger than allowed; the statistics add up.
    #[test]
    fn the_laws_hold(items in prop::collection::vec(item(), 1..30), batch_max in 1..9_usize) {
        let settings = Settings { batch_max, ..Settings::default() };
        let (bench, held) = held(&settings, false);
        let past = Instant::now();
        let mut waiting = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let mut rows: Vec<i64> = (0..item.rows * item.width).map(|value| (place * 100 + value) as i64).collect();
            if item.fails {
                rows[0] = -1;
            }
            let pending = bench.submit(&rows, item.width, item.is_late.then_some(past)).expect("room");
            // Dropped at once: it waits behind the gate, and its caller is gone.
            let pending = (!item.is_dropped).then_some(pending);
            waiting.push((item, rows, pending));
        }
        let (first, _entered) = held.open();
        prop_assert_eq!(values(first), [10]);
        let (mut succeeded, mut failed, mut cancelled, mut rows_done) = (1, 0, 0, 1);
        for (item, rows, pending) in waiting {
            let Some(pending) = pending else {
                cancelled += 1;
                continue;
            };
            match pending.wait() {
                Ok(outputs) => {
                    prop_assert!(!item.fails && !item.is_late);
                    let wanted: Vec<i64> = rows.iter().map(|value| value * 10).collect();
                    prop_assert_eq!(values(Ok(outputs)), wanted);
                    succeeded += 1;
                    rows_done += item.rows as u64;
                }
                Err(Error::Deadline) => {
                    prop_assert!(item.is_late);
                    failed += 1;
                }
                Err(error) => {
                    prop_assert!(item.fails && !item.is_late, "{}", error);
                    failed += 1;
                }
            }
        }
        bench.model.close();
        let all = bench.model.statistics();
        prop_assert_eq!((all.success.count, all.fail.count, all.cancelled, all.pending), (succeeded, failed, cancelled, 0));
        prop_assert_eq!(all.inference_count, rows_done);
        prop_assert_eq!(all.queue.count, succeeded);
        prop_assert_eq!(all.batches.values().map(|batch| batch.compute_infer.count).sum::<u64>(), all.execution_count);
        let largest = items.iter().map(|item| item.rows).max().unwrap_or(1).max(batch_max);
        prop_assert!(bench.steps().iter().all(|rows| *rows <= largest), "{:?}", bench.steps());
    }
}

#[test]
fn requests_that_wait_are_computed_together() {
    let (bench, held) = held(&Settings { batch_max: 8, ..Settings::default() }, false);
    let pending: Vec<Pending> = (2..7).map(|value| bench.submit(&[value], 1, None).expect("room")).collect();
    let wide = bench.submit(&[7, 8], 2, None).expect("room");
    let (first, _entered) = held.open();
    assert_eq!(values(first), [10]);
    for (value, pending) in (2..7).zip(pending) {
        assert_eq!(values(pending.wait()), [value * 10]);
    }
    assert_eq!(values(wide.wait()), [70, 80]);
    assert_eq!(bench.steps(), [1, 5, 1]);
}

#[test]
fn the_delay_gathers_requests() {
    // So long that only a full batch ends it.
    let settings = Settings { batch_max: 4, batch_delay_us: 600_000_000, ..Settings::default() };
    let bench = bench(&settings, None, false);
    let pending: Vec<Pending> = (0..8).map(|value| bench.submit(&[value], 1, None).expect("room")).collect();
    for (value, pending) in (0..8).zip(pending) {
        assert_eq!(values(pending.wait()), [value * 10]);
    }
    assert_eq!(bench.steps(), [4, 4]);
    // A deadline ends the wait too.
    let late = bench.submit(&[1], 1, Some(Instant::now() + Duration::from_millis(20))).expect("room");
    assert!(matches!(late.wait(), Err(Error::Deadline)));
}

#[test]
fn a_full_queue_refuses() {
    let (bench, held) = held(&Settings { queue_max: 2, ..Settings::default() }, false);
    let waiting: Vec<Pending> = (0..2).map(|value| bench.submit(&[value], 1, None).expect("room")).collect();
    let Err(Error::Overloaded(message)) = bench.submit(&[9], 1, None) else { panic!("it was taken") };
    assert!(message.contains("2 requests wait for the model `fake`"), "{message}");
    let (_, _entered) = held.open();
    waiting.into_iter().for_each(|pending| drop(pending.wait().expect("computed")));
    assert_eq!(bench.model.statistics().rejected, 1);
}

#[test]
fn outputs_that_do_not_follow_the_rows_end_the_batching() {
    let (bench, held) = held(&Settings::default(), true);
    let pending: Vec<Pending> = (2..5).map(|value| bench.submit(&[value], 1, None).expect("room")).collect();
    let (_, _entered) = held.open();
    for (value, pending) in (2..5).zip(pending) {
        assert_eq!(values(pending.wait()), [value]);
    }
    assert!(!bench.model.batches());
    assert_eq!(bench.steps(), [1, 3, 1, 1, 1]);
    let total = load(&small("total", &json!({})), &Settings::default()).expect("it loads");
    let x = tensor("x", [2, 2], Data::Fp32(vec![1.0, 2.0, 3.0, 4.0]));
    assert_eq!(*run(&total, vec![x]).expect("computed")[0].data(), Data::Fp32(vec![4.0, 6.0]));
}

#[test]
fn a_panic_fails_its_request_alone() {
    let (bench, held) = held(&Settings::default(), false);
    let bad = bench.submit(&[-2], 1, None).expect("room");
    let good = bench.submit(&[3], 1, None).expect("room");
    let (_, _entered) = held.open();
    assert!(matches!(bad.wait(), Err(Error::Internal(_))));
    assert_eq!(values(good.wait()), [30]);
}

#[test]
fn what_waits_when_a_model_is_closed_is_answered() {
    let (bench, held) = held(&Settings::default(), false);
    let waiting = bench.submit(&[2], 1, None).expect("room");
    let Bench { model, .. } = bench;
    // Dropped: nothing more is taken, the step that runs ends, and those that wait get an answer.
    drop(model);
    let (first, _entered) = held.open();
    assert_eq!(values(first), [10]);
    assert!(matches!(waiting.wait(), Err(Error::Unloaded(name)) if name == "fake"));
    let closed = bench_closed();
    assert!(matches!(closed.submit(&[1], 1, None), Err(Error::Unloaded(_))));
}

fn bench_closed() -> Bench {
    let bench = bench(&Settings::default(), None, false);
    bench.model.close();
    bench
}

#[test]
fn settings_with_which_nothing_could_run_are_refused() {
    for (settings, name) in [
        (Settings { batch_max: 0, ..Settings::default() }, "batch_max"),
        (Settings { queue_max: 0, ..Settings::default() }, "queue_max"),
        (Settings { threads: 1 << 20, ..Settings::default() }, "threads"),
    ] {
        let Err(Error::Settings(message)) = load(&small("lookup", &json!({})), &settings) else { panic!("{name}") };
        assert!(message.contains(name), "{message}");
    }
}

/// In ONNX Runtime: an index past the table fails, and the others of its batch do not.
#[test]
fn a_request_that_fails_does_not_fail_its_neighbours() {
    let settings = Settings { batch_max: 3, batch_delay_us: 600_000_000, ..Settings::default() };
    let model = load(&small("lookup", &json!({})), &settings).expect("it loads");
    let submit = |place: i64| {
        let inputs = vec![tensor("place", [1], Data::Int64(vec![place]))];
        model.submit(Request { inputs, ..Request::default() }).expect("room")
    };
    let pending = [submit(0), submit(99), submit(2)];
    let results: Vec<_> = pending.into_iter().map(Pending::wait).collect();
    assert_eq!(*results[0].as_ref().expect("computed")[0].data(), Data::Fp32(vec![10.0]));
    assert!(matches!(results[1], Err(Error::Run(_))), "{:?}", results[1]);
    assert_eq!(*results[2].as_ref().expect("computed")[0].data(), Data::Fp32(vec![30.0]));
}
