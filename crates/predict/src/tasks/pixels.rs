//! A compressed image becomes a model's input.
//!
//! An image's header is held against the limits before its pixels are unpacked; of a film only the first picture is read.
//! Start at [`Pixels::tensor`].

use super::Parts;
use super::resample::{Bitmap, Side, resample};
use crate::artefact::{Channels, Image, Layout, Resize};
use crate::error::{Error, Result};
use crate::settings::ImageLimits;
use crate::tensor::{Data, DataType, Tensor};
use image::{DynamicImage, ImageDecoder, ImageReader};
use std::io::Cursor;

/// What makes inputs of images.
pub(super) struct Pixels {
    input: String,
    dtype: DataType,
    image: Image,
    limits: ImageLimits,
    request_bytes_max: usize,
}

/// Where a picture lies in the model's input: a pixel there is `scale` times one of the picture, plus `offset`. By x and y.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    pub scale: [f32; 2],
    pub offset: [f32; 2],
}

impl Pixels {
    /// Where the artefact says nothing of images, the model takes bytes of `[N, height, width, channels]` as they are.
    pub fn of(parts: &Parts<'_>) -> Result<Self> {
        let input = parts.only_input()?;
        let port = parts.signature.inputs.first();
        let dtype = port.map_or(DataType::Fp32, |port| port.dtype);
        let dims = port.map(|port| port.dims.clone()).unwrap_or_default();
        let bad = |reason: &str| Error::BadArtefact(format!("its input `{input}` {reason}"));
        if !matches!(dtype, DataType::Uint8 | DataType::Fp32) {
            return Err(bad("takes neither UINT8 nor FP32, as images need"));
        }
        let image = match &parts.manifest.pipeline.image {
            Some(image) => image.clone(),
            None => plain(&dims).ok_or_else(|| bad("has no fixed size; describe it in `pipeline.image`"))?,
        };
        let fits = |(dim, wanted): (&i64, i64)| *dim < 0 || *dim == wanted;
        let [height, width] = image.size.map(i64::from);
        let channels = i64::try_from(image.channels.count()).unwrap_or(0);
        let wanted = match image.layout {
            Layout::Nchw => [channels, height, width],
            Layout::Nhwc => [height, width, channels],
        };
        if dims.len() != 4 || !dims.iter().skip(1).zip(wanted).all(fits) {
            return Err(bad(&format!("takes {dims:?}, and `pipeline.image` gives [N, {wanted:?}]")));
        }
        Ok(Self {
            input,
            dtype,
            image,
            limits: parts.settings.images.clone(),
            request_bytes_max: parts.settings.request_bytes_max,
        })
    }

    /// Refuses more images than may be unpacked at once: a small file may become a large input.
    pub fn check_count(&self, count: usize) -> Result<()> {
        let [width, height] = self.size();
        let one = width * height * self.image.channels.count() * self.dtype.element_bytes().unwrap_or(1);
        if count.saturating_mul(one) <= self.request_bytes_max {
            return Ok(());
        }
        let most = self.request_bytes_max / one.max(1);
        let reason = format!("there are {count} images; this model takes at most {most} at once (`request_bytes_max`)");
        Err(Error::bad_input("inputs", reason))
    }

    /// Decodes item `index` of a request.
    pub fn tensor(&self, index: usize, bytes: &[u8]) -> Result<(Tensor, Placement)> {
        let picture =
            self.decode(bytes).map_err(|reason| Error::bad_input("inputs", format!("image {index}: {reason}")))?;
        let (bitmap, placement) = self.placed(&picture);
        Ok((self.normalised(&bitmap), placement))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Bitmap, String> {
        let ImageLimits { bytes_max, pixels_max, side_max } = self.limits;
        if bytes.len() > bytes_max {
            return Err(format!("it has {} bytes; at most {bytes_max} are read (`images.bytes_max`)", bytes.len()));
        }
        let broken = |error: image::ImageError| format!("it cannot be decoded: {error}");
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
        if reader.format().is_none() {
            return Err("it is none that is known; send PNG, JPEG, GIF, WebP or BMP".into());
        }
        let mut limits = image::Limits::default();
        // 16 bytes for a pixel: four channels of single precision.
        limits.max_alloc = Some(pixels_max.saturating_mul(16));
        let mut reader = reader;
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(broken)?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) > side_max || pixels > pixels_max {
            return Err(format!(
                "it has {width} × {height} pixels; at most {pixels_max}, and {side_max} a side, are taken (`images.pixels_max`)"
            ));
        }
        if pixels == 0 {
            return Err("it has no pixels".into());
        }
        let picture = DynamicImage::from_decoder(decoder).map_err(broken)?.into_rgb8();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let bitmap = Bitmap { width, height, channels: 3, pixels: picture.into_raw() };
        Ok(ordered(bitmap, self.image.channels))
    }

