//! Times the kernels on every instruction set of this machine, as shares of what the machine can do at best.
//!
//! Prints one line of JSON for each kernel, shape and instruction set. Products run over copies of a matrix that together are larger
//! than the caches, as the layers of a model are.

use orrery_kernels::attention::{BLOCK_TOKENS, KvCache, Rows, Shape, Span, attend, store};
use orrery_kernels::isa::Isa;
use orrery_kernels::matmul::{Operand, matmul};
use orrery_kernels::quant::{Format, Packed, Source};
use orrery_kernels::roofline::{self, Rates};
use orrery_kernels::{Compute, Error};
use std::time::Instant;

/// Inputs × outputs: gate and up of SmolLM2-135M.
const SHAPE: (usize, usize) = (576, 3072);
/// Bytes of all copies of a matrix.
const COPIES_BYTES: usize = 96 << 20;
const FORMATS: [Format; 4] = [Format::Q4_1, Format::Q4_K, Format::Q8_0, Format::BF16];
const ROWS: [usize; 7] = [1, 2, 4, 8, 32, 128, 512];

fn main() -> Result<(), Error> {
    for isa in Isa::available() {
        if isa == Isa::Scalar {
            continue;
        }
        let compute = Compute::new(Some(isa), None)?;
        let rates = roofline::measure(&compute);
        println!(
            "{{\"kernel\":\"roofline\",\"isa\":\"{}\",\"threads\":{},\"lanes_gflops\":{:.0},\"tiles_gflops\":{},\"cached_gbytes\":{:.1},\"memory_gbytes\":{:.1}}}",
            isa.name(),
            compute.threads(),
            rates.lanes_gflops,
            rates.tiles_gflops.map_or("null".to_owned(), |rate| format!("{rate:.0}")),
            rates.cached_gbytes,
            rates.memory_gbytes,
        );
        for format in FORMATS {
            products(&compute, rates, format)?;
        }
        for (count, position) in [(512, 0), (1, 128), (1, 8000)] {
            attention(&compute, rates, count, position)?;
        }
    }
    Ok(())
}

fn products(compute: &Compute, rates: Rates, format: Format) -> Result<(), Error> {
    let (inputs, outputs) = SHAPE;
    // 576 is no whole number of the blocks of 256.
    let inputs = inputs.next_multiple_of(format.block_len());
    let bytes = vec![0x11; outputs * inputs / format.block_len() * format.block_bytes()];
    let source = Source { format, outputs, inputs, bytes: &bytes, row_order: None };
    let first = Packed::pack(compute, &source)?;
    let copies = COPIES_BYTES / first.bytes();
    let packed = (1..copies).map(|_| Packed::pack(compute, &source)).collect::<Result<Vec<_>, _>>()?;
    for rows in ROWS {
        let values: Vec<f32> = (0..rows * inputs).map(|index| (index % 17) as f32 * 0.1 - 0.8).collect();
        let (mut x, mut out) = (Operand::default(), vec![0.0; rows * outputs]);
        x.set(compute, rows, inputs, &values);
        let seconds = median(&mut (0..packed.len()).map(|copy| {
            let begin = Instant::now();
            matmul(compute, &x, &[&packed[copy]], &mut out);
            begin.elapsed().as_secs_f64()
        }));
        let work = Work { operations: 2.0 * (rows * inputs * outputs) as f64, bytes: first.bytes() as f64 };
        let tiles = rows >= 4;
        print(
            compute,
            rates,
            &format!("product {}", format.name()),
            &format!("{rows} {}", if rows == 1 { "row" } else { "rows" }),
            seconds,
            work,
            tiles,
        );
    }
    Ok(())
}

/// One layer of SmolLM2-135M: 9 heads of 64, 3 of keys and values.
fn attention(compute: &Compute, rates: Rates, count: usize, position: usize) -> Result<(), Error> {
    let shape = Shape { heads: 9, kv_heads: 3, head_dim: 64, scale: 0.125 };
    let tokens = position + count;
    let blocks: Vec<u32> = (0..tokens.div_ceil(BLOCK_TOKENS) as u32).collect();
    // As many layers as are together larger than the caches, where their bytes are what counts.
    let layer_bytes = blocks.len() * KvCache::block_bytes(1, shape.kv_heads, shape.head_dim);
    let layers = if count == 1 { COPIES_BYTES.div_ceil(layer_bytes).min(64) } else { 1 };
    let mut cache = KvCache::new(layers, blocks.len(), shape.kv_heads, shape.head_dim)?;
    let values: Vec<f32> = (0..tokens * 576).map(|index| (index % 23) as f32 * 0.1 - 1.1).collect();
    let rows = |stride| Rows { values: &values, stride };
    let whole = [Span { row: 0, count: tokens, position: 0, stored: 0, blocks: &blocks }];
    for layer in 0..layers {
        store(compute, &mut cache, layer, &whole, rows(192), rows(192));
    }
    let spans = [Span { row: 0, count, position, stored: 0, blocks: &blocks }];
    let mut out = vec![0.0; count * 576];
    let seconds = median(&mut (0..20.max(2 * layers)).map(|turn| {
        let begin = Instant::now();
        attend(compute, &cache, turn % layers, shape, &spans, rows(576), &mut out);
        begin.elapsed().as_secs_f64()
    }));
    // Every row meets the keys up to its own, with as many values.
    let pairs = (count * position + count * (count + 1) / 2) as f64;
    let work = Work { operations: pairs * 576.0 * 4.0, bytes: (tokens * 192 * 2 * 2) as f64 };
    print(compute, rates, "attention", &format!("{count} at {position}"), seconds, work, false);
    Ok(())
}

/// What a kernel has to do at least.
struct Work {
    operations: f64,
    bytes: f64,
}

fn print(compute: &Compute, rates: Rates, kernel: &str, shape: &str, seconds: f64, work: Work, tiles: bool) {
    let gflops = if tiles { rates.tiles_gflops.unwrap_or(rates.lanes_gflops) } else { rates.lanes_gflops };
    let (by_operations, by_bytes) = (work.operations / gflops / 1e9, work.bytes / rates.memory_gbytes / 1e9);
    println!(
        "{{\"kernel\":\"{kernel}\",\"shape\":\"{shape}\",\"isa\":\"{}\",\"threads\":{},\"us\":{:.1},\"gflops\":{:.1},\"gbytes\":{:.3},\"limit\":\"{}\",\"share\":{:.2}}}",
        compute.isa().name(),
        compute.threads(),
        seconds * 1e6,
        work.operations / seconds / 1e9,
        work.bytes / seconds / 1e9,
        if by_operations > by_bytes { "operations" } else { "bytes" },
        by_operations.max(by_bytes) / seconds,
    );
}

fn median(seconds: &mut dyn Iterator<Item = f64>) -> f64 {
    let mut seconds: Vec<f64> = seconds.collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
