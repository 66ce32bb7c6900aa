//! Logistic regression, binary and multinomial, in 64 bits.
//!
//! It minimises Σ weight · loss + |w|² / 2c, as scikit-learn does with its C; intercepts are free of the penalty. Few
//! coefficients are found with Newton's method, many with L-BFGS. Under differential privacy it learns by noisy steps as a
//! network without hidden layers.

use super::dense::learn_linear;
use super::{Model, Row, Splits, Trainer};
use crate::fit::algebra::{add_scaled, dot, positive_definite};
use crate::fit::minimise::{Objective, lbfgs, newton};
use crate::fit::{Affine, Balance, DescentSettings, Run, cast, class_weights, classes, shape, table};
use crate::onnx::{Element, Graph, Value};
use crate::spec::{Bounds, Fields};
use crate::{Dataset, Inputs, Matrix, Result, Task};
use serde::Serialize;
use serde_json::json;

/// The registry's row.
pub const ROW: Row = Row {
    name: "logistic-regression",
    tasks: &[Task::TabularClassification],
    private: true,
    vary: |random| json!({ "c": random.magnitude(-3.0, 3.0) }),
    read,
};

/// Newton's method takes the square of so many coefficients for each row.
const NEWTON_MAX: usize = 160;

/// The settings.
#[derive(Debug, Serialize)]
struct Logistic {
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<f64>,
    fit_intercept: bool,
    class_weight: Balance,
    iterations_max: u64,
    tolerance: f64,
    descent: DescentSettings,
}

fn read(fields: &mut Fields) -> Result<Box<dyn Trainer>> {
    let penalised = fields.choice("penalty", &[("l2", true), ("none", false)])?;
    let c = fields.number("c", Bounds::over(0.0, 1e12), 1.0)?;
    Ok(Box::new(Logistic {
        c: penalised.then_some(c),
        fit_intercept: fields.flag("fit_intercept", true)?,
        class_weight: Balance::read(fields)?,
        iterations_max: fields.count("iterations_max", (1, 1_000_000), 2_000)?,
        tolerance: fields.number("tolerance", Bounds::over(0.0, 1.0), 1e-8)?,
        descent: DescentSettings::read_private(fields)?,
    }))
}

impl Trainer for Logistic {
    fn settings(&self) -> serde_json::Value {
        let penalty = if self.c.is_some() { "l2" } else { "none" };
        let mut value = json!({
            "penalty": penalty, "c": self.c.unwrap_or(1.0), "fit_intercept": self.fit_intercept,
            "class_weight": self.class_weight, "iterations_max": self.iterations_max, "tolerance": self.tolerance,
        });
        self.descent.add_private_to(&mut value);
        value
    }

    fn bytes(&self, train: &Dataset) -> u64 {
        let (rows, width) = shape(&train.inputs);
        let count = classes(&train.target).map_or(2, |found| found.0);
        (rows * count * 2 + NEWTON_MAX * NEWTON_MAX + 30 * count * (width + 1)) as u64 * 8
    }

    fn fit(&self, splits: Splits, run: &mut Run) -> Result<Box<dyn Model>> {
        if run.settings.privacy.is_some() {
            return learn_linear(&self.descent, splits, run);
        }
        let inputs = table(&splits.train.inputs)?;
        let (count, of_row) = classes(&splits.train.target)?;
        let weights = class_weights(&self.class_weight, of_row, count, &run.settings.labels)?;
        let problem = Problem {
            inputs: &inputs,
            of_row,
            weights: of_row.iter().map(|&class| weights[class as usize]).collect(),
            outputs: if count == 2 { 1 } else { count },
            decay: self.c.map_or(0.0, |c| 1.0 / c),
            fit_intercept: self.fit_intercept,
        };
        let found = match problem.size() <= NEWTON_MAX {
            true => newton(&problem, self.tolerance, self.iterations_max, run)?,
            false => lbfgs(&problem, self.tolerance, self.iterations_max, run)?,
        };
        if !found.converged {
            run.log(format!(
                "stopped after {} iterations with a slope of {:.1e}; scale the columns, or raise `iterations_max`",
                found.iterations, found.slope
            ));
        }
        let affine = problem.affine(&found.at);
        Ok(Box::new(LogisticModel { affine, iterations: found.iterations, loss: found.value }))
    }
}

