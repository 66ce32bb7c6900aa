//! Usage on its way to the ledger, with a process that is killed, and figures of what it costs.
//!
//! The process is this test binary itself: it serves requests that are made up, and tells on its standard output what
//! it promised, a line for each promise.

use orrery_platform::metering::{Bill, Meter, MeterSettings};
use orrery_platform::{Error, Timings};
use orrery_store::{Database, GroupBy, KeyId, Ledger, Memory, Outcome, Price, TenantId, UsageQuery};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Arguments that make this test binary the child.
const CHILD: [&str; 5] = ["--exact", "metering::child_serves", "--ignored", "--nocapture", "--test-threads=1"];
const FOLDER: &str = "METERING_FOLDER";
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers without pattern.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn bill() -> Bill {
    Bill {
        tenant: TenantId::first(),
        key: "key_test".parse::<KeyId>().expect("id"),
        price: Price { model: "tiny".into(), input_nano: 7, cached_nano: 3, output_nano: 11 },
        version: String::new(),
        endpoint: "chat.completions".into(),
    }
}

/// Small files, so that a short life has many of them.
fn settings(folder: &Path) -> MeterSettings {
    MeterSettings { segment_bytes: 64 << 10, batch_ms: 5, sync_ms: 20, ..MeterSettings::new(folder) }
}

async fn start(folder: &Path) -> (Arc<Meter>, Arc<Database>) {
    let database = Arc::new(Database::open(&folder.join("orrery.db")).await.expect("database"));
    (Arc::new(Meter::start(settings(folder), database.clone()).await.expect("meter")), database)
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = Arc::new(Memory::default());
    let first = Meter::start(MeterSettings::new(folder.path()), ledger.clone()).await.expect("first");
    let error = Meter::start(MeterSettings::new(folder.path()), ledger.clone()).await.expect_err("second");
    assert!(matches!(&error, Error::Conflict(message) if message.contains("another process")), "{error}");
    // A request that still runs holds the folder too.
    let running = first.begin(bill()).expect("begun");
    assert_eq!(first.close(PATIENCE).await, 1);
    drop(first);
    let error = Meter::start(MeterSettings::new(folder.path()), ledger.clone()).await.expect_err("a request runs");
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    drop(running);
    let second = Meter::start(MeterSettings::new(folder.path()), ledger.clone()).await.expect("free again");
    second.flush().await;
    assert_eq!(second.stats().rows_written, 1, "what the first left");
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("folder");
    let meter = Meter::start(MeterSettings::new(folder.path()), Arc::new(Memory::default())).await.expect("meter");
    let journal = folder.path().join("journal");
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&journal), 0o700);
    let segments = segments(folder.path());
    assert_eq!(segments.len(), 1);
    assert_eq!(mode(&segments[0]), 0o600);
    assert_eq!(meter.close(PATIENCE).await, 0);
    assert!(matches!(meter.begin(bill()), Err(Error::Unavailable(_))));
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("journal")).expect("journal");
    let paths = entries.map(|entry| entry.expect("entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "journal")).collect()
}

/// A meter that was dropped, not closed, holds its folder until its task has seen that.
async fn start_when_free(folder: &Path, ledger: Arc<Memory>) -> Meter {
    let begin = std::time::Instant::now();
    loop {
        match Meter::start(MeterSettings::new(folder), ledger.clone()).await {
            Err(Error::Conflict(_)) if begin.elapsed() < PATIENCE => tokio::task::yield_now().await,
            started => return started.expect("meter"),
        }
    }
}

#[tokio::test]
async fn a_damaged_segment_is_kept_aside() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = Arc::new(Memory::default());
    let meter = Meter::start(MeterSettings::new(folder.path()), ledger.clone()).await.expect("meter");
    let running: Vec<_> = (0..3).map(|_| meter.begin(bill()).expect("begun")).collect();
    drop(meter);
    let segment = segments(folder.path()).remove(0);
    let mut contents = std::fs::read(&segment).expect("contents");
    drop(running);
    contents[20] ^= 1;
    std::fs::write(&segment, contents).expect("written");
    let meter = start_when_free(folder.path(), ledger).await;
    meter.flush().await;
    assert_eq!(meter.stats().rows_written, 2);
    assert_eq!(meter.close(PATIENCE).await, 0);
    assert!(!segment.exists() && segment.with_extension("journal.corrupt").exists());
}

