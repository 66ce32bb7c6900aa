//! What this machine can do at best: multiply-adds and bytes read per second, measured by small loops.
//!
//! A product cannot be faster than the multiply-adds that it needs over the first, or the bytes that it reads over the second
//! (Williams et al., 2009). Start at [`measure`].

use crate::Compute;
use crate::isa::Isa;
use crate::memory::{Aligned, Disjoint};
use crate::simd::{Kernel, LANES, Simd, dispatch};
use std::time::Instant;

/// Best of several runs, all threads together. A multiply-add counts as two operations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// 10⁹ operations a second, by the instruction set's multiply-adds of lanes.
    pub lanes_gflops: f64,
    /// 10⁹ operations a second, by AMX tiles with their loads; `None` where the instruction set is not AMX.
    pub tiles_gflops: Option<f64>,
    /// 10⁹ bytes a second from a buffer of [`CACHED_BYTES`] for each thread.
    pub cached_gbytes: f64,
    /// 10⁹ bytes a second from a buffer of [`MEMORY_BYTES`] in all.
    pub memory_gbytes: f64,
}

/// Half of what a second-level cache has at least.
pub const CACHED_BYTES: usize = 256 << 10;
/// More than caches hold.
pub const MEMORY_BYTES: usize = 512 << 20;

/// Runs of each loop, of which the best counts.
const RUNS: usize = 5;

/// Takes about a second and [`MEMORY_BYTES`] of memory.
pub fn measure(compute: &Compute) -> Rates {
    let mut buffer = Aligned::<f32>::zeroed(MEMORY_BYTES / size_of::<f32>());
    let cached = CACHED_BYTES / size_of::<f32>() * compute.threads();
    // Untouched pages would all be the system's one page of zeros.
    buffer.as_mut_slice().fill(1.0);
    Rates {
        lanes_gflops: lanes(compute),
        tiles_gflops: tiles(compute),
        cached_gbytes: read(compute, &buffer.as_slice()[..cached], 200),
        memory_gbytes: read(compute, buffer.as_slice(), 1),
    }
}

/// The most units a second of [`RUNS`] runs; `run` does `units` of them on each thread.
fn best(compute: &Compute, units: f64, run: &(dyn Fn(usize) + Sync)) -> f64 {
    let threads = compute.threads();
    let seconds = || {
        let begin = Instant::now();
        compute.pool().each(threads, run);
        begin.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| units * threads as f64 / seconds()).fold(0.0, f64::max)
}

/// Chains that run side by side: enough to hide the latency of a multiply-add, few enough for the registers.
fn chains(isa: Isa) -> usize {
    if isa == Isa::Avx2 { 5 } else { 12 }
}

fn lanes(compute: &Compute) -> f64 {
    const ROUNDS: usize = 1_000_000;
    let rounds = if compute.isa() == Isa::Scalar { ROUNDS / 50 } else { ROUNDS };
    let mut sink = vec![0.0f32; compute.threads() * LANES];
    let places = Disjoint::new(&mut sink);
    // A dot is two multiply-adds in each lane.
    let operations = (rounds * chains(compute.isa()) * LANES * 2 * 2) as f64;
    best(compute, operations, &|thread| {
        // SAFETY: each thread has its own place.
        let to = unsafe { places.part(thread * LANES, LANES) };
        match chains(compute.isa()) {
            5 => dispatch(compute.isa(), Lanes::<5> { rounds, to }),
            _ => dispatch(compute.isa(), Lanes::<12> { rounds, to }),
        }
    }) / 1e9
}

struct Lanes<'a, const CHAINS: usize> {
    rounds: usize,
    to: &'a mut [f32],
}

