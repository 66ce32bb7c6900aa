//! SmolLM2-135M-Instruct Q4_1 against transformers in float32 on the dequantised weights (`fixtures/make_smollm2.py`).

use crate::support::{folder, json, load_on, log_probabilities, smollm2_path, tokens};
use orrery_kernels::attention::BLOCK_TOKENS;
use orrery_model::{Batch, Model, Span};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Rows of one step, so that the logits of a window do not all stand in memory.
const STEP: usize = 128;

/// One for all tests here, which take turns, on one thread: several threads would wait for one another where other tests
/// have the processors.
fn model() -> MutexGuard<'static, Model> {
    static MODEL: LazyLock<Mutex<Model>> = LazyLock::new(|| Mutex::new(load_on(smollm2_path(), None, 1)));
    MODEL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the model says of a token: its log-probability, and whether it is the likeliest.
struct Scored {
    logprob: f64,
    likeliest: bool,
}

/// Scores every token after the first, given all before it.
fn score(model: &mut Model, tokens: &[u32]) -> Vec<Scored> {
    let vocabulary = model.hyper().vocabulary;
    let blocks = (0..tokens.len().div_ceil(BLOCK_TOKENS) as u32).collect::<Vec<_>>();
    let mut cache = model.kv_cache(blocks.len()).unwrap();
    let (mut logits, mut scored) = (Vec::new(), Vec::new());
    for position in (0..tokens.len() - 1).step_by(STEP) {
        let chunk = &tokens[position..(position + STEP).min(tokens.len() - 1)];
        let batch = Batch {
            copies: Vec::new(),
            tokens: chunk.to_vec(),
            spans: vec![Span { row: 0, count: chunk.len(), position, stored: 0, blocks: blocks.clone() }],
            logits_rows: (0..chunk.len()).collect(),
        };
        model.forward(&batch, &mut cache, &mut logits);
        for (row, &next) in logits.chunks_exact(vocabulary).zip(&tokens[position + 1..]) {
            let chosen = row[next as usize];
            let logprob = log_probabilities(row).nth(next as usize).unwrap();
            scored.push(Scored { logprob, likeliest: row.iter().all(|&logit| logit <= chosen) });
        }
    }
    scored
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Mean and maximum of |Δ logprob|.
fn distance(found: &[Scored], wanted: &[f64]) -> (f64, f64) {
    assert_eq!(found.len(), wanted.len());
    let gaps = found.iter().zip(wanted).map(|(found, wanted)| (found.logprob - wanted).abs()).collect::<Vec<_>>();
    (gaps.iter().sum::<f64>() / gaps.len() as f64, gaps.iter().copied().fold(0.0, f64::max))
}

#[test]
fn varied_text_is_within_two_hundredths() {
    let reference = json(&folder().join("smollm2/teacher_forced.json"));
    let scored = score(&mut model(), &tokens(&reference["tokens"]));
    assert_eq!(scored.len(), 600);
    let (mean, max) = distance(&scored, &numbers(&reference["logprobs"]));
    println!("600 teacher-forced tokens: mean |Δ logprob| {mean:.4}, max {max:.3}");
    assert!(mean <= 0.02, "mean |Δ logprob| {mean}");
}

#[test]
fn greedy_tokens_are_the_reference_but_for_near_ties() {
    let reference = json(&folder().join("smollm2/greedy.json"));
    let (prompt, answer) = (tokens(&reference["prompt"]), tokens(&reference["tokens"]));
    let scored = score(&mut model(), &[&prompt[..], &answer].concat()).split_off(prompt.len() - 1);
    assert_eq!(scored.len(), 300);
    let (mean, max) = distance(&scored, &numbers(&reference["logprobs"]));
    println!("300 greedy tokens: mean |Δ logprob| {mean:.4}, max {max:.3}");
    assert!(mean <= 0.02, "mean |Δ logprob| {mean}");
    for (index, (scored, margin)) in scored.iter().zip(numbers(&reference["margins"])).enumerate() {
        assert!(scored.likeliest || margin < 0.1, "token {index}: another is likelier, and its margin was {margin}");
    }
}

#[test]
fn perplexity_of_moby_dick_is_within_half_a_percent() {
    let reference = json(&folder().join("smollm2/moby_dick.json"));
    let window = reference["window"].as_u64().unwrap() as usize;
    let mut model = model();
    let ids = tokens(&reference["tokens"]);
    let text = std::fs::read_to_string(folder().join("smollm2/moby_dick.txt")).unwrap();
    assert_eq!(model.tokenizer().encode(&text, false).unwrap(), ids);
    let total: f64 =
        ids.chunks(window).flat_map(|window| score(&mut model, window)).map(|scored| -scored.logprob).sum();
    let count = reference["scored"].as_u64().unwrap();
    let (found, wanted) = ((total / count as f64).exp(), reference["perplexity"].as_f64().unwrap());
    println!("perplexity {found:.4}, float32 {wanted:.4}");
    assert!((found / wanted - 1.0).abs() < 0.005, "perplexity {found}, float32 {wanted}");
}
