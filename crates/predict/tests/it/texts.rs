//! Texts: labels, and embeddings as another implementation computes them (fixtures/predict/embeddings.json).

use crate::sample::{fetched, fixture, folder, load, refusal, small};
use orrery_predict::{Answer, Input, Model, Settings};
use serde_json::{Value, json};
use std::sync::OnceLock;

#[test]
fn classification_of_plain_text() {
    let fields = json!({"task": "text-classification", "labels": ["nice", "nasty"]});
    let model = load(&small("text", &fields), &Settings::default()).expect("it loads");
    let texts = ["bad", "good"].map(String::from).to_vec();
    let Answer::Classes(classes) = model.predict_blocking(Input::Texts(texts), None).expect("computed") else {
        panic!()
    };
    let first: Vec<&str> = classes.iter().map(|classes| &*classes[0].label).collect();
    assert_eq!(first, ["nasty", "nice"]);
    assert!((classes[0][0].score - 1.0 / (1.0 + (-4.0_f32).exp())).abs() < 1e-6);
}

/// all-MiniLM-L6-v2, quantised.
pub fn minilm() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let read = |name: &str| std::fs::read(fetched(name)).expect("read");
        let fields = json!({
            "task": "feature-extraction",
            "outputs": {"embedding": "last_hidden_state"},
            "pipeline": {"text": {"tokenizer": "tokenizer.json", "max_tokens": 128, "pooling": "mean", "normalize": true}},
        });
        let folder = folder(&[("model.onnx", read("minilm.onnx")), ("tokenizer.json", read("tokenizer.json"))], &fields);
        let settings = Settings { text_bytes_max: 10_000, ..Settings::default() };
        load(&folder, &settings).expect("it loads")
    })
}

fn expected() -> Vec<(String, usize, Vec<f32>)> {
    let list: Vec<Value> = serde_json::from_slice(&fixture("embeddings.json")).expect("JSON");
    let read = |entry: &Value| {
        let vector = entry["vector"].as_array().expect("a vector").iter();
        let vector = vector.map(|value| value.as_f64().expect("a number") as f32).collect();
        (
            entry["text"].as_str().expect("a text").to_owned(),
            entry["tokens"].as_u64().expect("a count") as usize,
            vector,
        )
    };
    list.iter().map(read).collect()
}

#[test]
fn embeddings_equal_the_oracle() {
    let expected = expected();
    let texts = expected.iter().map(|(text, ..)| text.clone()).collect();
    let answer = minilm().predict_blocking(Input::Texts(texts), None).expect("computed");
    let Answer::Embeddings { vectors, tokens } = answer else { panic!("{answer:?}") };
    assert_eq!(tokens, expected.iter().map(|(_, tokens, _)| tokens).sum::<usize>());
    assert_eq!(vectors.len(), expected.len());
    for (vector, (text, _, wanted)) in vectors.iter().zip(&expected) {
        assert_eq!(vector.len(), 384);
        let worst = vector.iter().zip(wanted).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-5, "{text}: {worst}");
    }
}

#[test]
fn similar_sentences() {
    let expected = expected();
    let cosine = |left: &[f32], right: &[f32]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f32>();
    let sentences: Vec<String> = expected[1..3].iter().map(|(text, ..)| text.clone()).collect();
    let input = Input::Comparison { source: expected[0].0.clone(), sentences };
    let answer = minilm().predict_blocking(input, None).expect("computed");
    let Answer::Similarities { scores, .. } = answer else { panic!("{answer:?}") };
    for (score, (text, _, vector)) in scores.iter().zip(&expected[1..3]) {
        assert!((score - cosine(vector, &expected[0].2)).abs() < 1e-5, "{text}: {score}");
    }
    assert!(scores[0] > 0.5 && scores[1] < 0.2, "{scores:?}");
}

/// Its activations are quantised by the range over a whole batch, so that neighbours would change a text's embedding.
#[test]
fn a_model_that_couples_rows_is_not_batched() {
    assert!(!minilm().batches());
    assert!(!load(&small("quantised", &json!({})), &Settings::default()).expect("it loads").batches());
    let asked = json!({"pipeline": {"batching": true}});
    assert!(load(&small("quantised", &asked), &Settings::default()).expect("it loads").batches());
    assert!(load(&small("lookup", &json!({})), &Settings::default()).expect("it loads").batches());
}

#[test]
fn texts_past_the_limit_are_refused() {
    let message = refusal(minilm().predict_blocking(Input::Texts(vec!["a".into(), "b".repeat(10_001)]), None));
    assert!(message.contains("text 1 has 10001 bytes; at most 10000"), "{message}");
}
