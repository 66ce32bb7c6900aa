//! Columns to a matrix: missing cells, outliers, encoding and normalisation.
//!
//! A feature is either a [`Number`] (of a column of numbers or truth values, a part of a date, or a category's place) or one
//! of a [`OneHot`]'s. In the matrix come the numbers, then the features that say that a number was missing, then the
//! one-hot features. `tabular_export.rs` says the same in nodes of a graph.

use serde::{Deserialize, Serialize};

use super::settings::{ColumnSettings, Constant, Encoding, Missing, Normalisation, Outliers, Roles, Settings};
use super::statistics::{self, Sorted};
use super::target::{names, present};
use crate::data::{Column, DateFormat, DateParts, Kind, Strings, Table, Values, quoted};
use crate::{Error, Matrix, Result};

/// How the columns of a table are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Columns {
    pub(super) numbers: Vec<Number>,
    pub(super) one_hots: Vec<OneHot>,
}

/// A feature that is a number: `(clip(value, or fill where it is missing) - offset) / scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Number {
    pub(super) column: String,
    pub(super) source: Source,
    pub(super) fill: f64,
    /// Whether a feature more says that the cell was missing.
    pub(super) is_missing_told: bool,
    drops_missing: bool,
    pub(super) bounds: Option<Bounds>,
    pub(super) offset: f64,
    pub(super) scale: f64,
}

/// What a number is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    Number,
    Boolean,
    Date(DateFormat, Part),
    Place(Codes),
}

/// A number that a date gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    Year,
    Month,
    Day,
    Weekday,
    Days,
    Hour,
    Minute,
}

/// Where outliers begin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bounds {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether rows outside are dropped from training; else values are clipped.
    pub(super) drops: bool,
}

/// Categories and their places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Codes {
    /// Sorted, but for the missing cell's own category (empty), which is the last one.
    pub(super) categories: Vec<String>,
    /// The place of a missing cell; none if it is unknown like a category that was not in training.
    pub(super) missing: Option<usize>,
    drops_missing: bool,
}

/// Features of which the one of a row's category is 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OneHot {
    pub(super) column: String,
    pub(super) codes: Codes,
}

/// Names that a served model's outputs have.
const OUTPUTS: [&str; 4] = ["label", "probabilities", "prediction", "forecast"];
/// Share of different values from which a column of categories is an id.
const ID_SHARE: f64 = 0.5;

impl Columns {
    /// Finds out on `rows` how the columns are prepared.
    pub(super) fn fit(
        table: &Table,
        target: &str,
        roles: &Roles,
        settings: &Settings,
        rows: &[usize],
        notes: &mut Vec<String>,
    ) -> Result<Columns> {
        check_overrides(table, settings)?;
        let mut columns = Columns { numbers: Vec::new(), one_hots: Vec::new() };
        for column in chosen(table, target, roles, settings, rows, notes)? {
            let settings = Resolved::of(column, settings)?;
            columns.add(column, &settings, rows)?;
        }
        let kept = columns.training_rows(table, rows)?;
        for number in &mut columns.numbers {
            let column = present(table, &number.column)?;
            number.fit(column, &Resolved::of(column, settings)?, &kept)?;
        }
        Ok(columns)
    }

    fn add(&mut self, column: &Column, settings: &Resolved, rows: &[usize]) -> Result<()> {
        let sources = match &column.values {
            Values::Number(_) => vec![Source::Number],
            Values::Boolean(_) => vec![Source::Boolean],
            Values::Date(format, _) => Part::of(*format).map(|part| Source::Date(*format, part)).collect(),
            Values::Category(strings) | Values::Text(strings) => {
                let codes = Codes::fit(column, strings, settings, rows)?;
                if settings.categories == Encoding::OneHot {
                    self.one_hots.push(OneHot { column: column.name.clone(), codes });
                    return Ok(());
                }
                vec![Source::Place(codes)]
            }
        };
        for source in sources {
            self.numbers.push(Number::bounded(column, source, settings, rows)?);
        }
        Ok(())
    }

