//! Scratch timing of products.
use orrery_kernels::{
    Compute,
    isa::Isa,
    matmul::{Operand, matmul},
    quant::{Format, Packed, Source},
};
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let isa: Isa = args.get(1).map(|s| s.parse().unwrap()).unwrap_or(Isa::Avx512);
    let threads = args.get(2).map(|s| s.parse().unwrap());
    let compute = Compute::new(Some(isa), threads).unwrap();
    let shapes: &[(usize, usize)] = &[(576, 3072), (1536, 576), (576, 960), (576, 49152)];
    for &(inputs, outputs) in shapes {
        let bytes: Vec<u8> = (0..inputs / 32 * outputs)
            .flat_map(|i| {
                let mut b = [0u8; 20];
                b[1] = 0x20;
                b[3] = 0xa0;
                for (j, x) in b[4..].iter_mut().enumerate() {
                    *x = (i * 31 + j * 7) as u8;
                }
                b
            })
            .collect();
        let copies = (args.get(3).map_or(60_000_000, |s| s.parse::<usize>().unwrap()) / bytes.len()).max(1);
        let packed: Vec<Packed> = (0..copies)
            .map(|_| {
                Packed::pack(
                    &compute,
                    &Source { format: Format::Q4_1, outputs, inputs, bytes: &bytes, row_order: None },
                )
                .unwrap()
            })
            .collect();
        for rows in [1usize, 2, 3, 4, 5, 6, 7, 8, 9, 12] {
            let values: Vec<f32> = (0..rows * inputs).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect();
            let mut x = Operand::default();
            x.set(&compute, rows, inputs, &values);
            let mut out = vec![0.0; rows * outputs];
            let mut best = f64::MAX;
            let mut times = vec![];
            let reps = (3000 / rows).clamp(8, 400);
            for rep in 0..reps {
                let t = Instant::now();
                matmul(&compute, &x, &[&packed[rep % copies]], &mut out);
                let s = t.elapsed().as_secs_f64();
                times.push(s);
                best = best.min(s);
            }
            times.sort_by(f64::total_cmp);
            let med = times[times.len() / 2].max(1e-9);
            let w = inputs as f64 * outputs as f64;
            println!(
                "{inputs}x{outputs} rows {rows:4}: {:8.1} us  {:7.1} GFLOP/s  {:6.2} Gw/s {:6.2} GB/s",
                med * 1e6,
                2.0 * w * rows as f64 / med / 1e9,
                w / med / 1e9,
                w * 20.0 / 32.0 / med / 1e9
            );
        }
    }
}
