//! Faults of the disk and sudden deaths: a child process works on a store, and what it leaves is looked at.
//!
//! `fault.c` makes calls of the child fail. The child is this test binary itself; what it does stands in `child.rs`, and
//! it tells what it was promised on its standard output, a line for each promise.

mod blobs;
mod child;
mod database;
mod full;
mod killed;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// Arguments that make this test binary the child.
const CHILD: [&str; 5] = ["--exact", "faults::child::works", "--ignored", "--nocapture", "--test-threads=1"];

/// What goes wrong in the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing; the calls are counted.
    None,
    /// The call with this number fails.
    Error(usize),
    /// The disk is full from this call on, until the child frees some of it.
    Full(usize),
    /// The child dies at this call; of a write a half is done.
    Kill(usize),
}

/// What became of a child.
#[derive(Debug)]
struct Outcome {
    status: ExitStatus,
    /// What it said: the first word, and the rest.
    said: Vec<(String, String)>,
    /// The calls that changed the folder: what, and on which file.
    calls: Vec<(String, PathBuf)>,
}

impl Outcome {
    /// The rest of every line that begins with `word`.
    fn said(&self, word: &str) -> Vec<&str> {
        self.said.iter().filter(|(first, _)| first == word).map(|(_, rest)| rest.as_str()).collect()
    }
}

/// Runs a task of `child.rs` on `folder/data`.
fn run(task: &str, folder: &Path, fault: Fault) -> Outcome {
    outcome(folder, spawn(command(task, folder, fault)))
}

/// Waits for a child's end.
fn outcome(folder: &Path, mut child: Child) -> Outcome {
    let mut text = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("read");
    let status = child.wait().expect("ended");
    let calls = std::fs::read_to_string(folder.join("calls.log")).unwrap_or_default();
    Outcome { status, said: text.lines().filter_map(said).collect(), calls: calls.lines().map(call).collect() }
}

/// The child's command. Its data lies in `folder/data`; the files beside that are the test's.
fn command(task: &str, folder: &Path, fault: Fault) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(CHILD);
    command.env("CHILD_TASK", task).env("CHILD_FOLDER", folder);
    let data = folder.canonicalize().expect("folder").join("data");
    command.env("LD_PRELOAD", library()).env("FAULT_FOLDER", data).env("FAULT_LOG", folder.join("calls.log"));
    command.env("FAULT_FREED", folder.join("freed"));
    let (kind, at) = match fault {
        Fault::None => ("none", 0),
        Fault::Error(at) => ("error", at),
        Fault::Full(at) => ("full", at),
        Fault::Kill(at) => ("kill", at),
    };
    command.env("FAULT_KIND", kind).env("FAULT_AT", at.to_string());
    command
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("started")
}

/// A line of the child: `> word rest`. The test harness writes lines of its own between them.
fn said(line: &str) -> Option<(String, String)> {
    let (word, rest) = line.strip_prefix("> ")?.split_once(' ')?;
    Some((word.into(), rest.into()))
}

/// A line of the log: `number what path`.
fn call(line: &str) -> (String, PathBuf) {
    let mut parts = line.splitn(3, ' ').skip(1);
    (parts.next().expect("what").into(), parts.next().expect("path").into())
}

/// `fault.c`, compiled once. There is a C compiler, since SQLite is built with it.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("libfault.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/fault.c");
        let status = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&path).arg(source).status();
        assert!(status.expect("a C compiler").success());
        (folder, path)
    });
    path
}

/// A folder of a test with `data` in it. In memory where there is such a place: the order of the calls is looked at, and
/// hundreds of children do not wait for a disk.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.expect("folder");
    std::fs::create_dir(folder.path().join("data")).expect("made");
    folder
}
