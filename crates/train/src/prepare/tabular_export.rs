//! The preparation of columns as nodes of a graph, for what `tabular.rs` defines.
//!
//! Numbers are computed in double precision up to the result, as in training; the inputs are 32-bit floats.

use super::tabular::{Codes, Columns, Number, OneHot, Part, Source};
use crate::data::{DateFormat, MISSING_WORDS, place};
use crate::onnx::{Dim, Element, Graph, Setting, Value};

const ONE_CELL: [Dim; 2] = [Dim::Batch, Dim::Fixed(1)];

impl Columns {
    /// Adds inputs and nodes; gives the features, float `[batch, width]`.
    pub(super) fn export(&self, graph: &mut Graph) -> Value {
        let mut blocks = Vec::new();
        if !self.numbers.is_empty() {
            let raw = self.export_raw(graph);
            blocks.push(self.export_prepared(graph, &raw));
            if let Some(told) = self.export_told(graph, &raw) {
                blocks.push(told);
            }
        }
        blocks.extend(self.one_hots.iter().map(|one_hot| one_hot.export(graph)));
        concat(graph, &blocks)
    }

    /// All numbers, double `[batch, numbers]`, NaN where one is missing.
    fn export_raw(&self, graph: &mut Graph) -> Value {
        let mut parts = Vec::new();
        let mut rest = self.numbers.as_slice();
        while let Some(first) = rest.first() {
            let is_plain = |number: &&Number| matches!(number.source, Source::Number | Source::Boolean);
            let length = match &first.source {
                Source::Number | Source::Boolean => rest.iter().take_while(is_plain).count(),
                Source::Date(format, _) => Part::of(*format).count(),
                Source::Place(_) => 1,
            };
            let (run, after) = rest.split_at(length.min(rest.len()));
            parts.push(match &first.source {
                Source::Number | Source::Boolean => export_plain(graph, run),
                Source::Date(format, _) => export_date(graph, &first.column, *format),
                Source::Place(codes) => export_place(graph, &first.column, codes),
            });
            rest = after;
        }
        concat(graph, &parts)
    }

    fn export_prepared(&self, graph: &mut Graph, raw: &Value) -> Value {
        let row = |graph: &mut Graph, value: &dyn Fn(&Number) -> f64| {
            let values: Vec<f64> = self.numbers.iter().map(value).collect();
            graph.doubles(&[1, values.len()], &values)
        };
        let is_missing = graph.node("IsNaN", &[raw], &[]);
        let fill = row(graph, &|number| number.fill);
        let mut values = graph.node("Where", &[&is_missing, &fill, raw], &[]);
        let clips = |number: &Number| number.bounds.filter(|bounds| !bounds.drops);
        if self.numbers.iter().any(|number| clips(number).is_some()) {
            let low = row(graph, &|number| clips(number).map_or(f64::NEG_INFINITY, |bounds| bounds.low));
            let high = row(graph, &|number| clips(number).map_or(f64::INFINITY, |bounds| bounds.high));
            values = graph.node("Max", &[&values, &low], &[]);
            values = graph.node("Min", &[&values, &high], &[]);
        }
        let offset = row(graph, &|number| number.offset);
        let scale = row(graph, &|number| number.scale);
        let moved = graph.node("Sub", &[&values, &offset], &[]);
        let scaled = graph.node("Div", &[&moved, &scale], &[]);
        cast(graph, &scaled, Element::F32)
    }

    /// 1 where a number was missing, of those numbers for which it is told.
    fn export_told(&self, graph: &mut Graph, raw: &Value) -> Option<Value> {
        let told = self.numbers.iter().zip(0..).filter(|(number, _)| number.is_missing_told);
        let places: Vec<i64> = told.map(|(_, place)| place).collect();
        if places.is_empty() {
            return None;
        }
        let places = graph.ints(&[places.len()], &places);
        let values = graph.node("Gather", &[raw, &places], &[("axis", Setting::Int(1))]);
        let is_missing = graph.node("IsNaN", &[&values], &[]);
        Some(cast(graph, &is_missing, Element::F32))
    }
}

impl OneHot {
    /// The row of a table at the category's place; the last row, for what is unknown, is all 0.
    fn export(&self, graph: &mut Graph) -> Value {
        let count = self.codes.categories.len();
        let mut rows = vec![0.0; (count + 1) * count];
        (0..count).for_each(|place| rows[place * count + place] = 1.0);
        let table = graph.floats(&[count + 1, count], &rows);
        let place = export_code(graph, &self.column, &self.codes, count as i64);
        let rows = graph.node("Gather", &[&table, &place], &[("axis", Setting::Int(0))]);
        graph.node("Flatten", &[&rows], &[("axis", Setting::Int(1))])
    }
}

