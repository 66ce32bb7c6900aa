//! Takes tensors out of a checkpoint one at a time: checks their shapes, packs them, and counts what was read.
//!
//! Only one tensor's stored bytes are in memory beside the packed weights. Start at [`Loader::matrix`].

use crate::weights::{Checkpoint, Hyper, TensorInfo};
use crate::{Error, LoadSettings};
use orrery_kernels::Compute;
use orrery_kernels::quant::{Format, Packed, Source, dequantize, quantize_q8_0};
use std::collections::HashSet;

/// Tensors of other programs that change nothing: they can be computed from the hyper-parameters, or stand in them.
const HARMLESS: [&str; 4] = ["rope_freqs", "rope_factors", "attn_rot_embd", "inv_freq"];

/// A checkpoint being read. [`Loader::finish`] tells whether anything that matters was left over.
pub struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    settings: LoadSettings,
    compute: &'a Compute,
    progress: &'a mut dyn FnMut(f32),
    read: HashSet<String>,
    weights_read: usize,
    weights_total: usize,
    rounded: bool,
    packed_bytes: usize,
}

impl<'a> Loader<'a> {
    /// `progress` gets values from 0 to 1.
    pub fn new(
        checkpoint: &'a Checkpoint,
        settings: LoadSettings,
        compute: &'a Compute,
        progress: &'a mut dyn FnMut(f32),
    ) -> Self {
        let weights_total = checkpoint.tensors().map(weights).sum::<usize>().max(1);
        let read = HashSet::new();
        Self {
            checkpoint,
            settings,
            compute,
            progress,
            read,
            weights_read: 0,
            weights_total,
            rounded: false,
            packed_bytes: 0,
        }
    }

    pub fn hyper(&self) -> &'a Hyper {
        self.checkpoint.hyper()
    }

    pub fn has(&self, name: &str) -> bool {
        self.checkpoint.tensor(name).is_some()
    }

    /// Bytes of memory that everything read so far takes.
    pub fn packed_bytes(&self) -> usize {
        self.packed_bytes
    }

    /// The matrix `name` of `outputs` rows of `inputs` weights.
    pub fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<Packed, Error> {
        self.matrix_in_order(name, outputs, inputs, None)
    }

    /// The same; row `i` is row `order[i]` of the file.
    pub fn matrix_in_order(
        &mut self,
        name: &str,
        outputs: usize,
        inputs: usize,
        order: Option<&[u32]>,
    ) -> Result<Packed, Error> {
        let info = self.expect(name, &[outputs, inputs])?;
        let (mut format, mut bytes) = (info.format, self.checkpoint.read(name)?);
        let refused = |error: orrery_kernels::Error| Error::Tensor { name: name.to_owned(), reason: error.to_string() };
        if self.settings.quantize_q8_0 && format.is_float() && inputs.is_multiple_of(Format::Q8_0.block_len()) {
            bytes = requantized(format, &bytes, outputs, inputs).map_err(refused)?;
            format = Format::Q8_0;
        }
        self.rounded |= matches!(format, Format::F32 | Format::F16);
        let source = Source { format, outputs, inputs, bytes: &bytes, row_order: order };
        let packed = Packed::pack(self.compute, &source).map_err(refused)?;
        self.packed_bytes += packed.bytes();
        self.account(info);
        Ok(packed)
    }

    /// The vector `name` of `len` values (a norm or a bias), as float32.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        let info = self.expect(name, &[len])?;
        let bytes = self.checkpoint.read(name)?;
        let mut values = vec![0.0; len];
        dequantize(info.format, &bytes, &mut values)
            .map_err(|error| Error::Tensor { name: name.to_owned(), reason: error.to_string() })?;
        self.packed_bytes += len * size_of::<f32>();
        self.account(info);
        Ok(values)
    }

    /// Refuses tensors that were not read and would change the result; logs the others.
    pub fn finish(self) -> Result<(), Error> {
        let known = self.hyper();
        for info in self.checkpoint.tensors().filter(|info| !self.read.contains(&info.name)) {
            if changes_result(&info.name, known.layers) {
                let reason = format!(
                    "not known to architecture `{}`, and leaving it out would change the results; \
                     use a model of this architecture without it",
                    known.architecture
                );
                return Err(Error::Tensor { name: info.name.clone(), reason });
            }
            tracing::debug!(tensor = info.name, "not needed, left out");
        }
        if self.rounded {
            tracing::info!("weights stored as F32 or F16 are rounded to bf16");
        }
        (self.progress)(1.0);
        Ok(())
    }

    fn expect(&self, name: &str, shape: &[usize]) -> Result<&'a TensorInfo, Error> {
        let refuse = |reason: String| Err(Error::Tensor { name: name.to_owned(), reason });
        match self.checkpoint.tensor(name) {
            None => refuse(format!("missing; wanted with shape {shape:?}")),
            Some(info) if info.shape != shape => {
                refuse(format!("shape {:?} found, {shape:?} wanted by the hyper-parameters", info.shape))
            }
            Some(info) => Ok(info),
        }
    }

    fn account(&mut self, info: &TensorInfo) {
        self.read.insert(info.name.clone());
        self.weights_read += weights(info);
        (self.progress)(self.weights_read as f32 / self.weights_total as f32);
    }
}

fn weights(info: &TensorInfo) -> usize {
    info.shape.iter().product()
}

/// Row by row, so that only one row is in memory as float32.
fn requantized(format: Format, bytes: &[u8], outputs: usize, inputs: usize) -> Result<Vec<u8>, orrery_kernels::Error> {
    let mut row = vec![0.0; inputs];
    let mut out = vec![0; Format::Q8_0.bytes(outputs * inputs)];
    let rows = bytes.chunks_exact(format.bytes(inputs)).zip(out.chunks_exact_mut(Format::Q8_0.bytes(inputs)));
    for (stored, quantized) in rows {
        dequantize(format, stored, &mut row)?;
        quantize_q8_0(&row, quantized)?;
    }
    Ok(out)
}

/// Whether a tensor that no layer reads belongs to the computation: anything inside the model's own layers, and biases,
/// scales and sinks anywhere. Layers past the last one (multi-token prediction) are not run.
fn changes_result(name: &str, layers: usize) -> bool {
    if HARMLESS.iter().any(|part| name.contains(part)) {
        return false;
    }
    if let Some(rest) = name.strip_prefix("blk.") {
        let index = rest.split('.').next().and_then(|index| index.parse::<usize>().ok());
        return index.is_none_or(|index| index < layers);
    }
    [".bias", ".scale", "sinks"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_that_matter_are_told_from_those_that_do_not() {
        for name in
            ["blk.1.attn_q.bias", "blk.0.attn_sinks.weight", "blk.0.ffn_gate_exps.weight", "output.bias", "blk.x"]
        {
            assert!(changes_result(name, 2), "{name}");
        }
        for name in ["rope_freqs.weight", "blk.0.attn_rot_embd.weight", "blk.2.nextn.eh_proj.weight", "cls.weight"] {
            assert!(!changes_result(name, 2), "{name}");
        }
    }
}
