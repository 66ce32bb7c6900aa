//! Series to stretches: what was, and what came next.
//!
//! Rows are taken in the order of time. A stretch is one of `history` numbers and the `horizon` numbers after them; it is of
//! a split if all numbers after are, while its history may reach back before.

use serde::{Deserialize, Serialize};

use super::settings::{Constant, Missing, Normalisation, Roles, Settings};
use super::statistics::{self, Sorted};
use super::tabular_export::cast;
use super::target::present;
use crate::data::{Table, Values, bad_cell, quoted};
use crate::onnx::{Dim, Element, Graph, Setting, Value};
use crate::{Error, Matrix, Result, Windows};

/// How a series is prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Series {
    column: String,
    time: Option<String>,
    history: usize,
    horizon: usize,
    fill: f64,
    /// Whether each stretch has its own offset and scale; else these two are all stretches'.
    by_window: bool,
    offset: f64,
    scale: f64,
}

/// A stretch before normalisation.
struct Stretch<'a> {
    before: &'a [f64],
    after: &'a [f64],
}

/// The input of a served model.
const INPUT: &str = "history";
/// Below this the deviation of a stretch counts as 1, relative to its size.
const FLAT: f64 = 1e-6;
/// Most numbers in a stretch, on both sides together.
const STRETCH_MAX: usize = 65_536;

/// The rows of a table in the order of time.
pub(super) fn in_time(table: &Table, roles: &Roles) -> Result<Vec<usize>> {
    order(table, roles.time.as_deref())
}

fn order(table: &Table, time: Option<&str>) -> Result<Vec<usize>> {
    let mut rows: Vec<usize> = (0..table.rows()).collect();
    let Some(name) = time else { return Ok(rows) };
    let column = table.column(name).ok_or_else(|| Error::BadSpec {
        field: "time".to_owned(),
        message: format!("there is no column {}", quoted(name)),
    })?;
    let times: Vec<f64> = match &column.values {
        Values::Date(_, seconds) => seconds.iter().map(|time| time.map_or(f64::NAN, |time| time as f64)).collect(),
        Values::Number(numbers) => numbers.clone(),
        _ => {
            let message = format!("column {} holds neither dates nor numbers", quoted(name));
            return Err(Error::BadSpec { field: "time".to_owned(), message });
        }
    };
    if let Some(row) = times.iter().position(|time| time.is_nan()) {
        return Err(bad_cell(row, name, "the time is missing"));
    }
    rows.sort_by(|&one, &other| times[one].total_cmp(&times[other]));
    match rows.windows(2).find(|pair| times[pair[0]] == times[pair[1]]) {
        None => Ok(rows),
        Some(pair) => {
            let what = format!("row {} has the same time; a file holds one series", pair[0] + 1);
            Err(bad_cell(pair[1], name, &what))
        }
    }
}

impl Series {
    pub(super) fn fit(
        table: &Table,
        target: &str,
        roles: &Roles,
        settings: &Settings,
        rows: &[usize],
    ) -> Result<Series> {
        let (history, horizon) = (settings.series.history, settings.series.horizon);
        let bad =
            |field: &str, message: String| Err(Error::BadSpec { field: format!("preprocessing.{field}"), message });
        if history == 0 || horizon == 0 || history.saturating_add(horizon) > STRETCH_MAX {
            let message = format!("{history} and {horizon} are not both at least 1 and {STRETCH_MAX} together at most");
            return bad("series", message);
        }
        let mut series = Series {
            column: target.to_owned(),
            time: roles.time.clone(),
            history,
            horizon,
            fill: 0.0,
            by_window: settings.normalisation == Normalisation::Window,
            offset: 0.0,
            scale: 1.0,
        };
        let numbers = series.numbers(table)?;
        let sorted = Sorted::of(rows.iter().map(|&row| numbers[row]));
        let fill = match &settings.missing_numbers {
            Missing::Mean | Missing::Own | Missing::Drop => sorted.mean(),
            Missing::Median => sorted.quantile(0.5),
            Missing::Mode => sorted.mode(),
            Missing::Constant(Constant::Number(value)) => Some(*value),
            Missing::Constant(Constant::Text(_)) => return bad("missing_numbers", "a series has numbers".to_owned()),
        };
        series.fill = fill.unwrap_or(0.0);
        let filled: Vec<f64> = rows.iter().map(|&row| series.filled(numbers[row])).collect();
        (series.offset, series.scale) = match settings.normalisation {
            Normalisation::None | Normalisation::Window => (0.0, 1.0),
            Normalisation::Standard => statistics::standard(&filled),
            Normalisation::MinMax => statistics::min_max(&filled),
        };
        if rows.len() < history + horizon {
            let message = format!(
                "column {} has {} numbers in training, and a history of {history} with a horizon of {horizon} needs \
                 {}; use shorter ones",
                quoted(target),
                rows.len(),
                history + horizon
            );
            return bad("series", message);
        }
        Ok(series)
    }