#[test]
fn killed_thirty_times() {
    kill(30);
}

#[test]
#[ignore = "takes minutes; to be run by hand"]
fn killed_a_thousand_times() {
    kill(1_000);
}

/// Kills the child again and again over one folder, then compares what it promised with the ledger.
fn kill(times: u64) {
    let folder = tempfile::tempdir().expect("folder");
    let mut said = Said::default();
    let mut random = Random(u64::from(std::process::id()) | 1);
    for time in 0..times {
        let lines = random.below(1_500);
        live_and_die(folder.path(), lines, &mut said);
        if time % 50 == 49 {
            println!("{} deaths: {} requests, {} segments", time + 1, said.begun.len(), segments(folder.path()).len());
        }
    }
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(compare(folder.path(), &said));
    println!("{times} deaths, {} requests, {} acknowledged", said.begun.len(), said.acknowledged.len());
    assert!(said.acknowledged.len() as u64 > times, "it dies before it has done anything");
    assert!(said.acknowledged.len() < said.begun.len(), "no request was cut off");
}

#[derive(Default)]
struct Said {
    /// By id: tokens that were produced for sure, as far as was told.
    begun: BTreeMap<String, u64>,
    /// By id: output tokens, cost, outcome.
    acknowledged: BTreeMap<String, (u64, u64, String)>,
}

/// Kills the child after it has said so many lines; it goes on while the pipe takes more, so that the moment is any.
fn live_and_die(folder: &Path, lines: u64, said: &mut Said) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(CHILD).env(FOLDER, folder).stdout(Stdio::piped()).stdin(Stdio::null());
    let mut child = command.spawn().expect("started");
    let mut left = lines;
    for line in BufReader::new(child.stdout.take().expect("a pipe")).split(b'\n') {
        let line = String::from_utf8(line.expect("line")).expect("text");
        said.add(&line);
        if left == 0 {
            child.kill().expect("killed");
        }
        left = left.wrapping_sub(1);
    }
    let status = child.wait().expect("ended");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "it does not end by itself");
}

impl Said {
    fn add(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [">", "begun", id] => assert_eq!(self.begun.insert(id.into(), 0), None, "an id comes again"),
            [">", "ended", id, output, cost, outcome] => {
                let numbers = (output.parse().expect("number"), cost.parse().expect("number"), outcome.into());
                assert_eq!(self.acknowledged.insert(id.into(), numbers), None);
            }
            // The last line may be cut off, and the test harness has lines of its own.
            _ => (),
        }
    }
}

async fn compare(folder: &Path, said: &Said) {
    let (meter, database) = start(folder).await;
    tokio::time::timeout(PATIENCE, meter.flush()).await.expect("all goes to the ledger");
    for (id, (output, cost, outcome)) in &said.acknowledged {
        let row = database.usage_row(id).await.expect("acknowledged, and so in the ledger");
        assert_eq!((row.output_tokens, row.cost_nano, row.outcome.as_str()), (*output, *cost, outcome.as_str()));
    }
    let mut interrupted = 0;
    for id in said.begun.keys().filter(|id| !said.acknowledged.contains_key(*id)) {
        // It ended as well, and the line that said so was cut off; or it was dropped; or it was cut off itself.
        let row = database.usage_row(id).await.expect("begun, and so in the ledger");
        interrupted += u64::from(row.outcome == Outcome::Interrupted);
    }
    assert!(interrupted > 0);
    let all = database.usage(&UsageQuery { group_by: vec![GroupBy::Model], ..UsageQuery::default() }).await;
    let rows = all.expect("sums")[0].requests;
    // A request whose first line was cut off with the process: one for each of eight tasks and life, at most.
    assert!(rows >= said.begun.len() as u64, "{rows} rows");
    assert_eq!(meter.close(PATIENCE).await, 0);
    assert!(segments(folder).is_empty());
}

