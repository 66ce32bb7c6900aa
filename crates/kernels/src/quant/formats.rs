//! The storage formats of GGUF and safetensors: names, numbers and sizes.
//!
//! Layouts follow the GGML block structures (`ggml-common.h`); [`super::decode`] reads them. A new format is a variant
//! and a row in `ROWS` here, and a decoder there; the tests and the fixtures enumerate [`Format::ALL`].

/// A tensor format. The names are GGML's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
}

/// One format's facts.
struct Row {
    format: Format,
    ggml_type: u32,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
    scale_len: usize,
    has_min: bool,
}

const fn row(format: Format, ggml_type: u32, name: &'static str, sizes: [usize; 3], has_min: bool) -> Row {
    Row { format, ggml_type, name, block_len: sizes[0], block_bytes: sizes[1], scale_len: sizes[2], has_min }
}

/// In the order of the enum. Sizes: weights in a block, bytes of a block, weights to a scale.
const ROWS: [Row; 15] = [
    row(Format::F32, 0, "F32", [1, 4, 1], false),
    row(Format::F16, 1, "F16", [1, 2, 1], false),
    row(Format::BF16, 30, "BF16", [1, 2, 1], false),
    row(Format::Q4_0, 2, "Q4_0", [32, 18, 32], false),
    row(Format::Q4_1, 3, "Q4_1", [32, 20, 32], true),
    row(Format::Q5_0, 6, "Q5_0", [32, 22, 32], false),
    row(Format::Q5_1, 7, "Q5_1", [32, 24, 32], true),
    row(Format::Q8_0, 8, "Q8_0", [32, 34, 32], false),
    row(Format::Q2_K, 10, "Q2_K", [256, 84, 16], true),
    row(Format::Q3_K, 11, "Q3_K", [256, 110, 16], false),
    row(Format::Q4_K, 12, "Q4_K", [256, 144, 32], true),
    row(Format::Q5_K, 13, "Q5_K", [256, 176, 32], true),
    row(Format::Q6_K, 14, "Q6_K", [256, 210, 16], false),
    row(Format::IQ4_NL, 20, "IQ4_NL", [32, 18, 32], false),
    row(Format::IQ4_XS, 23, "IQ4_XS", [256, 136, 32], false),
];

impl Format {
    /// Every format, in the order of the enum.
    pub const ALL: [Format; 15] = {
        let mut all = [Format::F32; 15];
        let mut index = 0;
        while index < all.len() {
            all[index] = ROWS[index].format;
            index += 1;
        }
        all
    };

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The format with this `ggml_type` number (GGUF's tensor type), if it is one of [`Format::ALL`].
    pub fn from_ggml(ggml_type: u32) -> Option<Format> {
        ROWS.iter().find(|row| row.ggml_type == ggml_type).map(|row| row.format)
    }

    /// GGUF's number of this format (`enum ggml_type`).
    pub fn ggml_type(self) -> u32 {
        self.row().ggml_type
    }

    /// GGML's name.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Weights in one block; 1 for the float formats.
    pub fn block_len(self) -> usize {
        self.row().block_len
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.row().block_bytes
    }

    /// Consecutive weights that share a scale (and a min): 16 or 32; 1 for the float formats.
    pub fn scale_len(self) -> usize {
        self.row().scale_len
    }

    /// Whether blocks carry minima; where not, [`super::Block::mins`] is −0.
    pub fn has_min(self) -> bool {
        self.row().has_min
    }

    /// F32, F16 or BF16.
    pub fn is_float(self) -> bool {
        self.block_len() == 1
    }

    /// Bytes of `elements` weights. A last block that is not full counts whole; past `usize` the answer is
    /// `usize::MAX`, which no slice has, so that a comparison with a length fails as it should.
    pub fn bytes(self, elements: usize) -> usize {
        elements.div_ceil(self.block_len()).saturating_mul(self.block_bytes())
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_enum() {
        for (index, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!(format as usize, index);
            assert_eq!(format.name(), format!("{format:?}"));
            assert_eq!(Format::from_ggml(format.ggml_type()), Some(format));
            assert_eq!(format.block_len() % format.scale_len(), 0);
        }
        assert_eq!(Format::from_ggml(4), None, "Q4_2 was removed from GGML");
    }

    #[test]
    fn bytes_round_up_to_blocks_and_saturate() {
        assert_eq!(Format::Q4_1.bytes(64), 40);
        assert_eq!(Format::Q4_1.bytes(65), 60);
        assert_eq!(Format::F32.bytes(3), 12);
        assert_eq!(Format::F32.bytes(usize::MAX), usize::MAX);
        assert_eq!(Format::Q6_K.bytes(0), 0);
    }
}