/// The function that is minimised. Coefficients are `[outputs][width + 1]`, each with its intercept at the end.
struct Problem<'a> {
    inputs: &'a Matrix,
    of_row: &'a [u32],
    weights: Vec<f64>,
    /// 1 where there are two classes.
    outputs: usize,
    decay: f64,
    fit_intercept: bool,
}

impl Problem<'_> {
    fn stride(&self) -> usize {
        self.inputs.width + 1
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.inputs.values[row * self.inputs.width..(row + 1) * self.inputs.width]
    }

    fn affine(&self, at: &[f64]) -> Affine {
        let rows = at.chunks_exact(self.stride());
        Affine {
            coefficients: rows.clone().map(|row| row[..self.inputs.width].to_vec()).collect(),
            intercepts: rows.map(|row| row[self.inputs.width]).collect(),
        }
    }

    /// Puts into `probabilities` what the classes' probabilities of a row are (one number where there are two classes), and
    /// gives the row's loss.
    fn row_loss(&self, at: &[f64], row: usize, probabilities: &mut [f64]) -> f64 {
        let (values, width) = (self.row(row), self.inputs.width);
        for (sum, weights) in probabilities.iter_mut().zip(at.chunks_exact(self.stride())) {
            *sum = dot(&weights[..width], values) + weights[width];
        }
        let class = self.of_row[row] as usize;
        if self.outputs == 1 {
            let sum = probabilities[0];
            let tail = (-sum.abs()).exp();
            probabilities[0] = if sum >= 0.0 { 1.0 / (1.0 + tail) } else { tail / (1.0 + tail) };
            return tail.ln_1p() + if class == 1 { (-sum).max(0.0) } else { sum.max(0.0) };
        }
        let largest = probabilities.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let own = probabilities[class];
        let total: f64 = probabilities
            .iter_mut()
            .map(|sum| {
                *sum = (*sum - largest).exp();
                *sum
            })
            .sum();
        probabilities.iter_mut().for_each(|sum| *sum /= total);
        total.ln() + largest - own
    }

    /// How far the probability of `output` is from what it should be.
    fn error(&self, row: usize, output: usize, probability: f64) -> f64 {
        let wanted = if self.outputs == 1 { 1 } else { output };
        probability - f64::from(u8::from(self.of_row[row] as usize == wanted))
    }

    fn add_penalty(&self, at: &[f64], gradient: &mut [f64]) -> f64 {
        let mut value = 0.0;
        for (weights, slopes) in at.chunks_exact(self.stride()).zip(gradient.chunks_exact_mut(self.stride())) {
            let (intercept, slopes) = slopes.split_last_mut().expect("invariant: an intercept");
            value += 0.5 * self.decay * dot(&weights[..slopes.len()], &weights[..slopes.len()]);
            add_scaled(slopes, self.decay, weights);
            if !self.fit_intercept {
                *intercept = 0.0;
            }
        }
        value
    }
}

