//! Products: every instruction set and every number of rows against the definition, bit for bit; the definition against
//! float64.

use crate::support::{Random, compute_variants, random_matrix};
use orrery_kernels::Compute;
use orrery_kernels::isa::Isa;
use orrery_kernels::matmul::{Operand, definition, matmul};
use orrery_kernels::quant::{Format, Packed, Source, dequantize};

struct Case {
    format: Format,
    outputs: usize,
    inputs: usize,
}

/// All formats with shapes that leave a tail of outputs.
fn cases() -> impl Iterator<Item = Case> {
    Format::ALL.into_iter().map(|format| Case {
        format,
        outputs: if format.is_float() { 37 } else { 50 },
        inputs: if format.is_float() { 72 } else { 512 },
    })
}

fn pack(compute: &Compute, case: &Case, bytes: &[u8]) -> Packed {
    let source = Source { format: case.format, outputs: case.outputs, inputs: case.inputs, bytes, row_order: None };
    Packed::pack(compute, &source).expect("a fitting shape")
}

#[test]
fn every_instruction_set_and_row_count_gives_the_bits_of_the_definition() {
    let scalar = Compute::new(Some(orrery_kernels::isa::Isa::Scalar), Some(1)).expect("scalar");
    for case in cases() {
        let mut random = Random::new(case.format as u64 + 1);
        let bytes = random_matrix(&mut random, case.format, case.outputs * case.inputs);
        let packed = pack(&scalar, &case, &bytes);
        for rows in [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 32, 100] {
            let values = random.spread(rows * case.inputs);
            let mut x = Operand::default();
            x.set(&scalar, rows, case.inputs, &values);
            let step = if rows > 13 { 11 } else { 1 };
            let expected: Vec<(usize, usize, f32)> = (0..rows)
                .step_by(step)
                .flat_map(|r| (0..case.outputs).map(move |o| (r, o)))
                .map(|(r, o)| (r, o, definition::product(&scalar, &x, r, &packed, o)))
                .collect();
            for compute in compute_variants() {
                let mut x = Operand::default();
                x.set(&compute, rows, case.inputs, &values);
                let mut out = vec![f32::NAN; rows * case.outputs];
                matmul(&compute, &x, &[&packed], &mut out);
                for &(r, o, want) in &expected {
                    let got = out[r * case.outputs + o];
                    assert_eq!(
                        got.to_bits(),
                        want.to_bits(),
                        "{} {} rows={rows} row {r} output {o}: {got} for {want}",
                        case.format.name(),
                        compute.isa().name(),
                    );
                }
            }
        }
    }
}

#[test]
fn the_definition_is_close_to_float64_on_the_dequantised_weights() {
    let compute = Compute::new(Some(Isa::Scalar), None).expect("always");
    for case in cases() {
        let mut random = Random::new(77 + case.format as u64);
        let bytes = random_matrix(&mut random, case.format, case.outputs * case.inputs);
        let packed = pack(&compute, &case, &bytes);
        let mut weights = vec![0.0; case.outputs * case.inputs];
        dequantize(case.format, &bytes, &mut weights).expect("whole blocks");
        let values = random.normals(case.inputs);
        let mut x = Operand::default();
        x.set(&compute, 1, case.inputs, &values);
        for output in 0..case.outputs {
            let row = &weights[output * case.inputs..][..case.inputs];
            let exact: f64 = row.iter().zip(&values).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
            let scale: f64 = row.iter().zip(&values).map(|(&w, &x)| (f64::from(w) * f64::from(x)).powi(2)).sum();
            let got = f64::from(definition::product(&compute, &x, 0, &packed, output));
            // bf16 rounds each activation by at most 2⁻⁹ of its size, float weights too; errors add like a random walk.
            let bound = 8.0 * 2f64.powi(-9) * scale.sqrt() + 1e-30;
            assert!((got - exact).abs() < bound, "{} output {output}: {got} for {exact}", case.format.name());
        }
    }
}

