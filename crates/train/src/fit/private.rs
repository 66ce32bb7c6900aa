//! Steps that hide every single example: a Poisson sample, gradients cut to one length example by example, and noise (Abadi and
//! others, "Deep Learning with Differential Privacy", 2016).

use super::network::{Bench, Network};
use super::random::Secret;
use super::{Loss, Run};
use crate::privacy::{Mechanism, epsilon, noise_for};
use crate::spec::{PrivacySpec, bad};
use crate::{Dataset, Error, Result};
use burn::tensor::Tensor;
use ring::rand::SecureRandom;
use serde_json::{Value, json};

/// The noise of a run.
#[derive(Debug)]
pub struct Noise {
    spec: PrivacySpec,
    sample_rate: f64,
    multiplier: f64,
    /// Examples in a step in the mean.
    batch: usize,
    /// Nobody outside may know it: with it, the noise could be taken off again.
    key: [u8; 32],
}

impl Noise {
    /// The noise that keeps to the job's ε; `None` when the job asks for no privacy. The key is new, or that of the checkpoint.
    ///
    /// # Errors
    /// [`Error::BadSpec`] when ε cannot be kept, [`Error::Internal`] when the system gives no random key.
    pub fn of(run: &mut Run, rows: usize, batch: usize, steps: u64) -> Result<Option<Noise>> {
        let Some(spec) = run.settings.privacy else { return Ok(None) };
        let sample_rate = batch as f64 / rows as f64;
        let multiplier = noise_for(spec.epsilon, spec.delta, sample_rate, steps)?;
        if spec.delta >= 1.0 / rows as f64 {
            let message = format!(
                "`privacy.delta` {} is not below one over the {rows} rows; give less, or a whole row may leak",
                spec.delta
            );
            return Err(bad("privacy.delta", message));
        }
        let key = match run.load()? {
            Some(checkpoint) => key_of(&checkpoint.facts["noise_key"]),
            None => new_key(),
        };
        let key = key.ok_or_else(|| Error::Internal("no random key could be had for the noise".into()))?;
        run.log(format!("noise of {multiplier:.3} times the longest gradient"));
        Ok(Some(Noise { spec, sample_rate, multiplier, batch, key }))
    }

    /// The key as a checkpoint holds it.
    pub fn key(&self) -> Vec<u8> {
        self.key.to_vec()
    }

    /// What was spent, for the model's card.
    pub fn spent(&self, steps: u64) -> Value {
        let mechanism = Mechanism { sample_rate: self.sample_rate, noise_multiplier: self.multiplier, steps };
        json!({
            "epsilon": epsilon(mechanism, self.spec.delta).ok(), "delta": self.spec.delta,
            "max_grad_norm": self.spec.max_grad_norm, "noise_multiplier": self.multiplier,
            "sample_rate": self.sample_rate, "steps": steps, "accountant": "rdp",
            "covers": "the weights, for one row added or removed; not what the preparation took from the rows (means, \
                categories, words), nor metrics and losses",
        })
    }
}

fn new_key() -> Option<[u8; 32]> {
    let mut key = [0; 32];
    ring::rand::SystemRandom::new().fill(&mut key).ok()?;
    Some(key)
}

fn key_of(fact: &Value) -> Option<[u8; 32]> {
    let bytes = fact.as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

/// A step's loss, rows and gradients.
pub fn noisy_gradients(
    network: &dyn Network,
    bench: &Bench,
    loss: &Loss,
    train: &Dataset,
    weights: &[Vec<f32>],
    noise: &Noise,
    step: u64,
) -> (f64, usize, Vec<Vec<f32>>) {
    let mut secret = Secret::new(noise.key, step);
    let rows: Vec<usize> = (0..train.inputs.rows()).filter(|_| secret.uniform() < noise.sample_rate).collect();
    let mut sums: Vec<Vec<f32>> = weights.iter().map(|weights| vec![0.0; weights.len()]).collect();
    let mut total = 0.0;
    for rows in rows.chunks(noise.batch.max(1)) {
        let cut = Cut { network, bench, loss, train, longest: noise.spec.max_grad_norm };
        let (loss, gradients) = cut.gradients(weights, rows);
        total += loss;
        for (sum, gradient) in sums.iter_mut().zip(gradients) {
            sum.iter_mut().zip(gradient).for_each(|(sum, slope)| *sum += slope);
        }
    }
    let deviation = noise.multiplier * noise.spec.max_grad_norm;
    for slope in sums.iter_mut().flatten() {
        *slope = ((f64::from(*slope) + deviation * secret.normal()) / noise.batch as f64) as f32;
    }
    (total / rows.len().max(1) as f64, rows.len(), sums)
}

/// Gradients of single examples, cut to one length.
#[derive(Clone, Copy)]
pub struct Cut<'a> {
    /// A network of dense layers.
    pub network: &'a dyn Network,
    /// Where.
    pub bench: &'a Bench,
    /// What is minimised.
    pub loss: &'a Loss,
    /// The examples.
    pub train: &'a Dataset,
    /// The length.
    pub longest: f64,
}

impl Cut<'_> {
    /// The sums over `rows` of losses and of gradients, each no longer than `longest` over all parameters together.
    ///
    /// A dense layer's gradient by one example is the outer product of its inputs and the slopes of its sums, so its length is
    /// the product of theirs, and no gradient of a single example has to be written down.
    pub fn gradients(&self, weights: &[Vec<f32>], rows: &[usize]) -> (f64, Vec<Vec<f32>>) {
        let tensors = self.bench.weights(weights);
        let batch = self.bench.batch(&self.train.inputs, rows);
        let (sums, taps) =
            self.network.forward_tapped(&tensors, &batch).expect("invariant: the row says it can be private");
        let (losses, _) = self.loss.of_rows(self.bench, sums, self.bench.wanted(&self.train.target, rows));
        let loss = losses.sum();
        let mut slopes = loss.backward();
        let parts: Vec<(Tensor<2>, Tensor<2>)> = taps
            .into_iter()
            .map(|tap| {
                let slope = tap.sums.grad_remove(&mut slopes).expect("invariant: every tap has a part in the loss");
                (tap.inputs.inner(), slope)
            })
            .collect();
        let squares = parts.iter().map(|(inputs, slope)| {
            let square = |values: &Tensor<2>| values.clone().square().sum_dim(1);
            square(slope) * (square(inputs) + 1.0)
        });
        let lengths = squares.reduce(|a, b| a + b).expect("invariant: a network has a layer").sqrt();
        let factors = (lengths.clamp_min(self.longest) / self.longest).recip();
        let gradients = parts.into_iter().flat_map(|(inputs, slope)| {
            let slope = slope * factors.clone();
            [read(inputs.transpose().matmul(slope.clone())), read(slope.sum_dim(0))]
        });
        (loss.into_scalar::<f64>(), gradients.collect())
    }
}

fn read(tensor: Tensor<2>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().expect("invariant: a float tensor reads as floats")
}
