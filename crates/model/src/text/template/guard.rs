//! Keeps values inside a template small: fuel pays for steps and for strings, but not for what a small value can unfold to.
//!
//! Sixty times `x = [x, x]` costs little, and then showing, comparing or joining `x` takes for ever. So the template's
//! source is rewritten before it is compiled, token by token as minijinja reads it: wherever an expression can make a
//! container, a filter is put behind that hands on its input unchanged and refuses a value which is too large, too
//! deep, or contains a namespace (and so could contain itself). The same filter charges for a value's size, so it stands
//! too where minijinja reads a whole value and charges for a step: comparisons, tests, arguments and subscripts.
//!
//! ```text
//! [x, x]   →  [x, x]|bounded__          {% set a = e %}  →  {% set a = (e)|bounded__ %}
//! f(x)     →  f(x|bounded__)|bounded__  a + b            →  a|bounded__ + b
//! a == b   →  a|bounded__ == b          d[x]             →  d[x|bounded__]|bounded__
//! ```
//!
//! Start at [`rewrite`] and [`check`].

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

pub(super) const BOUNDED: &str = "bounded__";
/// For what is put into a namespace: [`BOUNDED`], and no namespace.
pub(super) const STORED: &str = "stored__";
/// For the sides of a product: no container, so that lists are not repeated.
pub(super) const FACTOR: &str = "factor__";

/// Tokens of one tag: bounds how deep the parser and the compiler recurse, which takes time by the square of it.
const TAG_TOKENS_MAX: usize = 1_000;
/// Sum of the squares of the tags' tokens: what compiling them all may take.
const TAG_SQUARES_MAX: usize = 1 << 24;
/// `elif`s of a template, which nest in the syntax tree.
const BRANCHES_MAX: usize = 500;
/// Containers in containers.
const DEPTH_MAX: usize = 48;
/// What a value weighs besides its text, in bytes.
const VALUE_WEIGHT: usize = 32;
/// Weight that one unit of fuel pays for.
const WEIGHT_PER_FUEL: usize = 256;
/// Texts in the source that are not worth a guard.
const LITERAL_BYTES_FREE: usize = 64;
/// Tests that look at no more than a value's kind; all others may read all of it.
const CHEAP_TESTS: [&str; 17] = [
    "defined",
    "undefined",
    "none",
    "string",
    "number",
    "integer",
    "int",
    "float",
    "boolean",
    "true",
    "false",
    "mapping",
    "sequence",
    "iterable",
    "odd",
    "even",
    "divisibleby",
];
/// Filters that read all items of their input and charge for their number alone.
const READING_FILTERS: [&str; 11] =
    ["select", "reject", "selectattr", "rejectattr", "map", "unique", "sort", "min", "max", "groupby", "dictsort"];

/// A token and the bytes of the source that it stands for.
struct Read<'s> {
    token: Token<'s>,
    start: usize,
    end: usize,
}

/// Where text is put into the source.
type Insertions = Vec<(usize, String)>;

/// The source with the guards in it.
///
/// # Errors
/// A source that cannot be read, or one with tags longer than any honest template's.
pub(super) fn rewrite(source: &str, syntax: &SyntaxConfig) -> Result<String, Error> {
    let mut insertions = Insertions::new();
    let mut tag: Vec<Read<'_>> = Vec::new();
    let (mut branches, mut squares) = (0, 0);
    for read in tokenize(source, false, syntax.clone()) {
        let (token, span) = read?;
        match token {
            Token::TemplateData(_) => {}
            Token::VariableStart | Token::BlockStart => tag.clear(),
            Token::VariableEnd => {
                squares += tag.len() * tag.len();
                guard_expression(&tag, &mut insertions);
            }
            Token::BlockEnd => {
                squares += tag.len() * tag.len();
                branches += usize::from(matches!(keyword(&tag), Some("elif")));
                guard_statement(&tag, &mut insertions);
            }
            token => tag.push(Read { token, start: span.start_offset as usize, end: span.end_offset as usize }),
        }
        if tag.len() > TAG_TOKENS_MAX || branches > BRANCHES_MAX || squares > TAG_SQUARES_MAX {
            return Err(refused(&format!(
                "it has a tag of over {TAG_TOKENS_MAX} words, too many long tags, or over {BRANCHES_MAX} branches"
            )));
        }
    }
    insertions.sort_by_key(|(at, _)| *at);
    let mut text = String::with_capacity(source.len() * 2);
    let mut from = 0;
    for (at, inserted) in insertions {
        text.push_str(source.get(from..at).ok_or_else(|| refused("it cannot be read"))?);
        text.push_str(&inserted);
        from = at;
    }
    text.push_str(source.get(from..).unwrap_or_default());
    Ok(text)
}

