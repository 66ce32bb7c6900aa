//! `orrery serve`: binds early, loads, serves, drains.

use crate::config::Settings;
use crate::local::Server;
use crate::progress;
use crate::signals::Signals;
use std::io::Write as _;

/// Serves until a signal. The lines on the standard output are an interface: `listening on URL`, then `ready: MODELS`. Whoever
/// reads them may go away.
///
/// # Errors
/// The address cannot be had, or a model cannot be had or loaded.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let (server, first_key) = Server::start(&settings).await?;
    let url = server.url();
    say(&format!("listening on {url}"));
    if let Some(key) = first_key {
        say(&format!("the first key (a platform admin's, shown this once; `orrery key show` prints it): {key}"));
    }
    if !settings.auth {
        warn(&format!("no keys are asked for: whoever reaches {url} may do everything"));
    }
    let loaded = tokio::select! {
        result = progress::loading(&server.platform) => Some(result),
        () = signals.next() => None,
    };
    match loaded {
        Some(Ok(())) => {
            let models: Vec<String> = server.platform.models().into_iter().map(|model| model.id).collect();
            say(&ready(&url, &models, settings.auth));
            signals.next().await;
        }
        Some(Err(error)) => {
            server.stop().await?;
            return Err(error);
        }
        None => {}
    }
    signals.exit_on_next();
    warn(&format!(
        "stopping: running requests may finish within {} s; a second signal exits at once",
        settings.server.grace_ms / 1000
    ));
    server.stop().await
}

fn ready(url: &str, models: &[String], auth: bool) -> String {
    let model = models.first().map_or("", String::as_str);
    let key = if auth { "-H \"Authorization: Bearer $(orrery key show)\" " } else { "" };
    format!(
        "ready: {}\n\nTry it:\n  curl {url}/v1/chat/completions {key}-H 'Content-Type: application/json' \\\n    \
         -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Why is the sky blue?\"}}]}}'\n  \
         orrery chat",
        models.join(", ")
    )
}

/// Prints and flushes, so that a program that waits for the line sees it. A reader that is gone is none of the server's
/// business.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The same on the standard error, where `eprintln!` would panic.
fn warn(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_line_is_json() {
        let text = ready("http://127.0.0.1:8080", &["a".to_owned(), "b".to_owned()], true);
        assert!(text.contains("Bearer $(orrery key show)"));
        assert!(text.starts_with("ready: a, b\n"));
        let body = text.split('\'').nth(3).expect("quoted body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["model"], "a");
    }
}
