//! Minimising a smooth convex function in 64 bits: Newton's method, and L-BFGS where there are many variables.

use super::Run;
use super::algebra::{add_scaled, dot};
use crate::{Error, Result};

/// A function with its slopes.
pub trait Objective {
    /// How many variables.
    fn size(&self) -> usize;

    /// The slope is taken as none below tolerance × this.
    fn scale(&self) -> f64;

    /// The value; puts the slopes into `gradient`.
    fn value(&self, at: &[f64], gradient: &mut [f64]) -> f64;

    /// Newton's step against `gradient`: the inverse of the second derivatives, `damping` on their diagonal, times it. `None`
    /// where that is not positive definite.
    fn direction(&self, at: &[f64], gradient: &[f64], damping: f64) -> Option<Vec<f64>>;
}

/// Where a search ended.
#[derive(Debug)]
pub struct Minimum {
    /// The place.
    pub at: Vec<f64>,
    /// The value there.
    pub value: f64,
    /// The largest slope there.
    pub slope: f64,
    /// Steps that were made.
    pub iterations: u64,
    /// Whether the slope is as small as was asked.
    pub converged: bool,
}

/// How often a step is halved before the search gives up: at the accuracy of the numbers.
const HALVINGS_MAX: usize = 40;
/// Pairs of steps and changes of slope that L-BFGS remembers.
const MEMORY: usize = 10;

/// Newton's method from zero.
///
/// # Errors
/// [`Error::Diverged`], or as [`Run::end`].
pub fn newton(objective: &dyn Objective, tolerance: f64, iterations_max: u64, run: &mut Run) -> Result<Minimum> {
    let mut search = Search::new(objective, tolerance)?;
    let damping = 1e-10 * objective.scale();
    while !search.over(iterations_max) {
        let mut direction = None;
        for power in 0..12 {
            direction = objective.direction(&search.at, &search.gradient, damping * 100.0_f64.powi(power));
            if direction.is_some() {
                break;
            }
        }
        let Some(mut direction) = direction else { break };
        direction.iter_mut().for_each(|value| *value = -*value);
        if !search.advance(&direction)? {
            break;
        }
        run.pulse(search.iterations)?;
    }
    Ok(search.minimum())
}

/// L-BFGS from zero.
///
/// # Errors
/// As [`newton`].
pub fn lbfgs(objective: &dyn Objective, tolerance: f64, iterations_max: u64, run: &mut Run) -> Result<Minimum> {
    let mut search = Search::new(objective, tolerance)?;
    let mut pairs: Vec<Pair> = Vec::new();
    while !search.over(iterations_max) {
        let (at, gradient) = (search.at.clone(), search.gradient.clone());
        let mut direction = two_loops(&pairs, &gradient);
        if dot(&direction, &gradient) >= 0.0 {
            pairs.clear();
            direction = gradient.iter().map(|slope| -slope).collect();
        }
        if pairs.is_empty() {
            let length = dot(&gradient, &gradient).sqrt();
            direction.iter_mut().for_each(|value| *value /= length);
        }
        if !search.advance(&direction)? {
            match pairs.is_empty() {
                true => break,
                false => pairs.clear(),
            }
            continue;
        }
        let step: Vec<f64> = search.at.iter().zip(&at).map(|(new, old)| new - old).collect();
        let change: Vec<f64> = search.gradient.iter().zip(&gradient).map(|(new, old)| new - old).collect();
        let product = dot(&step, &change);
        if product > 1e-14 * dot(&change, &change) {
            if pairs.len() == MEMORY {
                pairs.remove(0);
            }
            pairs.push(Pair { step, change, product });
        }
        run.pulse(search.iterations)?;
    }
    Ok(search.minimum())
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    product: f64,
}

/// Minus the inverse of the second derivatives, as the pairs tell it, times the gradient (Nocedal and Wright, algorithm 7.4).
fn two_loops(pairs: &[Pair], gradient: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut parts = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let part = dot(&pair.step, &direction) / pair.product;
        add_scaled(&mut direction, -part, &pair.change);
        parts.push(part);
    }
    if let Some(last) = pairs.last() {
        let scale = last.product / dot(&last.change, &last.change);
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for (pair, part) in pairs.iter().zip(parts.iter().rev()) {
        let back = dot(&pair.change, &direction) / pair.product;
        add_scaled(&mut direction, part - back, &pair.step);
    }
    direction
}

struct Search<'a> {
    objective: &'a dyn Objective,
    at: Vec<f64>,
    gradient: Vec<f64>,
    value: f64,
    least_slope: f64,
    iterations: u64,
}

impl<'a> Search<'a> {
    fn new(objective: &'a dyn Objective, tolerance: f64) -> Result<Search<'a>> {
        let at = vec![0.0; objective.size()];
        let mut gradient = at.clone();
        let value = objective.value(&at, &mut gradient);
        if !value.is_finite() || gradient.iter().any(|slope| !slope.is_finite()) {
            return Err(Error::Diverged("the loss is no number before the first step; scale the columns".into()));
        }
        let least_slope = tolerance * objective.scale();
        Ok(Search { objective, at, gradient, value, least_slope, iterations: 0 })
    }

    fn slope(&self) -> f64 {
        self.gradient.iter().fold(0.0, |a: f64, b| a.max(b.abs()))
    }

    fn over(&self, iterations_max: u64) -> bool {
        self.slope() <= self.least_slope || self.iterations >= iterations_max
    }

    /// Goes along `direction`, so far that the value falls by a part of what the slope promises (Armijo) and the slope itself
    /// falls (weak Wolfe, by bisection). False when no step of the direction's makes the value fall.
    fn advance(&mut self, direction: &[f64]) -> Result<bool> {
        let promised = dot(direction, &self.gradient);
        let (mut length, mut least, mut most) = (1.0, 0.0, f64::INFINITY);
        let mut gradient = self.gradient.clone();
        for _ in 0..HALVINGS_MAX {
            let mut at = self.at.clone();
            add_scaled(&mut at, length, direction);
            let value = self.objective.value(&at, &mut gradient);
            let falls = value <= self.value + 1e-4 * length * promised;
            // Near the minimum the value cannot tell any more; the slope still can.
            let flat = (value - self.value).abs() <= 1e-13 * self.value.abs() && largest(&gradient) < self.slope();
            if !(falls || flat) {
                most = length;
            } else if dot(direction, &gradient) < 0.9 * promised && length < 1e6 {
                least = length;
            } else {
                self.iterations += 1;
                (self.at, self.value) = (at, value);
                self.gradient.copy_from_slice(&gradient);
                return Ok(true);
            }
            length = if most.is_finite() { 0.5 * (least + most) } else { 2.0 * length };
        }
        Ok(false)
    }

    fn minimum(self) -> Minimum {
        let slope = self.slope();
        Minimum {
            converged: slope <= self.least_slope,
            at: self.at,
            value: self.value,
            slope,
            iterations: self.iterations,
        }
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |a: f64, b| a.max(b.abs()))
}
