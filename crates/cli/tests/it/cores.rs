//! A server that dies leaves nothing of a prompt: no core file, and nothing in its folders.

use crate::run::orrery;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

const SIGABRT: i32 = 6;

/// A word that is nowhere else: not in this binary either, as it stands here in two parts.
fn canary() -> String {
    format!("{}{}", "xylograph", "quincunx")
}

struct Dying {
    child: Child,
    /// Kept: a server that cannot write to its output ends.
    _lines: Lines<BufReader<ChildStdout>>,
    address: String,
    folder: TempDir,
}

impl Dying {
    /// A server in a folder of its own, where cores may be as large as they like.
    fn start(core_dumps: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models/llama-q4_0.gguf");
        let model = model.canonicalize().expect("a fixture");
        let temporary = folder.path().join("tmp");
        std::fs::create_dir(&temporary).expect("made");
        let plain = orrery(&[]);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" \"$@\""]).arg(plain.get_program());
        command.args(["serve", "--no-auth", "--listen", "127.0.0.1:0", "--kv-memory", "16MiB", "--data-dir", "data"]);
        command.arg("--model").arg(model).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        command.env_clear().env("ORRERY_CORE_DUMPS", core_dumps).env("TMPDIR", &temporary).env("PATH", "/usr/bin:/bin");
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut after = |begin: &str| {
            lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix(begin).map(str::to_owned))
        };
        let address = after("listening on http://");
        assert!(after("ready: ").is_some(), "it gets ready");
        Self { child, _lines: lines, address: address.expect("it listens"), folder }
    }

    /// The first piece of an answer to the canary; the request goes on.
    fn ask(&self) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let body =
            format!("{{\"model\":\"llama-q4_0\",\"prompt\":\"{}\",\"stream\":true,\"max_tokens\":100000}}", canary());
        let body = body.replace("100000", "40");
        write!(
            stream,
            "POST /v1/completions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .expect("sent");
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).expect("an answer");
        assert_eq!(&begin, b"HTTP/1.1 200");
        stream
    }

    /// The most that the kernel would write of it.
    fn limit(&self) -> String {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).expect("it runs");
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line").to_owned();
        line.split_whitespace().nth(4).expect("a number").to_owned()
    }

    /// Kills it as a crash of its own would (a first SIGSEGV from outside is passed over by the standard library); the files that have the canary then.
    fn die(mut self) -> Vec<PathBuf> {
        let status = Command::new("kill").args(["-ABRT", &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.signal(), Some(SIGABRT));
        let mut found = Vec::new();
        search(self.folder.path(), &mut found);
        // Where the server would have gone without TMPDIR; others' files there are not read.
        let of_mine = |name: &str| name.contains("orrery") || name.contains(&self.child.id().to_string());
        for entry in std::fs::read_dir(std::env::temp_dir()).expect("a folder").flatten() {
            if of_mine(&entry.file_name().to_string_lossy()) && entry.path().is_file() {
                look(&entry.path(), &mut found);
            }
        }
        found
    }
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            search(&entry.path(), found);
        } else {
            look(&entry.path(), found);
        }
    }
}

fn look(file: &Path, found: &mut Vec<PathBuf>) {
    let canary = canary();
    let bytes = std::fs::read(file).unwrap_or_default();
    if bytes.windows(canary.len()).any(|window| window == canary.as_bytes()) {
        found.push(file.to_owned());
    }
}

/// Whether the kernel writes cores where the process is, and the test may let it.
fn cores_land_here() -> bool {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("Linux");
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux");
    let hard = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .and_then(|line| line.split_whitespace().nth(5));
    !pattern.starts_with(['|', '/', '@']) && hard == Some("unlimited")
}

#[test]
fn a_server_that_crashes_leaves_nothing_of_a_prompt() {
    let server = Dying::start("false");
    let _stream = server.ask();
    assert_eq!(server.limit(), "0");
    assert_eq!(server.die(), Vec::<PathBuf>::new());
    // The same search finds the prompt where cores are allowed. It may have left the memory before the end, so there are some tries.
    let found = (0..8).any(|_| {
        let server = Dying::start("true");
        let _stream = server.ask();
        if !cores_land_here() {
            return true;
        }
        assert_eq!(server.limit(), "unlimited");
        server.die().len() == 1
    });
    assert!(found, "no core has the prompt");
}
