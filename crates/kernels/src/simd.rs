//! Sixteen float32 lanes, so that a kernel is written once and instantiated for every instruction set.
//!
//! A [`Simd`] value is a token: holding one proves that the processor has the instruction set, which makes its methods
//! safe. Lane results are IEEE 754 single operations, so every implementation gives the same bits. Kernels must
//! be `#[inline(always)]` down to the token's methods: only then are they compiled for the token's instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
mod scalar;
#[cfg(target_arch = "x86_64")]
pub mod tiles;

#[cfg(target_arch = "x86_64")]
pub use avx512::{Avx512Bf16, Bf16Kernel};

pub use scalar::Scalar;

use crate::isa::Isa;
use crate::memory::Number;

/// Lanes of every vector here.
pub const LANES: usize = 16;

/// Inputs of one block: what shares a scale, one tile's K.
pub const BLOCK: usize = 32;
/// Duos of one chain in a block.
pub const DUOS: usize = BLOCK / 4;
/// A block of activations: [chain][duo]. Duo j of chain c holds inputs 4·j + c and 4·j + c + 2.
pub type XBlock<X> = [[X; DUOS]; 2];

/// One instruction set's sixteen lanes.
pub trait Simd: Copy {
    /// Sixteen float32.
    type F: Copy;
    /// Sixteen 32-bit integers.
    type I: Copy;
    /// One register holds all lanes, and there are 32 of them.
    const WIDE: bool;
    /// The lanes are a plain array.
    const PORTABLE: bool;

    fn splat(self, value: f32) -> Self::F;
    fn load(self, from: &[f32; LANES]) -> Self::F;
    fn store(self, value: Self::F, to: &mut [f32; LANES]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// The larger one; `b` where either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller one; `b` where either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// a · b + c, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a · 2ⁿ for whole n with normal results; n is given as float32.
    fn scale_by_power_of_two(self, a: Self::F, n: Self::F) -> Self::F;
    /// Rounds to bf16 (nearest even), kept as float32.
    fn round_bf16(self, a: Self::F) -> Self::F;

    fn load_f16(self, from: &[u16; LANES]) -> Self::F;
    fn load_i8(self, from: &[i8; LANES]) -> Self::F;
    fn load_bits(self, from: &[u32; LANES]) -> Self::I;
    /// The low halves of the lanes as bf16.
    fn low_bf16(self, pairs: Self::I) -> Self::F;
    /// The high halves of the lanes as bf16.
    fn high_bf16(self, pairs: Self::I) -> Self::F;
    /// Bits SHIFT … SHIFT + 3 of each lane, as 0 … 15.
    fn nibble_unsigned<const SHIFT: u32>(self, bits: Self::I) -> Self::F;
    /// Bits SHIFT … SHIFT + 3 of each lane, as −8 … 7.
    fn nibble_signed<const SHIFT: u32>(self, bits: Self::I) -> Self::F;
    /// The table's entry at bits SHIFT … SHIFT + 3 of each lane.
    fn nibble_table<const SHIFT: u32>(self, bits: Self::I, table: &[f32; 16]) -> Self::F;
    /// Two neighbours of one chain: weights of sixteen outputs each (see [`Simd::dot`]).
    type Duo: Copy;
    /// The two activations that belong to a duo, as operands keep them.
    type X: Number;
    /// A duo in memory.
    type Stored: Copy + Default;

    /// Two steps of a chain: fma(second, second′, fma(first, first′, sum)). Weights and activations are exact in bf16.
    fn dot(self, sum: Self::F, weights: Self::Duo, x: Self::X) -> Self::F;
    /// The four duos of a line of nibbles, [chain][neighbour]: duo i has its first codes in bits 16 + 4i … of each lane,
    /// its second ones in bits 4i ….
    fn duos_of_nibbles<N: Nibbles>(self, bits: Self::I) -> [[Self::Duo; 2]; 2];
    fn duo_of_bytes(self, first: &[i8; LANES], second: &[i8; LANES]) -> Self::Duo;
    /// The duo of a line of bf16 pairs: the high halves, then the low ones.
    fn duo_of_line(self, line: Self::I) -> Self::Duo;
    /// A block of activations, exact in bf16, in the order of duos; the values are those of inputs 0 … 15 and 16 … 31.
    fn pack_block(self, values: [Self::F; 2]) -> XBlock<Self::X>;
    /// Up to sixteen blocks of activations as duos: block i in lane i, the other lanes zero.
    fn turn_blocks(self, blocks: &[XBlock<Self::X>], to: &mut [[Self::Stored; DUOS]; 2]);
    fn load_duo(self, from: &Self::Stored) -> Self::Duo;
    fn store_duo(self, duo: Self::Duo, to: &mut Self::Stored);

    /// Hints that the line at `address` is wanted soon.
    fn prefetch(self, address: *const u8);

    fn zero(self) -> Self::F {
        self.splat(0.0)
    }

    /// Sum of the lanes in the fixed tree: halves are added until one lane is left.
    #[inline(always)]
    fn reduce_add(self, value: Self::F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(value, &mut lanes);
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
        }
        lanes[0]
    }

