//! How models are fitted: what the trainers share.
//!
//! Solvers in 64 bits stand in `algebra.rs`. [`Run`] is a trainer's way to the outside: events, the wish to end, limits.

mod affine;
pub mod algebra;
pub mod descent;
#[cfg(test)]
pub mod gradients;
mod loss;
pub mod minimise;
pub mod network;
pub mod optimizer;
pub mod private;
pub mod random;
mod run;
mod scale;
mod settings;

pub use affine::{Affine, cast};
pub use loss::Loss;
pub use run::{Every, Run, RunSettings};
pub use scale::Scale;
pub use settings::{Balance, Defaults, DescentSettings, Distance, Rule, Schedule, class_weights};

use crate::{Error, Inputs, Matrix, Result, Target};
use std::borrow::Cow;

/// Rows, and numbers in a row.
pub fn shape(inputs: &Inputs) -> (usize, usize) {
    match inputs {
        Inputs::Matrix(matrix) => (matrix.rows, matrix.width),
        Inputs::Tokens(tokens) => (tokens.rows, tokens.length),
        Inputs::Pixels(pixels) => (pixels.rows, pixels.height * pixels.width * pixels.channels),
        Inputs::Windows(windows) => (windows.rows, windows.length),
    }
}

/// Rows of numbers, where the inputs are such.
///
/// # Errors
/// [`Error::BadData`] for inputs of another kind.
pub fn table(inputs: &Inputs) -> Result<Cow<'_, Matrix>> {
    match inputs {
        Inputs::Matrix(matrix) => Ok(Cow::Borrowed(matrix)),
        Inputs::Windows(windows) => {
            Ok(Cow::Owned(Matrix { rows: windows.rows, width: windows.length, values: windows.values.clone() }))
        }
        _ => Err(Error::BadData("this algorithm takes rows of numbers, and the examples are texts or pictures".into())),
    }
}

/// Target numbers, where the target is such.
///
/// # Errors
/// [`Error::BadData`] for classes.
pub fn numbers(target: &Target) -> Result<&Matrix> {
    match target {
        Target::Numbers(matrix) => Ok(matrix),
        Target::Classes { .. } => {
            Err(Error::BadData("this algorithm learns numbers, and the target is classes".into()))
        }
    }
}

/// Count of classes and each row's class, where the target is such.
///
/// # Errors
/// [`Error::BadData`] for numbers.
pub fn classes(target: &Target) -> Result<(usize, &[u32])> {
    match target {
        Target::Classes { count, of_row } => Ok((*count as usize, of_row)),
        Target::Numbers(_) => Err(Error::BadData("this algorithm learns classes, and the target is numbers".into())),
    }
}