impl Objective for Problem<'_> {
    fn size(&self) -> usize {
        self.outputs * self.stride()
    }

    fn scale(&self) -> f64 {
        self.weights.iter().sum::<f64>().max(1.0)
    }

    fn value(&self, at: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let (mut value, mut probabilities) = (0.0, vec![0.0; self.outputs]);
        for row in 0..self.inputs.rows {
            let weight = self.weights[row];
            value += weight * self.row_loss(at, row, &mut probabilities);
            for (output, slopes) in gradient.chunks_exact_mut(self.stride()).enumerate() {
                let error = weight * self.error(row, output, probabilities[output]);
                add_scaled(slopes, error, self.row(row));
                slopes[self.inputs.width] += error;
            }
        }
        value + self.add_penalty(at, gradient)
    }

    fn direction(&self, at: &[f64], gradient: &[f64], damping: f64) -> Option<Vec<f64>> {
        let (size, stride, width) = (self.size(), self.stride(), self.inputs.width);
        let mut hessian = vec![0.0; size * size];
        let (mut probabilities, mut row_values) = (vec![0.0; self.outputs], vec![1.0; stride]);
        for row in 0..self.inputs.rows {
            self.row_loss(at, row, &mut probabilities);
            row_values[..width].copy_from_slice(self.row(row));
            for (first, second) in (0..self.outputs).flat_map(|first| (0..=first).map(move |second| (first, second))) {
                let same = f64::from(u8::from(first == second));
                let curve = self.weights[row] * probabilities[first] * (same - probabilities[second]);
                for (index, value) in row_values.iter().enumerate() {
                    let place = (first * stride + index) * size + second * stride;
                    let end = if first == second { index + 1 } else { stride };
                    add_scaled(&mut hessian[place..place + end], curve * value, &row_values[..end]);
                }
            }
        }
        for index in 0..size {
            let free = index % stride == width;
            hessian[index * size + index] += damping + if free { 0.0 } else { self.decay };
            if free && !self.fit_intercept {
                hessian[index * size..index * size + index].fill(0.0);
                (index + 1..size).for_each(|below| hessian[below * size + index] = 0.0);
                hessian[index * size + index] = 1.0;
            }
        }
        positive_definite(&mut hessian, gradient.to_vec())
    }
}

struct LogisticModel {
    affine: Affine,
    iterations: u64,
    loss: f64,
}

impl Model for LogisticModel {
    fn predict(&self, inputs: &Inputs) -> Result<Matrix> {
        let mut sums = self.affine.of(table(inputs)?.as_ref())?;
        if sums.width == 1 {
            sums.values = sums.values.iter().flat_map(|&sum| [0.0, sum]).collect();
            sums.width = 2;
        }
        sums.values.chunks_exact_mut(sums.width).for_each(softmax);
        Ok(sums)
    }

    fn export(&self, graph: &mut Graph, input: &Value) -> Value {
        let mut affine = self.affine.clone();
        if affine.intercepts.len() == 1 {
            affine.coefficients.insert(0, vec![0.0; affine.coefficients[0].len()]);
            affine.intercepts.insert(0, 0.0);
        }
        let sums = affine.export(graph, input);
        cast(graph, &sums, Element::F32)
    }

    fn notes(&self) -> serde_json::Value {
        json!({
            "coefficients": self.affine.coefficients, "intercepts": self.affine.intercepts,
            "iterations": self.iterations, "loss": self.loss,
        })
    }
}

/// Sums to probabilities.
pub fn softmax(sums: &mut [f64]) {
    let largest = sums.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    sums.iter_mut().for_each(|sum| *sum = (*sum - largest).exp());
    let total: f64 = sums.iter().sum();
    sums.iter_mut().for_each(|sum| *sum /= total);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::{Purpose, Random};

    fn check(outputs: usize, fit_intercept: bool) {
        let mut random = Random::new(4, Purpose::Start, outputs as u64);
        let inputs = Matrix { rows: 12, width: 3, values: (0..36).map(|_| random.normal()).collect() };
        let of_row: Vec<u32> = (0..12).map(|row| row % outputs.max(2) as u32).collect();
        let weights = (0..12).map(|row| 1.0 + f64::from(row % 3)).collect();
        let problem = Problem { inputs: &inputs, of_row: &of_row, weights, outputs, decay: 0.3, fit_intercept };
        let at: Vec<f64> = (0..problem.size())
            .map(|index| if index % 4 == 3 && !fit_intercept { 0.0 } else { random.normal() })
            .collect();
        let mut gradient = vec![0.0; at.len()];
        problem.value(&at, &mut gradient);
        let mut unused = gradient.clone();
        for index in (0..at.len()).filter(|index| fit_intercept || index % 4 != 3) {
            let mut value_at = |step: f64| {
                let mut moved = at.clone();
                moved[index] += step;
                problem.value(&moved, &mut unused)
            };
            let slope = (value_at(1e-5) - value_at(-1e-5)) / 2e-5;
            assert!((slope - gradient[index]).abs() < 1e-8 * (1.0 + slope.abs()), "{slope} {}", gradient[index]);
        }
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        for outputs in [1, 3] {
            check(outputs, true);
            check(outputs, false);
        }
    }
}
