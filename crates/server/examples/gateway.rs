//! Two servers to be measured against each other by `cargo xtask bench gateway`: a handler that does nothing but answer, and all
//! of Orrery with keys, limits, journal and ledger, over a model that computes nothing. Both give the same bytes.
//!
//! Prints `bare URL`, `orrery URL`, `key KEY`, and runs until its standard input is closed. With `traces URL` as its first
//! line of input, spans go there.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use orrery_platform::accounts::{Keys, LimitsInfo, NewKey, PriceInfo};
use orrery_platform::metering::MeterSettings;
use orrery_platform::{Accounts, Catalogue, Platform, Settings as PlatformSettings, mock};
use orrery_server::{Settings, TraceSettings};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// What Orrery answers to the request of the measurement, but for the id.
const ANSWER: &str = "{\"id\":\"chatcmpl-00000000000000000000000000000000\",\"object\":\"chat.completion\",\
    \"created\":1700000000,\"model\":\"model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\
    \"content\":\"a\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":5,\
    \"completion_tokens\":1,\"total_tokens\":6,\"prompt_tokens_details\":{\"cached_tokens\":0}},\
    \"system_fingerprint\":\"orrery-0.1.0\"}";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut first = String::new();
    std::io::stdin().read_line(&mut first)?;
    let traces = first.trim().strip_prefix("traces ").map(TraceSettings::to);
    let data = tempfile::tempdir()?;
    let (platform, key) = platform(data.path()).await?;
    let (bare, real) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    println!("bare http://{}\norrery http://{}\nkey {key}", bare.local_addr()?, real.local_addr()?);
    let router = Router::new().route("/v1/chat/completions", post(answer));
    let bare = tokio::spawn(async move { axum::serve(bare, router).await });
    let settings = Settings { traces, ..Settings::default() };
    let end = async {
        // Whatever comes: what counts is that nothing more does.
        let read = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        let _ = read.await;
    };
    orrery_server::serve(platform, real, settings, end).await?;
    bare.abort();
    Ok(())
}

/// The request's bytes are read, and nothing is made of them.
async fn answer(_request: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], ANSWER)
}

/// A platform on a data folder of its own, and a key that has every kind of limit.
async fn platform(data: &Path) -> Result<(Arc<Platform>, String), Box<dyn Error>> {
    let model = data.join("model.gguf");
    std::fs::write(&model, b"GGUF, of which nothing is read")?;
    let opened = Accounts::open(data, Keys::Asked).await?;
    let accounts = opened.accounts;
    accounts.start_metering(MeterSettings::new(data)).await?;
    let admin = accounts.authenticate(opened.first_key.as_deref()).await?;
    let price = PriceInfo { model: "model".into(), input_nano: 1000, cached_nano: 100, output_nano: 3000 };
    accounts.set_price(&admin, price).await?;
    let most = Some(1_000_000_000_000);
    let limits = LimitsInfo {
        requests_per_minute: most,
        tokens_per_minute: most,
        concurrent_requests: Some(100_000),
        queue_share_percent: Some(100),
        month_tokens: most,
        month_cost_nano: Some(1_000_000_000_000_000),
    };
    let new = NewKey { role: "inference".into(), limits, ..NewKey::default() };
    let (_, key) = accounts.create_key(&admin, new).await?;
    let settings = PlatformSettings {
        data_dir: data.to_owned(),
        models: vec![model.to_string_lossy().into_owned()],
        ..PlatformSettings::default()
    };
    let platform = Platform::start_with(settings, accounts, Catalogue::embedded()?, mock::loader(Duration::ZERO))?;
    platform.wait_ready().await?;
    Ok((platform, key))
}
