//! The `orrery` binary of this repository: built for release, started as a server, or run for its figures.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// The binary, built anew where the code has changed.
#[derive(Debug)]
pub struct Binary {
    path: PathBuf,
    /// The first key of the data folder of a server that this started; peers pass it over.
    key: OnceLock<String>,
}

impl Binary {
    /// # Errors
    /// It does not build.
    pub fn build() -> Result<Self> {
        let mut cargo = cargo();
        cargo.args(["build", "--release", "--locked", "--package", "orrery-cli"]);
        let status = cargo.status().context("cannot run cargo build")?;
        ensure!(status.success(), "cargo build --release failed");
        Ok(Self { path: target().join("release/orrery"), key: OnceLock::new() })
    }

    /// Runs a command that prints JSON. A command that fails after it has printed its figures (some requests failed) is
    /// no error: the figures tell.
    ///
    /// # Errors
    /// It cannot be run, or prints no JSON; what it wrote on the standard error is in the message.
    pub fn json(&self, arguments: &[String]) -> Result<Value> {
        let mut command = Command::new(&self.path);
        if let Some(key) = self.key.get() {
            command.env("OPENAI_API_KEY", key);
        }
        let output = command.args(arguments).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot run {}", self.path.display()))?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow::anyhow!("orrery {}: {}", arguments.join(" "), said.trim())
        })
    }

    /// Starts `orrery serve` on a free port and waits until it is ready.
    ///
    /// # Errors
    /// It ends before it is ready.
    pub fn serve(&self, more: &[String]) -> Result<Server> {
        let mut command = Command::new(&self.path);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "text/warn"]).args(more);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start orrery serve")?;
        let out = child.stdout.take().context("invariant: the output is piped")?;
        let mut server = Server { child, out: BufReader::new(out), url: String::new() };
        let mut line = String::new();
        while server.out.read_line(&mut line).context("cannot read what orrery serve prints")? > 0 {
            if let Some(url) = line.strip_prefix("listening on ") {
                server.url = url.trim_end().to_owned();
            } else if line.starts_with("ready: ") {
                let folder = more.iter().position(|word| word == "--data-dir").map_or(&[][..], |at| &more[at..at + 2]);
                let shown = Command::new(&self.path).args(["key", "show"]).args(folder).output();
                let shown = shown.context("cannot ask for the key")?;
                let key = String::from_utf8_lossy(&shown.stdout).trim().to_owned();
                ensure!(!key.is_empty(), "orrery key show printed none: {}", String::from_utf8_lossy(&shown.stderr));
                // A second server of this run has the same folder, and so the same key.
                let _ = self.key.set(key);
                return Ok(server);
            }
            line.clear();
        }
        bail!("orrery serve ended before it was ready")
    }
}

impl Binary {
    /// The first key of the folder of a server that runs.
    pub fn key(&self) -> Option<&str> {
        self.key.get().map(String::as_str)
    }
}

impl Server {
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

/// A server of this run; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Kept open for the lines that are still to come.
    out: BufReader<ChildStdout>,
    pub url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo, in the root of the repository. It does not see what `cargo xtask` says of xtask's own package: build scripts that
/// read such variables (ring's does) would run anew every time.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    let own = |name: &str| ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| own(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}

pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The processor's name and the processors there are, for the record.
pub fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let name = value("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let family =
        value("cpu family").zip(value("model")).map(|(family, model)| format!(" (family {family}, model {model})"));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{count} × {name}{}", family.unwrap_or_default())
}

/// The commit that is checked out, for the record; with a mark when files have been changed since.
pub fn commit() -> String {
    let output = Command::new("git").current_dir(root()).args(["describe", "--always", "--dirty"]).output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
