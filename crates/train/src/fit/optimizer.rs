//! Steps against the gradient, on the processor's own memory: the state is plain vectors, which a checkpoint takes as they are.

use super::settings::{DescentSettings, Rule};

const FIRST: f32 = 0.9;
const SECOND: f32 = 0.999;
const LEAST: f32 = 1e-8;

/// The rule with what it remembers.
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Rule,
    momentum: f32,
    decay: f32,
    l1: f32,
    clip_norm: f64,
    /// For each parameter, one vector (plain steps) or two (Adam).
    pub moments: Vec<Vec<f32>>,
}

/// The step that is made.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Its number, from 1.
    pub number: u64,
    /// Its learning rate.
    pub rate: f64,
}

impl Optimizer {
    /// A rule that remembers nothing yet, for parameters of these sizes.
    pub fn new(settings: &DescentSettings, sizes: &[usize]) -> Optimizer {
        let each = if settings.optimizer == Rule::Sgd { 1 } else { 2 };
        Optimizer {
            rule: settings.optimizer,
            momentum: settings.momentum as f32,
            decay: settings.weight_decay as f32,
            l1: settings.l1 as f32,
            clip_norm: settings.clip_norm,
            moments: sizes.iter().flat_map(|&size| vec![vec![0.0; size]; each]).collect(),
        }
    }

    /// Moves the weights. `decays` says which parameters are drawn to zero: the weights, not the offsets.
    pub fn advance(&mut self, step: Step, weights: &mut [Vec<f32>], mut gradients: Vec<Vec<f32>>, decays: &[bool]) {
        self.clip(&mut gradients);
        let each = self.moments.len() / weights.len().max(1);
        let moments = self.moments.chunks_exact_mut(each.max(1));
        for (((weights, gradient), moments), &decays) in weights.iter_mut().zip(&mut gradients).zip(moments).zip(decays)
        {
            let (decay, l1) = if decays { (self.decay, self.l1) } else { (0.0, 0.0) };
            let inside = if self.rule == Rule::AdamW { 0.0 } else { decay };
            for (slope, weight) in gradient.iter_mut().zip(weights.iter()) {
                *slope += inside * weight + l1 * if *weight == 0.0 { 0.0 } else { weight.signum() };
            }
            match moments {
                [velocity] => plain(step, self.momentum, weights, gradient, velocity),
                [mean, square] => {
                    let apart = if self.rule == Rule::AdamW { step.rate as f32 * decay } else { 0.0 };
                    weights.iter_mut().for_each(|weight| *weight -= apart * *weight);
                    adam(step, weights, gradient, [mean, square]);
                }
                _ => unreachable!("invariant: one moment or two"),
            }
        }
    }

    fn clip(&self, gradients: &mut [Vec<f32>]) {
        if self.clip_norm == 0.0 {
            return;
        }
        let squares = gradients.iter().flatten().map(|&slope| f64::from(slope) * f64::from(slope));
        let norm = squares.sum::<f64>().sqrt();
        if norm > self.clip_norm {
            let factor = (self.clip_norm / norm) as f32;
            gradients.iter_mut().flatten().for_each(|slope| *slope *= factor);
        }
    }
}

fn plain(step: Step, momentum: f32, weights: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
    let rate = step.rate as f32;
    for ((weight, slope), velocity) in weights.iter_mut().zip(gradient).zip(velocity) {
        *velocity = momentum * *velocity + slope;
        *weight -= rate * *velocity;
    }
}

fn adam(step: Step, weights: &mut [f32], gradient: &[f32], [mean, square]: [&mut Vec<f32>; 2]) {
    // Both averages start at 0, and are too small by these factors yet.
    let count = step.number.min(i32::MAX as u64) as i32;
    let missing = |share: f32| 1.0 - f64::from(share).powi(count);
    let rate = (step.rate / missing(FIRST)) as f32;
    let correction = (1.0 / missing(SECOND)).sqrt() as f32;
    let state = mean.iter_mut().zip(square.iter_mut());
    for ((weight, slope), (mean, square)) in weights.iter_mut().zip(gradient).zip(state) {
        *mean = FIRST * *mean + (1.0 - FIRST) * slope;
        *square = SECOND * *square + (1.0 - SECOND) * slope * slope;
        *weight -= rate * *mean / (square.sqrt() * correction + LEAST);
    }
}
