//! Sampling against an independent reference in f64 with full sorts, and against the law of large numbers.

use crate::fake::Random;
use orrery_engine::Sampling;
use orrery_engine::sample::{History, Sampler, draw};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Probabilities by the textbook, in f64: bias, penalties, temperature, min-p, top-k, top-p, each a full pass.
fn reference(row: &[f32], sampling: &Sampling, prompt: &[u32], generated: &[u32]) -> Vec<f64> {
    let mut logits: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
    for (token, bias) in &sampling.logit_bias {
        logits[*token as usize] += f64::from(*bias);
    }
    let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
    for token in generated {
        *counts.entry(*token).or_default() += 1.0;
    }
    for token in prompt.iter().chain(generated).copied().collect::<BTreeSet<u32>>() {
        let logit = &mut logits[token as usize];
        let penalty = f64::from(sampling.repetition_penalty);
        *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
    }
    for (token, count) in counts {
        logits[token as usize] -= f64::from(sampling.frequency_penalty) * count + f64::from(sampling.presence_penalty);
    }
    if sampling.temperature == 0.0 {
        let best = (0..logits.len()).reduce(|a, b| if logits[b] > logits[a] { b } else { a }).expect("not empty");
        return (0..logits.len()).map(|token| if token == best { 1.0 } else { 0.0 }).collect();
    }
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut p: Vec<f64> = logits.iter().map(|x| ((x - max) / f64::from(sampling.temperature)).exp()).collect();
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let best = p[order[0]];
    for token in &order {
        if p[*token] < best * f64::from(sampling.min_p) {
            p[*token] = 0.0;
        }
    }
    if sampling.top_k > 0 {
        for token in order.iter().skip(sampling.top_k) {
            p[*token] = 0.0;
        }
    }
    let total: f64 = p.iter().sum();
    let mut mass = 0.0;
    for token in &order {
        // The token that reaches top_p is in, so there is always one.
        if mass > 0.0 && mass >= f64::from(sampling.top_p) * total {
            p[*token] = 0.0;
        }
        mass += p[*token];
    }
    let total: f64 = p.iter().sum();
    p.iter().map(|p| p / total).collect()
}

fn random_row(random: &mut Random, length: usize) -> Vec<f32> {
    let spread = [1.0, 4.0, 12.0][random.below(3)];
    (0..length).map(|_| (random.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0) * spread).collect()
}

fn random_sampling(random: &mut Random, length: usize) -> Sampling {
    let pick = |random: &mut Random, values: &[f32]| values[random.below(values.len())];
    Sampling {
        temperature: pick(random, &[0.0, 0.3, 0.7, 1.0, 1.0, 1.7]),
        top_k: [0, 0, 1, 5, 40, 300, length][random.below(7)],
        top_p: pick(random, &[1.0, 1.0, 0.95, 0.9, 0.5, 0.01, 0.0]),
        min_p: pick(random, &[0.0, 0.0, 0.05, 0.5, 1.0]),
        presence_penalty: pick(random, &[0.0, 0.0, 0.6, -1.0]),
        frequency_penalty: pick(random, &[0.0, 0.0, 0.3, -0.2]),
        repetition_penalty: pick(random, &[1.0, 1.0, 1.3, 0.8]),
        logit_bias: (0..random.below(3)).map(|_| (random.below(length) as u32, random.below(9) as f32 - 4.0)).collect(),
        seed: None,
    }
}

fn history(prompt: &[u32], generated: &[u32]) -> History {
    let mut history = History::new(Arc::new(prompt.iter().copied().collect()));
    for token in generated {
        history.push(*token);
    }
    history
}

/// The token drawn is the one under the same point of the reference's cumulated probabilities.
#[test]
fn sampling_equals_the_reference() {
    let mut random = Random(11);
    let mut sampler = Sampler::new(orrery_model::LogitMath::portable());
    let (mut truncated, mut all) = (0, 0);
    for case in 0..1500 {
        let length = [3, 50, 700, 5000][random.below(4)];
        let row = random_row(&mut random, length);
        let sampling = random_sampling(&mut random, length);
        let some =
            |random: &mut Random| -> Vec<u32> { (0..random.below(20)).map(|_| random.below(length) as u32).collect() };
        let (prompt, generated) = (some(&mut random), some(&mut random));
        let p = reference(&row, &sampling, &prompt, &generated);
        truncated += usize::from(p.contains(&0.0) && sampling.temperature > 0.0);
        all += 1;
        for position in 0..4 {
            let bits = draw(case, 0, position);
            let token = sampler.sample(&row, &sampling, &history(&prompt, &generated), bits) as usize;
            let below: f64 = p[..token].iter().sum();
            let point = bits as f64 / 2f64.powi(64);
            assert!(p[token] > 0.0, "case {case}: token {token} is cut by {sampling:?}");
            let close = below - 1e-5 <= point && point <= below + p[token] + 1e-5;
            assert!(close, "case {case}: {point} is not in {below} + {} of {sampling:?}", p[token]);
        }
    }
    assert!(truncated * 4 > all, "the cases cut: {truncated} of {all}");
}