    /// Those of `rows` that cleaning leaves.
    pub(super) fn training_rows(&self, table: &Table, rows: &[usize]) -> Result<Vec<usize>> {
        let mut kept = rows.to_vec();
        for number in &self.numbers {
            let values = number.raw(present(table, &number.column)?)?;
            if number.drops_missing {
                kept.retain(|&row| !values[row].is_nan());
            }
            if let Some(bounds) = number.bounds.filter(|bounds| bounds.drops) {
                kept.retain(|&row| values[row].is_nan() || (bounds.low..=bounds.high).contains(&values[row]));
            }
        }
        let places = self.numbers.iter().filter_map(|number| match &number.source {
            Source::Place(codes) => Some((&number.column, codes)),
            _ => None,
        });
        let one_hots = self.one_hots.iter().map(|one_hot| (&one_hot.column, &one_hot.codes));
        for (name, codes) in one_hots.chain(places) {
            if codes.drops_missing {
                let column = present(table, name)?;
                kept.retain(|&row| !column.values.is_missing(row));
            }
        }
        Ok(kept)
    }

    /// Features in a row.
    pub(super) fn width(&self) -> usize {
        let told = self.numbers.iter().filter(|number| number.is_missing_told).count();
        self.numbers.len() + told + self.one_hots.iter().map(|one_hot| one_hot.codes.categories.len()).sum::<usize>()
    }

    pub(super) fn feature_names(&self) -> Vec<String> {
        let told = self.numbers.iter().filter(|number| number.is_missing_told);
        let one_hot = |one_hot: &OneHot| {
            let names = one_hot.codes.categories.iter().map(|category| match category.as_str() {
                "" => format!("{} is missing", one_hot.column),
                category => format!("{}={category}", one_hot.column),
            });
            names.collect::<Vec<_>>()
        };
        self.numbers
            .iter()
            .map(Number::name)
            .chain(told.map(|number| format!("{} is missing", number.name())))
            .chain(self.one_hots.iter().flat_map(one_hot))
            .collect()
    }

    pub(super) fn feature_columns(&self) -> Vec<String> {
        let told = self.numbers.iter().filter(|number| number.is_missing_told);
        let one_hot = |one_hot: &OneHot| vec![one_hot.column.clone(); one_hot.codes.categories.len()];
        let numbers = self.numbers.iter().chain(told).map(|number| number.column.clone());
        numbers.chain(self.one_hots.iter().flat_map(one_hot)).collect()
    }

    pub(super) fn apply(&self, table: &Table, rows: &[usize]) -> Result<Matrix> {
        let width = self.width();
        let mut values = vec![0.0; rows.len() * width];
        let mut told = self.numbers.len();
        for (place, number) in self.numbers.iter().enumerate() {
            let raw = number.raw(present(table, &number.column)?)?;
            for (index, &row) in rows.iter().enumerate() {
                values[index * width + place] = number.prepared(raw[row]);
                if number.is_missing_told {
                    values[index * width + told] = f64::from(u8::from(raw[row].is_nan()));
                }
            }
            told += usize::from(number.is_missing_told);
        }
        let mut place = told;
        for one_hot in &self.one_hots {
            let codes = one_hot.codes.of_rows(present(table, &one_hot.column)?)?;
            for (index, &row) in rows.iter().enumerate() {
                if let Some(code) = codes[row] {
                    values[index * width + place + code] = 1.0;
                }
            }
            place += one_hot.codes.categories.len();
        }
        Ok(Matrix { rows: rows.len(), width, values })
    }
}

impl Number {
    /// With its bounds, which are found on the training rows before any of them is dropped.
    fn bounded(column: &Column, source: Source, settings: &Resolved, rows: &[usize]) -> Result<Number> {
        let is_number = matches!(source, Source::Number);
        let mut number = Number {
            column: column.name.clone(),
            source,
            fill: 0.0,
            is_missing_told: false,
            drops_missing: settings.missing == Missing::Drop && column.values.kind() != Kind::Category,
            bounds: None,
            offset: 0.0,
            scale: 1.0,
        };
        if is_number {
            let raw = number.raw(column)?;
            number.bounds = bounds(&settings.outliers, &Sorted::of(rows.iter().map(|&row| raw[row])));
        }
        Ok(number)
    }

