//! The process of a worker, seen from the server: it is started, given its order and files, listened to, and ended.

use super::protocol::{LINE_BYTES_MAX, Order, Word};
use crate::Error;
use crate::files::Reader;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Words that wait to be noted; a worker that is faster waits.
const WORDS_MAX: usize = 256;

/// A worker that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// What it says; ends when its output does.
    pub words: mpsc::Receiver<Word>,
    /// Writes the order and the files, then gives the input back. To drop the input is to ask for the end.
    feeding: Option<JoinHandle<Result<ChildStdin, Error>>>,
    listening: JoinHandle<()>,
}

impl Process {
    /// Starts `command` and begins to give it its order.
    pub fn start(command: &[PathBuf], order: &Order, files: Vec<Reader>) -> Result<Self, Error> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| Error::internal("no command for workers was given"))?;
        let mut line = serde_json::to_vec(order).map_err(|error| Error::internal(format!("an order: {error}")))?;
        line.push(b'\n');
        let mut child = Command::new(program)
            .args(arguments)
            // A worker needs nothing of the server's surroundings, and secrets may be among them.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What a library prints when it fails may hold the tenant's data.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::disk("cannot start a worker", error))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| Error::internal("a worker has no pipes"))?;
        let (sender, words) = mpsc::channel(WORDS_MAX);
        let feeding = Some(tokio::spawn(feed(stdin, line, files)));
        Ok(Self { child, words, feeding, listening: tokio::spawn(listen(stdout, sender)) })
    }

    /// Asks it to stop; it finishes its step and writes a checkpoint before it does.
    pub async fn stop(&mut self) {
        if let Some(feeding) = self.feeding.take() {
            // Its input is dropped, whether all of it was written or not.
            feeding.abort();
            let _ = feeding.await;
        }
    }

    /// Why the files could not be given to it, if they could not.
    pub async fn feeding_error(&mut self) -> Option<Error> {
        match self.feeding.as_ref()?.is_finished() {
            true => match self.feeding.take()?.await {
                Ok(Err(error)) => Some(error),
                _ => None,
            },
            false => None,
        }
    }

    /// Waits for its end, and says how it ended where that was not well.
    pub async fn wait(mut self) -> Option<String> {
        let status = self.child.wait().await;
        self.listening.abort();
        match status {
            Ok(status) if status.success() => None,
            Ok(status) => Some(describe(status)),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Ends it at once.
    pub async fn kill(mut self) {
        let _ = self.child.kill().await;
        self.listening.abort();
    }
}

fn describe(status: std::process::ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            9 => "it was killed (signal 9), as the system does when memory is short".to_owned(),
            _ => format!("signal {signal} ended it"),
        };
    }
    format!("it ended with {status}")
}

async fn feed(mut stdin: ChildStdin, order: Vec<u8>, files: Vec<Reader>) -> Result<ChildStdin, Error> {
    // A worker that ends early closes the pipe: its last word says why.
    let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    match stdin.write_all(&order).await {
        Err(error) if closed(&error) => return Ok(stdin),
        written => written.map_err(|error| Error::disk("cannot give a worker its order", error))?,
    }
    for file in files {
        match file.copy_to(&mut stdin).await {
            Err(Error::Internal { source: Some(source), .. })
                if source.downcast_ref::<std::io::Error>().is_some_and(closed) =>
            {
                return Ok(stdin);
            }
            copied => copied?,
        };
    }
    Ok(stdin)
}

/// Passes words on until the output ends. What is no word is passed over: a library may print.
async fn listen(stdout: ChildStdout, sender: mpsc::Sender<Word>) {
    let mut lines = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).await;
        if !read.is_ok_and(|bytes| bytes > 0) {
            return;
        }
        if let Ok(word) = serde_json::from_slice(&line)
            && sender.send(word).await.is_err()
        {
            return;
        }
    }
}