#[test]
fn frequencies_follow_the_probabilities() {
    const DRAWS: usize = 100_000;
    let mut random = Random(5);
    let row: Vec<f32> = random_row(&mut random, 40).iter().map(|x| x.clamp(-2.0, 2.0)).collect();
    let settings = [
        Sampling { temperature: 0.8, ..Sampling::default() },
        Sampling { top_p: 0.7, ..Sampling::default() },
        Sampling { top_k: 9, ..Sampling::default() },
    ];
    for (case, sampling) in settings.iter().enumerate() {
        let p = reference(&row, sampling, &[], &[]);
        let mut sampler = Sampler::new(orrery_model::LogitMath::portable());
        let mut counts = vec![0usize; row.len()];
        for position in 0..DRAWS {
            counts[sampler.sample(&row, sampling, &History::default(), draw(42, case, position)) as usize] += 1;
        }
        let mut chi_square = 0.0;
        let mut cells = 0.0;
        for (count, p) in counts.iter().zip(&p) {
            if *p == 0.0 {
                assert_eq!(*count, 0);
                continue;
            }
            let expected = p * DRAWS as f64;
            chi_square += (*count as f64 - expected).powi(2) / expected;
            cells += 1.0;
        }
        // Mean cells − 1, variance twice that; five deviations.
        let freedom: f64 = cells - 1.0;
        let bound = freedom + 5.0 * (2.0 * freedom).sqrt();
        assert!(chi_square < bound, "case {case}: χ² {chi_square} over {freedom} degrees of freedom");
    }
}

#[test]
fn greedy_takes_the_lower_id_of_a_tie_and_never_nan() {
    let mut sampler = Sampler::new(orrery_model::LogitMath::portable());
    let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
    let warm = Sampling::default();
    let none = History::default();
    assert_eq!(sampler.sample(&[f32::NAN, 1.0, 3.0, 3.0], &greedy, &none, 0), 2);
    assert_eq!(sampler.sample(&[f32::NAN; 4], &greedy, &none, 0), 0);
    assert_eq!(sampler.sample(&[f32::NAN; 4], &warm, &none, u64::MAX), 0);
    assert_eq!(sampler.sample(&[0.0, f32::INFINITY, 0.0], &warm, &none, u64::MAX), 1);
    for bits in [0, 1 << 63, u64::MAX] {
        for top_p in [1.0, 0.5] {
            let sampling = Sampling { top_p, ..Sampling::default() };
            let token = sampler.sample(&[f32::NAN, 1.0, f32::NEG_INFINITY, 1.0], &sampling, &none, bits);
            assert!(token == 1 || token == 3, "{token}");
        }
    }
    let banned = Sampling { logit_bias: vec![(2, -100.0)], ..greedy.clone() };
    assert_eq!(sampler.sample(&[0.0, 1.0, 3.0], &banned, &none, 0), 1);
    assert_eq!(sampler.sample(&[0.0, 1.0, 3.0], &greedy, &none, 0), 2);
}

#[test]
fn a_tiny_temperature_is_greedy() {
    let mut sampler = Sampler::new(orrery_model::LogitMath::portable());
    let row = [0.5, 0.500_001, 0.2];
    for temperature in [f32::from_bits(1), 1e-30, 1e-9] {
        let sampling = Sampling { temperature, ..Sampling::default() };
        assert_eq!(sampler.sample(&row, &sampling, &History::default(), u64::MAX / 3), 1);
    }
}

#[test]
fn logprobs_are_the_raw_log_softmax() {
    let mut random = Random(3);
    let mut sampler = Sampler::new(orrery_model::LogitMath::portable());
    for _ in 0..50 {
        let row = random_row(&mut random, 3000);
        let normaliser = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        let chosen = random.below(3000) as u32;
        let got = sampler.logprobs(&row, chosen, 20);
        assert!((f64::from(got.chosen.logprob) - (f64::from(row[chosen as usize]) - normaliser)).abs() < 2e-6);
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
        let top: Vec<usize> = got.top.iter().map(|logprob| logprob.token as usize).collect();
        assert_eq!(top, order[..20]);
        for logprob in got.top {
            assert!((f64::from(logprob.logprob) - (f64::from(row[logprob.token as usize]) - normaliser)).abs() < 2e-6);
        }
    }
    let odd = sampler.logprobs(&[f32::NAN, 0.0, f32::NEG_INFINITY], 0, 5);
    assert_eq!(odd.chosen.logprob, -9999.0);
    assert_eq!(odd.top.iter().map(|logprob| logprob.logprob).collect::<Vec<_>>(), [0.0, -9999.0]);
}