    /// What was and what came next, normalised.
    pub(super) fn apply(&self, table: &Table, rows: &[usize]) -> Result<(Windows, Matrix)> {
        let numbers = self.ordered(table)?;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut count = 0;
        for stretch in self.stretches(table, &numbers, rows)? {
            let (offset, scale) = self.scale_of(stretch.before);
            before.extend(stretch.before.iter().map(|number| (number - offset) / scale));
            after.extend(stretch.after.iter().map(|number| (number - offset) / scale));
            count += 1;
        }
        let windows = Windows { rows: count, length: self.history, values: before };
        Ok((windows, Matrix { rows: count, width: self.horizon, values: after }))
    }

    /// What was and what came next, in the series' units.
    pub(super) fn in_units(&self, table: &Table, rows: &[usize]) -> Result<(Matrix, Matrix)> {
        let numbers = self.ordered(table)?;
        let stretches = self.stretches(table, &numbers, rows)?;
        let before: Vec<f64> = stretches.iter().flat_map(|stretch| stretch.before).copied().collect();
        let after = stretches.iter().flat_map(|stretch| stretch.after).copied().collect();
        let rows = stretches.len();
        Ok((Matrix { rows, width: self.history, values: before }, Matrix { rows, width: self.horizon, values: after }))
    }

    /// Brings normalised forecasts of the stretches of `rows` into the series' units.
    pub(super) fn forecasts_in_units(&self, table: &Table, rows: &[usize], raw: &Matrix) -> Result<Matrix> {
        let numbers = self.ordered(table)?;
        let stretches = self.stretches(table, &numbers, rows)?;
        let mut values = Vec::with_capacity(raw.values.len());
        for (stretch, row) in stretches.iter().zip(raw.values.chunks(raw.width.max(1))) {
            let (offset, scale) = self.scale_of(stretch.before);
            values.extend(row.iter().map(|value| value * scale + offset));
        }
        Ok(Matrix { values, ..*raw })
    }

