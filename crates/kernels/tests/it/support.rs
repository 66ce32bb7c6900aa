//! Random data and the variants of compute that this machine has.

use orrery_kernels::Compute;
use orrery_kernels::isa::Isa;
use orrery_kernels::quant::Format;
use orrery_kernels::quant::half::f32_to_f16;

/// SplitMix64 (Steele et al., 2014): seeded, so that a failure repeats.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Roughly normal: twelve uniforms less six.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0).collect()
    }

    /// Normals of which every other one, by chance, is scaled by 2⁻¹² … 2¹²: sums of near numbers with the few digits of bf16
    /// are exact, and would hide in which order they were added.
    pub fn spread(&mut self, count: usize) -> Vec<f32> {
        let mut values = self.normals(count);
        for value in &mut values {
            let power = (self.next() % 50) as i32 - 12;
            *value *= if power <= 12 { 2f32.powi(power) } else { 1.0 };
        }
        values
    }
}

/// Bytes of `elements` weights: random codes, scales of ordinary size.
pub fn random_matrix(random: &mut Random, format: Format, elements: usize) -> Vec<u8> {
    let count = elements / format.block_len();
    match format {
        Format::F32 => random.normals(elements).into_iter().flat_map(f32::to_le_bytes).collect(),
        Format::F16 => random.normals(elements).into_iter().flat_map(|x| f32_to_f16(x).to_le_bytes()).collect(),
        Format::BF16 => {
            random.normals(elements).into_iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect()
        }
        _ => (0..count).flat_map(|_| random_block(random, format)).collect(),
    }
}

fn random_block(random: &mut Random, format: Format) -> Vec<u8> {
    let mut block: Vec<u8> = (0..format.block_bytes()).map(|_| random.next() as u8).collect();
    for at in half_places(format) {
        let scale = f32_to_f16((random.uniform() - 0.3) * 0.1);
        block[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
    }
    block
}

/// Where a block keeps its f16 scales (`ggml-common.h`).
fn half_places(format: Format) -> &'static [usize] {
    match format {
        Format::F32 | Format::F16 | Format::BF16 => &[],
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 | Format::IQ4_NL | Format::IQ4_XS => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q2_K => &[80, 82],
        Format::Q3_K => &[108],
        Format::Q6_K => &[208],
    }
}

/// Every instruction set of this machine with one thread and with all of them.
pub fn compute_variants() -> Vec<Compute> {
    Isa::available()
        .into_iter()
        .flat_map(|isa| [Some(1), None].map(|threads| Compute::new(Some(isa), threads).expect("available")))
        .collect()
}
