//! Learning by steps against the gradient of batches.
//!
//! Everything a step needs follows from the seed and the step's number; the state is weights, the optimizer's moments and a few
//! sums. So a run that is taken up from a checkpoint goes on exactly as an unbroken one.

use super::network::{Bench, Network, first_weights};
use super::optimizer::{Optimizer, Step};
use super::private::{Noise, noisy_gradients};
use super::random::{Purpose, Random};
use super::scale::Scale;
use super::settings::{DescentSettings, class_weights};
use super::{Loss, Run};
use crate::checkpoint::Checkpoint;
use crate::event::{Event, Values};
use crate::trainers::Splits;
use crate::{Dataset, Error, Result, Target};
use serde_json::{Value, json};

/// Rows that are predicted at once.
const PREDICTED: usize = 256;

/// What was learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt {
    /// The parameters.
    pub weights: Vec<Vec<f32>>,
    /// How target numbers were scaled; none for classes.
    pub scale: Option<Scale>,
    /// Facts for the model's card.
    pub notes: Value,
}

/// Learns the parameters of `network`.
///
/// # Errors
/// As [`crate::trainers::Trainer::fit`].
pub fn descend(network: &dyn Network, settings: &DescentSettings, splits: Splits, run: &mut Run) -> Result<Learnt> {
    let rows = splits.train.inputs.rows();
    if rows == 0 {
        return Err(Error::BadData(
            "the training split has no rows; give more data, or make the other splits smaller".into(),
        ));
    }
    let scale = Scale::of(&splits.train.target);
    let train = scaled(splits.train, scale.as_ref());
    let validation = splits.validation.filter(|split| split.inputs.rows() > 0);
    let validation = validation.map(|split| scaled(split, scale.as_ref()));
    let batch = settings.batch_size.min(rows);
    let epoch_steps = rows.div_ceil(batch) as u64;
    let course = Course {
        network,
        settings,
        loss: loss_of(&splits.train.target, settings, &run.settings.labels)?,
        train: &train,
        validation: validation.as_ref(),
        batch,
        epoch_steps,
        total: epoch_steps * settings.epochs,
        bench: Bench::training(&run.settings.pictures),
        noise: Noise::of(run, rows, batch, epoch_steps * settings.epochs)?,
    };
    let state = course.learn(run)?;
    Ok(course.learnt(state, scale))
}

/// The mean loss of `weights` over `dataset`, whose target must be scaled like the training one's.
pub fn mean_loss(network: &dyn Network, loss: &Loss, weights: &[Vec<f32>], dataset: &Dataset, bench: &Bench) -> f64 {
    let tensors = bench.weights(weights);
    let (mut sum, mut weight) = (0.0, 0.0);
    let rows: Vec<usize> = (0..dataset.inputs.rows()).collect();
    for rows in rows.chunks(PREDICTED) {
        let sums = network.forward(&tensors, &bench.batch(&dataset.inputs, rows), None);
        let (losses, weights) = loss.of_rows(bench, sums, bench.wanted(&dataset.target, rows));
        sum += losses.sum().into_scalar::<f64>();
        weight += weights.sum().into_scalar::<f64>();
    }
    sum / weight
}

/// `[rows][outputs]`: the sums of `weights`.
pub fn predict(network: &dyn Network, weights: &[Vec<f32>], inputs: &crate::Inputs, bench: &Bench) -> Vec<f64> {
    let tensors = bench.weights(weights);
    let rows: Vec<usize> = (0..inputs.rows()).collect();
    let sums = rows.chunks(PREDICTED).flat_map(|rows| {
        let sums = network.forward(&tensors, &bench.batch(inputs, rows), None);
        sums.try_into_vec_as::<f64>().expect("invariant: a float tensor reads as floats")
    });
    sums.collect()
}

fn loss_of(target: &Target, settings: &DescentSettings, labels: &[String]) -> Result<Loss> {
    match target {
        Target::Numbers(_) => Ok(Loss::Distance(settings.distance)),
        Target::Classes { count, of_row } => {
            Ok(Loss::CrossEntropy { weights: class_weights(&settings.class_weight, of_row, *count as usize, labels)? })
        }
    }
}

fn scaled(dataset: &Dataset, scale: Option<&Scale>) -> Dataset {
    let target = match (&dataset.target, scale) {
        (Target::Numbers(numbers), Some(scale)) => Target::Numbers(scale.scaled(numbers)),
        (target, _) => target.clone(),
    };
    Dataset { inputs: dataset.inputs.clone(), target }
}

