//! The packed form of a weight matrix: tiles of 16 outputs × 32 inputs, laid out for vector units.

use super::Format;
use crate::{Compute, Error};

/// Rows of a weight matrix as a file stores them: `outputs` rows of `inputs` weights, row-major.
pub struct Source<'a> {
    pub format: Format,
    pub outputs: usize,
    pub inputs: usize,
    pub bytes: &'a [u8],
    /// Row `i` of the packed matrix is row `row_order[i]` of the file; `None` keeps the order.
    pub row_order: Option<&'a [u32]>,
}

/// A weight matrix [outputs × inputs], packed.
pub struct Packed {
    outputs: usize,
    inputs: usize,
}

impl Packed {
    pub fn pack(_compute: &Compute, _source: &Source<'_>) -> Result<Self, Error> {
        todo!()
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes of memory that the packed form takes.
    pub fn bytes(&self) -> usize {
        todo!()
    }

    /// The weights of one output row as float32 (an embedding row); `out` has `inputs` places.
    pub fn row(&self, _output: usize, _out: &mut [f32]) {
        todo!()
    }
}