impl<const CHAINS: usize> Kernel for Lanes<'_, CHAINS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let block = simd.pack_block([simd.splat(1.0); 2]);
        let mut stored = S::Stored::default();
        simd.store_duo(simd.load_duo(&stored), &mut stored);
        let weights = simd.load_duo(std::hint::black_box(&stored));
        let mut sums = [simd.zero(); CHAINS];
        for round in 0..self.rounds {
            let x = block[round % 2][0];
            for sum in &mut sums {
                *sum = simd.dot(*sum, weights, x);
            }
        }
        let total = sums.into_iter().fold(simd.zero(), |a, b| simd.add(a, b));
        simd.store(total, self.to.first_chunk_mut().expect("invariant: sixteen places"));
        std::hint::black_box(self.to);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn tiles(_compute: &Compute) -> Option<f64> {
    None
}

/// Two tiles of rows times two of outputs, all loaded each time.
#[cfg(target_arch = "x86_64")]
fn tiles(compute: &Compute) -> Option<f64> {
    use crate::simd::tiles::{ROW_BYTES, ROWS, Tile, Tiles};
    const ROUNDS: usize = 200_000;
    let tiles = Tiles::get().filter(|_| compute.isa() == Isa::Amx)?;
    let operations = (ROUNDS * 4 * ROWS * LANES * 32 * 2) as f64;
    Some(
        best(compute, operations, &|_| {
            let (a, b) = ([Tile([[0u32; 16]; ROWS]); 2], [Tile([[0u32; 16]; ROWS]); 2]);
            let mut sums = [[Tile([[0.0f32; 16]; ROWS]); 2]; 2];
            tiles.configure([ROWS; 2], ROWS);
            for _ in 0..ROUNDS {
                tiles.load_b([&b[0], &b[1]]);
                // SAFETY: a `Tile` has memory for sixteen rows.
                unsafe {
                    tiles.load_a::<0>(a[0].0.as_ptr().cast(), ROW_BYTES);
                    tiles.load_a::<1>(a[1].0.as_ptr().cast(), ROW_BYTES);
                }
                tiles.accumulate();
            }
            tiles.multiply::<0>(&mut sums[0]);
            tiles.release();
            std::hint::black_box(&sums);
        }) / 1e9,
    )
}

fn read(compute: &Compute, buffer: &[f32], rounds: usize) -> f64 {
    let share = buffer.len() / compute.threads();
    let mut sink = vec![0.0f32; compute.threads() * LANES];
    let places = Disjoint::new(&mut sink);
    best(compute, (rounds * share * size_of::<f32>()) as f64, &|thread| {
        // SAFETY: each thread has its own place.
        let to = unsafe { places.part(thread * LANES, LANES) };
        dispatch(compute.isa(), Read { from: &buffer[thread * share..][..share], rounds, to });
    }) / 1e9
}

struct Read<'a> {
    from: &'a [f32],
    rounds: usize,
    to: &'a mut [f32],
}

impl Kernel for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        const LINES: usize = 4;
        const AHEAD: usize = 4096;
        let mut sums = [simd.zero(); LINES];
        for _ in 0..self.rounds {
            for lines in self.from.as_chunks::<LANES>().0.as_chunks::<LINES>().0 {
                for (sum, line) in sums.iter_mut().zip(lines) {
                    simd.prefetch(line.as_ptr().cast::<u8>().wrapping_add(AHEAD));
                    *sum = simd.add(*sum, simd.load(line));
                }
            }
        }
        let total = sums.into_iter().fold(simd.zero(), |a, b| simd.add(a, b));
        simd.store(total, self.to.first_chunk_mut().expect("invariant: sixteen places"));
        std::hint::black_box(self.to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_multiplying_are_counted_for_every_instruction_set() {
        let buffer = vec![1.0; 1 << 16];
        for isa in Isa::available() {
            let compute = Compute::new(Some(isa), Some(1)).expect("available");
            let (flops, bytes) = (lanes(&compute), read(&compute, &buffer, 2));
            assert!(flops > 0.001 && flops < 1e6, "{}: {flops} GFLOP/s", isa.name());
            assert!(bytes > 0.01 && bytes < 1e6, "{}: {bytes} GB/s", isa.name());
            assert_eq!(tiles(&compute).is_some(), isa == Isa::Amx);
        }
    }
}
