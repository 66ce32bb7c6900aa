//! For tests: a network's gradients against differences, in 64 bits.

use super::Loss;
use super::network::{Bench, Network, first_weights};
use super::random::Random;
use crate::{Dataset, Inputs, Matrix, Target};
use burn::tensor::Tensor;

/// Some rows of random numbers with random targets.
pub fn rows(rows: usize, width: usize, random: &mut Random) -> Inputs {
    Inputs::Matrix(Matrix { rows, width, values: (0..rows * width).map(|_| random.normal()).collect() })
}

/// Random classes.
pub fn classes(rows: usize, count: u32, random: &mut Random) -> Target {
    Target::Classes { count, of_row: (0..rows).map(|_| random.below(count as usize) as u32).collect() }
}

/// Panics where a slope differs from the difference of losses.
pub fn check(network: &dyn Network, loss: &Loss, dataset: &Dataset) {
    let bench = Bench::exact();
    let mut random = Random::new(8, super::random::Purpose::Start, 99);
    // Offsets of zero would leave rectifiers at their corner; move everything.
    let weights: Vec<Vec<f64>> = first_weights(network, 3)
        .iter()
        .map(|values| values.iter().map(|&value| f64::from(value) + 0.05 * random.normal()).collect())
        .collect();
    let rows: Vec<usize> = (0..dataset.inputs.rows()).collect();
    let loss_at = |weights: &[Tensor<1>]| {
        let sums = network.forward(weights, &bench.batch(&dataset.inputs, &rows), None);
        loss.mean(&bench, sums, bench.wanted(&dataset.target, &rows))
    };
    let tensors = |weights: &[Vec<f64>]| -> Vec<Tensor<1>> {
        weights.iter().map(|values| bench.floats(values.iter().copied(), [values.len()]).require_grad()).collect()
    };
    let leaves = tensors(&weights);
    let gradients = loss_at(&leaves).backward();
    for (index, leaf) in leaves.iter().enumerate() {
        let slopes = leaf.grad(&gradients).expect("a part in the loss").try_into_vec_as::<f64>().expect("floats");
        for place in (0..slopes.len()).step_by(slopes.len().div_ceil(25)) {
            let value_at = |step: f64| {
                let mut moved = weights.clone();
                moved[index][place] += step;
                loss_at(&tensors(&moved)).into_scalar::<f64>()
            };
            let difference = (value_at(1e-6) - value_at(-1e-6)) / 2e-6;
            let name = &network.parameters()[index].name;
            let apart = (difference - slopes[place]).abs();
            assert!(apart < 1e-7 * (1.0 + difference.abs()), "{name}[{place}]: {} and {difference}", slopes[place]);
        }
    }
}
