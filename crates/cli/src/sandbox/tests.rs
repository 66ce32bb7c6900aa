//! Real children: this test binary starts itself, with one of the functions marked as a child for its only test.

use super::walls::Walls;
use super::*;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use tempfile::TempDir;

const BOUNDS: Sandbox = Sandbox { mode: Mode::Prefer, memory_max_bytes: 1 << 30, cpu_max_s: 20, timeout_ms: 120_000 };

fn child_of_mine(name: &str, folder: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--ignored", "--nocapture", "--exact"]).arg(format!("sandbox::tests::{name}")).current_dir(folder);
    command
}

/// A folder with a place that may be read, and a canary beside it.
fn folder(port: u16) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::create_dir(folder.path().join("model")).expect("made");
    std::fs::write(folder.path().join("model/port"), port.to_string()).expect("written");
    std::fs::write(folder.path().join("canary"), "secret").expect("written");
    folder
}

/// What a captured parser would try, one after the other: (what, whether it worked).
fn attempts() -> Vec<(String, String)> {
    let port: u16 = std::fs::read_to_string("model/port").expect("the place may be read").parse().expect("a port");
    let tried = [
        ("read the model", std::fs::read("model/port").is_ok()),
        ("list the model's folder", std::fs::read_dir("model").is_ok()),
        ("start a thread", std::thread::Builder::new().spawn(|| ()).is_ok_and(|thread| thread.join().is_ok())),
        ("read the canary", std::fs::read("canary").is_ok()),
        ("read a file of the system", std::fs::read("/etc/passwd").is_ok()),
        ("list the root", std::fs::read_dir("/").is_ok()),
        ("write beside the model", std::fs::write("model/new", "x").is_ok()),
        ("change the model", std::fs::OpenOptions::new().append(true).open("model/port").is_ok()),
        ("remove the model", std::fs::rename("model/port", "model/gone").is_ok()),
        ("connect", TcpStream::connect(("127.0.0.1", port)).is_ok()),
        ("make a datagram socket", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("make a local socket", UnixStream::pair().is_ok()),
        ("run a program", Command::new("/bin/true").status().is_ok()),
    ];
    tried.into_iter().map(|(what, worked)| (what.to_owned(), worked.to_string())).collect()
}

fn tell(report: &Report) -> ! {
    println!("\n{}", serde_json::to_string(report).expect("plain data"));
    std::process::exit(0);
}

fn raise() -> Vec<String> {
    Walls { places: vec![PathBuf::from("model")], memory_bytes: 256 << 20, cpu_s: 1 }.raise().expect("walls")
}

/// Whether this is a child: somebody who runs the ignored tests by hand is in another folder.
fn is_child() -> bool {
    Path::new("canary").exists()
}

#[test]
#[ignore = "a child of the other tests"]
fn inside() {
    if is_child() {
        let open = raise();
        tell(&Report { open, facts: attempts(), refusal: None });
    }
}

#[test]
#[ignore = "a child of the other tests"]
fn outside() {
    if is_child() {
        tell(&Report { facts: attempts(), ..Report::default() });
    }
}

#[test]
#[ignore = "a child of the other tests"]
fn aborts() {
    if is_child() {
        raise();
        std::process::abort();
    }
}

#[test]
#[ignore = "a child of the other tests"]
fn allocates() {
    if is_child() {
        raise();
        tell(&Report {
            facts: vec![("bytes".to_owned(), vec![1u8; 512 << 20].len().to_string())],
            ..Report::default()
        });
    }
}

#[test]
#[ignore = "a child of the other tests"]
fn loops() {
    if is_child() {
        raise();
        loop {
            std::hint::spin_loop();
        }
    }
}

#[test]
#[ignore = "a child of the other tests"]
fn refuses() {
    if is_child() {
        tell(&Report { refusal: Some("no\u{1b}[31m good".to_owned()), ..Report::default() });
    }
}

#[test]
#[ignore = "a child of the other tests"]
fn is_silent() {
    if is_child() {
        std::process::exit(0);
    }
}

#[test]
fn in_the_sandbox_the_model_can_be_read_and_nothing_else_works() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let worked = |name: &str| {
        let folder = folder(port);
        let report = BOUNDS.run(child_of_mine(name, folder.path())).expect("it ends well");
        let worked = report.facts.iter().filter(|(_, worked)| worked == "true").map(|(what, _)| what.clone());
        (report.facts.len(), worked.collect::<Vec<String>>(), report.open)
    };
    let (all, without, _) = worked("outside");
    assert_eq!(without.len(), all, "without a sandbox all of it works: {without:?}");
    let (_, within, open) = worked("inside");
    assert_eq!(within, ["read the model", "list the model's folder", "start a thread"]);
    assert_eq!(open, [""; 0], "this kernel closes every side");
}

#[test]
fn whatever_becomes_of_a_child_is_a_refusal_with_its_reason() {
    let folder = folder(1);
    let refused =
        |name: &str, bounds: Sandbox| bounds.run(child_of_mine(name, folder.path())).expect_err("it is refused");
    for (name, part) in [
        ("aborts", "crashed (signal 6)"),
        ("allocates", "needed more memory"),
        ("loops", "more than 20 s of the processor"),
        ("is_silent", "failed (exit status: 0)"),
        ("no such test", "failed (exit status: 0)"),
    ] {
        let reason = refused(name, BOUNDS);
        assert!(reason.contains(part), "{name}: {reason}");
    }
    let reason = refused("loops", Sandbox { timeout_ms: 1, ..BOUNDS });
    assert!(reason.contains("took longer than 1 ms"), "{reason}");
    assert_eq!(refused("refuses", BOUNDS), "no [31m good");
}

#[test]
fn memory_follows_the_files_up_to_the_bound() {
    assert_eq!(memory(1 << 20, 1 << 30), (256 + 16) << 20);
    assert_eq!(memory(u64::MAX, 1 << 30), 1 << 30);
    let folder = folder(1);
    assert_eq!(bytes(&folder.path().join("canary")), 6);
    assert_eq!(bytes(&folder.path().join("model")), 1);
    assert_eq!(bytes(&folder.path().join("nothing")), 0);
}
