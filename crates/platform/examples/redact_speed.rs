//! How long masking takes: reads text from standard input, makes chats of about 4 kB of it and masks them again and again, whole
//! and in pieces of four characters, as a stream of tokens has them. Writes the mean time for one chat.

use orrery_platform::redact;
use std::io::BufRead as _;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const SIZE: usize = 4096;
    let (mut chats, mut chat) = (Vec::new(), String::new());
    for line in std::io::stdin().lock().lines() {
        chat.push_str(&line?);
        chat.push('\n');
        if chat.len() >= SIZE {
            chats.push(std::mem::take(&mut chat));
        }
    }
    if chats.is_empty() {
        return Err("less than 4 kB of text was given".into());
    }
    let rounds = 2000 / chats.len() + 1;
    let count = f64::from(u32::try_from(rounds * chats.len())?);
    let bytes = chats.iter().map(String::len).sum::<usize>() / chats.len();
    let start = Instant::now();
    let mut findings = 0;
    for _ in 0..rounds {
        findings += chats.iter().map(|chat| redact::mask(chat).1.len()).sum::<usize>();
    }
    println!("whole: {:.1} µs for {bytes} bytes, {findings} findings", start.elapsed().as_secs_f64() * 1e6 / count);
    let start = Instant::now();
    for _ in 0..rounds {
        chats.iter().for_each(|chat| stream(chat));
    }
    println!("stream of four characters each: {:.1} µs", start.elapsed().as_secs_f64() * 1e6 / count);
    Ok(())
}

fn stream(text: &str) {
    let mut stream = redact::Stream::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.char_indices().nth(4).map_or(rest.len(), |(index, _)| index);
        std::hint::black_box(stream.push(&rest[..end]));
        rest = &rest[end..];
    }
    std::hint::black_box(stream.finish());
}
