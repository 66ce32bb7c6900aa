//! Attention: every variant of compute, chunking and batching bit for bit; against a float64 softmax.

use crate::support::{Random, compute_variants};
use orrery_kernels::Compute;
use orrery_kernels::attention::{BLOCK_TOKENS, KvCache, Rows, Shape, Span, attend, store};
use orrery_kernels::quant::half::{bf16_to_f32, f32_to_bf16};

const LAYERS: usize = 2;

struct Case {
    shape: Shape,
    tokens: usize,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

fn case(seed: u64, heads: usize, kv_heads: usize, head_dim: usize, tokens: usize) -> Case {
    let mut random = Random::new(seed);
    Case {
        shape: Shape { heads, kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() },
        tokens,
        queries: random.normals(tokens * heads * head_dim),
        keys: random.normals(tokens * kv_heads * head_dim),
        values: random.normals(tokens * kv_heads * head_dim),
    }
}

/// The same with scores further apart and values of many magnitudes, whose sums show in which order they were added.
fn uneven_case(seed: u64, heads: usize, kv_heads: usize, head_dim: usize, tokens: usize) -> Case {
    let mut case = case(seed, heads, kv_heads, head_dim, tokens);
    case.queries.iter_mut().for_each(|x| *x *= 4.0);
    case.values = Random::new(seed + 1_000).spread(case.values.len());
    case
}

/// Runs the sequence in chunks that end at `ends`, with blocks in a scattered order.
fn run(compute: &Compute, case: &Case, ends: &[usize]) -> Vec<f32> {
    let blocks = case.tokens.div_ceil(BLOCK_TOKENS);
    let table: Vec<u32> = (0..blocks).map(|b| ((b * 7 + 3) % (blocks * 7 + 4)) as u32).collect();
    let mut cache =
        KvCache::new(LAYERS, blocks * 7 + 4, case.shape.kv_heads, case.shape.head_dim).expect("a head dimension");
    let width = case.shape.heads * case.shape.head_dim;
    let kv_width = case.shape.kv_heads * case.shape.head_dim;
    let mut out = vec![f32::NAN; case.tokens * width];
    let mut start = 0;
    for &end in ends {
        let spans = [Span { row: 0, count: end - start, position: start, stored: 0, blocks: &table }];
        let keys = Rows { values: &case.keys[start * kv_width..], stride: kv_width };
        let values = Rows { values: &case.values[start * kv_width..], stride: kv_width };
        store(compute, &mut cache, 1, &spans, keys, values);
        let queries = Rows { values: &case.queries[start * width..], stride: width };
        attend(compute, &cache, 1, case.shape, &spans, queries, &mut out[start * width..end * width]);
        start = end;
    }
    out
}

#[track_caller]
fn assert_same_bits(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let differs = got.iter().zip(want).enumerate().find(|(_, (got, want))| got.to_bits() != want.to_bits());
    assert_eq!(differs, None, "{what}: (place, (got, wanted))");
}

#[test]
fn chunks_instruction_sets_and_threads_give_the_same_bits() {
    for (seed, heads, kv_heads, dim, tokens) in
        [(1, 9, 3, 64, 300), (2, 4, 4, 16, 70), (3, 8, 2, 80, 530), (4, 7, 1, 128, 33)]
    {
        let case = uneven_case(seed, heads, kv_heads, dim, tokens);
        let whole = run(&compute_variants()[0], &case, &[tokens]);
        assert!(!whole.iter().any(|x| x.is_nan()));
        let one_by_one: Vec<usize> = (1..=tokens).collect();
        for compute in compute_variants() {
            for ends in [&[tokens][..], &[1, 18, 31, 33, tokens], &one_by_one] {
                let what = format!("{} case {seed}", compute.isa().name());
                assert_same_bits(&run(&compute, &case, ends), &whole, &what);
            }
        }
    }
}

/// The text of the module's docs in plain float32: one query, which sees the positions before `end`.
fn defined(query: &[f32], key: impl Fn(usize) -> Vec<f32>, value: impl Fn(usize) -> Vec<f32>, end: usize) -> Vec<f32> {
    let dim = query.len();
    let query: Vec<f32> = query.iter().copied().map(round).collect();
    let (mut max, mut sum, mut out) = (f32::NEG_INFINITY, 0.0f32, vec![0.0f32; dim]);
    for start in (0..end).step_by(256) {
        let tokens: Vec<usize> = (start..end.min(start + 256)).collect();
        let scores: Vec<f32> = tokens.iter().map(|&t| canonical(&query, &key(t)) / (dim as f32).sqrt()).collect();
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let p: Vec<f32> = scores.iter().map(|score| round(exponential(score - top))).collect();
        let values: Vec<Vec<f32>> = tokens.iter().map(|&t| value(t)).collect();
        let mixed: Vec<f32> =
            (0..dim).map(|d| canonical(&p, &values.iter().map(|value| value[d]).collect::<Vec<_>>())).collect();
        let (old, new) = match sum {
            0.0 => (0.0, 1.0),
            _ => (exponential(max - max.max(top)), exponential(top - max.max(top))),
        };
        sum = sum.mul_add(old, lanes_sum(&p) * new);
        max = max.max(top);
        out.iter_mut().zip(mixed).for_each(|(out, mixed)| *out = out.mul_add(old, mixed * new));
    }
    out.iter().map(|out| out / sum).collect()
}

/// All heads of a row of a case.
fn defined_row(case: &Case, row: usize) -> Vec<f32> {
    let Shape { heads, kv_heads, head_dim: dim, .. } = case.shape;
    let head = |head: usize| {
        let from =
            |values: &[f32], t: usize| values[(t * kv_heads + head / (heads / kv_heads)) * dim..][..dim].to_vec();
        let query = &case.queries[(row * heads + head) * dim..][..dim];
        defined(query, |t| from(&case.keys, t), |t| from(&case.values, t), row + 1)
    };
    (0..heads).flat_map(head).collect()
}

fn round(x: f32) -> f32 {
    bf16_to_f32(f32_to_bf16(x))
}

/// The canonical sum: in each block of 32, the chain over the even steps plus the chain over the odd ones.
fn canonical(a: &[f32], b: &[f32]) -> f32 {
    let blocks = a.chunks(32).zip(b.chunks(32)).map(|(a, b)| {
        let chain = |from: usize| (from..a.len()).step_by(2).fold(0.0f32, |sum, k| a[k].mul_add(round(b[k]), sum));
        chain(0) + chain(1)
    });
    blocks.fold(0.0, |sum, block| sum + block)
}

/// Sixteen lanes, then halves of them.
fn lanes_sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    values.iter().enumerate().for_each(|(i, value)| lanes[i % 16] += value);
    for half in [8, 4, 2, 1] {
        (0..half).for_each(|lane| lanes[lane] += lanes[lane + half]);
    }
    lanes[0]
}

