//! Attacks by time, measured on the real binary and the default model. By hand, in a release build:
//!
//! ```sh
//! cargo test --release -p orrery-cli --test it timing -- --ignored --nocapture --test-threads 1
//! ```

use crate::model;
use crate::run::Server;
use orrery_platform::Accounts;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Guesses of the attack; half of them are right.
const GUESSES: usize = 1_000;
/// Of the control, where the attacker's own cache is attacked.
const CONTROL_GUESSES: usize = 200;
/// Tokens of a prompt: more than a block of the cache. One that is cached computes its last token alone.
const PROMPT_TOKENS: usize = 48;
/// Samples of the check of a key.
const SAMPLES: usize = 100_000;

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }
}

/// One connection that is kept, and a key.
struct Client {
    stream: TcpStream,
    key: String,
}

impl Client {
    fn connect(url: &str, key: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).expect("a listening server");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        Self { stream, key: key.to_owned() }
    }

    fn send(&mut self, method: &str, path: &str, body: &str) {
        let (key, bytes) = (&self.key, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {bytes}\r\n\r\n{body}"
        );
        self.stream.write_all(head.as_bytes()).expect("sent");
    }

    /// Reads until `end` has come; what came with it.
    fn until(&mut self, end: &str) -> String {
        let (mut text, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while !text.windows(end.len()).any(|window| window == end.as_bytes()) {
            let count = self.stream.read(&mut buffer).expect("an answer");
            assert!(count > 0, "the answer ended: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn post(&mut self, path: &str, body: &str) -> serde_json::Value {
        self.send("POST", path, body);
        let answer = self.until("}");
        let mut json = answer.split_once("\r\n\r\n").expect("a body").1.to_owned();
        while serde_json::from_str::<serde_json::Value>(&json).is_err() {
            json += &self.until("}");
        }
        serde_json::from_str(&json).expect("just read")
    }

    /// From the request to the first token.
    fn first_token(&mut self, prompt: &[u32]) -> Duration {
        let body = format!("{{\"model\":\"{}\",\"prompt\":{prompt:?},\"max_tokens\":1,\"stream\":true}}", model::NAME);
        let sent = Instant::now();
        self.send("POST", "/v1/completions", &body);
        let mut answer = self.until("data: ");
        let taken = sent.elapsed();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        if !answer.contains("\r\n0\r\n\r\n") {
            answer = self.until("0\r\n\r\n");
        }
        black_box(answer);
        taken
    }
}

fn prompt(random: &mut Random) -> Vec<u32> {
    (0..PROMPT_TOKENS).map(|_| 1_000 + random.below(40_000) as u32).collect()
}

/// The victim asks the very prompt before half of the guesses, and another before the rest, so that the server has done
/// the same work before each. Which half comes when is random.
fn attack(victim: &mut Client, attacker: &mut Client, guesses: usize, random: &mut Random) -> f64 {
    let mut right: Vec<bool> = (0..guesses).map(|index| index % 2 == 0).collect();
    for index in (1..guesses).rev() {
        right.swap(index, random.below(index + 1));
    }
    let (mut hits, mut misses) = (Vec::new(), Vec::new());
    for right in right {
        let (guess, other) = (prompt(random), prompt(random));
        victim.first_token(if right { &guess } else { &other });
        let taken = attacker.first_token(&guess);
        if right { hits.push(taken) } else { misses.push(taken) }
    }
    println!("  median of right guesses {:?}, of wrong ones {:?}", median(&mut hits), median(&mut misses));
    area(&hits, &misses)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The area under the curve of who guesses by time: how often a right guess is faster than a wrong one.
fn area(hits: &[Duration], misses: &[Duration]) -> f64 {
    let score = |hit: &Duration| -> f64 {
        misses
            .iter()
            .map(|miss| {
                if hit < miss {
                    1.0
                } else if hit == miss {
                    0.5
                } else {
                    0.0
                }
            })
            .sum()
    };
    hits.iter().map(score).sum::<f64>() / (hits.len() * misses.len()) as f64
}

/// THREATS C7.
#[test]
#[ignore = "takes minutes; see the top of this file"]
fn what_another_tenant_has_cached_does_not_show_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = model::data_dir().join("models");
    std::os::unix::fs::symlink(models, folder.path().join("models")).expect("linked");
    let mut server = Server::start(folder.path(), &[]);
    server.ready();
    let first = std::fs::read_to_string(folder.path().join("first.key")).expect("the first key");
    let mut admin = Client::connect(&server.url, first.trim());
    let mut key = |name: &str| {
        let tenant = admin.post("/v1/tenants", &format!("{{\"name\":\"{name}\"}}"))["id"].clone();
        let made = admin.post("/v1/keys", &format!("{{\"tenant\":{tenant},\"role\":\"inference\"}}"));
        made["key"].as_str().expect("a key").to_owned()
    };
    let (of_victim, of_attacker) = (key("victim"), key("attacker"));
    let random = &mut Random(0x5eed_0007);
    let connect = |key: &str| Client::connect(&server.url, key);
    // Warm.
    for _ in 0..20 {
        connect(&of_victim).first_token(&prompt(random));
    }
    println!("control: {CONTROL_GUESSES} guesses inside one tenant");
    let control = attack(&mut connect(&of_victim), &mut connect(&of_victim), CONTROL_GUESSES, random);
    println!("  AUC {control:.3}");
    println!("attack: {GUESSES} guesses from another tenant");
    let score = attack(&mut connect(&of_victim), &mut connect(&of_attacker), GUESSES, random);
    println!("  AUC {score:.3}");
    assert!(control > 0.9, "the attack would be seen: {control}");
    assert!((0.45..=0.55).contains(&score), "{score}");
}

/// A well-formed key that begins as `key` does for so many of its random characters.
fn guess(key: &str, right: usize, random: &mut Random) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = key[..4 + right].to_owned();
    // The first that is wrong is surely wrong.
    while text.len() < 36 {
        let letter = char::from(ALPHABET[random.below(62)]);
        if text.len() > 4 + right || !key[text.len()..].starts_with(letter) {
            text.push(letter);
        }
    }
    // CRC-32 in base 62, as the keys have it.
    let mut sum = u32::MAX;
    for byte in text.bytes() {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
    }
    let mut rest = !sum as usize;
    let mut check = [b'0'; 6];
    for letter in check.iter_mut().rev() {
        *letter = ALPHABET[rest % 62];
        rest /= 62;
    }
    text + std::str::from_utf8(&check).expect("ASCII")
}

/// Spearman's correlation: Pearson's, of the ranks.
fn correlation(pairs: &[(usize, u64)]) -> f64 {
    let ranks = |values: Vec<u64>| {
        let mut counts = BTreeMap::new();
        values.iter().for_each(|value| *counts.entry(*value).or_insert(0_u64) += 1);
        let mut before = 0;
        let ranks: BTreeMap<u64, f64> = counts
            .into_iter()
            .map(|(value, count)| {
                before += count;
                (value, before as f64 - (count as f64 + 1.0) / 2.0)
            })
            .collect();
        values.into_iter().map(|value| ranks[&value]).collect::<Vec<f64>>()
    };
    let x = ranks(pairs.iter().map(|(length, _)| *length as u64).collect());
    let y = ranks(pairs.iter().map(|(_, time)| *time).collect());
    let mean = (pairs.len() as f64 - 1.0) / 2.0;
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    sum(&x, &y) / (sum(&x, &x) * sum(&y, &y)).sqrt()
}

/// THREATS C4: whether a guess that begins as a real key does takes longer to be refused.
#[test]
#[ignore = "takes a while; see the top of this file"]
fn how_much_of_a_key_is_right_does_not_show_in_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (accounts, key) = runtime.block_on(Accounts::ephemeral()).expect("accounts");
    let random = &mut Random(0x5eed_0004);
    let (mut real, mut naive) = (Vec::with_capacity(SAMPLES), Vec::with_capacity(SAMPLES));
    for index in 0..SAMPLES + 1_000 {
        let right = random.below(32);
        let guess = guess(&key, right, random);
        let begun = Instant::now();
        let refused = runtime.block_on(accounts.authenticate(black_box(Some(&guess))));
        let taken = begun.elapsed();
        assert!(refused.is_err());
        // What a comparison from left to right would show: that the measure can see it.
        let begun = Instant::now();
        for _ in 0..8 {
            black_box(black_box(&guess).bytes().zip(black_box(&key).bytes()).position(|(a, b)| black_box(a) != b));
        }
        let compared = begun.elapsed();
        if index >= 1_000 {
            real.push((right, taken.as_nanos() as u64));
            naive.push((right, compared.as_nanos() as u64));
        }
    }
    let (found, control) = (correlation(&real), correlation(&naive));
    println!("{SAMPLES} samples: correlation of the matching prefix with the time {found:.4}");
    println!("control, a comparison from left to right: {control:.4}");
    // Four standard deviations of what chance alone gives.
    let bound = 4.0 / (SAMPLES as f64).sqrt();
    assert!(control > 0.5, "the measure would see it: {control}");
    assert!(found.abs() < bound, "{found} is over {bound}");
}
