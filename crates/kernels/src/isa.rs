//! The instruction sets that the kernels are written for, and which of them this processor has.
//!
//! Detection runs once at start-up; every path gives the same bits, so the choice is one of speed alone.

use crate::Error;
#[cfg(target_arch = "x86_64")]
use crate::simd::tiles::Tiles;
use std::str::FromStr;

/// An instruction set with a complete set of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable code; the definition of every result.
    Scalar,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// AVX-512 with products of bf16 pairs (BF16): twice the multiply-adds.
    Avx512Bf16,
    /// The same with AMX tiles of bf16 for several rows.
    Amx,
}

impl Isa {
    pub const ALL: [Isa; 5] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::Amx => "amx",
        }
    }

    /// The sets that this processor can run, slowest first; never empty.
    pub fn available() -> Vec<Isa> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match self {
            Isa::Scalar => true,
            Isa::Avx2 => avx2,
            Isa::Avx512 => avx512,
            Isa::Avx512Bf16 => avx512 && is_x86_feature_detected!("avx512bf16"),
            Isa::Amx => avx512 && is_x86_feature_detected!("avx512bf16") && Tiles::get().is_some(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        self == Isa::Scalar
    }

    /// The wanted set if the processor has it, or the best one when none is wanted.
    pub fn resolve(wanted: Option<Isa>) -> Result<Isa, Error> {
        let available = Self::available();
        match wanted {
            None => Ok(*available.last().expect("invariant: scalar is always available")),
            Some(isa) if available.contains(&isa) => Ok(isa),
            Some(isa) => Err(Error::IsaUnavailable { wanted: isa.name(), available: names(&available) }),
        }
    }
}

fn names(sets: &[Isa]) -> String {
    sets.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|isa| isa.name() == name).ok_or_else(|| Error::IsaUnknown(name.to_owned()))
    }
}