fn refused(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.to_owned())
}

fn keyword<'s>(tag: &[Read<'s>]) -> Option<&'s str> {
    match tag.first()?.token {
        Token::Ident(name) => Some(name),
        _ => None,
    }
}

fn guard_statement(tag: &[Read<'_>], insertions: &mut Insertions) {
    let Some(keyword) = keyword(tag) else { return };
    let rest = &tag[1..];
    let outside = |wanted: fn(&Token<'_>) -> bool| {
        let mut depth = 0usize;
        rest.iter().position(|read| {
            let before = depth;
            depth = if opens(&read.token) { depth + 1 } else { depth.saturating_sub(closes(&read.token).into()) };
            before == 0 && wanted(&read.token)
        })
    };
    match keyword {
        // A signature or a call is part of the statement: only what is inside its parentheses is expressions, and of a
        // signature only the defaults.
        "macro" | "call" | "filter" => {
            let mut guards = Insertions::new();
            guard_expression(rest, &mut guards);
            let mut depth = 0usize;
            let mut in_signature = keyword == "macro" || rest.first().is_some_and(|read| opens(&read.token));
            for read in rest {
                depth = if opens(&read.token) { depth + 1 } else { depth.saturating_sub(closes(&read.token).into()) };
                let name = in_signature && depth == 1 && matches!(read.token, Token::Ident(_));
                if depth == 0 || name {
                    guards.retain(|(at, _)| *at != read.end);
                }
                in_signature &= depth > 0 || !closes(&read.token);
            }
            insertions.extend(guards);
        }
        "for" => {
            let from = outside(|token| matches!(token, Token::Ident("in"))).map_or(rest.len(), |at| at + 1);
            guard_expression(&rest[from..], insertions);
        }
        "set" => {
            let Some(assign) = outside(|token| matches!(token, Token::Assign)) else { return };
            let (target, value) = (&rest[..assign], &rest[assign + 1..]);
            let (Some(first), Some(last)) = (value.first(), value.last()) else { return };
            let dotted = target.iter().any(|read| matches!(read.token, Token::Dot));
            insertions.push((first.start, "(".to_owned()));
            guard_expression(value, insertions);
            insertions.push((last.end, format!(")|{}", if dotted { STORED } else { BOUNDED })));
        }
        _ => guard_expression(rest, insertions),
    }
}

fn guard_expression(tokens: &[Read<'_>], insertions: &mut Insertions) {
    for (index, read) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1).map(|read| &read.token);
        let previous = index.checked_sub(1).map(|before| &tokens[before]);
        let operand = previous.filter(|previous| ends_operand(&previous.token));
        match &read.token {
            token if closes(token) && !matches!(next, Some(Token::Assign)) && !next.is_some_and(goes_on) => {
                insertions.push((read.end, format!("|{BOUNDED}")));
            }
            Token::Ident(_) | Token::Str(_) | Token::String(_) if ends_operand(&read.token) => {
                let short = !matches!(read.token, Token::Ident(_)) && read.end - read.start <= LITERAL_BYTES_FREE;
                if !short && is_read(&tokens[index + 1..]) {
                    insertions.push((read.end, format!("|{BOUNDED}")));
                }
            }
            Token::Plus => {
                // A closing bracket has its guard already.
                let names = operand.filter(|operand| matches!(operand.token, Token::Ident(_)));
                insertions.extend(names.map(|operand| (operand.end, format!("|{BOUNDED}"))));
            }
            Token::Mul => {
                if let Some(operand) = operand {
                    insertions.push((operand.end, format!("|{FACTOR}")));
                    let right = index + 1 + operand_end(&tokens[index + 1..]);
                    insertions.extend(tokens.get(right).map(|last| (last.end, format!("|{FACTOR}"))));
                }
            }
            _ => {}
        }
    }
}

