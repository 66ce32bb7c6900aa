//! An affine map in 64 bits, computed and exported.

use crate::onnx::{Element, Graph, Setting, Value};
use crate::{Error, Matrix, Result};

/// `outputs` sums of the inputs, each with weights and an intercept.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// `[outputs][width]`.
    pub coefficients: Vec<Vec<f64>>,
    /// `[outputs]`.
    pub intercepts: Vec<f64>,
}

impl Affine {
    /// `[rows][outputs]`.
    ///
    /// # Errors
    /// [`Error::BadData`] for rows of another width.
    pub fn of(&self, inputs: &Matrix) -> Result<Matrix> {
        let width = self.coefficients.first().map_or(0, Vec::len);
        if inputs.width != width {
            let message = format!("rows of {} numbers, and the model learnt from rows of {width}", inputs.width);
            return Err(Error::BadData(message));
        }
        let mut values = Vec::with_capacity(inputs.rows * self.intercepts.len());
        for row in 0..inputs.rows {
            let row = &inputs.values[row * width..(row + 1) * width];
            let sums = self.coefficients.iter().zip(&self.intercepts);
            values.extend(sums.map(|(weights, intercept)| super::algebra::dot(weights, row) + intercept));
        }
        Ok(Matrix { rows: inputs.rows, width: self.intercepts.len(), values })
    }

    /// The same as nodes; the result is in 64 bits.
    pub fn export(&self, graph: &mut Graph, input: &Value) -> Value {
        let (outputs, width) = (self.intercepts.len(), self.coefficients.first().map_or(0, Vec::len));
        let by_input: Vec<f64> =
            (0..width).flat_map(|index| self.coefficients.iter().map(move |row| row[index])).collect();
        let input = cast(graph, input, Element::F64);
        let weights = graph.doubles(&[width, outputs], &by_input);
        let intercepts = graph.doubles(&[outputs], &self.intercepts);
        let product = graph.node("MatMul", &[&input, &weights], &[]);
        graph.node("Add", &[&product, &intercepts], &[])
    }
}

/// `value` as elements of another type.
pub fn cast(graph: &mut Graph, value: &Value, element: Element) -> Value {
    graph.node("Cast", &[value], &[("to", Setting::Int(element as i64))])
}