    /// Finds what missing cells are filled with, and the scale, on the rows that are left.
    fn fit(&mut self, column: &Column, settings: &Resolved, rows: &[usize]) -> Result<()> {
        let raw = self.raw(column)?;
        let sorted = Sorted::of(rows.iter().map(|&row| raw[row]));
        let fill = match &settings.missing {
            Missing::Drop | Missing::Mean | Missing::Own => sorted.mean(),
            Missing::Median => sorted.quantile(0.5),
            Missing::Mode => sorted.mode(),
            Missing::Constant(Constant::Number(value)) => Some(*value),
            Missing::Constant(Constant::Text(_)) => None,
        };
        self.fill = fill.unwrap_or(0.0);
        // Of a date's parts the first one says it for all.
        let is_first = !matches!(self.source, Source::Date(_, part) if part != Part::Year);
        let is_missing = sorted.len() < rows.len();
        self.is_missing_told = settings.missing == Missing::Own && is_first && is_missing;
        let filled: Vec<f64> = rows.iter().map(|&row| self.prepared(raw[row])).collect();
        (self.offset, self.scale) = match (&self.source, settings.normalisation) {
            (Source::Boolean, _) | (_, Normalisation::None | Normalisation::Window) => (0.0, 1.0),
            (_, Normalisation::Standard) => statistics::standard(&filled),
            (_, Normalisation::MinMax) => statistics::min_max(&filled),
        };
        Ok(())
    }

    /// The column's cells as numbers, NaN where one is missing.
    fn raw(&self, column: &Column) -> Result<Vec<f64>> {
        Ok(match (&self.source, &column.values) {
            (Source::Number, Values::Number(numbers)) => numbers.clone(),
            // A column without any value looks like one of numbers.
            (Source::Boolean | Source::Date(..), Values::Number(numbers)) if numbers.iter().all(|n| n.is_nan()) => {
                numbers.clone()
            }
            (Source::Boolean, Values::Boolean(truths)) => {
                truths.iter().map(|truth| truth.map_or(f64::NAN, |truth| f64::from(u8::from(truth)))).collect()
            }
            (Source::Date(_, part), Values::Date(_, seconds)) => {
                seconds.iter().map(|seconds| seconds.map_or(f64::NAN, |seconds| part.take(seconds))).collect()
            }
            (Source::Place(codes), _) => {
                codes.of_rows(column)?.iter().map(|code| code.map_or(-1.0, |code| code as f64)).collect()
            }
            (source, values) => {
                let wanted = match source {
                    Source::Number => Kind::Number,
                    Source::Boolean => Kind::Boolean,
                    Source::Date(..) | Source::Place(_) => Kind::Date,
                };
                return Err(other_kind(column, wanted, values.kind()));
            }
        })
    }

    fn prepared(&self, raw: f64) -> f64 {
        let value = if raw.is_nan() { self.fill } else { raw };
        let value = match self.bounds {
            Some(Bounds { low, high, drops: false }) => value.max(low).min(high),
            _ => value,
        };
        (value - self.offset) / self.scale
    }

    fn name(&self) -> String {
        match &self.source {
            Source::Date(_, part) => format!("{}.{}", self.column, part.name()),
            _ => self.column.clone(),
        }
    }
}

impl Part {
    const ALL: [Part; 7] = [Part::Year, Part::Month, Part::Day, Part::Weekday, Part::Days, Part::Hour, Part::Minute];