/// All that stays the same from step to step.
struct Course<'a> {
    network: &'a dyn Network,
    settings: &'a DescentSettings,
    loss: Loss,
    train: &'a Dataset,
    validation: Option<&'a Dataset>,
    batch: usize,
    epoch_steps: u64,
    total: u64,
    bench: Bench,
    noise: Option<Noise>,
}

/// All that changes.
#[derive(Clone, Debug)]
struct State {
    /// Steps that are done.
    step: u64,
    weights: Vec<Vec<f32>>,
    optimizer: Optimizer,
    /// Of the epoch: losses of its batches times their rows, and the rows.
    loss: (f64, f64),
    /// The best validation loss, its step and its weights.
    best: Option<(f64, u64, Vec<Vec<f32>>)>,
    /// Epochs since then.
    stale: u64,
}

impl Course<'_> {
    fn learn(&self, run: &mut Run) -> Result<State> {
        let decays: Vec<bool> = self.network.parameters().iter().map(|parameter| parameter.decays).collect();
        let mut state = self.start(run)?;
        let mut order = self.order(state.step / self.epoch_steps, run.settings.seed);
        let mut saved = state.step;
        while state.step < self.total && !self.stale(&state) {
            let (epoch, position) = (state.step / self.epoch_steps, state.step % self.epoch_steps);
            if position == 0 {
                order = self.order(epoch, run.settings.seed);
                state.loss = (0.0, 0.0);
            }
            self.step(&mut state, &order, &decays, run)?;
            if state.step % self.epoch_steps == 0 {
                self.end_epoch(&mut state, run);
            }
            let end = run.end();
            if end.is_some() || run.checkpoint_due(state.step - saved) {
                self.save(&state, run)?;
                saved = state.step;
            }
            if let Some(error) = end {
                return Err(error);
            }
        }
        Ok(state)
    }

    fn step(&self, state: &mut State, order: &[usize], decays: &[bool], run: &mut Run) -> Result<()> {
        let position = (state.step % self.epoch_steps) as usize;
        let rate = self.settings.rate(state.step, self.epoch_steps, self.total);
        let (loss, rows, gradients) = match &self.noise {
            Some(noise) => {
                noisy_gradients(self.network, &self.bench, &self.loss, self.train, &state.weights, noise, state.step)
            }
            None => {
                let rows = &order[position * self.batch..((position + 1) * self.batch).min(order.len())];
                let (loss, gradients) = self.gradients(state, rows, run.settings.seed);
                (loss, rows.len(), gradients)
            }
        };
        if !loss.is_finite() || gradients.iter().flatten().any(|slope| !slope.is_finite()) {
            return Err(Error::Diverged(format!(
                "the loss is no number any more at step {}; a `hyperparameters.learning_rate` below {} or a `clip_norm` helps",
                state.step + 1,
                self.settings.learning_rate
            )));
        }
        state.step += 1;
        state.optimizer.advance(Step { number: state.step, rate }, &mut state.weights, gradients, decays);
        state.loss.0 += loss * rows as f64;
        state.loss.1 += rows as f64;
        run.step(Event::Step {
            step: state.step,
            epoch: (state.step - 1) / self.epoch_steps + 1,
            total: self.total,
            loss: state.loss.0 / state.loss.1.max(1.0),
            learning_rate: rate,
        });
        Ok(())
    }

    fn gradients(&self, state: &State, rows: &[usize], seed: u64) -> (f64, Vec<Vec<f32>>) {
        let weights: Vec<_> =
            self.bench.weights(&state.weights).into_iter().map(|weight| weight.require_grad()).collect();
        let mut random = Random::new(seed, Purpose::Dropout, state.step);
        let sums = self.network.forward(&weights, &self.bench.batch(&self.train.inputs, rows), Some(&mut random));
        let loss = self.loss.mean(&self.bench, sums, self.bench.wanted(&self.train.target, rows));
        let mut gradients = loss.backward();
        let flat = |weight: &burn::tensor::Tensor<1>| match weight.grad_remove(&mut gradients) {
            Some(gradient) => gradient.try_into_vec_as::<f32>().expect("invariant: a float tensor reads as floats"),
            None => vec![0.0; weight.dims()[0]],
        };
        let gradients = weights.iter().map(flat).collect();
        (loss.into_scalar::<f64>(), gradients)
    }

    fn end_epoch(&self, state: &mut State, run: &mut Run) {
        let tell = |run: &mut Run, split: &str, loss: f64| {
            let values = Values::from([("loss".to_owned(), loss)]);
            run.tell(Event::Metrics { split: split.to_owned(), step: state.step, values });
        };
        tell(run, "train", state.loss.0 / state.loss.1.max(1.0));
        let Some(validation) = self.validation else { return };
        let loss =
            mean_loss(self.network, &self.loss, &state.weights, validation, &Bench::predicting(&run.settings.pictures));
        tell(run, "validation", loss);
        if self.settings.early_stopping == 0 || self.noise.is_some() {
            return;
        }
        state.stale += 1;
        if state.best.as_ref().is_none_or(|best| loss < best.0) {
            state.best = Some((loss, state.step, state.weights.clone()));
            state.stale = 0;
        }
    }

    fn stale(&self, state: &State) -> bool {
        self.settings.early_stopping > 0 && state.stale >= self.settings.early_stopping
    }

    fn order(&self, epoch: u64, seed: u64) -> Vec<usize> {
        Random::new(seed, Purpose::Order, epoch).order(self.train.inputs.rows())
    }

    fn learnt(&self, state: State, scale: Option<Scale>) -> Learnt {
        let mut notes = json!({
            "steps": state.step, "epochs": state.step.div_ceil(self.epoch_steps),
            "parameters": state.weights.iter().map(Vec::len).sum::<usize>(),
        });
        if let Some(noise) = &self.noise {
            notes["privacy"] = noise.spent(state.step);
        }
        let weights = match state.best {
            Some((loss, step, weights)) => {
                notes["best_step"] = step.into();
                notes["validation_loss"] = loss.into();
                weights
            }
            None => state.weights,
        };
        Learnt { weights, scale, notes }
    }

    /// The state at the last checkpoint, or before the first step.
    fn start(&self, run: &mut Run) -> Result<State> {
        let weights = first_weights(self.network, run.settings.seed);
        let sizes: Vec<usize> = weights.iter().map(Vec::len).collect();
        let optimizer = Optimizer::new(self.settings, &sizes);
        let fresh = State { step: 0, weights, optimizer, loss: (0.0, 0.0), best: None, stale: 0 };
        let Some(checkpoint) = run.load()? else { return Ok(fresh) };
        let state = self.restored(fresh, checkpoint);
        let state =
            state.ok_or_else(|| Error::Internal("the checkpoint is of another network; start the job again".into()))?;
        run.log(format!("taken up at step {} of {}", state.step, self.total));
        Ok(state)
    }

    fn save(&self, state: &State, run: &mut Run) -> Result<()> {
        let named = |prefix: &str, tensors: &[Vec<f32>]| -> Vec<(String, Vec<f32>)> {
            tensors.iter().enumerate().map(|(index, values)| (format!("{prefix}.{index}"), values.clone())).collect()
        };
        let mut tensors = named("weight", &state.weights);
        tensors.extend(named("moment", &state.optimizer.moments));
        tensors.extend(state.best.iter().flat_map(|best| named("best", &best.2)));
        let facts = json!({
            "step": state.step, "stale": state.stale,
            "loss": [state.loss.0.to_bits(), state.loss.1.to_bits()],
            "best": state.best.as_ref().map(|best| [best.0.to_bits(), best.1]),
            "noise_key": self.noise.as_ref().map(Noise::key),
        });
        run.save(state.step, &Checkpoint { facts, tensors })
    }

    fn restored(&self, mut state: State, checkpoint: Checkpoint) -> Option<State> {
        let facts = &checkpoint.facts;
        let bits = |index: usize| facts["loss"][index].as_u64().map(f64::from_bits);
        state.step = facts["step"].as_u64()?;
        state.stale = facts["stale"].as_u64()?;
        state.loss = (bits(0)?, bits(1)?);
        let mut tensors = checkpoint.tensors.into_iter();
        let mut take = |expected: &mut Vec<Vec<f32>>| {
            for values in expected {
                let found = tensors.next().filter(|found| found.1.len() == values.len())?;
                *values = found.1;
            }
            Some(())
        };
        take(&mut state.weights)?;
        take(&mut state.optimizer.moments)?;
        if !facts["best"].is_null() {
            let mut weights = state.weights.clone();
            take(&mut weights)?;
            state.best = Some((f64::from_bits(facts["best"][0].as_u64()?), facts["best"][1].as_u64()?, weights));
        }
        Some(state)
    }
}
