//! The server over a real engine: tiny models of `fixtures/`, so that what only the whole product can get wrong is tested
//! here: blocks after disconnects, and what users can send that a model or its template does not take.

use crate::support::{Connection, PATIENCE, Response, check_error};
use orrery_platform::accounts::Keys;
use orrery_platform::metering::MeterSettings;
use orrery_platform::{Accounts, FileSettings, ModelStats, Platform, Settings as PlatformSettings};
use orrery_server::Settings;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpListener;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models").join(name)
}

pub struct Served {
    pub address: SocketAddr,
    pub platform: Arc<Platform>,
    pub model: String,
    pub key: String,
    pub data: TempDir,
}

impl Served {
    pub async fn start(model: &Path, edit: impl FnOnce(&mut PlatformSettings)) -> Self {
        Self::start_with(model, edit, FileSettings::default()).await
    }

    pub async fn start_with(model: &Path, edit: impl FnOnce(&mut PlatformSettings), files: FileSettings) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mut settings = PlatformSettings {
            data_dir: data.path().to_owned(),
            models: vec![model.to_str().expect("UTF-8").to_owned()],
            kv_memory_bytes: 128 << 20,
            ..PlatformSettings::default()
        };
        edit(&mut settings);
        let opened = Accounts::open_with(data.path(), Keys::Asked, files, Default::default()).await.expect("accounts");
        let (accounts, key) = (opened.accounts, opened.first_key.expect("a first start"));
        accounts.start_metering(MeterSettings::new(data.path())).await.expect("a journal");
        let platform = Platform::start(settings, accounts).expect("good settings");
        platform.wait_ready().await.expect("a model");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let model = platform.models()[0].id.clone();
        let forever = std::future::pending();
        tokio::spawn(orrery_server::serve(platform.clone(), listener, Settings::default(), forever));
        Self { address, platform, model, key, data }
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await.with_key(&self.key)
    }

    pub async fn post(&self, path: &str, mut body: Value) -> Response {
        body["model"] = json!(self.model);
        let mut connection = self.connect().await;
        connection.request("POST", path, &[], body.to_string().as_bytes()).await
    }

    /// Sends a request and leaves its answer.
    pub async fn ask(&self, path: &str, mut body: Value) -> Connection {
        body["model"] = json!(self.model);
        let mut connection = self.connect().await;
        connection.send("POST", path, &[], body.to_string().as_bytes()).await;
        connection
    }

    pub async fn get(&self, path: &str) -> Response {
        self.connect().await.request("GET", path, &[], b"").await
    }

    pub fn stats(&self) -> ModelStats {
        self.platform.stats().remove(0)
    }

    /// Time until the gauges are so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&ModelStats) -> bool) -> Duration {
        let begin = Instant::now();
        while !is_so(&self.stats()) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", self.stats());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        begin.elapsed()
    }
}

/// What is allowed between a disconnect and the blocks being free.
const FREED: Duration = Duration::from_millis(250);
/// Sequences of the others: 16 requests with 8 choices each.
const OTHERS: usize = 16 * 8;

/// Runs for as long as the context allows.
fn long(first_token: usize, stream: bool) -> Value {
    let prompt: Vec<usize> = (0..100).map(|i| (first_token + 7 * i) % 256).collect();
    json!({"prompt": prompt, "max_tokens": 400, "n": 8, "ignore_eos": true, "stream": stream})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_frees_its_blocks_at_once_while_others_run() {
    let places = OTHERS + 8;
    let served = Served::start(&fixture("llama-q8_0.gguf"), |settings| {
        (settings.sequences_max, settings.step_logits_max) = (places, places);
    })
    .await;
    let mut others = Vec::new();
    for i in 0..16 {
        others.push(served.ask(TEXT, long(i, i % 2 == 0)).await);
    }
    served.until("the others run", |stats| stats.running == OTHERS).await;

    let only_others = |stats: &ModelStats| stats.running == OTHERS && stats.waiting == 0;
    let mut freed = Vec::new();
    for stream in [true, false] {
        let mut victim = served.ask(TEXT, long(100, stream)).await;
        if stream {
            victim.until("data: ").await;
        }
        served.until("it runs too", |stats| stats.running == places).await;
        drop(victim);
        freed.push(served.until("it is gone", only_others).await);
    }

    // Another takes the last places; the next one waits for them.
    let holder = served.ask(TEXT, long(100, true)).await;
    served.until("all places are taken", |stats| stats.running == places).await;
    let queued = served.ask(TEXT, long(200, true)).await;
    served.until("it is queued", |stats| stats.waiting == 1).await;
    drop(queued);
    freed.push(served.until("it left the queue", |stats| stats.waiting == 0).await);

    let stats = served.stats();
    assert_eq!(stats.running, places, "the load lasted to the end: {stats:?}");
    drop((holder, others));
    freed.push(served.until("nothing holds a block", |stats| stats.blocks_used == 0 && stats.running == 0).await);
    println!("freed within {freed:?}");
    assert!(freed.iter().all(|time| *time < FREED), "{freed:?}");
    let blocks = served.stats();
    assert!(blocks.blocks_cached > 0 && blocks.preemptions == 0, "{blocks:?}");
}

/// Makes a copy of a model whose chat template is another.
fn copy_with_template(folder: &Path, template: &str) {
    std::fs::create_dir(folder).expect("a folder");
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixture("llama-f32").join(name), folder.join(name)).expect("a copy");
    }
    let path = folder.join("tokenizer_config.json");
    let text = std::fs::read_to_string(&path).expect("readable");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["chat_template"] = json!(template);
    std::fs::write(path, config.to_string()).expect("writable");
}