    fn stretches<'a>(&self, table: &Table, ordered: &'a [f64], rows: &[usize]) -> Result<Vec<Stretch<'a>>> {
        let mut is_of_split = vec![false; table.rows()];
        rows.iter().for_each(|&row| is_of_split[row] = true);
        let order = order(table, self.time.as_deref())?;
        let begins = self.history..(order.len() + 1).saturating_sub(self.horizon);
        let is_all = |begin: &usize| order[*begin..begin + self.horizon].iter().all(|&row| is_of_split[row]);
        let stretch = |begin: usize| Stretch {
            before: &ordered[begin - self.history..begin],
            after: &ordered[begin..begin + self.horizon],
        };
        Ok(begins.filter(is_all).map(stretch).collect())
    }

    /// All numbers in the order of time, missing ones filled.
    fn ordered(&self, table: &Table) -> Result<Vec<f64>> {
        let numbers = self.numbers(table)?;
        Ok(order(table, self.time.as_deref())?.into_iter().map(|row| self.filled(numbers[row])).collect())
    }

    fn numbers<'a>(&self, table: &'a Table) -> Result<&'a [f64]> {
        match &present(table, &self.column)?.values {
            Values::Number(numbers) => Ok(numbers),
            _ => {
                let message = format!("column {} has no numbers; a forecast needs them", quoted(&self.column));
                Err(Error::BadSpec { field: "target".to_owned(), message })
            }
        }
    }

    fn filled(&self, number: f64) -> f64 {
        if number.is_nan() { self.fill } else { number }
    }

    fn scale_of(&self, before: &[f64]) -> (f64, f64) {
        if !self.by_window {
            return (self.offset, self.scale);
        }
        let count = before.len() as f64;
        let mean = before.iter().sum::<f64>() / count;
        let variance = before.iter().map(|number| (number - mean) * (number - mean)).sum::<f64>() / count;
        let deviation = variance.sqrt();
        (mean, if deviation <= FLAT * mean.abs() || deviation == 0.0 { 1.0 } else { deviation })
    }

    /// Adds the input `history` and gives normalised stretches, float `[batch, history]`.
    pub(super) fn export_inputs(&self, graph: &mut Graph) -> Value {
        let input = graph.input(INPUT, Element::F32, &[Dim::Batch, Dim::Fixed(self.history)]);
        let filled = self.export_filled(graph, &input);
        let (offset, scale) = self.export_scale(graph, &filled);
        let moved = graph.node("Sub", &[&filled, &offset], &[]);
        let scaled = graph.node("Div", &[&moved, &scale], &[]);
        cast(graph, &scaled, Element::F32)
    }

    /// Adds the output `forecast`, float `[batch, horizon]`, of normalised forecasts.
    pub(super) fn export_outputs(&self, graph: &mut Graph, raw: &Value) {
        let input = graph.named(INPUT);
        let filled = self.export_filled(graph, &input);
        let (offset, scale) = self.export_scale(graph, &filled);
        let raw = cast(graph, raw, Element::F64);
        let scaled = graph.node("Mul", &[&raw, &scale], &[]);
        let moved = graph.node("Add", &[&scaled, &offset], &[]);
        let forecast = cast(graph, &moved, Element::F32);
        graph.output(&forecast, "forecast", Element::F32, &[Dim::Batch, Dim::Fixed(self.horizon)]);
    }

    fn export_filled(&self, graph: &mut Graph, input: &Value) -> Value {
        let numbers = cast(graph, input, Element::F64);
        let is_missing = graph.node("IsNaN", &[&numbers], &[]);
        let fill = graph.doubles(&[1, 1], &[self.fill]);
        graph.node("Where", &[&is_missing, &fill, &numbers], &[])
    }

    /// Offset and scale, double `[batch, 1]` or `[1, 1]`.
    fn export_scale(&self, graph: &mut Graph, filled: &Value) -> (Value, Value) {
        if !self.by_window {
            return (graph.doubles(&[1, 1], &[self.offset]), graph.doubles(&[1, 1], &[self.scale]));
        }
        let axis = graph.ints(&[1], &[1]);
        let keep = [("keepdims", Setting::Int(1))];
        let mean = graph.node("ReduceMean", &[filled, &axis], &keep);
        let moved = graph.node("Sub", &[filled, &mean], &[]);
        let squares = graph.node("Mul", &[&moved, &moved], &[]);
        let variance = graph.node("ReduceMean", &[&squares, &axis], &keep);
        let deviation = graph.node("Sqrt", &[&variance], &[]);
        let size = graph.node("Abs", &[&mean], &[]);
        let flat = graph.doubles(&[1, 1], &[FLAT]);
        let least = graph.node("Mul", &[&size, &flat], &[]);
        let is_varied = graph.node("Greater", &[&deviation, &least], &[]);
        let one = graph.doubles(&[1, 1], &[1.0]);
        (mean, graph.node("Where", &[&is_varied, &deviation, &one], &[]))
    }

    pub(super) fn history(&self) -> usize {
        self.history
    }

    pub(super) fn horizon(&self) -> usize {
        self.horizon
    }
}
