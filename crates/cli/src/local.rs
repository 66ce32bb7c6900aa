//! A platform and server inside this process: what `serve` runs, and what client commands start when no server runs.

use crate::config::Settings;
use crate::progress;
use anyhow::Context as _;
use orrery_platform::accounts::{Keys, Opened};
use orrery_platform::training::Supervisor;
use orrery_platform::{Accounts, Platform};
use orrery_server::{Listener, Tls};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server that runs; models may still be loading. Stop it with [`Server::stop`].
pub struct Server {
    pub address: SocketAddr,
    scheme: &'static str,
    pub platform: Arc<Platform>,
    /// The key of a server that serves this process alone.
    pub key: Option<String>,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
    /// Runs training jobs, where this server does.
    supervisor: Option<Supervisor>,
}

impl Server {
    /// Binds, then opens the accounts of the data folder and starts loading the models. The first key comes too, when this
    /// is the first start.
    ///
    /// # Errors
    /// The address or the certificate cannot be had, a setting does not work on this machine, or the database cannot be opened.
    pub async fn start(settings: &Settings) -> anyhow::Result<(Self, Option<String>)> {
        let tls = settings.tls.clone().map(Tls::load).transpose()?;
        let listener = bind(&settings.listen).await?;
        let address = listener.local_addr().context("cannot read the address of the socket")?;
        anyhow::ensure!(
            settings.auth || address.ip().is_loopback(),
            "without keys (--no-auth) the server listens on this machine alone, and {address} can be reached from others; \
             take an address such as 127.0.0.1:8080, or ask for keys"
        );
        let keys = if settings.auth { Keys::Asked } else { Keys::NotAsked };
        let folder = &settings.platform.data_dir;
        let Opened { accounts, first_key } =
            Accounts::open_with(folder, keys, settings.files.clone(), settings.training.clone()).await?;
        accounts.start_metering(settings.metering.clone()).await?;
        accounts.start_predictions(settings.predict.clone());
        let mut server = Self::run(listener, tls, settings, accounts.clone(), None)?;
        if settings.training.workers > 0 {
            server.supervisor = Some(Supervisor::start(accounts.training().clone(), folder));
        }
        Ok((server, first_key))
    }

    fn run(
        listener: TcpListener,
        tls: Option<Tls>,
        settings: &Settings,
        accounts: Arc<Accounts>,
        key: Option<String>,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("cannot read the address of the socket")?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = Listener::new(listener, tls);
        let vetting = settings.sandbox.vetting();
        let platform = Platform::start(orrery_platform::Settings { vetting, ..settings.platform.clone() }, accounts)?;
        let (shutdown, stopped) = oneshot::channel();
        let stopped = async move {
            // A dropped sender stops the server too.
            let _ = stopped.await;
        };
        let task =
            tokio::spawn(orrery_server::serve(Arc::clone(&platform), listener, settings.server.clone(), stopped));
        Ok(Self { address, scheme, platform, key, shutdown, task, supervisor: None })
    }

    /// Starts on a free loopback port for this process alone (its key is new, and its accounts are gone with it), shows the
    /// progress of loading, and waits until the models are ready.
    ///
    /// # Errors
    /// As [`Server::start`], or a model cannot be loaded.
    pub async fn ready(settings: &Settings) -> anyhow::Result<Self> {
        let (accounts, key) = Accounts::ephemeral().await?;
        let server = Self::run(bind("127.0.0.1:0").await?, None, settings, accounts, Some(key))?;
        progress::loading(&server.platform).await?;
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Drains and stops.
    ///
    /// # Errors
    /// The server had failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        // The server may have ended by itself.
        let _ = self.shutdown.send(());
        // Jobs go back into the queue while running requests finish.
        if let Some(supervisor) = self.supervisor {
            supervisor.stop().await;
        }
        self.task.await.context("the server's task failed")?.context("the server failed")
    }
}

async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    use std::io::ErrorKind;
    TcpListener::bind(listen).await.map_err(|e| {
        let hint = match e.kind() {
            ErrorKind::AddrInUse => {
                "; another program listens there: stop it, or choose another with --listen HOST:PORT"
            }
            ErrorKind::PermissionDenied => "; choose a port above 1023 with --listen HOST:PORT",
            ErrorKind::AddrNotAvailable => "; it is not an address of this machine: try 127.0.0.1:8080 or 0.0.0.0:8080",
            _ => "",
        };
        anyhow::anyhow!("cannot listen on {listen}: {e}{hint}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_refused_with_the_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = taken.local_addr().expect("bound").to_string();
        let message = bind(&address).await.expect_err("taken").to_string();
        assert!(message.contains(&address) && message.contains("--listen"), "{message}");
        let message = bind("192.0.2.1:0").await.expect_err("not ours").to_string();
        assert!(message.contains("not an address of this machine"), "{message}");
    }
}