/// Cephes' `expf` with fused steps (Moshier, 1989), for arguments from −87 to 0.
fn exponential(x: f32) -> f32 {
    let x = x.max(-87.0);
    let n = x.mul_add(std::f32::consts::LOG2_E, 12_582_912.0) - 12_582_912.0;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
    let coefficients = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let p = coefficients.iter().fold(1.987_569_1e-4f32, |p, c| p.mul_add(r, *c));
    p.mul_add(r * r, r + 1.0) * 2f32.powi(n as i32)
}

#[test]
fn every_row_has_the_bits_of_the_definition() {
    // 16 dimensions are half a block, 530 tokens three splits. The roots of 16, 64 and 256 are exact.
    for (seed, heads, kv_heads, dim, tokens) in [(41, 9, 3, 64, 530), (42, 4, 2, 16, 300), (43, 1, 1, 256, 40)] {
        let case = uneven_case(seed, heads, kv_heads, dim, tokens);
        let out = run(&Compute::new(None, None).expect("this machine"), &case, &[tokens]);
        for row in [0, 1, 30, 31, 32, 33, 255, 256, 257, 511, 512, tokens - 1].into_iter().filter(|row| *row < tokens) {
            let got = &out[row * heads * dim..][..heads * dim];
            assert_same_bits(got, &defined_row(&case, row), &format!("case {seed} row {row}"));
        }
    }
}

