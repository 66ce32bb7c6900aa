//! What is minimised by steps.

use super::network::{Bench, Wanted};
use super::settings::Distance;
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// How wrong sums are.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// −log of the right class's probability, times the class's weight.
    CrossEntropy {
        /// A weight for each class.
        weights: Vec<f64>,
    },
    /// The mean over the outputs.
    Distance(Distance),
}

impl Loss {
    /// `[rows]`: each example's loss, and its weight.
    pub fn of_rows(&self, bench: &Bench, sums: Tensor<2>, wanted: Wanted) -> (Tensor<1>, Tensor<1>) {
        let rows = sums.dims()[0];
        match (self, wanted) {
            (Loss::CrossEntropy { weights }, Wanted::Classes(classes)) => {
                let table = bench.floats(weights.iter().copied(), [weights.len()]);
                let weight = table.select(0, classes.clone().reshape([rows]));
                let losses = log_softmax(sums, 1).gather(1, classes).neg().reshape([rows]);
                (losses * weight.clone(), weight)
            }
            (Loss::Distance(distance), Wanted::Numbers(numbers)) => {
                let apart = sums - numbers;
                let each = match distance {
                    Distance::Squared => apart.square(),
                    Distance::Absolute => apart.abs(),
                    Distance::Huber => {
                        let size = apart.abs();
                        let inside = size.clone().clamp(0.0, 1.0);
                        inside.clone().square() * 0.5 + (size - inside)
                    }
                };
                let losses = each.mean_dim(1).reshape([rows]);
                let weight = losses.clone().detach().ones_like();
                (losses, weight)
            }
            _ => unreachable!("invariant: the loss is made from the target"),
        }
    }

    /// The weighted mean.
    pub fn mean(&self, bench: &Bench, sums: Tensor<2>, wanted: Wanted) -> Tensor<1> {
        let (losses, weights) = self.of_rows(bench, sums, wanted);
        losses.sum() / weights.sum()
    }
}