    /// Those that dates of a format have.
    pub(super) fn of(format: DateFormat) -> impl Iterator<Item = Part> {
        let has_day = format.pattern().contains('D');
        Part::ALL.into_iter().filter(move |part| match part {
            Part::Day | Part::Weekday => has_day,
            Part::Hour | Part::Minute => format.has_time(),
            Part::Year | Part::Month | Part::Days => true,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Part::Year => "year",
            Part::Month => "month",
            Part::Day => "day",
            Part::Weekday => "weekday",
            Part::Days => "days",
            Part::Hour => "hour",
            Part::Minute => "minute",
        }
    }

    fn take(self, seconds: i64) -> f64 {
        let parts = DateParts::of(seconds);
        let part = match self {
            Part::Year => parts.year,
            Part::Month => parts.month,
            Part::Day => parts.day,
            Part::Weekday => parts.weekday,
            Part::Days => parts.days,
            Part::Hour => parts.hour,
            Part::Minute => parts.minute,
        };
        part as f64
    }
}

impl Codes {
    fn fit(column: &Column, strings: &Strings, settings: &Resolved, rows: &[usize]) -> Result<Codes> {
        let mut counts = vec![0_usize; strings.levels().len()];
        let mut missing = 0;
        for &row in rows {
            match strings.level(row) {
                Some(level) => counts[level] += 1,
                None => missing += 1,
            }
        }
        let mut seen: Vec<(usize, &String)> =
            counts.into_iter().zip(strings.levels()).filter(|(count, _)| *count > 0).collect();
        seen.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
        let mode = seen.first().map(|(_, level)| (*level).clone());
        let mut categories: Vec<String> =
            seen.into_iter().take(settings.categories_max).map(|(_, level)| level.clone()).collect();
        categories.sort();
        let place = |category: &str| categories.iter().position(|other| other == category);
        let missing = match &settings.missing {
            Missing::Own if missing > 0 => Some(categories.len()),
            Missing::Own => None,
            Missing::Mode | Missing::Drop => mode.as_deref().and_then(place),
            Missing::Constant(Constant::Text(text)) => place(text),
            Missing::Mean | Missing::Median | Missing::Constant(_) => {
                let message = format!(
                    "column {} holds categories, for which there is no mean, median or number; use `mode`, `own`, \
                     `drop` or a constant text",
                    quoted(&column.name)
                );
                return Err(Error::BadSpec { field: "preprocessing.missing_categories".to_owned(), message });
            }
        };
        if missing == Some(categories.len()) {
            categories.push(String::new());
        }
        Ok(Codes { categories, missing, drops_missing: settings.missing == Missing::Drop })
    }

    /// The place of each row's category; `None` for one that was not in training.
    fn of_rows(&self, column: &Column) -> Result<Vec<Option<usize>>> {
        let place = |text: &str| self.categories.iter().position(|category| category == text);
        match &column.values {
            Values::Category(strings) | Values::Text(strings) => {
                let places: Vec<Option<usize>> = strings.levels().iter().map(|level| place(level)).collect();
                let code = |row| strings.level(row).map_or(self.missing, |level| places[level]);
                Ok((0..strings.len()).map(code).collect())
            }
            // Another file's column can look like numbers, such as flat numbers without a letter.
            values => Ok((0..values.len())
                .map(|row| if values.is_missing(row) { self.missing } else { place(&values.text(row)) })
                .collect()),
        }
    }
}

/// One column's settings.
struct Resolved {
    missing: Missing,
    outliers: Outliers,
    categories: Encoding,
    categories_max: usize,
    normalisation: Normalisation,
}

impl Resolved {
    fn of(column: &Column, settings: &Settings) -> Result<Resolved> {
        let default = ColumnSettings::default();
        let own = settings.columns.get(&column.name).unwrap_or(&default);
        let is_number = !matches!(column.values.kind(), Kind::Category | Kind::Text);
        let missing = if is_number { &settings.missing_numbers } else { &settings.missing_categories };
        let resolved = Resolved {
            missing: own.missing.as_ref().unwrap_or(missing).clone(),
            outliers: own.outliers.as_ref().unwrap_or(&settings.outliers).clone(),
            categories: own.categories.unwrap_or(settings.categories),
            categories_max: settings.categories_max.max(1),
            normalisation: own.normalisation.unwrap_or(settings.normalisation),
        };
        resolved.check(column, is_number)?;
        Ok(resolved)
    }

