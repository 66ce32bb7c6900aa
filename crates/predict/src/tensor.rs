//! Tensors as requests and models exchange them: a name, a shape, and typed values in row-major order.
//!
//! Start at [`Tensor`]. Nothing here knows ONNX Runtime.

use crate::error::{Error, Result};
use half::{bf16, f16};
use std::fmt;

/// One row per type of element: variant, Rust type, name in the Open Inference Protocol, bytes of one.
macro_rules! kinds {
    ($macro:ident) => {
        $macro! {
            Bool, bool, "BOOL", 1;
            Uint8, u8, "UINT8", 1;
            Uint16, u16, "UINT16", 2;
            Uint32, u32, "UINT32", 4;
            Uint64, u64, "UINT64", 8;
            Int8, i8, "INT8", 1;
            Int16, i16, "INT16", 2;
            Int32, i32, "INT32", 4;
            Int64, i64, "INT64", 8;
            Fp16, half::f16, "FP16", 2;
            Bf16, half::bf16, "BF16", 2;
            Fp32, f32, "FP32", 4;
            Fp64, f64, "FP64", 8;
        }
    };
}
pub(crate) use kinds;

macro_rules! define {
    ($($variant:ident, $type:ty, $name:literal, $bytes:literal;)*) => {
        /// The type of a tensor's elements, by its name in the Open Inference Protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum DataType {
            $($variant,)*
            /// Text (UTF-8), of any length.
            Bytes,
        }

        impl DataType {
            /// All types.
            pub const ALL: &[Self] = &[$(Self::$variant,)* Self::Bytes];

            /// The name in the Open Inference Protocol.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Bytes => "BYTES",
                }
            }

            /// Bytes of one element; `None` for text, whose elements differ.
            #[must_use]
            pub const fn element_bytes(self) -> Option<usize> {
                match self {
                    $(Self::$variant => Some($bytes),)*
                    Self::Bytes => None,
                }
            }
        }

        /// Elements of one type.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Data {
            $($variant(Vec<$type>),)*
            Bytes(Vec<String>),
        }

        impl Data {
            /// The elements' type.
            #[must_use]
            pub const fn dtype(&self) -> DataType {
                match self {
                    $(Self::$variant(_) => DataType::$variant,)*
                    Self::Bytes(_) => DataType::Bytes,
                }
            }

            /// How many elements there are.
            #[must_use]
            pub const fn len(&self) -> usize {
                match self {
                    $(Self::$variant(values) => values.len(),)*
                    Self::Bytes(values) => values.len(),
                }
            }

            /// `count` zeros, `false`s or empty texts.
            #[must_use]
            pub fn zeros(dtype: DataType, count: usize) -> Self {
                match dtype {
                    $(DataType::$variant => Self::$variant(vec![Default::default(); count]),)*
                    DataType::Bytes => Self::Bytes(vec![String::new(); count]),
                }
            }

            /// The elements of `start..end`; `None` where they are out of bounds.
            #[must_use]
            pub fn part(&self, start: usize, end: usize) -> Option<Self> {
                Some(match self {
                    $(Self::$variant(values) => Self::$variant(values.get(start..end)?.to_vec()),)*
                    Self::Bytes(values) => Self::Bytes(values.get(start..end)?.to_vec()),
                })
            }

            /// Appends `other`; `false` where its type is another, and then nothing is appended.
            pub fn append(&mut self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(values), Self::$variant(more)) => values.extend_from_slice(more),)*
                    (Self::Bytes(values), Self::Bytes(more)) => values.extend_from_slice(more),
                    _ => return false,
                }
                true
            }
        }
    };
}
kinds!(define);