#[test]
fn attention_is_close_to_a_float64_softmax() {
    let compute = Compute::new(None, None).expect("this machine");
    let case = case(11, 6, 2, 64, 600);
    let out = run(&compute, &case, &[600]);
    let (heads, dim, group) = (6, 64, 3);
    for row in [0, 1, 31, 32, 255, 256, 257, 599] {
        for head in 0..heads {
            let q = &case.queries[(row * heads + head) * dim..][..dim];
            let at = |t: usize| (t * 2 + head / group) * dim;
            let dot = |t: usize| -> f64 {
                q.iter().zip(&case.keys[at(t)..][..dim]).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            let scores: Vec<f64> = (0..=row).map(|t| dot(t) / 8.0).collect();
            let max = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
            for d in 0..dim {
                let want: f64 =
                    (0..=row).map(|t| (scores[t] - max).exp() / sum * f64::from(case.values[at(t) + d])).sum();
                let got = f64::from(out[(row * heads + head) * dim + d]);
                assert!((got - want).abs() < 0.03, "row {row} head {head} dim {d}: {got} for {want}");
            }
        }
    }
}

/// The rows of several sequences from `starts` on, stored and computed in one batch; those before were stored earlier.
fn batch(compute: &Compute, cases: &[Case], starts: &[usize]) -> Vec<Vec<f32>> {
    let shape = cases[0].shape;
    let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    let blocks = cases.iter().map(|case| case.tokens.div_ceil(BLOCK_TOKENS)).max().unwrap_or(0);
    let mut cache =
        KvCache::new(LAYERS, cases.len() * blocks, shape.kv_heads, shape.head_dim).expect("a head dimension");
    // The blocks of the sequences lie among each other.
    let tables: Vec<Vec<u32>> =
        (0..cases.len()).map(|c| (0..blocks).map(|b| (b * cases.len() + c) as u32).collect()).collect();
    let (mut queries, mut keys, mut values, mut spans) = (vec![], vec![], vec![], vec![]);
    for ((case, blocks), &start) in cases.iter().zip(&tables).zip(starts) {
        let before = [Span { row: 0, count: start, position: 0, stored: 0, blocks }];
        let rows = |values| Rows { values, stride: kv_width };
        store(compute, &mut cache, 0, &before, rows(&case.keys), rows(&case.values));
        spans.push(Span { row: queries.len() / width, count: case.tokens - start, position: start, stored: 0, blocks });
        queries.extend_from_slice(&case.queries[start * width..]);
        keys.extend_from_slice(&case.keys[start * kv_width..]);
        values.extend_from_slice(&case.values[start * kv_width..]);
    }
    let rows = |values, stride| Rows { values, stride };
    store(compute, &mut cache, 0, &spans, rows(&keys, kv_width), rows(&values, kv_width));
    let mut out = vec![f32::NAN; queries.len()];
    attend(compute, &cache, 0, shape, &spans, rows(&queries, width), &mut out);
    spans.iter().map(|span| out[span.row * width..][..span.count * width].to_vec()).collect()
}

#[test]
fn sequences_in_one_batch_do_not_see_each_other() {
    let compute = Compute::new(None, None).expect("this machine");
    let cases = [case(21, 6, 2, 32, 40), case(22, 6, 2, 32, 65), case(23, 6, 2, 32, 1)];
    for (case, out) in cases.iter().zip(batch(&compute, &cases, &[0; 3])) {
        assert_same_bits(&out, &run(&compute, case, &[case.tokens]), "in a batch and alone");
    }
}

#[test]
fn long_decodes_in_one_batch_do_not_see_each_other() {
    // Three items are so few that the long spans, of two and three splits, are divided on any number of threads.
    for tokens in [[300, 40, 530], [530, 300, 40], [257, 513, 300]] {
        let cases = tokens.map(|tokens| case(tokens as u64, 3, 1, 16, tokens));
        let starts = tokens.map(|tokens| tokens - 1);
        let defined = cases.each_ref().map(|case| defined_row(case, case.tokens - 1));
        for compute in compute_variants() {
            let out = batch(&compute, &cases, &starts);
            for index in 0..cases.len() {
                let name = format!("{}: {} of {tokens:?} tokens", compute.isa().name(), tokens[index]);
                let alone = batch(&compute, &cases[index..=index], &starts[index..=index]);
                assert_same_bits(&out[index], &alone[0], &name);
                assert_same_bits(&out[index], &defined[index], &name);
            }
        }
    }
}

#[test]
fn later_tokens_change_nothing_whatever_they_hold() {
    // Queries and keys point away from each other: no score is above those of the tokens that a row must not see.
    for (tokens, later) in [(40, 7), (300, 270)] {
        let mut case = case(51, 6, 2, 16, tokens);
        case.queries.iter_mut().for_each(|x| *x = x.abs() + 1.0);
        case.keys.iter_mut().for_each(|x| *x = -x.abs() - 1.0);
        let defined: Vec<Vec<f32>> = (0..later).map(|row| defined_row(&case, row)).collect();
        for (key, value) in [(1e30, -1e30), (-1e30, 1e30), (f32::INFINITY, 1e30), (f32::NAN, 1e30)] {
            case.keys[later * 32..].fill(key);
            case.values[later * 32..].fill(value);
            for compute in compute_variants() {
                let out = run(&compute, &case, &[tokens]);
                for (row, defined) in defined.iter().enumerate() {
                    let what = format!("{} row {row} before ({key}, {value})", compute.isa().name());
                    assert_same_bits(&out[row * 96..][..96], defined, &what);
                }
            }
        }
    }
}

#[test]
fn a_reused_block_shows_nothing_of_its_former_owner() {
    let compute = Compute::new(None, None).expect("this machine");
    let mut poison = case(31, 2, 1, 16, 32);
    poison.values.fill(f32::NAN);
    poison.keys.fill(f32::INFINITY);
    let clean = case(32, 2, 1, 16, 5);
    let expected = run(&compute, &clean, &[5]);
    let mut cache = KvCache::new(LAYERS, 1, 1, 16).expect("a head dimension");
    for (case, keep) in [(&poison, false), (&clean, true)] {
        let spans = [Span { row: 0, count: case.tokens, position: 0, stored: 0, blocks: &[0] }];
        store(
            &compute,
            &mut cache,
            0,
            &spans,
            Rows { values: &case.keys, stride: 16 },
            Rows { values: &case.values, stride: 16 },
        );
        let mut out = vec![0.0; case.tokens * 32];
        attend(&compute, &cache, 0, case.shape, &spans, Rows { values: &case.queries, stride: 32 }, &mut out);
        if keep {
            assert_same_bits(&out, &expected, "after another's block");
        }
    }
}

#[test]
fn head_dimensions_that_do_not_fit_are_refused() {
    for dim in [0, 8, 40, 272] {
        let error = KvCache::new(1, 1, 1, dim).err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("head dimension {dim} is not a multiple of 16 up to 256")));
    }
}