/// Inputs of numbers, double `[batch, run]`.
fn export_plain(graph: &mut Graph, run: &[Number]) -> Value {
    let inputs: Vec<Value> = run.iter().map(|number| graph.input(&number.column, Element::F32, &ONE_CELL)).collect();
    let all = concat(graph, &inputs);
    cast(graph, &all, Element::F64)
}

/// A category's place, double `[batch, 1]`.
fn export_place(graph: &mut Graph, column: &str, codes: &Codes) -> Value {
    let place = export_code(graph, column, codes, -1);
    cast(graph, &place, Element::F64)
}

/// A category's place, integer `[batch, 1]`; `unknown` for one that was not in training.
fn export_code(graph: &mut Graph, column: &str, codes: &Codes, unknown: i64) -> Value {
    let input = graph.input(column, Element::Text, &ONE_CELL);
    let present = codes.categories.iter().zip(0..).filter(|(category, _)| !category.is_empty());
    let (mut keys, mut places): (Vec<String>, Vec<i64>) =
        present.map(|(category, place)| (category.clone(), place)).unzip();
    let missing = codes.missing.map_or(unknown, |place| place as i64);
    for word in MISSING_WORDS {
        keys.push(word.to_owned());
        places.push(missing);
    }
    let settings = [
        ("keys_strings", Setting::Texts(keys)),
        ("values_int64s", Setting::Ints(places)),
        ("default_int64", Setting::Int(unknown)),
    ];
    graph.ml("LabelEncoder", &[&input], &settings)
}

/// The parts of a date, double `[batch, parts]`, NaN where it is missing or of another format.
///
/// The text is cut into characters, those at the digits' places become numbers, and one product with their powers of ten
/// gives year, month, day, hour, minute and second. A row in the right format is added at the end and taken away again, so
/// that the characters of any batch are as many as the format has.
fn export_date(graph: &mut Graph, column: &str, format: DateFormat) -> Value {
    let input = graph.input(column, Element::Text, &ONE_CELL);
    let numbers = export_digits(graph, &input, format);
    let part = |graph: &mut Graph, index: i64| {
        let index = graph.ints(&[1], &[index]);
        graph.node("Gather", &[&numbers, &index], &[("axis", Setting::Int(1))])
    };
    let has_day = format.pattern().contains('D');
    let (year, month) = (part(graph, 0), part(graph, 1));
    let day = if has_day { part(graph, 2) } else { graph.doubles(&[1, 1], &[1.0]) };
    let days = export_days(graph, &year, &month, &day);
    let parts: Vec<Value> = Part::of(format)
        .map(|wanted| match wanted {
            Part::Year => year.clone(),
            Part::Month => month.clone(),
            Part::Day => day.clone(),
            Part::Weekday => {
                let from_monday = arithmetic(graph, "Add", &days, 3.0);
                modulo(graph, &from_monday, 7.0)
            }
            Part::Days => days.clone(),
            Part::Hour => part(graph, 3),
            Part::Minute => part(graph, 4),
        })
        .collect();
    let parts = concat(graph, &parts);
    let is_date = graph.node("RegexFullMatch", &[&input], &[("pattern", Setting::Text(regex(format)))]);
    let missing = graph.doubles(&[1, 1], &[f64::NAN]);
    graph.node("Where", &[&is_date, &parts, &missing], &[])
}

/// Year, month, day, hour, minute and second, double `[batch, 6]`; any numbers where the text is no date.
fn export_digits(graph: &mut Graph, input: &Value, format: DateFormat) -> Value {
    let pattern = format.pattern();
    let example: String =
        pattern.chars().map(|letter| if place(letter as u8).is_some() { '1' } else { letter }).collect();
    let example = graph.texts(&[1, 1], &[example]);
    let longer = graph.node("Concat", &[input, &example], &[("axis", Setting::Int(0))]);
    let cut = [
        ("mark", Setting::Int(0)),
        ("mincharnum", Setting::Int(1)),
        ("pad_value", Setting::Text(String::new())),
        ("separators", Setting::Texts(vec![String::new()])),
    ];
    let characters = graph.nodes("com.microsoft", "Tokenizer", &[&longer], &cut, 1).remove(0);
    let digits: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
    let settings = [
        ("keys_strings", Setting::Texts(digits)),
        ("values_floats", Setting::Floats((0..10_u8).map(f32::from).collect())),
        ("default_float", Setting::Float(0.0)),
    ];
    let numbers = graph.ml("LabelEncoder", &[&characters], &settings);
    let (places, powers) = powers(pattern);
    let digits = graph.ints(&[places.len()], &places);
    let numbers = graph.node("Gather", &[&numbers, &digits], &[("axis", Setting::Int(2))]);
    let numbers = graph.node("Flatten", &[&numbers], &[("axis", Setting::Int(1))]);
    let (begin, end, axis) = (graph.ints(&[1], &[0]), graph.ints(&[1], &[-1]), graph.ints(&[1], &[0]));
    let numbers = graph.node("Slice", &[&numbers, &begin, &end, &axis], &[]);
    let numbers = cast(graph, &numbers, Element::F64);
    let powers = graph.doubles(&[places.len(), 6], &powers);
    graph.node("MatMul", &[&numbers, &powers], &[])
}

