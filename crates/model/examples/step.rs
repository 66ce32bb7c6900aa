//! Scratch timing of steps.
use orrery_model::{Batch, LoadSettings, Model, Span, compute};
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let isa = args.get(2).map(|s| s.as_str());
    let threads = args.get(3).map(|s| s.parse().unwrap());
    let only = args.get(4).cloned().unwrap_or_default();
    let t = Instant::now();
    let mut model =
        Model::load(args[1].as_ref(), LoadSettings::default(), compute(isa, threads).unwrap(), &mut |_| ()).unwrap();
    println!("load {:.3} s", t.elapsed().as_secs_f64());
    let mut kv = model.kv_cache(1200).unwrap();
    let mut logits = Vec::new();
    let run = |model: &mut Model,
               kv: &mut _,
               logits: &mut Vec<f32>,
               name: &str,
               seqs: usize,
               count: usize,
               position: usize,
               reps: usize,
               all: bool| {
        if !name.contains(&only) {
            return;
        }
        let per = (position + count).div_ceil(32);
        let batch = Batch {
            tokens: (0..seqs * count).map(|i| 100 + (i * 37 % 40000) as u32).collect(),
            spans: (0..seqs)
                .map(|s| Span {
                    row: s * count,
                    count,
                    position,
                    blocks: (0..per).map(|b| (s * per + b) as u32).collect(),
                })
                .collect(),
            logits_rows: if all { (0..seqs).map(|s| s * count + count - 1).collect() } else { vec![] },
        };
        let mut times: Vec<f64> = (0..reps)
            .map(|_| {
                let t = Instant::now();
                model.forward(&batch, kv, logits);
                t.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let m = times[reps / 2];
        println!(
            "{name}: median {:.3} ms, min {:.3} ms, {:.1} tok/s",
            m * 1e3,
            times[0] * 1e3,
            (seqs * count) as f64 / m
        );
    };
    run(&mut model, &mut kv, &mut logits, "prefill512", 1, 512, 0, 5, true);
    run(&mut model, &mut kv, &mut logits, "decode1@128", 1, 1, 128, 1501, true);
    run(&mut model, &mut kv, &mut logits, "decode2@128", 2, 1, 128, 61, true);
    run(&mut model, &mut kv, &mut logits, "decode4@128", 4, 1, 128, 61, true);
    run(&mut model, &mut kv, &mut logits, "decode8@128", 8, 1, 128, 41, true);
    run(&mut model, &mut kv, &mut logits, "decode32@160", 32, 1, 160, 21, true);
    run(&mut model, &mut kv, &mut logits, "decode1@8000", 1, 1, 8000, 31, true);
}
