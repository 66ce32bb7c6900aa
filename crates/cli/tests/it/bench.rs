//! `orrery bench` against a scripted server, and `orrery bench engine` on a tiny model.

use crate::run::{finish, orrery};
use crate::scripted::{Answer, Scripted};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server whose tokens are the words of a text, and whose replies have `chunks` chunks of two tokens. Every
/// `fail_every`-th completion is refused.
fn server(tokenizer: bool, chunks: usize, fail_every: usize) -> Scripted {
    let count = AtomicUsize::new(0);
    Scripted::start(move |request| match request.path.as_str() {
        "/v1/models" => Answer::Json(200, json!({"data": [{"id": "m"}]})),
        "/tokenize" if tokenizer => {
            // Two tokens at the begin stand for what a real tokenizer adds.
            let words = request.body["prompt"].as_str().unwrap_or_default().split_whitespace();
            let tokens: Vec<&str> = ["<s>", "<t>"].into_iter().chain(words).collect();
            Answer::Json(200, json!({"count": tokens.len(), "tokens": tokens}))
        }
        "/detokenize" if tokenizer => {
            let words: Vec<String> = request.body["tokens"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|w| format!(" {w}"))
                .collect();
            Answer::Json(200, json!({"prompt": words.concat()}))
        }
        "/v1/completions" if (count.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(fail_every) => {
            Answer::Json(429, json!({"error": {"message": "the queue is full"}}))
        }
        "/v1/completions" => {
            let prompt = request.body["prompt"].as_str().unwrap_or_default().split_whitespace().count() + 2;
            let usage = json!({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": chunks * 2}});
            let mut events = vec![json!({"choices": [{"text": " a b"}]}).to_string(); chunks];
            events.extend([usage.to_string(), "[DONE]".to_owned()]);
            Answer::Events(events)
        }
        _ => Answer::Json(404, json!({})),
    })
}

fn bench(server: &Scripted, more: &[&str]) -> (Option<i32>, Value) {
    let arguments =
        ["bench", "--url", &server.url, "--json", "--input-tokens", "12", "--output-tokens", "6", "--clients", "3"];
    let run = finish(orrery(&arguments).args(more));
    (run.code, serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.err)))
}

#[test]
fn figures_are_counted_from_what_the_server_sent() {
    let server = server(true, 3, 1_000_000);
    let (code, json) = bench(&server, &["--requests", "10", "--warmup", "2"]);
    assert_eq!(code, Some(0), "{json}");
    assert_eq!((json["completed"].as_u64(), json["failed"].as_u64()), (Some(10), Some(0)));
    assert_eq!(json["exact_prompts"], true);
    assert_eq!((json["total_input_tokens"].as_u64(), json["total_output_tokens"].as_u64()), (Some(120), Some(60)));
    let figure = |key: &str| json[key].as_f64().expect(key);
    assert!((figure("output_throughput") * figure("duration") - 60.0).abs() < 1e-6);
    assert!((figure("request_throughput") * figure("duration") - 10.0).abs() < 1e-6);
    // Three chunks of two tokens: two gaps for ITL, five for TPOT, one stretch of time.
    let span = figure("mean_e2e_ms") - figure("mean_ttft_ms");
    assert!((figure("mean_itl_ms") * 2.0 - span).abs() < 1e-6 && (figure("mean_tpot_ms") * 5.0 - span).abs() < 1e-6);
    let requests = server.seen("/v1/completions");
    assert_eq!(requests.len(), 12);
    assert!(requests.iter().all(|request| request.body["ignore_eos"] == true && request.body["max_tokens"] == 6));
}

#[test]
fn failures_are_counted_by_reason_and_fail_the_run() {
    let (code, json) = bench(&server(false, 3, 4), &["--requests", "8", "--warmup", "0"]);
    assert_eq!(code, Some(1));
    assert_eq!(json["failures"], json!({"HTTP 429: the queue is full": 2}));
    assert_eq!(json["completed"], 6);
    assert_eq!(json["exact_prompts"], false);
}

#[test]
fn a_rate_spreads_the_requests() {
    let (code, json) = bench(&server(false, 1, 1_000_000), &["--requests", "6", "--warmup", "0", "--rate", "20"]);
    assert_eq!(code, Some(0), "{json}");
    // The last of six requests at 20 per second is sent after 0.3 s.
    assert!(json["duration"].as_f64().expect("a figure") >= 0.3, "{json}");
}

#[test]
fn the_engine_is_measured_without_a_server() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models/llama-q4_1.gguf");
    let folder = tempfile::tempdir().expect("temporary folder");
    let bench = |more: &[&str]| {
        let mut command = orrery(&["bench", "engine", "--rounds", "2", "--kv-memory", "64MiB", "--model"]);
        finish(command.arg(&model).arg("--data-dir").arg(folder.path()).args(more))
    };
    let run = bench(&["--json", "--isa", "scalar", "--threads", "1"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let json: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!((json["isa"].as_str(), json["threads"].as_u64()), (Some("scalar"), Some(1)), "{json}");
    let columns = json["columns"].as_array().expect("columns");
    let names: Vec<&str> = columns.iter().filter_map(|column| column["name"].as_str()).collect();
    assert_eq!(names, ["prefill_512", "decode_128", "batch_32", "decode_8000"]);
    for column in columns {
        let samples = column["samples"].as_array().expect("samples");
        assert!(samples.len() == 2 && samples.iter().all(|rate| rate.as_f64() > Some(0.0)), "{column}");
    }
    // The model's context is shorter than 8,000 tokens.
    let cut = columns[3]["input_tokens"].as_u64().expect("a number");
    assert!(cut < 8000, "{json}");
    let table = bench(&[]);
    assert!(
        table.out.contains("32 sequences, 128 in / 64 out") && table.out.contains(&format!("cut to {cut}")),
        "{}",
        table.out
    );
}

#[test]
fn the_machine_is_measured() {
    let run = finish(&mut orrery(&["bench", "roofline", "--isa", "scalar", "--threads", "1", "--json"]));
    assert_eq!(run.code, Some(0), "{}", run.err);
    let json: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!((json["isa"].as_str(), json["threads"].as_u64()), (Some("scalar"), Some(1)), "{json}");
    for name in ["lanes_gflops", "cached_gbytes", "memory_gbytes"] {
        assert!(json[name].as_f64() > Some(0.0), "{name}: {json}");
    }
    let refused = finish(&mut orrery(&["bench", "roofline", "--threads", "1024"]));
    assert!(refused.code != Some(0) && refused.err.contains("1024 threads were asked for"), "{}", refused.err);
}