    fn placed(&self, picture: &Bitmap) -> (Bitmap, Placement) {
        let [height, width] = self.image.size.map(|side| side as usize);
        let (from_width, from_height) = (picture.width, picture.height);
        let to = self.image.resize_to as usize;
        let (full_width, full_height) = match self.image.resize {
            Resize::Stretch if to == 0 => (width, height),
            Resize::Stretch => (to, to),
            Resize::Crop => {
                let ratio = (width.max(to), height.max(to));
                let factor = ratio_of(ratio.0, from_width).max(ratio_of(ratio.1, from_height));
                (scaled(from_width, factor).max(width), scaled(from_height, factor).max(height))
            }
            Resize::Letterbox => {
                let factor = ratio_of(width, from_width).min(ratio_of(height, from_height));
                (scaled(from_width, factor).clamp(1, width), scaled(from_height, factor).clamp(1, height))
            }
        };
        let cut = |from, full: usize, length: usize| Side {
            from,
            to: full,
            start: full.saturating_sub(length) / 2,
            length: length.min(full),
        };
        let (across, down) = (cut(from_width, full_width, width), cut(from_height, full_height, height));
        let part = resample(picture, across, down, self.image.filter, self.image.antialias);
        let (left, top) = ((width - part.width) / 2, (height - part.height) / 2);
        #[expect(clippy::cast_precision_loss, reason = "sides are short")]
        let placement = Placement {
            scale: [ratio_of(full_width, from_width) as f32, ratio_of(full_height, from_height) as f32],
            offset: [left as f32 - across.start as f32, top as f32 - down.start as f32],
        };
        let whole = if (part.width, part.height) == (width, height) { part } else { self.framed(&part, left, top) };
        (whole, placement)
    }

    /// In the middle of a field of the fill colour.
    fn framed(&self, part: &Bitmap, left: usize, top: usize) -> Bitmap {
        let [height, width] = self.image.size.map(|side| side as usize);
        let channels = part.channels;
        let mut pixels = vec![self.image.fill; width * height * channels];
        let targets = pixels.chunks_exact_mut(width * channels).skip(top);
        for (target, source) in targets.zip(part.pixels.chunks_exact(part.width * channels)) {
            if let Some(target) = target.get_mut(left * channels..(left + part.width) * channels) {
                target.copy_from_slice(source);
            }
        }
        Bitmap { width, height, channels, pixels }
    }

    fn normalised(&self, bitmap: &Bitmap) -> Tensor {
        let Bitmap { width, height, channels, pixels } = bitmap;
        let (plane, channels) = (width * height, *channels);
        let shape = match self.image.layout {
            Layout::Nchw => [1, channels, *height, *width],
            Layout::Nhwc => [1, *height, *width, channels],
        };
        // The place of a value in the output → its place among the pixels.
        let source = |place: usize| match self.image.layout {
            Layout::Nchw => (place % plane) * channels + place / plane,
            Layout::Nhwc => place,
        };
        let byte = |place: usize| pixels.get(source(place)).copied().unwrap_or(0);
        let places = 0..pixels.len();
        if self.dtype == DataType::Uint8 {
            return Tensor::made(&*self.input, shape, Data::Uint8(places.map(byte).collect()));
        }
        let of = |values: &[f32], channel: usize, default: f32| values.get(channel).copied().unwrap_or(default);
        let value = |place: usize| {
            let channel = source(place) % channels;
            let scaled = f32::from(byte(place)) * self.image.scale;
            (scaled - of(&self.image.mean, channel, 0.0)) / of(&self.image.std, channel, 1.0)
        };
        Tensor::made(&*self.input, shape, Data::Fp32(places.map(value).collect()))
    }

    /// Width and height of the model's input.
    pub fn size(&self) -> [usize; 2] {
        let [height, width] = self.image.size;
        [width as usize, height as usize]
    }
}

/// Bytes of `[N, height, width, channels]`, nothing done to them.
fn plain(dims: &[i64]) -> Option<Image> {
    let [_, height, width, channels] = dims[..] else { return None };
    let channels = match channels {
        1 => Channels::Gray,
        3 => Channels::Rgb,
        _ => return None,
    };
    let side = |dim: i64| u32::try_from(dim).ok().filter(|side| (1..=8192).contains(side));
    Some(Image { size: [side(height)?, side(width)?], layout: Layout::Nhwc, channels, ..Image::default() })
}

#[expect(clippy::cast_precision_loss, reason = "sides are short")]
fn ratio_of(to: usize, from: usize) -> f64 {
    to as f64 / from as f64
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides are short"
)]
fn scaled(side: usize, factor: f64) -> usize {
    (side as f64 * factor).round() as usize
}

fn ordered(rgb: Bitmap, channels: Channels) -> Bitmap {
    match channels {
        Channels::Rgb => rgb,
        Channels::Bgr => {
            let mut rgb = rgb;
            rgb.pixels.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
            rgb
        }
        Channels::Gray => {
            let gray = |pixel: &[u8; 3]| {
                let [red, green, blue] = pixel.map(u32::from);
                // The weights of ITU-R 601-2, in 2^-16.
                u8::try_from((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16).unwrap_or(u8::MAX)
            };
            let pixels = rgb.pixels.as_chunks::<3>().0.iter().map(gray).collect();
            Bitmap { channels: 1, pixels, ..rgb }
        }
    }
}
