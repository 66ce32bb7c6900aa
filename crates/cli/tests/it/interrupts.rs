//! Ctrl-C: a reply ends, a pull ends and goes on later; the exit code is 130.

use crate::run::{Finished, finish, orrery};
use crate::scripted::{Answer, Scripted};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

fn interrupt(child: Child) -> Finished {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
    Finished::new(child.wait_with_output().expect("the binary ends"))
}

#[test]
fn a_reply_is_stopped_where_it_is() {
    let server = Scripted::start(|request| match request.path.as_str() {
        "/v1/models" => Answer::Json(200, json!({"data": [{"id": "first"}]})),
        _ => Answer::Endless(json!({"choices": [{"delta": {"content": "half"}}]}).to_string()),
    });
    let mut child = start(&mut orrery(&["chat", "hello", "--url", &server.url]));
    let mut begin = [0; 4];
    child.stdout.as_mut().expect("piped").read_exact(&mut begin).expect("the reply begins");
    assert_eq!(&begin, b"half");
    let run = interrupt(child);
    assert_eq!((run.code, run.out.as_str()), (Some(130), "\n"), "{}", run.err);
}

/// Serves a file of two halves. A request without a range gets the first half and then nothing; one with a range gets
/// the rest.
fn file_server(contents: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().flatten() {
            open.extend(answer(stream, &contents));
        }
    });
    format!("http://{address}/half.gguf")
}

/// Gives the connection back when it is to stay open.
fn answer(mut stream: TcpStream, contents: &[u8]) -> Option<TcpStream> {
    let lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let whole = contents.len();
    let Some(range) = range else {
        write!(stream, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: {whole}\r\n\r\n").ok()?;
        stream.write_all(&contents[..whole / 2]).ok()?;
        return Some(stream);
    };
    let from: usize = range.trim_end_matches('-').parse().ok()?;
    let (last, left) = (whole - 1, whole - from);
    let head = format!("HTTP/1.1 206 x\r\nETag: \"e\"\r\nContent-Range: bytes {from}-{last}/{whole}\r\n");
    write!(stream, "{head}Content-Length: {left}\r\nConnection: close\r\n\r\n").ok()?;
    stream.write_all(&contents[from..]).ok()?;
    None
}

fn wait_for_bytes(file: &Path, bytes: u64) {
    let begin = Instant::now();
    while std::fs::metadata(file).map_or(0, |metadata| metadata.len()) < bytes {
        assert!(begin.elapsed() < Duration::from_secs(20), "{} does not grow", file.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_interrupted_pull_goes_on_where_it_was() {
    let noise = (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    let contents: Vec<u8> = b"GGUF".iter().copied().chain(noise).collect();
    let url = file_server(contents.clone());
    let folder = tempfile::tempdir().expect("temporary folder");
    let pull = || {
        let mut command = orrery(&["pull", &url, "--data-dir"]);
        command.arg(folder.path()).env("NO_PROXY", "127.0.0.1");
        command
    };
    let child = start(&mut pull());
    wait_for_bytes(&folder.path().join("staging/half/half.gguf.partial"), 100_002);
    let run = interrupt(child);
    assert_eq!((run.code, run.out.as_str()), (Some(130), ""), "{}", run.err);
    let listed = finish(orrery(&["list", "--json", "--data-dir"]).arg(folder.path()));
    assert!(listed.out.contains("\"models\": []"), "{}", listed.out);

    // A pull from the beginning would hang on the second half.
    let run = finish(&mut pull());
    assert_eq!(run.code, Some(0), "{}", run.err);
    let stored = std::fs::read(folder.path().join("models/half/half.gguf")).expect("published");
    assert!(stored == contents);
}

/// Whoever started a server may read its first line and go away.
#[test]
fn a_server_outlives_the_reader_of_its_output() {
    let data = tempfile::tempdir().expect("temporary folder");
    let data_dir = data.path().to_str().expect("UTF-8 path");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir, "--model", crate::usage::FIXTURE];
    let mut child = start(&mut orrery(&arguments));
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = lines.next().expect("a line").expect("UTF-8");
    let address = line.strip_prefix("listening on http://").expect("the first line").to_owned();
    drop(lines);
    drop(child.stderr.take());
    let begin = Instant::now();
    loop {
        let mut stream = TcpStream::connect(&address).expect("a server that runs");
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        if answer.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
