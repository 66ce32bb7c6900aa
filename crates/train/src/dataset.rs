//! Prepared examples: what preparation gives and trainers take.
//!
//! Everything here is numbers. What the numbers mean (columns, vocabulary, scale) stays with the preparation, which is
//! exported into the model's graph, so that serving takes raw rows.

/// Dense rows of numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// How many rows.
    pub rows: usize,
    /// Numbers in a row.
    pub width: usize,
    /// `[rows][width]`, finite.
    pub values: Vec<f64>,
}

/// Texts as rows of token ids of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens {
    /// How many rows.
    pub rows: usize,
    /// Ids in a row.
    pub length: usize,
    /// `[rows][length]`; 0 fills a row up at its end.
    pub ids: Vec<u32>,
    /// Ids are below this; 0 is the filling, 1 the unknown token.
    pub vocabulary: u32,
}

/// Pictures of one size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pixels {
    /// How many pictures.
    pub rows: usize,
    /// Rows of pixels in a picture.
    pub height: usize,
    /// Pixels in such a row.
    pub width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `[rows][height][width][channels]`.
    pub values: Vec<u8>,
}

/// Stretches of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows {
    /// How many stretches.
    pub rows: usize,
    /// Numbers in a stretch.
    pub length: usize,
    /// `[rows][length]`, oldest first, normalised.
    pub values: Vec<f64>,
}

/// What a model sees of the examples.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// Of a table.
    Matrix(Matrix),
    /// Of texts.
    Tokens(Tokens),
    /// Of pictures.
    Pixels(Pixels),
    /// Of series.
    Windows(Windows),
}

/// What a model is to say of the examples.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A class each.
    Classes {
        /// How many classes there are, in the training split or not.
        count: u32,
        /// Each below `count`.
        of_row: Vec<u32>,
    },
    /// `[rows][width]` numbers: one for a regression, the horizon for a forecast.
    Numbers(Matrix),
}

/// Prepared examples of one split.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What a model sees.
    pub inputs: Inputs,
    /// What it is to say; as many rows.
    pub target: Target,
}

impl Inputs {
    /// How many examples.
    pub fn rows(&self) -> usize {
        match self {
            Inputs::Matrix(matrix) => matrix.rows,
            Inputs::Tokens(tokens) => tokens.rows,
            Inputs::Pixels(pixels) => pixels.rows,
            Inputs::Windows(windows) => windows.rows,
        }
    }
}
