//! Which server a client command talks to: the one of `--url`, one that runs at the configured address, or one of its
//! own.

use crate::args::{EngineFlags, Target};
use crate::client::{Client, Refused};
use crate::config::{Settings, environment};
use crate::failure::Usage;
use crate::local::Server;
use anyhow::Context as _;
use orrery_platform::Accounts;
use std::time::Duration;

/// A server that is ready, and the model to use.
pub struct Ready {
    pub client: Client,
    pub model: String,
    /// Set when the server is our own; stop it at the end.
    pub own: Option<Server>,
}

impl Ready {
    /// Stops the server if it is our own.
    ///
    /// # Errors
    /// It had failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        match self.own {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// Finds or starts the server. Says on the standard error which one it is.
///
/// # Errors
/// The server of `--url` cannot be reached or has no model, or a server of our own cannot start.
pub async fn find(target: &Target, engine: &EngineFlags, mut settings: Settings) -> anyhow::Result<Ready> {
    if engine.model.len() > 1 {
        return Err(Usage("--model: this command takes one model".to_owned()).into());
    }
    let wanted = engine.model.first();
    let own = || Accounts::first_key(&settings.platform.data_dir);
    if let Some(url) = &target.url {
        let mut key = target.api_key.clone().or_else(|| environment("OPENAI_API_KEY")).filter(|key| !key.is_empty());
        // The folder's key goes to the server of this configuration, and to no other.
        if key.is_none() && url.trim_end_matches('/').trim_end_matches("/v1") == format!("http://{}", settings.listen) {
            key = own()?;
        }
        let client = Client::new(url, key)?;
        let model = match wanted {
            Some(model) => model.clone(),
            None => first_model(&client).await?,
        };
        return Ok(Ready { client, model, own: None });
    }
    let key = target.api_key.clone().or_else(|| environment("ORRERY_API_KEY")).filter(|key| !key.is_empty());
    let key = match key {
        Some(key) => Some(key),
        None => own()?,
    };
    if let Some((client, model)) = running(&settings, key, wanted).await? {
        eprintln!("using the server at {}, model {model}", client.url());
        return Ok(Ready { client, model, own: None });
    }
    settings.platform.models.truncate(1);
    let server = Server::ready(&settings).await?;
    let client = Client::new(&server.url(), server.key.clone())?;
    let model = first_model(&client).await?;
    eprintln!("started an engine for {model}");
    Ok(Ready { client, model, own: Some(server) })
}

async fn first_model(client: &Client) -> anyhow::Result<String> {
    let models = client.models(Duration::from_secs(30)).await?;
    models.into_iter().next().with_context(|| format!("{} serves no model", client.url()))
}

/// A server at the configured address that has the wanted model (any, if none is wanted). Waits while it is loading.
async fn running(
    settings: &Settings,
    key: Option<String>,
    wanted: Option<&String>,
) -> anyhow::Result<Option<(Client, String)>> {
    const PROBE: Duration = Duration::from_millis(1500);
    const LOADING_MAX: Duration = Duration::from_secs(600);
    let address = settings.listen.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let client = Client::new(&format!("{scheme}://{address}"), key)?;
    let mut status = match client.get("/health", PROBE).await {
        Ok((status, _)) => status,
        Err(error) if settings.tls.is_some() && tokio::net::TcpStream::connect(&address).await.is_ok() => {
            let hint = "a server listens there, and its certificate is not trusted for this address; give --url https://NAME \
                        with a name of the certificate, and in SSL_CERT_FILE who signed it";
            return Err(error.context(hint));
        }
        Err(_) => return Ok(None),
    };
    let models = match client.models(PROBE).await {
        Ok(models) => models,
        // It is a server that could serve, if it had the right key: to start another one beside it would only hide that.
        Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == 401) => {
            return Err(
                error.context(format!("the server at {} wants another key; give it with --api-key", client.url()))
            );
        }
        Err(_) => return Ok(None),
    };
    let model = match wanted {
        Some(wanted) => models.into_iter().find(|model| model == wanted),
        None => models.into_iter().next(),
    };
    let Some(model) = model else { return Ok(None) };
    if status == 503 {
        eprintln!("the server at {} is loading; waiting", client.url());
    }
    let start = std::time::Instant::now();
    while status == 503 {
        anyhow::ensure!(start.elapsed() < LOADING_MAX, "the server at {} did not become ready", client.url());
        tokio::time::sleep(Duration::from_millis(200)).await;
        status = client.get("/health", PROBE).await?.0;
    }
    Ok((status == 200).then_some((client, model)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Layers;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn nothing_runs_at_a_free_port() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let mut layers = Layers::defaults();
        layers.flag("--listen", "server.listen", Some(address)).expect("a string");
        let settings = Settings::new(&layers, &|name| (name == "HOME").then(|| "/home/ada".to_owned())).expect("valid");
        assert!(running(&settings, None, None).await.expect("no error").is_none());
    }
}
