//! Norms, rotary embedding, SiLU and log-sum-exp: every variant bit for bit, and each against float64.

use crate::support::{Random, compute_variants};
use orrery_kernels::Compute;
use orrery_kernels::elementwise::{Angles, Heads, Rope, add, add_bias, rms_norm, rms_norm_heads, silu_mul};

/// Runs `operation` on every variant, checks that all give the same bits, and gives the values.
fn same_everywhere(operation: impl Fn(&Compute) -> Vec<f32>) -> Vec<f32> {
    let variants = compute_variants();
    let first = operation(&variants[0]);
    for compute in &variants[1..] {
        let other = operation(compute);
        let differs = first.iter().zip(&other).position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(differs, None, "{} with {} threads", compute.isa().name(), compute.threads());
    }
    first
}

fn close(got: f32, want: f64, relative: f64) {
    assert!((f64::from(got) - want).abs() <= relative * want.abs().max(1e-6), "{got} for {want}");
}

#[test]
fn rms_norm_equals_float64() {
    for width in [16, 30, 576, 1000] {
        let mut random = Random::new(width as u64);
        let (x, weight) = (random.normals(40 * width), random.normals(width));
        let out = same_everywhere(|compute| {
            let mut out = vec![0.0; x.len()];
            rms_norm(compute, &x, &weight, 1e-5, &mut out);
            out
        });
        for (row, got) in x.chunks(width).zip(out.chunks(width)) {
            let mean = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (mean + f64::from(1e-5f32)).sqrt();
            for i in 0..width {
                close(got[i], f64::from(row[i]) * scale * f64::from(weight[i]), 2e-6);
            }
        }
    }
}

#[test]
fn head_norms_touch_their_columns_alone() {
    let mut random = Random::new(8);
    let (x, weight) = (random.normals(3 * 100), random.normals(16));
    let out = same_everywhere(|compute| {
        let mut out = x.clone();
        let at = Heads { stride: 100, column: 20, heads: 2, head_dim: 16 };
        rms_norm_heads(compute, &mut out, at, &weight, 1e-6);
        out
    });
    let compute = Compute::new(None, None).expect("this machine");
    for row in 0..3 {
        for column in (0..100).step_by(1) {
            let at = row * 100 + column;
            if !(20..52).contains(&column) {
                assert_eq!(out[at], x[at]);
            }
        }
        let mut alone = vec![0.0; 32];
        rms_norm(&compute, &x[row * 100 + 20..][..32], &weight, 1e-6, &mut alone);
        assert_eq!(out[row * 100 + 20..][..32], alone);
    }
}

#[test]
fn silu_mul_equals_float64_over_the_whole_range() {
    let width = 1000;
    let gates: Vec<f32> = (0..width).map(|i| (i as f32 - 500.0) * 0.2).collect();
    let ups = Random::new(4).normals(width);
    let gate_up = [gates.clone(), ups.clone()].concat();
    let out = same_everywhere(|compute| {
        let mut out = vec![0.0; width];
        silu_mul(compute, &gate_up, width, &mut out);
        out
    });
    for i in 0..width {
        let gate = f64::from(gates[i]);
        let want = gate / (1.0 + (-gate).exp()) * f64::from(ups[i]);
        assert!((f64::from(out[i]) - want).abs() <= 1e-6 * want.abs() + 1e-30, "silu({gate}): {} for {want}", out[i]);
    }
}

#[test]
fn rope_rotates_pairs_by_position_times_frequency() {
    let (heads, dim) = (3, 32);
    let frequencies: Vec<f64> = (0..12).map(|i| 10_000f64.powf(-f64::from(i) / 12.0)).collect();
    let positions = [0u32, 1, 77, 100_000];
    let x = Random::new(6).normals(4 * 120);
    let out = same_everywhere(|compute| {
        let rope = Rope::new(frequencies.clone(), 1.25);
        let mut angles = Angles::default();
        rope.angles(compute, &positions, &mut angles);
        let mut out = x.clone();
        rope.apply(compute, &mut out, Heads { stride: 120, column: 10, heads, head_dim: dim }, &angles);
        out
    });
    for (row, &position) in positions.iter().enumerate() {
        for column in 0..120 {
            let at = row * 120 + column;
            let inside = (10..10 + heads * dim).contains(&column) && (column - 10) % dim < 24;
            if !inside {
                assert_eq!(out[at], x[at], "row {row} column {column}");
                continue;
            }
            let i = (column - 10) % dim;
            let angle = f64::from(position) * frequencies[i % 12];
            let (cos, sin) = (1.25 * angle.cos(), 1.25 * angle.sin());
            let other = f64::from(if i < 12 { -x[at + 12] } else { x[at - 12] });
            let want = f64::from(x[at]) * cos + other * sin;
            assert!(
                (f64::from(out[at]) - want).abs() < 2e-6 * 6.0,
                "row {row} column {column}: {} for {want}",
                out[at]
            );
        }
    }
}

#[test]
fn sums_are_exact() {
    let mut random = Random::new(12);
    let (x, y) = (random.normals(40_007), random.normals(40_007));
    let out = same_everywhere(|compute| {
        let mut out = x.clone();
        add(compute, &mut out, &y);
        out
    });
    assert!(out.iter().zip(x.iter().zip(&y)).all(|(&sum, (&x, &y))| sum == x + y));
    let biased = same_everywhere(|compute| {
        let mut out = x[..60].to_vec();
        add_bias(compute, &mut out, 20, 3, &y[..10]);
        out
    });
    for (i, &got) in biased.iter().enumerate() {
        let column = i % 20;
        let bias = if (3..13).contains(&column) { y[column - 3] } else { 0.0 };
        assert_eq!(got, x[i] + bias);
    }
}

#[test]
fn denormals_are_flushed_on_every_path_and_the_callers_mode_comes_back() {
    let tiny = f32::from_bits(1 << 20);
    let out = same_everywhere(|compute| {
        let mut x = vec![tiny; 40];
        add(compute, &mut x, &[0.0; 40]);
        x
    });
    assert!(out.iter().all(|&x| x == 0.0));
    assert_eq!(std::hint::black_box(tiny) * std::hint::black_box(0.5), f32::from_bits(1 << 19));
}
