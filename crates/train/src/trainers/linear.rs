//! Linear regression: the exact solution of least squares, with a ridge or lasso penalty where asked; or by steps.
//!
//! The penalties are scikit-learn's: ridge minimises |y − Xw|² + α|w|², lasso |y − Xw|² / 2n + α Σ|w|; the intercept is free.

use super::dense::learn_linear;
use super::{Model, Row, Splits, Trainer};
use crate::fit::algebra::{Columns, add_scaled, dot, least_squares};
use crate::fit::{Affine, Defaults, DescentSettings, Run, numbers, shape, table};
use crate::onnx::{Graph, Value};
use crate::spec::{Bounds, Fields};
use crate::{Dataset, Inputs, Matrix, Result, Task};
use serde::Serialize;
use serde_json::json;

/// The registry's row.
pub const ROW: Row = Row {
    name: "linear-regression",
    tasks: &[Task::TabularRegression, Task::TimeSeriesForecasting],
    private: false,
    vary: |random| match random.below(2) {
        0 => json!({ "penalty": "ridge", "alpha": random.magnitude(-3.0, 3.0) }),
        _ => json!({ "penalty": "lasso", "alpha": random.magnitude(-4.0, 0.0) }),
    },
    read,
};

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Penalty {
    None,
    Ridge,
    Lasso,
}

/// By steps, with all settings of those.
#[derive(Debug, Serialize)]
struct Stepwise {
    solver: &'static str,
    #[serde(flatten)]
    descent: DescentSettings,
}

/// The settings of the exact solution.
#[derive(Debug, Serialize)]
struct Linear {
    solver: &'static str,
    penalty: Penalty,
    alpha: f64,
    fit_intercept: bool,
    iterations_max: u64,
    tolerance: f64,
}

fn read(fields: &mut Fields) -> Result<Box<dyn Trainer>> {
    if fields.choice("solver", &[("exact", false), ("gradient-descent", true)])? {
        let defaults =
            Defaults { learning_rate: 0.01, batch_size: 64, epochs: 200, clip_norm: 0.0, early_stopping: 20 };
        let descent = DescentSettings::read(fields, defaults)?;
        return Ok(Box::new(Stepwise { solver: "gradient-descent", descent }));
    }
    let penalty =
        fields.choice("penalty", &[("none", Penalty::None), ("ridge", Penalty::Ridge), ("lasso", Penalty::Lasso)])?;
    Ok(Box::new(Linear {
        solver: "exact",
        penalty,
        alpha: fields.number("alpha", Bounds::within(0.0, 1e12), if penalty == Penalty::None { 0.0 } else { 1.0 })?,
        fit_intercept: fields.flag("fit_intercept", true)?,
        iterations_max: fields.count("iterations_max", (1, 1_000_000), 10_000)?,
        tolerance: fields.number("tolerance", Bounds::over(0.0, 1.0), 1e-10)?,
    }))
}

impl Trainer for Linear {
    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("invariant: plain settings")
    }

    fn bytes(&self, train: &Dataset) -> u64 {
        let (rows, width) = shape(&train.inputs);
        (rows.max(width) as u64 + width as u64) * width as u64 * 16
    }

    fn fit(&self, splits: Splits, run: &mut Run) -> Result<Box<dyn Model>> {
        let (inputs, targets) = (table(&splits.train.inputs)?, numbers(&splits.train.target)?);
        let inputs = &inputs;
        let mut centred = Centred::new(inputs, targets, self.fit_intercept);
        let coefficients = match self.penalty {
            Penalty::None => least_squares(centred.inputs, centred.targets),
            Penalty::Ridge => {
                centred.shrink(self.alpha);
                least_squares(centred.inputs, centred.targets)
            }
            Penalty::Lasso => self.lasso(&centred, run)?,
        };
        let intercepts = coefficients.iter().zip(&centred.target_means);
        let intercepts = intercepts.map(|(row, mean)| mean - dot(row, &centred.input_means)).collect();
        Ok(Box::new(LinearModel(Affine { coefficients, intercepts })))
    }
}

