//! Images of 8 bits per channel brought to another size.
//!
//! Weights as whole numbers of 2^-22, rows first, rounded to 8 bits in between: as Pillow does it, so that a model sees the
//! pixels that it was trained on. Only the part that is wanted is computed. Start at [`resample`].

use crate::artefact::Filter;

/// Pixels in rows, channels together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bitmap {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub pixels: Vec<u8>,
}

/// How one side is changed: `from` pixels become `to`, of which `length` from `start` on are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    pub from: usize,
    pub to: usize,
    pub start: usize,
    pub length: usize,
}

impl Side {
    const fn is_unchanged(self) -> bool {
        self.from == self.to && self.start == 0 && self.length == self.to
    }
}

const PRECISION_BITS: u32 = 22;

/// Where the weights of one pixel begin, and they.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

pub(super) fn resample(image: &Bitmap, width: Side, height: Side, filter: Filter, antialias: bool) -> Bitmap {
    let across = taps(width, filter, antialias);
    let down = taps(height, filter, antialias);
    // Rows that no tap asks for are not computed.
    let top = down.iter().map(|taps| taps.first).min().unwrap_or(0);
    let bottom = down.iter().map(|taps| taps.first + taps.weights.len()).max().unwrap_or(0);
    let narrow = if width.is_unchanged() { image.clone() } else { rows(image, &across, top..bottom) };
    if height.is_unchanged() { narrow } else { columns(&narrow, &down) }
}

fn rows(image: &Bitmap, taps: &[Taps], wanted: std::ops::Range<usize>) -> Bitmap {
    let channels = image.channels;
    let mut pixels = vec![0; image.height * taps.len() * channels];
    let sources = image.pixels.chunks_exact((image.width * channels).max(1));
    let targets = pixels.chunks_exact_mut((taps.len() * channels).max(1));
    for (source, target) in sources.zip(targets).skip(wanted.start).take(wanted.len()) {
        for (taps, pixel) in taps.iter().zip(target.chunks_exact_mut(channels)) {
            for (channel, value) in pixel.iter_mut().enumerate() {
                let inputs = source.iter().skip(taps.first * channels + channel).step_by(channels);
                *value = weighted(&taps.weights, inputs);
            }
        }
    }
    Bitmap { width: taps.len(), height: image.height, channels, pixels }
}

fn columns(image: &Bitmap, taps: &[Taps]) -> Bitmap {
    let stride = image.width * image.channels;
    let mut pixels = Vec::with_capacity(stride * taps.len());
    for taps in taps {
        for column in 0..stride {
            let inputs = image.pixels.iter().skip(taps.first * stride + column).step_by(stride.max(1));
            pixels.push(weighted(&taps.weights, inputs));
        }
    }
    Bitmap { width: image.width, height: taps.len(), channels: image.channels, pixels }
}

fn weighted<'a>(weights: &[i32], inputs: impl Iterator<Item = &'a u8>) -> u8 {
    let half = 1_i32 << (PRECISION_BITS - 1);
    let sum = weights
        .iter()
        .zip(inputs)
        .fold(half, |sum, (weight, input)| sum.wrapping_add(weight.wrapping_mul(i32::from(*input))));
    u8::try_from((sum >> PRECISION_BITS).clamp(0, 255)).unwrap_or(0)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides are short"
)]
fn taps(side: Side, filter: Filter, antialias: bool) -> Vec<Taps> {
    let scale = side.from as f64 / side.to as f64;
    if filter == Filter::Nearest {
        // Added up, as Pillow does: where a middle falls on a border, the rounding decides.
        let places = std::iter::successors(Some(scale / 2.0), |place| Some(place + scale));
        let last = side.from.saturating_sub(1);
        let tap = |place: f64| Taps { first: (place as usize).min(last), weights: vec![1 << PRECISION_BITS] };
        return places.skip(side.start).take(side.length).map(tap).collect();
    }
    let stretch = if antialias { scale.max(1.0) } else { 1.0 };
    let support = filter.support() * stretch;
    let tap = |place: usize| {
        let center = (place as f64 + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(side.from);
        let raw: Vec<f64> = (first..end).map(|x| filter.weight((x as f64 - center + 0.5) / stretch)).collect();
        let sum: f64 = raw.iter().sum();
        let whole = |weight: &f64| (weight / sum * f64::from(1 << PRECISION_BITS)).round() as i32;
        Taps { first, weights: raw.iter().map(whole).collect() }
    };
    (side.start..side.start + side.length).map(tap).collect()
}

impl Filter {
    /// How far it reaches to either side, in pixels of the larger image.
    const fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Nearest => 1.0,
            Self::Bilinear => (1.0 - x).max(0.0),
            // Keys' cubic with a = -0.5.
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Bicubic | Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn pixels(value: &Value) -> Vec<u8> {
        let values = value.as_array().expect("pixels").iter();
        values.map(|value| u8::try_from(value.as_u64().expect("a number")).expect("a byte")).collect()
    }

    fn size(value: &Value) -> [usize; 2] {
        ["width", "height"].map(|side| usize::try_from(value[side].as_u64().expect("a side")).expect("small"))
    }

    fn side(from: usize, to: usize) -> Side {
        Side { from, to, start: 0, length: to }
    }

    #[test]
    fn pixels_equal_pillow() {
        let all: Value =
            serde_json::from_str(include_str!("../../../../fixtures/predict/resampled.json")).expect("JSON");
        let [width, height] = size(&all);
        let image = Bitmap { width, height, channels: 3, pixels: pixels(&all["pixels"]) };
        for case in all["cases"].as_array().expect("cases") {
            let filter: Filter = serde_json::from_value(case["filter"].clone()).expect("a filter");
            let [to_width, to_height] = size(case);
            let found = resample(&image, side(width, to_width), side(height, to_height), filter, true);
            assert_eq!((found.width, found.height), (to_width, to_height));
            assert_eq!(found.pixels, pixels(&case["pixels"]), "{filter:?} {to_width}×{to_height}");
        }
    }

    /// A part equals that part of the whole, for all filters.
    #[test]
    fn a_part_is_cut_from_the_whole() {
        let pixels = (0..40 * 30 * 3_usize).map(|value| u8::try_from(value * 7919 % 251).expect("a byte")).collect();
        let image = Bitmap { width: 40, height: 30, channels: 3, pixels };
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            for antialias in [true, false] {
                let whole = resample(&image, side(40, 20), side(30, 60), filter, antialias);
                let across = Side { start: 3, length: 11, ..side(40, 20) };
                let down = Side { start: 25, length: 30, ..side(30, 60) };
                let part = resample(&image, across, down, filter, antialias);
                for y in 0..30 {
                    let from = ((y + 25) * 20 + 3) * 3;
                    let row = &part.pixels[y * 33..(y + 1) * 33];
                    assert_eq!(row, &whole.pixels[from..from + 33], "{filter:?} {antialias} row {y}");
                }
            }
        }
    }
}