/// The child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the tests"]
async fn child_serves() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("a folder"));
    let (meter, _database) = start(&folder).await;
    // Lives are shorter than the ledger needs for what is served in them.
    if meter.pending() > 1_000 {
        meter.flush().await;
    }
    let tasks: Vec<_> = (0..8)
        .map(|task| tokio::spawn(serve(meter.clone(), Random(u64::from(std::process::id()) * 8 + task + 1))))
        .collect();
    for task in tasks {
        task.await.expect("it goes on until it is killed");
    }
}

async fn serve(meter: Arc<Meter>, mut random: Random) {
    loop {
        let metered = meter.begin(bill()).expect("begun");
        say(&format!("begun {}", metered.id()));
        metered.prompt(100, 64);
        let output = random.below(40);
        for _ in 0..output {
            metered.tokens(1);
            tokio::task::yield_now().await;
        }
        let id = metered.id().to_owned();
        if random.below(10) == 0 {
            drop(metered);
            say(&format!("ended {id} {output} {} cancelled", 36 * 7 + 64 * 3 + output * 11));
            continue;
        }
        let row = metered.finish(Outcome::Completed, Timings::default()).expect("acknowledged");
        assert_eq!(row.cost_nano, 36 * 7 + 64 * 3 + output * 11);
        say(&format!("ended {id} {output} {} completed", row.cost_nano));
    }
}

/// One write, so that lines of two threads do not mix.
fn say(promise: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("> {promise}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
}

/// Figures: `cargo test --release -p orrery-platform --test it metering::figures -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn figures() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("folder");
    let database = Arc::new(Database::open(&folder.path().join("orrery.db")).await.expect("database"));
    let meter = Arc::new(Meter::start(MeterSettings::new(folder.path()), database).await.expect("meter"));

    let metered = meter.begin(bill()).expect("begun");
    let (count, start) = (10_000_000_u32, Instant::now());
    (0..count).for_each(|_| std::hint::black_box(&metered).tokens(1));
    println!("tokens: {:.1} ns each", start.elapsed().as_nanos() as f64 / f64::from(count));
    drop(metered);

    for tasks in [1, 2, 32] {
        let each = 40_000 / tasks;
        let start = Instant::now();
        let running: Vec<_> = (0..tasks).map(|_| tokio::spawn(begin_and_finish(meter.clone(), each))).collect();
        let mut times = Vec::new();
        for task in running {
            times.extend(task.await.expect("done"));
        }
        let elapsed = start.elapsed();
        times.sort_unstable();
        let at = |part: f64| times[(times.len() as f64 * part) as usize].as_nanos() as f64 / 1e3;
        println!(
            "begin + finish, {tasks} tasks: p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, most {:.1} us; {:.0}/s",
            at(0.5),
            at(0.99),
            at(0.999),
            at(0.999_999),
            times.len() as f64 / elapsed.as_secs_f64()
        );
    }
    let (waiting, start) = (meter.pending(), Instant::now());
    meter.flush().await;
    println!(
        "writer: {waiting} rows in {:.2} s: {:.0}/s",
        start.elapsed().as_secs_f64(),
        waiting as f64 / start.elapsed().as_secs_f64()
    );
    println!("{:?}", meter.stats());
}

async fn begin_and_finish(meter: Arc<Meter>, count: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        let metered = meter.begin(bill()).expect("begun");
        metered.finish(Outcome::Completed, Timings::default()).expect("acknowledged");
        times.push(start.elapsed());
        tokio::task::yield_now().await;
    }
    times
}