impl Trainer for Stepwise {
    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("invariant: plain settings")
    }

    fn bytes(&self, train: &Dataset) -> u64 {
        shape(&train.inputs).1 as u64 * self.descent.batch_size as u64 * 16
    }

    fn fit(&self, splits: Splits, run: &mut Run) -> Result<Box<dyn Model>> {
        numbers(&splits.train.target)?;
        learn_linear(&self.descent, splits, run)
    }
}

impl Linear {
    /// Coordinate descent, in the order of the columns.
    fn lasso(&self, data: &Centred, run: &mut Run) -> Result<Vec<Vec<f64>>> {
        let squares: Vec<f64> = data.inputs.columns.iter().map(|column| dot(column, column)).collect();
        let limit = self.alpha * data.inputs.rows as f64;
        let mut solutions = Vec::new();
        for target in &data.targets {
            let (mut rest, mut weights) = (target.clone(), vec![0.0; squares.len()]);
            for iteration in 0..self.iterations_max {
                let mut change: f64 = 0.0;
                for (index, column) in data.inputs.columns.iter().enumerate().filter(|(index, _)| squares[*index] > 0.0)
                {
                    let old: f64 = weights[index];
                    let pull = dot(column, &rest) + squares[index] * old;
                    weights[index] = pull.signum() * (pull.abs() - limit).max(0.0) / squares[index];
                    add_scaled(&mut rest, old - weights[index], column);
                    change = change.max((weights[index] - old).abs() * squares[index].sqrt());
                }
                if change <= self.tolerance * dot(target, target).sqrt() {
                    break;
                }
                run.pulse(iteration + 1)?;
            }
            solutions.push(weights);
        }
        Ok(solutions)
    }
}

/// Inputs and targets with their means taken out, so that the intercept has no part in the solution.
struct Centred {
    inputs: Columns,
    targets: Vec<Vec<f64>>,
    input_means: Vec<f64>,
    target_means: Vec<f64>,
}

impl Centred {
    fn new(inputs: &Matrix, targets: &Matrix, fit_intercept: bool) -> Centred {
        let split = |matrix: &Matrix| -> (Vec<Vec<f64>>, Vec<f64>) {
            let column = |index| (0..matrix.rows).map(move |row| matrix.values[row * matrix.width + index]);
            let centre = |index| {
                let mean = column(index).sum::<f64>() / matrix.rows as f64;
                let mean = if fit_intercept { mean } else { 0.0 };
                (column(index).map(|value| value - mean).collect(), mean)
            };
            (0..matrix.width).map(centre).unzip()
        };
        let (columns, input_means) = split(inputs);
        let (targets, target_means) = split(targets);
        Centred { inputs: Columns { rows: inputs.rows, columns }, targets, input_means, target_means }
    }

    /// Ridge is least squares with √α on the diagonal below the rows.
    fn shrink(&mut self, alpha: f64) {
        let (rows, width) = (self.inputs.rows, self.inputs.columns.len());
        for (index, column) in self.inputs.columns.iter_mut().enumerate() {
            column.resize(rows + width, 0.0);
            column[rows + index] = alpha.sqrt();
        }
        self.targets.iter_mut().for_each(|target| target.resize(rows + width, 0.0));
        self.inputs.rows += width;
    }
}

struct LinearModel(Affine);

impl Model for LinearModel {
    fn predict(&self, inputs: &Inputs) -> Result<Matrix> {
        self.0.of(table(inputs)?.as_ref())
    }

    fn export(&self, graph: &mut Graph, input: &Value) -> Value {
        let sums = self.0.export(graph, input);
        crate::fit::cast(graph, &sums, crate::onnx::Element::F32)
    }

    fn notes(&self) -> serde_json::Value {
        json!({ "coefficients": self.0.coefficients, "intercepts": self.0.intercepts })
    }
}