macro_rules! numeric {
    ($($variant:ident, $type:ty, $bytes:literal;)*) => {
        impl Data {
            /// Reads elements from little-endian bytes (a `BOOL` is a byte of 0 or 1). Text has no such form: `None`. Also
            /// `None` where the bytes do not divide into elements, or a `BOOL` is neither.
            #[must_use]
            pub fn from_le_bytes(dtype: DataType, bytes: &[u8]) -> Option<Self> {
                match dtype {
                    DataType::Bytes => None,
                    DataType::Bool => {
                        let bits = bytes.iter().map(|byte| match byte { 0 => Some(false), 1 => Some(true), _ => None });
                        bits.collect::<Option<_>>().map(Self::Bool)
                    }
                    $(DataType::$variant => {
                        let (elements, rest) = bytes.as_chunks::<$bytes>();
                        let read = |element: &[u8; $bytes]| <$type>::from_le_bytes(*element);
                        rest.is_empty().then(|| Self::$variant(elements.iter().map(read).collect()))
                    })*
                }
            }

            /// The elements as little-endian bytes; `None` for text.
            #[must_use]
            pub fn to_le_bytes(&self) -> Option<Vec<u8>> {
                Some(match self {
                    Self::Bytes(_) => return None,
                    Self::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
                    $(Self::$variant(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),)*
                })
            }
        }
    };
}
numeric! {
    Uint8, u8, 1; Uint16, u16, 2; Uint32, u32, 4; Uint64, u64, 8;
    Int8, i8, 1; Int16, i16, 2; Int32, i32, 4; Int64, i64, 8;
    Fp16, f16, 2; Bf16, bf16, 2; Fp32, f32, 4; Fp64, f64, 8;
}

impl Data {
    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Bytes(values) => values.iter().map(|text| text.len() + size_of::<String>()).sum(),
            other => other.len() * other.dtype().element_bytes().unwrap_or(0),
        }
    }
}

impl DataType {
    /// The type of that name in the Open Inference Protocol.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.name() == name)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A named array. The product of `shape` is the count of elements: [`Tensor::new`] holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    name: String,
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// # Errors
    /// The shape's product is not the count of elements, or overflows.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, data: Data) -> Result<Self> {
        let (name, shape) = (name.into(), shape.into());
        let elements = shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
        if elements != Some(data.len()) {
            let wanted = elements.map_or_else(|| "too many elements".to_owned(), |count| format!("{count} elements"));
            let reason = format!("the shape {shape:?} holds {wanted}, but {} were given", data.len());
            return Err(Error::bad_input(name, reason));
        }
        Ok(Self { name, shape, data })
    }

    /// A tensor whose shape is right by construction.
    pub(crate) fn made(name: impl Into<String>, shape: impl Into<Vec<usize>>, data: Data) -> Self {
        let (name, shape) = (name.into(), shape.into());
        debug_assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}");
        Self { name, shape, data }
    }

    /// The input or output that it is for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its elements.
    #[must_use]
    pub const fn dtype(&self) -> DataType {
        self.data.dtype()
    }

    /// Its dimensions, outermost first. Empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its elements, row-major.
    #[must_use]
    pub const fn data(&self) -> &Data {
        &self.data
    }

    /// Its elements, row-major.
    #[must_use]
    pub fn into_data(self) -> Data {
        self.data
    }

    /// The outermost dimension; `None` for a scalar.
    #[must_use]
    pub fn rows(&self) -> Option<usize> {
        self.shape.first().copied()
    }

    /// Puts tensors one after another in their outermost dimension. `None` where there are none, or they do not fit.
    pub(crate) fn concatenated(parts: &[&Self]) -> Option<Self> {
        let (first, others) = parts.split_first()?;
        let mut all = (*first).clone();
        for part in others {
            let fits = part.shape.len() == all.shape.len() && part.shape.get(1..) == all.shape.get(1..);
            if !fits || !all.data.append(&part.data) {
                return None;
            }
            *all.shape.first_mut()? += part.rows()?;
        }
        Some(all)
    }

    /// Cuts it in its outermost dimension into parts of `rows`. `None` where these do not add up to it.
    pub(crate) fn split(&self, rows: &[usize]) -> Option<Vec<Self>> {
        let (total, inner) = self.shape.split_first()?;
        if rows.iter().sum::<usize>() != *total {
            return None;
        }
        let width: usize = inner.iter().product();
        let mut start = 0;
        let mut parts = Vec::with_capacity(rows.len());
        for count in rows {
            let data = self.data.part(start * width, (start + count) * width)?;
            let shape = std::iter::once(*count).chain(inner.iter().copied()).collect::<Vec<_>>();
            parts.push(Self { name: self.name.clone(), shape, data });
            start += count;
        }
        Some(parts)
    }
}