    fn check(&self, column: &Column, is_number: bool) -> Result<()> {
        let bad = |field: &str, message: &str| {
            let field = format!("preprocessing.columns.{}.{field}", column.name);
            Err(Error::BadSpec { field, message: message.to_owned() })
        };
        if self.normalisation == Normalisation::Window {
            return bad("normalisation", "`window` is for series; use `standard`, `min_max` or `none`");
        }
        if is_number && matches!(&self.missing, Missing::Constant(Constant::Text(_))) {
            return bad("missing", "the column has numbers; give a number as the constant");
        }
        if matches!(&self.missing, Missing::Constant(Constant::Number(value)) if !value.is_finite()) {
            return bad("missing", "the constant is not finite");
        }
        match self.outliers {
            Outliers::ClipQuantile { low, high } if !(0.0 <= low && low < high && high <= 1.0) => {
                bad("outliers", "`low` and `high` are shares with 0 ≤ low < high ≤ 1, such as 0.01 and 0.99")
            }
            Outliers::ClipIqr { factor } | Outliers::DropIqr { factor } if !(factor > 0.0 && factor.is_finite()) => {
                bad("outliers", "`factor` is more than 0, such as 1.5")
            }
            _ => Ok(()),
        }
    }
}

fn bounds(outliers: &Outliers, sorted: &Sorted) -> Option<Bounds> {
    let quartiles = |factor: f64, drops| {
        let (first, third) = (sorted.quantile(0.25)?, sorted.quantile(0.75)?);
        let reach = factor * (third - first);
        Some(Bounds { low: first - reach, high: third + reach, drops })
    };
    match *outliers {
        Outliers::Keep => None,
        Outliers::ClipQuantile { low, high } => {
            Some(Bounds { low: sorted.quantile(low)?, high: sorted.quantile(high)?, drops: false })
        }
        Outliers::ClipIqr { factor } => quartiles(factor, false),
        Outliers::DropIqr { factor } => quartiles(factor, true),
    }
}

fn check_overrides(table: &Table, settings: &Settings) -> Result<()> {
    match settings.columns.keys().find(|name| table.column(name).is_none()) {
        None => Ok(()),
        Some(name) => {
            let message = format!("there is no column {}; the columns are {}", quoted(name), names(table));
            Err(Error::BadSpec { field: "preprocessing.columns".to_owned(), message })
        }
    }
}

/// The columns that become features, in the table's order.
fn chosen<'a>(
    table: &'a Table,
    target: &str,
    roles: &Roles,
    settings: &Settings,
    rows: &[usize],
    notes: &mut Vec<String>,
) -> Result<Vec<&'a Column>> {
    let bad = |message: String| Error::BadSpec { field: "features".to_owned(), message };
    let columns: Vec<&Column> = match &roles.features {
        Some(features) => {
            if let Some(name) = features.iter().find(|name| table.column(name).is_none() || *name == target) {
                let others = names(table);
                return Err(bad(format!("{} is no column to predict from; the columns are {others}", quoted(name))));
            }
            table.columns().iter().filter(|column| features.contains(&column.name)).collect()
        }
        None => {
            let others = table.columns().iter().filter(|column| column.name != target);
            let is_of_use = |column: &&Column| match useless(column, settings, rows) {
                None => true,
                Some(why) => {
                    notes.push(format!("column {} is left out: {why}", quoted(&column.name)));
                    false
                }
            };
            others.filter(is_of_use).collect()
        }
    };
    if columns.is_empty() {
        return Err(bad("no column is left to predict from; name some".to_owned()));
    }
    for column in &columns {
        if OUTPUTS.contains(&column.name.as_str()) || column.name.starts_with('/') {
            let name = quoted(&column.name);
            return Err(bad(format!("{name} is a name that the model needs itself; give the column another one")));
        }
        if column.values.kind() == Kind::Text && roles.features.is_some() {
            let name = quoted(&column.name);
            return Err(bad(format!("{name} holds sentences, which a tabular model cannot take; leave it out")));
        }
    }
    Ok(columns)
}

/// Why a column that nobody chose is left out.
fn useless(column: &Column, settings: &Settings, rows: &[usize]) -> Option<&'static str> {
    if rows.iter().all(|&row| column.values.is_missing(row)) {
        return Some("it is empty in every training row");
    }
    match &column.values {
        Values::Text(_) => Some("it holds sentences, which a tabular model cannot take"),
        Values::Category(strings) => {
            let distinct = strings.levels().len();
            let is_id = distinct > settings.categories_max && distinct as f64 > ID_SHARE * strings.len() as f64;
            is_id.then_some("nearly every row has a value of its own, as an id has; name it in `features` to use it")
        }
        _ => None,
    }
}

fn other_kind(column: &Column, wanted: Kind, found: Kind) -> Error {
    Error::BadData(format!(
        "column {} was of kind {wanted:?} in the training file and is of kind {found:?} in this one",
        quoted(&column.name)
    ))
}
