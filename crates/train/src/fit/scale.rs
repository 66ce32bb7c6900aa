//! Scaling of target numbers: networks learn numbers of mean 0 and deviation 1.

use super::cast;
use crate::onnx::{Element, Graph, Value};
use crate::{Matrix, Target};

/// Mean and deviation of each output in the training split.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The means.
    pub means: Vec<f64>,
    /// The deviations; 1 for a constant.
    pub deviations: Vec<f64>,
}

impl Scale {
    /// The scale of a target; `None` for classes.
    pub fn of(target: &Target) -> Option<Scale> {
        let Target::Numbers(numbers) = target else { return None };
        let rows = numbers.rows.max(1) as f64;
        let column = |index: usize| numbers.values.iter().skip(index).step_by(numbers.width.max(1));
        let means: Vec<f64> = (0..numbers.width).map(|index| column(index).sum::<f64>() / rows).collect();
        let deviation = |(index, mean): (usize, &f64)| {
            let variance = column(index).map(|value| (value - mean) * (value - mean)).sum::<f64>() / rows;
            if variance.sqrt() > 1e-12 * mean.abs() { variance.sqrt() } else { 1.0 }
        };
        let deviations = means.iter().enumerate().map(deviation).collect();
        Some(Scale { means, deviations })
    }

    /// Numbers as the network learns them.
    pub fn scaled(&self, numbers: &Matrix) -> Matrix {
        let mut scaled = numbers.clone();
        for row in scaled.values.chunks_exact_mut(numbers.width.max(1)) {
            row.iter_mut()
                .zip(&self.means)
                .zip(&self.deviations)
                .for_each(|((value, mean), by)| *value = (*value - mean) / by);
        }
        scaled
    }

    /// What the network tells, as numbers of the target.
    pub fn restore(&self, values: &mut [f64]) {
        for row in values.chunks_exact_mut(self.means.len().max(1)) {
            row.iter_mut()
                .zip(&self.means)
                .zip(&self.deviations)
                .for_each(|((value, mean), by)| *value = *value * by + mean);
        }
    }

    /// The same as nodes.
    pub fn export(&self, graph: &mut Graph, sums: &Value) -> Value {
        let sums = cast(graph, sums, Element::F64);
        let deviations = graph.doubles(&[self.deviations.len()], &self.deviations);
        let means = graph.doubles(&[self.means.len()], &self.means);
        let scaled = graph.node("Mul", &[&sums, &deviations], &[]);
        let moved = graph.node("Add", &[&scaled, &means], &[]);
        cast(graph, &moved, Element::F32)
    }
}