/// Where the digits stand, and for each of them its power of ten in the column of its part: `[digits][6]`.
fn powers(pattern: &str) -> (Vec<i64>, Vec<f64>) {
    let digits: Vec<(i64, usize)> =
        (0..).zip(pattern.bytes()).filter_map(|(index, letter)| Some((index, place(letter)?))).collect();
    let mut powers = vec![0.0; digits.len() * 6];
    for (index, (_, part)) in digits.iter().enumerate() {
        let after = digits[index + 1..].iter().filter(|(_, other)| other == part).count();
        powers[index * 6 + part] = 10_f64.powi(after as i32);
    }
    (digits.into_iter().map(|(index, _)| index).collect(), powers)
}

/// Days since 1970-01-01 as `dates.rs` computes them: the year begins in March.
fn export_days(graph: &mut Graph, year: &Value, month: &Value, day: &Value) -> Value {
    let minus = graph.doubles(&[1, 1], &[14.0]);
    let to_fourteen = graph.node("Sub", &[&minus, month], &[]);
    let before_march = floor_of(graph, &to_fourteen, 12.0);
    let year = graph.node("Sub", &[year, &before_march], &[]);
    let month = arithmetic(graph, "Add", month, 9.0);
    let month = modulo(graph, &month, 12.0);
    let year_days = arithmetic(graph, "Mul", &year, 365.0);
    let (fourth, hundredth, four_hundredth) =
        (floor_of(graph, &year, 4.0), floor_of(graph, &year, 100.0), floor_of(graph, &year, 400.0));
    let month = arithmetic(graph, "Mul", &month, 153.0);
    let month = arithmetic(graph, "Add", &month, 2.0);
    let month_days = floor_of(graph, &month, 5.0);
    let days = graph.node("Add", &[&year_days, &fourth], &[]);
    let days = graph.node("Sub", &[&days, &hundredth], &[]);
    let days = graph.node("Add", &[&days, &four_hundredth], &[]);
    let days = graph.node("Add", &[&days, &month_days], &[]);
    let days = graph.node("Add", &[&days, day], &[]);
    arithmetic(graph, "Sub", &days, 719_469.0)
}

/// The texts that the format takes. The 31st of any month is one: a graph knows no calendar.
fn regex(format: DateFormat) -> String {
    let mut pattern = format.pattern().replace('.', r"\.");
    for (letters, digits) in [
        ("YYYY", "[0-9]{4}"),
        ("MM", "(0[1-9]|1[0-2])"),
        ("DD", "(0[1-9]|[12][0-9]|3[01])"),
        ("hh", "([01][0-9]|2[0-3])"),
        ("mm", "[0-5][0-9]"),
        ("ss", "[0-5][0-9]"),
    ] {
        pattern = pattern.replace(letters, digits);
    }
    pattern
}

fn arithmetic(graph: &mut Graph, operator: &str, value: &Value, by: f64) -> Value {
    let by = graph.doubles(&[1, 1], &[by]);
    graph.node(operator, &[value, &by], &[])
}

fn floor_of(graph: &mut Graph, value: &Value, divided_by: f64) -> Value {
    let quotient = arithmetic(graph, "Div", value, divided_by);
    graph.node("Floor", &[&quotient], &[])
}

fn modulo(graph: &mut Graph, value: &Value, by: f64) -> Value {
    let whole = floor_of(graph, value, by);
    let whole = arithmetic(graph, "Mul", &whole, by);
    graph.node("Sub", &[value, &whole], &[])
}

pub(super) fn cast(graph: &mut Graph, value: &Value, to: Element) -> Value {
    graph.node("Cast", &[value], &[("to", Setting::Int(to as i64))])
}

fn concat(graph: &mut Graph, parts: &[Value]) -> Value {
    let parts: Vec<&Value> = parts.iter().collect();
    graph.node("Concat", &parts, &[("axis", Setting::Int(1))])
}
