//! Model files from outside are looked at in a child of this program that can do nothing but read them.
//!
//! The parent's half: it starts the child with bounds on its time and memory, and makes a refusal of whatever becomes of it. The
//! child's half is `commands::check`; [`walls`] is what it puts up around itself before it reads a byte. Start at [`Sandbox::look`].

mod calls;
mod outcome;
pub mod walls;

use orrery_platform::Vetting;
use outcome::Output;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Most bytes that are read of what a child says, on each of its outputs.
const SAID_BYTES_MAX: u64 = 64 << 10;
/// Memory of any child, and more for each byte of the files; [`Sandbox::memory_max_bytes`] bounds the sum.
const MEMORY_BYTES: u64 = 256 << 20;
const MEMORY_PER_BYTE: u64 = 16;

/// Whether a child is used, and whether it must be closed on all sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A kernel that cannot close a side refuses the model.
    Require,
    /// A side that the kernel cannot close stays open, and the log says so.
    Prefer,
    Off,
}

/// How model files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sandbox {
    pub mode: Mode,
    pub memory_max_bytes: u64,
    /// Time on the processor, in whole seconds.
    pub cpu_max_s: u64,
    /// Time on the clock.
    pub timeout_ms: u64,
}

/// What a child says at its end.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Sides that could not be closed.
    pub open: Vec<String>,
    /// What was found, as names and values to show; empty for a model that is refused.
    pub facts: Vec<(String, String)>,
    /// Why it is refused.
    pub refusal: Option<String>,
}

impl Sandbox {
    /// Looks at the model in a child. Blocking, for [`Sandbox::timeout_ms`] at the most.
    ///
    /// # Errors
    /// Why the model must not be opened: what the child says, or what became of it.
    pub fn look(&self, path: &Path) -> Result<Report, String> {
        // Also where this program's own file has been replaced since it started.
        let mut command = Command::new("/proc/self/exe");
        command.arg("check-model").arg(path).args(self.arguments(path));
        self.run(command)
    }

    /// The same for the platform, with a line in the log.
    pub fn vetting(self) -> Vetting {
        if self.mode == Mode::Off {
            return Vetting::default();
        }
        Vetting::by(move |path| {
            let begin = Instant::now();
            let report = self.look(path)?;
            let ms = begin.elapsed().as_millis();
            match report.open.as_slice() {
                [] => tracing::info!(path = %path.display(), ms, "the model was looked at in a sandbox"),
                open => tracing::warn!(
                    path = %path.display(), ms, open = open.join(", "), "the model was looked at in a sandbox with open sides"
                ),
            }
            Ok(())
        })
    }

    fn arguments(&self, path: &Path) -> Vec<String> {
        let mut arguments = vec![
            format!("--memory={}", memory(bytes(path), self.memory_max_bytes)),
            format!("--cpu-s={}", self.cpu_max_s),
        ];
        if self.mode == Mode::Require {
            arguments.push("--require".to_owned());
        }
        arguments
    }

    /// Runs a child to its end. It gets nothing of this process: no environment, no input, no open files.
    fn run(&self, mut command: Command) -> Result<Report, String> {
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child =
            command.spawn().map_err(|error| format!("the process that checks models cannot be started: {error}"))?;
        let output = self.wait(child).map_err(|error| format!("the process that checks models is lost: {error}"))?;
        let report = outcome::read(&output, self)?;
        match &report.refusal {
            Some(reason) => Err(reason.clone()),
            None => Ok(report),
        }
    }

    /// What the child said until it ended, or until its time was over.
    fn wait(&self, mut child: Child) -> std::io::Result<Output> {
        let (sender, said) = mpsc::channel();
        let listeners = [
            child.stdout.take().map(|pipe| listen(pipe, 0, sender.clone())),
            child.stderr.take().map(|pipe| listen(pipe, 1, sender.clone())),
        ];
        drop(sender);
        let end = Instant::now() + Duration::from_millis(self.timeout_ms);
        let mut texts = [String::new(), String::new()];
        let mut is_late = false;
        loop {
            match said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((which, text)) => texts[which] = text,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    is_late = true;
                    break;
                }
            }
        }
        // Whoever closes both outputs and goes on is late too. A child that has ended takes no harm.
        let _ = child.kill();
        let status = child.wait()?;
        for listener in listeners.into_iter().flatten() {
            let _ = listener.join();
        }
        let [report, complaint] = texts;
        Ok(Output { status, is_late, report, complaint })
    }
}

/// Reads a pipe to its end in a thread; what is past the bound is read and dropped, so that nobody waits.
fn listen(
    pipe: impl Read + Send + 'static,
    which: usize,
    sender: mpsc::Sender<(usize, String)>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut head = pipe.take(SAID_BYTES_MAX);
        let mut bytes = Vec::new();
        let _ = head.read_to_end(&mut bytes);
        let _ = std::io::copy(&mut head.into_inner(), &mut std::io::sink());
        let _ = sender.send((which, String::from_utf8_lossy(&bytes).into_owned()));
    })
}

/// Bytes of a file, or of the files of a folder.
fn bytes(path: &Path) -> u64 {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| length(&entry.path())).sum(),
        Err(_) => length(path),
    }
}

fn memory(file_bytes: u64, max: u64) -> u64 {
    file_bytes.saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY_BYTES).min(max)
}

#[cfg(test)]
mod tests;