    #[inline(always)]
    fn reduce_max(self, value: Self::F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(value, &mut lanes);
        lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
}

/// What a nibble stands for.
pub trait Nibbles {
    /// The sixteen codes as bf16, twice.
    const PAIRS: [u16; 32];
    /// The codes at bits SHIFT … SHIFT + 3 of each lane.
    fn lanes<S: Simd, const SHIFT: u32>(simd: S, bits: S::I) -> S::F;
}

/// Length of [`Simd::X`] in 32-bit words.
pub fn words_of_x(isa: Isa) -> usize {
    match isa {
        Isa::Avx512Bf16 | Isa::Amx => 1,
        _ => 2,
    }
}

/// A piece of work that is instantiated for each instruction set. `run` must be `#[inline(always)]`.
pub trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs `kernel` with the lanes of `isa`, denormals flushed to zero. `isa` must be available, as `Compute` guarantees.
pub fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    debug_assert!(isa.is_available());
    let _flush = FlushDenormals::enter();
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::run(kernel),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::run(kernel),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 | Isa::Amx => avx512::run_bf16(kernel),
        _ => kernel.run(Scalar),
    }
}

/// Runs a kernel that is written for the sixteen registers of AVX2, and is compiled for nothing else.
pub fn dispatch_avx2<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    debug_assert!(isa.is_available());
    let _flush = FlushDenormals::enter();
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::run(kernel),
        _ => unreachable!("invariant: {} has a path of its own", isa.name()),
    }
}

/// Runs a kernel that is written for the registers of AVX-512 without BF16, and is compiled for nothing else.
pub fn dispatch_avx512<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    debug_assert!(isa.is_available());
    let _flush = FlushDenormals::enter();
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::run(kernel),
        _ => unreachable!("invariant: {} has a path of its own", isa.name()),
    }
}

/// Runs a kernel that needs the registers of AVX-512, with BF16 or without.
pub fn dispatch_wide<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    debug_assert!(isa.is_available());
    let _flush = FlushDenormals::enter();
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::run(kernel),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 | Isa::Amx => avx512::run_bf16(kernel),
        _ => unreachable!("invariant: {} has a path of its own", isa.name()),
    }
}

/// Runs a kernel that is written for AVX-512 with BF16 alone. `isa` has it.
#[cfg(target_arch = "x86_64")]
pub fn dispatch_bf16<K: Bf16Kernel>(isa: Isa, kernel: K) -> K::Output {
    assert!(isa >= Isa::Avx512Bf16 && isa.is_available(), "{} has no products of bf16 pairs", isa.name());
    let _flush = FlushDenormals::enter();
    avx512::run_for_bf16(kernel)
}

/// Denormals are zero and results flush to zero while this lives; the thread's former mode comes back afterwards.
struct FlushDenormals {
    #[cfg(target_arch = "x86_64")]
    former: u32,
    #[cfg(target_arch = "aarch64")]
    former: u64,
}

#[cfg(target_arch = "x86_64")]
impl FlushDenormals {
    const FTZ_DAZ: u32 = 0x8040;

    fn enter() -> Self {
        let former = Self::read();
        Self::write(former | Self::FTZ_DAZ);
        Self { former }
    }

    fn read() -> u32 {
        let mut mode = 0u32;
        // SAFETY: stores the control register of this thread to a live u32.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut mode, options(nostack, preserves_flags)) };
        mode
    }

    fn write(mode: u32) {
        // SAFETY: only the denormal bits ever differ from the thread's own mode; no exception is unmasked.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &mode, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for FlushDenormals {
    fn drop(&mut self) {
        if self.former & Self::FTZ_DAZ != Self::FTZ_DAZ {
            Self::write(self.former);
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl FlushDenormals {
    const FZ: u64 = 1 << 24;

    fn enter() -> Self {
        let former: u64;
        // SAFETY: reads and writes this thread's floating-point mode; only FZ changes.
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) former);
            std::arch::asm!("msr fpcr, {}", in(reg) former | Self::FZ);
        }
        Self { former }
    }
}

#[cfg(target_arch = "aarch64")]
impl Drop for FlushDenormals {
    fn drop(&mut self) {
        // SAFETY: restores what `enter` read.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) self.former) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl FlushDenormals {
    fn enter() -> Self {
        Self {}
    }
}