/// Whether the operand before `rest` is read as a whole: compared, tested, filtered by its items, an argument or a
/// subscript.
fn is_read(rest: &[Read<'_>]) -> bool {
    let word = |index: usize| match rest.get(index).map(|read| &read.token) {
        Some(Token::Ident(word)) => *word,
        _ => "",
    };
    match rest.first().map(|read| &read.token) {
        Some(Token::Eq | Token::Ne | Token::Gt | Token::Gte | Token::Lt | Token::Lte) => true,
        Some(Token::Comma | Token::ParenClose | Token::BracketClose) => true,
        Some(Token::Pipe) => READING_FILTERS.contains(&word(1)),
        Some(Token::Ident("in")) => true,
        Some(Token::Ident("not")) => word(1) == "in",
        Some(Token::Ident("is")) => !CHEAP_TESTS.contains(&word(if word(1) == "not" { 2 } else { 1 })),
        _ => false,
    }
}

/// Index of the last token of the operand that `tokens` begin with.
fn operand_end(tokens: &[Read<'_>]) -> usize {
    let mut at = tokens.iter().take_while(|read| matches!(read.token, Token::Minus | Token::Plus)).count();
    let mut depth = 0usize;
    while let Some(read) = tokens.get(at) {
        depth = if opens(&read.token) { depth + 1 } else { depth.saturating_sub(closes(&read.token).into()) };
        let next = tokens.get(at + 1).map(|read| &read.token);
        if depth == 0 && !matches!(read.token, Token::Dot) && !next.is_some_and(goes_on) {
            return at;
        }
        at += 1;
    }
    at
}

fn opens(token: &Token<'_>) -> bool {
    matches!(token, Token::ParenOpen | Token::BracketOpen | Token::BraceOpen)
}

fn closes(token: &Token<'_>) -> bool {
    matches!(token, Token::ParenClose | Token::BracketClose | Token::BraceClose)
}

/// After an operand: its attribute, item or call follows.
fn goes_on(token: &Token<'_>) -> bool {
    matches!(token, Token::Dot | Token::BracketOpen | Token::ParenOpen)
}

fn ends_operand(token: &Token<'_>) -> bool {
    match token {
        Token::Ident(name) => !matches!(*name, "in" | "not" | "and" | "or" | "if" | "else" | "is"),
        Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => true,
        token => closes(token),
    }
}

/// Refuses a value that weighs over `weight_max` bytes, is too deep, or has a namespace inside.
pub(super) fn check(state: &State, value: &Value, weight_max: usize) -> Result<(), Error> {
    let mut left = weight_max;
    weigh(value, 0, &mut left)?;
    state.consume_fuel(((weight_max - left) / WEIGHT_PER_FUEL) as u64)
}

/// A lazy sequence as a list: minijinja goes through all of one to find its last item, and through all the parts of a sum.
pub(super) fn listed(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Iterable => value.try_iter()?.checked().collect::<Result<Vec<_>, _>>().map(Value::from),
        _ => Ok(value),
    }
}

fn weigh(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
    if depth > DEPTH_MAX || (depth > 0 && is_namespace(value)) {
        return Err(refused("a value in it is nested too deeply"));
    }
    let text = value.as_str().map_or(0, str::len);
    *left = left.checked_sub(VALUE_WEIGHT + text).ok_or_else(|| refused("a value in it grows too large"))?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()?.checked() {
                weigh(&item?, depth + 1, left)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()?.checked() {
                let key = key?;
                weigh(&value.get_item(&key)?, depth + 1, left)?;
                weigh(&key, depth + 1, left)?;
            }
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}