#[test]
fn packed_rows_are_the_dequantised_rows() {
    let compute = Compute::new(None, None).expect("this machine");
    for case in cases() {
        let mut random = Random::new(5);
        let bytes = random_matrix(&mut random, case.format, case.outputs * case.inputs);
        let packed = pack(&compute, &case, &bytes);
        let mut weights = vec![0.0; case.outputs * case.inputs];
        dequantize(case.format, &bytes, &mut weights).expect("whole blocks");
        let mut row = vec![0.0; case.inputs];
        for output in 0..case.outputs {
            packed.row(output, &mut row);
            for (k, (&got, &want)) in row.iter().zip(&weights[output * case.inputs..]).enumerate() {
                let want = if case.format.is_float() { round_bf16(want) } else { want };
                assert_eq!(got, want, "{} ({output}, {k})", case.format.name());
            }
        }
    }
}

fn round_bf16(value: f32) -> f32 {
    orrery_kernels::quant::half::bf16_to_f32(orrery_kernels::quant::half::f32_to_bf16(value))
}

#[test]
fn several_matrices_in_one_call_give_the_same_as_one_by_one() {
    let compute = Compute::new(None, None).expect("this machine");
    let mut random = Random::new(9);
    let shapes = [(Format::Q4_1, 40), (Format::Q6_K, 17), (Format::BF16, 5)];
    let packed: Vec<Packed> = shapes
        .iter()
        .map(|&(format, outputs)| {
            let case = Case { format, outputs, inputs: 256 };
            let bytes = random_matrix(&mut random, format, outputs * 256);
            pack(&compute, &case, &bytes)
        })
        .collect();
    for rows in [1, 9] {
        let values = random.spread(rows * 256);
        let mut x = Operand::default();
        x.set(&compute, rows, 256, &values);
        let mut fused = vec![0.0; rows * 62];
        matmul(&compute, &x, &packed.iter().collect::<Vec<_>>(), &mut fused);
        let mut column = 0;
        for w in &packed {
            let mut alone = vec![0.0; rows * w.outputs()];
            matmul(&compute, &x, &[w], &mut alone);
            for r in 0..rows {
                assert_eq!(fused[r * 62 + column..][..w.outputs()], alone[r * w.outputs()..][..w.outputs()]);
            }
            column += w.outputs();
        }
    }
}

#[test]
fn rows_are_fetched_in_the_order_asked_for() {
    let mut random = Random::new(6);
    for case in cases() {
        let bytes = random_matrix(&mut random, case.format, case.outputs * case.inputs);
        let wanted = [3, 0, case.outputs as u32 - 1, 3, 16];
        for compute in compute_variants() {
            let packed = pack(&compute, &case, &bytes);
            let mut out = vec![f32::NAN; wanted.len() * case.inputs];
            packed.rows(&compute, &wanted, &mut out);
            let mut row = vec![0.0; case.inputs];
            for (got, output) in out.chunks(case.inputs).zip(wanted) {
                packed.row(output as usize, &mut row);
                assert_eq!(got, row, "{} row {output}", case.format.name());
            }
        }
    }
}

#[test]
fn row_order_moves_rows() {
    let compute = Compute::new(None, None).expect("this machine");
    let mut random = Random::new(3);
    let bytes = random_matrix(&mut random, Format::Q8_0, 4 * 32);
    let order = [2, 0, 3, 1];
    let source = |row_order| Source { format: Format::Q8_0, outputs: 4, inputs: 32, bytes: &bytes, row_order };
    let plain = Packed::pack(&compute, &source(None)).expect("fits");
    let moved = Packed::pack(&compute, &source(Some(&order))).expect("fits");
    let (mut a, mut b) = ([0.0; 32], [0.0; 32]);
    for (to, &from) in order.iter().enumerate() {
        moved.row(to, &mut a);
        plain.row(from as usize, &mut b);
        assert_eq!(a, b);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let compute = Compute::new(None, None).expect("this machine");
    let refused = |inputs, bytes: &[u8], row_order| {
        Packed::pack(&compute, &Source { format: Format::Q4_1, outputs: 2, inputs, bytes, row_order })
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(
        refused(33, &[0; 40], None).as_deref(),
        Some("33 inputs per row is not a multiple of the 32 weights of a Q4_1 block")
    );
    assert_eq!(refused(32, &[0; 39], None).as_deref(), Some("weight matrix: 39 given, 40 needed"));
    assert!(refused(32, &[0; 40], Some(&[0, 2])).is_some());
    assert!(refused(32, &[0; 40], Some(&[1, 0])).is_none());
}
