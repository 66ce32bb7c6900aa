//! What a worker does: it reads its order and files, trains, and tells what happens. It is a process of its own, so that a panic, a
//! shortage of memory or a fault in training cannot take the server down.

use super::folder::ARTEFACT;
pub use super::protocol::Order;
use super::protocol::{LINE_BYTES_MAX, OrderFile, Word};
use orrery_train::job::{self, Files, Input, Limits};
use orrery_train::{Control, Error, Event, Spec};
use std::io::{BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Runs one order from `input` and tells of it on `output`. Returns when the job has ended, however it did. `prepare` puts up the
/// worker's walls, when it knows what is to be done and has seen nothing of the data.
///
/// # Errors
/// `output` is closed, or `input` has no order: there is nobody to tell.
pub fn run(
    mut input: impl BufRead + Send + 'static,
    mut output: impl Write + Send,
    prepare: impl FnOnce(&Order) -> Result<(), String>,
) -> std::io::Result<()> {
    let order = read_order(&mut input)?;
    if let Err(message) = prepare(&order) {
        return tell(&mut output, &failed("internal", message, None));
    }
    let files = match read_files(&order, &mut input) {
        Ok(files) => files,
        Err(message) => return tell(&mut output, &failed("file_unreadable", message, None)),
    };
    let stop = watch(input);
    let last = work(&order, files, &stop, &mut |event| {
        // A closed output is a server that is gone: its end of the input says so too.
        let heard = tell(&mut output, &Word::Event { event }).is_ok();
        if heard && !stop.load(Ordering::Relaxed) { Control::Continue } else { Control::Cancel }
    });
    tell(&mut output, &last)
}

fn work(order: &Order, files: Files, stop: &AtomicBool, on_event: &mut (dyn FnMut(Event) -> Control + Send)) -> Word {
    let spec = match Spec::from_value(order.spec.clone()) {
        Ok(spec) => spec,
        Err(error) => return of_error(error),
    };
    let limits = Limits {
        time: Some(Duration::from_secs(order.time_max_s)),
        memory_bytes_max: order.memory_max_bytes,
        disk_bytes_max: order.disk_max_bytes,
        ..Limits::default()
    };
    if stop.load(Ordering::Relaxed) {
        return Word::Cancelled;
    }
    match job::run(&spec, &files, &order.folder, &limits, on_event) {
        Ok(outcome) => {
            debug_assert!(outcome.artefact.ends_with(ARTEFACT), "the server looks for it there");
            Word::Done
        }
        Err(error) => of_error(error),
    }
}

fn of_error(error: Error) -> Word {
    let (code, param) = match &error {
        Error::Cancelled => return Word::Cancelled,
        Error::BadData(_) => ("invalid_data", Some("training_file".to_owned())),
        Error::BadSpec { field, .. } => ("invalid_value", Some(field.clone())),
        Error::Diverged(_) => ("diverged", None),
        Error::LimitReached(_) => ("limit_reached", None),
        Error::File { .. } => ("disk", None),
        Error::Internal(_) => ("internal", None),
    };
    failed(code, error.to_string(), param)
}

fn failed(code: &str, message: String, param: Option<String>) -> Word {
    Word::Failed { code: code.to_owned(), message, param }
}

fn read_order(input: &mut impl BufRead) -> std::io::Result<Order> {
    let mut line = Vec::new();
    input.take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// The files stay in memory: in the clear they are nowhere else.
fn read_files(order: &Order, input: &mut impl Read) -> Result<Files, String> {
    let mut read = |file: &OrderFile| {
        let mut bytes = Vec::new();
        let length = usize::try_from(file.bytes).unwrap_or(usize::MAX);
        bytes
            .try_reserve_exact(length)
            .map_err(|_| format!("there is no memory for the {length} bytes of {}", file.name))?;
        input.take(file.bytes).read_to_end(&mut bytes).map_err(|error| format!("{}: {error}", file.name))?;
        match bytes.len() == length {
            true => Ok(Input::Bytes { name: file.name.clone(), bytes: Arc::from(bytes) }),
            false => Err(format!("{} ended after {} of {length} bytes", file.name, bytes.len())),
        }
    };
    let training = order.files.first().ok_or("the order names no file")?;
    Ok(Files { training: read(training)?, validation: order.files.get(1).map(read).transpose()? })
}

/// Waits for the input's end, which asks the worker to stop.
fn watch(mut input: impl Read + Send + 'static) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let ended = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut input, &mut std::io::sink());
        ended.store(true, Ordering::Relaxed);
    });
    stop
}

fn tell(output: &mut impl Write, word: &Word) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
