//! What stands around a model: how an input becomes tensors, and tensors a result. The field `pipeline` of `orrery.json`.

use super::manifest::bad;
use crate::error::Result;
use serde::Deserialize;

/// What stands around the model: how an input becomes tensors, and tensors a result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pipeline {
    /// For models that take tokens.
    pub text: Option<TextPipeline>,
    /// For models that take pixels.
    pub image: Option<Image>,
    /// For models that find objects.
    pub detection: Option<Detection>,
    /// The outputs are logits: a softmax makes them probabilities.
    pub softmax: bool,
    /// Whether rows of several requests may be computed together. Unset: where that changes no result.
    pub batching: Option<bool>,
}

/// How text becomes tokens, and a token's vectors an embedding.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TextPipeline {
    /// The file with the tokenizer, in Hugging Face's format.
    pub tokenizer: String,
    /// Tokens of one text, special ones included; what is longer is cut.
    pub max_tokens: usize,
    /// How one vector comes of those of all tokens.
    #[serde(default)]
    pub pooling: Pooling,
    /// Embeddings are brought to length 1.
    #[serde(default)]
    pub normalize: bool,
}

/// How one vector comes of those of all tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The first one.
    Cls,
    /// The model has done it: its output has a vector for each text.
    None,
}

/// How an image becomes the model's input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Height and width of the model's input.
    pub size: [u32; 2],
    /// How the image comes to that size.
    pub resize: Resize,
    /// `stretch` and `crop`: the image is brought to this size first (both sides; the shorter side), and the middle is cut
    /// out. 0: none, as `size` is.
    pub resize_to: u32,
    /// How pixels between pixels are worked out.
    pub filter: Filter,
    /// When shrinking, the filter takes in all pixels that come to lie in one (as Pillow does, and OpenCV does not).
    pub antialias: bool,
    /// The order of the model's dimensions.
    pub layout: Layout,
    /// The order of colours.
    pub channels: Channels,
    /// A pixel of 0 to 255 is multiplied by this, then `mean` is taken away, then it is divided by `std`.
    pub scale: f32,
    /// By channel, in the order of `channels`. Empty: 0.
    pub mean: Vec<f32>,
    /// By channel, in the order of `channels`. Empty: 1.
    pub std: Vec<f32>,
    /// `letterbox`: the colour of what is beside the image.
    pub fill: u8,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            size: [0, 0],
            resize: Resize::default(),
            resize_to: 0,
            filter: Filter::default(),
            antialias: true,
            layout: Layout::default(),
            channels: Channels::default(),
            scale: 1.0,
            mean: Vec::new(),
            std: Vec::new(),
            fill: 0,
        }
    }
}

/// How an image comes to the model's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Both sides, whatever becomes of the proportions.
    #[default]
    Stretch,
    /// The shorter side, and the middle is cut out.
    Crop,
    /// The longer side, in the middle of a field of `fill`.
    Letterbox,
}

/// How pixels between pixels are worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Filter {
    Nearest,
    #[default]
    Bilinear,
    Bicubic,
    Lanczos,
}

/// The order of an image's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Layout {
    #[default]
    Nchw,
    Nhwc,
}

/// The order of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Channels {
    #[default]
    Rgb,
    Bgr,
    Gray,
}

impl Channels {
    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

/// How a detector's outputs become boxes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Detection {
    /// The family of models.
    pub decoder: Decoder,
    /// Pixels of the input that one cell stands for, by level.
    #[serde(default)]
    pub strides: Vec<u32>,
    /// The outputs with scores, by level.
    pub scores: Vec<String>,
    /// The outputs with boxes, by level.
    pub boxes: Vec<String>,
    /// Boxes of a lower score are left out.
    #[serde(default = "threshold")]
    pub threshold: f32,
    /// Of two boxes of one label that overlap more (intersection over union), the one with the lower score is left out.
    #[serde(default = "overlap")]
    pub overlap: f32,
    /// Candidates by level, and by label.
    #[serde(default = "candidates_max")]
    pub candidates_max: usize,
    /// Boxes by label.
    #[serde(default = "boxes_max")]
    pub boxes_max: usize,
}

const fn threshold() -> f32 {
    0.5
}

const fn overlap() -> f32 {
    0.5
}

const fn candidates_max() -> usize {
    1000
}

const fn boxes_max() -> usize {
    100
}

/// A family of detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoder {
    /// A grid of cells for each stride; each side's distance from the cell's middle is a distribution over whole strides.
    Picodet,
}

const SIDE_MAX: u32 = 8192;

impl Image {
    pub(super) fn check(&self) -> Result<()> {
        if self.size.iter().any(|side| !(1..=SIDE_MAX).contains(side)) || self.resize_to > SIDE_MAX {
            return Err(bad(&format!("field `pipeline.image.size` needs two numbers of 1 to {SIDE_MAX}")));
        }
        if self.resize_to != 0
            && (self.size.iter().any(|side| *side > self.resize_to) || self.resize == Resize::Letterbox)
        {
            return Err(bad("field `pipeline.image.resize_to` is smaller than `size`, from which the middle is cut"));
        }
        let channels = self.channels.count();
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if !values.is_empty() && values.len() != channels {
                return Err(bad(&format!("field `pipeline.image.{name}` needs {channels} numbers")));
            }
        }
        match self.std.contains(&0.0) {
            true => Err(bad("field `pipeline.image.std` holds a 0, by which nothing can be divided")),
            false => Ok(()),
        }
    }
}

impl Detection {
    pub(super) fn check(&self) -> Result<()> {
        let levels = self.strides.len();
        if levels == 0 || self.scores.len() != levels || self.boxes.len() != levels || self.strides.contains(&0) {
            return Err(bad(
                "field `pipeline.detection` needs as many `scores` and `boxes` as `strides`, none of them 0",
            ));
        }
        match self.candidates_max == 0 || self.boxes_max == 0 {
            true => Err(bad("field `pipeline.detection`: `candidates_max` and `boxes_max` have to be 1 or more")),
            false => Ok(()),
        }
    }
}
