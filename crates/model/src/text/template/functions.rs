//! What chat templates may call besides minijinja's own: the functions that Hugging Face's renderer adds.
//! Start at [`add`].

use super::guard;
use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use std::io;
use std::time::Instant;

/// A template's `raise_exception`: the messages are not what it takes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

/// Most spaces that `tojson(indent=…)` takes.
const INDENT_MAX: usize = 16;

pub(super) fn add(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", tojson);
    environment.add_filter("format", format);
    // Templates ask `tools is iterable` and count what is; for minijinja, none is.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
}

/// The filters that `guard` puts into templates. After `end` they fail: fuel bounds the work of any template, and time
/// what fuel has been given for a long chat, and what it does not foresee.
pub(super) fn add_guards(environment: &mut Environment<'static>, weight_max: usize, end: Instant) {
    let bounded = move |state: &State, value: Value| {
        if Instant::now() > end {
            return Err(ErrorKind::OutOfFuel.into());
        }
        guard::check(state, &value, weight_max)?;
        guard::listed(value)
    };
    environment.add_filter(guard::BOUNDED, bounded);
    environment.add_filter(guard::STORED, move |state: &State, value: Value| {
        if guard::is_namespace(&value) {
            return Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot be put into a namespace"));
        }
        bounded(state, value)
    });
    environment.add_filter(guard::FACTOR, |value: Value| match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            Err(Error::new(ErrorKind::InvalidOperation, "lists cannot be multiplied"))
        }
        _ => Ok(value),
    });
}

/// Python's methods. `str.format` pads to any width without paying for it: widths of over three digits are refused.
fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    if let ("format", Some(text)) = (name, value.as_str()) {
        let digits = text.as_bytes().windows(4).any(|digits| digits.iter().all(u8::is_ascii_digit));
        let nested = text.split('{').any(|field| field.contains(':') && !field.contains('}'));
        if digits || nested {
            return Err(Error::new(ErrorKind::InvalidOperation, "`format` with such a width is not supported"));
        }
        plain_names(text, "[", ']')?;
    }
    if name == "count" && value.as_str().is_none() {
        // A list is compared item by item, for the price of one step.
        guard::check(state, value, usize::MAX)?;
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments)
}

/// minijinja's own, but for what it panics on.
fn format(state: &mut State, text: &Value, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    plain_names(text.as_str().unwrap_or_default(), "%(", ')')?;
    minijinja::filters::format(state, text, arguments)
}

/// Names in a format are read byte by byte (minijinja 3.1.0, `parse_till`), which fails inside a character of several.
fn plain_names(text: &str, open: &str, close: char) -> Result<(), Error> {
    let mut names = text.split(open).skip(1).map(|rest| rest.split(close).next().unwrap_or_default());
    if names.all(str::is_ascii) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOperation, "`format` takes ASCII names only"))
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Refusal(message)))
}

/// The day is always 26 July 2024 (a Friday), 00:00: the one that Llama 3.2's template takes where there is no clock. A
/// prompt must not change with the date, or the same request would give other tokens tomorrow.
fn strftime_now(format: &str) -> Result<String, Error> {
    let mut text = String::with_capacity(format.len() + 16);
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        text.push_str(match characters.next() {
            Some('-') => match characters.next() {
                Some('m') => "7",
                Some('H' | 'M' | 'S') => "0",
                Some('d') => "26",
                other => return Err(unknown_directive(other)),
            },
            Some('d') => "26",
            Some('m') => "07",
            Some('Y') => "2024",
            Some('y') => "24",
            Some('b' | 'h') => "Jul",
            Some('B') => "July",
            Some('a') => "Fri",
            Some('A') => "Friday",
            Some('j') => "208",
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('p') => "AM",
            Some('Z') => "UTC",
            Some('z') => "+0000",
            Some('F') => "2024-07-26",
            Some('T') => "00:00:00",
            Some('%') => "%",
            other => return Err(unknown_directive(other)),
        });
    }
    Ok(text)
}

fn unknown_directive(found: Option<char>) -> Error {
    let found = found.map_or(String::new(), String::from);
    Error::new(ErrorKind::InvalidOperation, format!("strftime_now: `%{found}` is not supported"))
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it. (minijinja's own filter escapes `<`, `>`, `&`
/// and `'` for HTML.)
fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent = options.get::<Option<usize>>("indent")?;
    options.get::<Option<bool>>("ensure_ascii")?;
    options.assert_all_used()?;
    let bytes = match indent {
        None => serialize(value, Spaced),
        Some(spaces) => {
            let indent = " ".repeat(spaces.min(INDENT_MAX));
            serialize(value, PrettyFormatter::with_indent(indent.as_bytes()))
        }
    }
    .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    // Walking a value costs more than copying its bytes; the engine charges only for the latter.
    state.consume_fuel((bytes.len() / 4) as u64)?;
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

fn serialize(value: &Value, formatter: impl Formatter) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(bytes)
}

/// Python's separators: `, ` and `: `.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lazy_sequences_become_lists() {
        let mut environment = Environment::new();
        add_guards(&mut environment, 1000, Instant::now() + Duration::from_secs(3600));
        let found = environment.compile_expression("range(3) | bounded__").unwrap().eval(()).unwrap();
        assert_eq!((found.kind(), found.to_string()), (ValueKind::Seq, "[0, 1, 2]".to_owned()));
    }

    #[test]
    fn past_its_time_a_template_fails() {
        let now = Instant::now();
        for (end, fails) in [(now + Duration::from_secs(3600), false), (now - Duration::from_millis(1), true)] {
            let mut environment = Environment::new();
            add_guards(&mut environment, 1000, end);
            let found = environment.render_str("{{ [1] | bounded__ }}", ());
            assert_eq!(found.is_err_and(|error| error.kind() == ErrorKind::OutOfFuel), fails);
        }
    }
}
