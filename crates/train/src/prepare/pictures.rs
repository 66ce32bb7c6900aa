//! Pictures to numbers: each channel by its mean and deviation on the training pictures.

use serde::{Deserialize, Serialize};

use super::settings::Normalisation;
use super::tabular_export::cast;
use crate::data::Pictures;
use crate::onnx::{Dim, Element, Graph, Setting, Value};
use crate::{Error, Pixels, Result};

/// How pictures are prepared: a channel's value is `(byte / 255 - offset) / scale`. Bytes are `[height][width][channels]`,
/// values `[channels][height][width]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureScale {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// By channel.
    pub offset: Vec<f64>,
    /// By channel.
    pub scale: Vec<f64>,
}

impl PictureScale {
    pub(super) fn fit(pictures: &Pictures, normalisation: Normalisation, rows: &[usize]) -> PictureScale {
        let Pixels { height, width, channels, .. } = *pictures.pixels();
        let (offset, scale) = (0..channels)
            .map(|channel| match normalisation {
                Normalisation::Standard => channel_scale(pictures, channel, rows),
                Normalisation::None | Normalisation::MinMax | Normalisation::Window => (0.0, 1.0),
            })
            .unzip();
        PictureScale { height, width, offset, scale }
    }

    /// The value that each byte of a channel becomes.
    pub fn values(&self, channel: usize) -> [f32; 256] {
        std::array::from_fn(|byte| ((byte as f64 / 255.0 - self.offset[channel]) / self.scale[channel]) as f32)
    }

    /// 1 or 3.
    pub fn channels(&self) -> usize {
        self.offset.len()
    }

    pub(super) fn apply(&self, pictures: &Pictures, rows: &[usize]) -> Result<Pixels> {
        let Pixels { height, width, channels, .. } = *pictures.pixels();
        if (height, width, channels) != (self.height, self.width, self.channels()) {
            let found = format!("{height} × {width} × {channels}");
            let wanted = format!("{} × {} × {}", self.height, self.width, self.channels());
            return Err(Error::BadData(format!(
                "the pictures were read as {found}, and those of training as {wanted}"
            )));
        }
        let values = rows.iter().flat_map(|&row| pictures.picture(row)).copied().collect();
        Ok(Pixels { rows: rows.len(), height, width, channels, values })
    }

    /// Adds the input `pixels`, bytes `[batch, height, width, channels]`, and gives float `[batch, channels, height, width]`.
    pub(super) fn export(&self, graph: &mut Graph) -> Value {
        let channels = self.channels();
        let shape = [Dim::Batch, Dim::Fixed(self.height), Dim::Fixed(self.width), Dim::Fixed(channels)];
        let input = graph.input("pixels", Element::U8, &shape);
        let floats = cast(graph, &input, Element::F32);
        // (byte / 255 - offset) / scale, as one product and one sum.
        let by: Vec<f32> = self.scale.iter().map(|scale| (1.0 / (255.0 * scale)) as f32).collect();
        let less: Vec<f32> =
            self.offset.iter().zip(&self.scale).map(|(offset, scale)| (offset / scale) as f32).collect();
        let by = graph.floats(&[channels], &by);
        let less = graph.floats(&[channels], &less);
        let scaled = graph.node("Mul", &[&floats, &by], &[]);
        let moved = graph.node("Sub", &[&scaled, &less], &[]);
        graph.node("Transpose", &[&moved], &[("perm", Setting::Ints(vec![0, 3, 1, 2]))])
    }
}

/// Mean and deviation of a channel, from how often each byte comes: exact, whatever the number of pictures.
fn channel_scale(pictures: &Pictures, channel: usize, rows: &[usize]) -> (f64, f64) {
    let mut counts = [0_u64; 256];
    for &row in rows {
        for &byte in pictures.picture(row).iter().skip(channel).step_by(pictures.pixels().channels) {
            counts[usize::from(byte)] += 1;
        }
    }
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let weighted = |term: &dyn Fn(f64) -> f64| {
        counts.iter().enumerate().map(|(byte, &count)| count as f64 * term(byte as f64 / 255.0)).sum::<f64>() / total
    };
    let mean = weighted(&|value| value);
    let deviation = weighted(&|value| (value - mean) * (value - mean)).sqrt();
    (mean, if deviation < 1e-9 { 1.0 } else { deviation })
}
