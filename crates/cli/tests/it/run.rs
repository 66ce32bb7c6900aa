//! Starting the binary with nothing of the caller's own settings.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

/// A command of the binary. Variables that would change it are taken away; proxies and package indexes stay.
pub fn orrery(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orrery"));
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ORRERY_"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("OPENAI_API_KEY");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What a finished run left.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Finished {
    pub fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the binary writes UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

pub fn finish(command: &mut Command) -> Finished {
    Finished::new(command.output().expect("the binary starts"))
}

/// Runs with text piped in.
pub fn finish_with_input(command: &mut Command, input: &str) -> Finished {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the binary reads its input");
    Finished::new(child.wait_with_output().expect("the binary ends"))
}

/// `orrery serve` on a free port; killed when dropped.
pub struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub url: String,
}

impl Server {
    /// Starts and waits for the line that says where it listens.
    pub fn start(data_dir: &Path, more: &[&str]) -> Self {
        let data_dir = data_dir.to_str().expect("UTF-8 path");
        let mut command = orrery(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir]);
        let mut child = command.args(more).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let url = line_after(&mut lines, "listening on ");
        Self { child, lines, url }
    }

    /// Waits for the line that names the models.
    pub fn ready(&mut self) -> String {
        line_after(&mut self.lines, "ready: ")
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the server is ours")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rest of the first line that begins so. The stream's end means that the server gave up.
fn line_after(lines: &mut impl std::io::BufRead, begin: &str) -> String {
    for line in lines.lines() {
        let line = line.expect("UTF-8 output");
        if let Some(rest) = line.strip_prefix(begin) {
            return rest.to_owned();
        }
    }
    panic!("the server ended before it printed `{begin}`");
}
