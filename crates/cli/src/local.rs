//! A platform and server inside this process: what `serve` runs, and what client commands start when no server runs.

use crate::config::Settings;
use crate::progress;
use anyhow::Context as _;
use orrery_platform::Platform;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server that runs; models may still be loading. Stop it with [`Server::stop`].
pub struct Server {
    pub address: SocketAddr,
    pub platform: Arc<Platform>,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Binds `listen`, then starts loading the models.
    ///
    /// # Errors
    /// The address cannot be had, or a setting does not work on this machine.
    pub async fn start(listen: &str, settings: &Settings) -> anyhow::Result<Self> {
        let listener = bind(listen).await?;
        let address = listener.local_addr().context("cannot read the address of the socket")?;
        let platform = Platform::start(settings.platform.clone())?;
        let (shutdown, stopped) = oneshot::channel();
        let stopped = async move {
            // A dropped sender stops the server too.
            let _ = stopped.await;
        };
        let task =
            tokio::spawn(orrery_server::serve(Arc::clone(&platform), listener, settings.server.clone(), stopped));
        Ok(Self { address, platform, shutdown, task })
    }

    /// Starts on a free loopback port, shows the progress of loading, and waits until the models are ready.
    ///
    /// # Errors
    /// As [`Server::start`], or a model cannot be loaded.
    pub async fn ready(settings: &Settings) -> anyhow::Result<Self> {
        let server = Self::start("127.0.0.1:0", settings).await?;
        progress::loading(&server.platform).await?;
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Drains and stops.
    ///
    /// # Errors
    /// The server had failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        // The server may have ended by itself.
        let _ = self.shutdown.send(());
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