#[tokio::test]
async fn a_template_that_refuses_a_conversation_is_400_for_messages() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("refusing");
    copy_with_template(
        &folder,
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system messages, please.') }}{% endif %}\
         {% if m.content == 'faulty' %}{{ m.content.nothing.at_all }}{% endif %}\
         {% if m.content == 'endless' %}{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}\
         {% endif %}{{ m.content }}{% endfor %}",
    );
    let served = Served::start(&folder, |_| {}).await;
    let system = json!([{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]);
    for (path, stream) in [(CHAT, false), (CHAT, true), ("/tokenize", false)] {
        let refused = served.post(path, json!({"messages": system, "stream": stream})).await;
        let error = check_error(&refused, 400, None, Some("messages"));
        assert!(error["message"].as_str().is_some_and(|text| text.contains("No system messages, please.")), "{error}");
    }
    for content in ["faulty", "endless"] {
        let messages = json!([{"role": "user", "content": content}]);
        check_error(&served.post(CHAT, json!({"messages": messages})).await, 400, None, Some("messages"));
    }
    let messages = json!([{"role": "user", "content": "fine"}]);
    assert_eq!(served.post(CHAT, json!({"messages": messages, "max_tokens": 2})).await.status, 200);
}

#[tokio::test]
async fn what_a_model_does_not_take_is_400_by_name() {
    let served = Served::start(&fixture("llama-q4_0.gguf"), |_| {}).await;
    let long = "word ".repeat(600);
    let too_long = Some("context_length_exceeded");
    let messages = json!([{"role": "user", "content": "hi"}]);
    let cases = [
        (CHAT, json!({"messages": [{"role": "user", "content": long}]}), too_long, "messages"),
        (CHAT, json!({"messages": messages, "max_tokens": 5000}), too_long, "max_tokens"),
        (CHAT, json!({"messages": messages, "logit_bias": {"262": 1}}), None, "logit_bias"),
        (TEXT, json!({"prompt": long}), too_long, "prompt"),
        (TEXT, json!({"prompt": "x", "max_tokens": 5000}), too_long, "max_tokens"),
        (TEXT, json!({"prompt": [1, 262]}), None, "prompt"),
        (TEXT, json!({"prompt": ["fine", long]}), too_long, "prompt"),
        ("/detokenize", json!({"tokens": [262]}), None, "tokens"),
    ];
    for (path, body, code, param) in cases {
        check_error(&served.post(path, body).await, 400, code, Some(param));
    }
    served.until("nothing of them runs", |stats| stats.running + stats.waiting == 0).await;
    let edges =
        json!({"prompt": "x", "max_tokens": 3, "top_p": 0, "temperature": 2, "n": 16, "logprobs": 20, "seed": -1});
    assert_eq!(served.post(TEXT, edges).await.status, 200);
}

#[tokio::test]
async fn prompts_are_shared_only_under_one_salt() {
    let served = Served::start(&fixture("llama-q4_0.gguf"), |_| {}).await;
    let prompt: Vec<usize> = (0..200).map(|i| 3 * i % 256).collect();
    let cached = async |salt: Value| {
        let body = json!({"prompt": prompt, "max_tokens": 1, "cache_salt": salt});
        let answer = served.post(TEXT, body).await.json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a count")
    };
    assert_eq!(cached(json!(null)).await, 0);
    assert!(cached(json!(null)).await > 100);
    assert_eq!(cached(json!("mine")).await, 0);
    assert!(cached(json!("mine")).await > 100);
    assert_eq!(cached(json!("other")).await, 0);
}

#[tokio::test]
async fn the_metrics_tell_where_the_time_went() {
    let served = Served::start(&fixture("llama-q4_0.gguf"), |_| {}).await;
    served.post(TEXT, json!({"prompt": "hello", "max_tokens": 20, "ignore_eos": true})).await;
    let mut connection = served.connect().await;
    let text = connection.request("GET", "/metrics", &[], b"").await.text();
    for name in ["queue", "prefill", "decode"] {
        let line = |what: &str| {
            let prefix = format!("vllm:request_{name}_time_seconds_{what}");
            let line = text.lines().find(|line| line.starts_with(&prefix));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).expect("a sample")
        };
        assert!(line("count") == 1.0 && line("sum") > 0.0 && line("sum") < PATIENCE.as_secs_f64(), "{name}: {text}");
    }
}

/// A mistake is told by the name that the client has used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_over_the_context_is_named_as_it_was_sent() {
    let served = Served::start(&fixture("llama-q8_0.gguf"), |_| {}).await;
    for name in ["max_tokens", "max_completion_tokens"] {
        let body = json!({"messages": [{"role": "user", "content": "hello"}], name: 1_000_000});
        let refused = served.post(CHAT, body).await;
        let error = check_error(&refused, 400, Some("context_length_exceeded"), Some(name));
        assert!(error["message"].as_str().expect("text").starts_with(&format!("`{name}` 1000000")), "{error}");
    }
}
