//! A job in the terminal: a bar with loss and time left, the log, a table of metrics, and the call of the new model.

use crate::table::table;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};

/// Metrics that make a table too wide; they are in the report and in the JSON.
const METRICS_MAX: usize = 12;

/// What is shown while a job runs.
pub struct Show {
    bar: ProgressBar,
    terminal: bool,
}

impl Show {
    pub fn new(id: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::no_length() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let show = Self { bar, terminal };
        show.say(&format!("job {id}"));
        show
    }

    pub fn event(&self, kind: &str, data: &Value) {
        match kind {
            "log" => self.say(data["message"].as_str().unwrap_or_default()),
            "step" => {
                self.bar.set_length(data["total"].as_u64().unwrap_or(0));
                self.bar.set_position(data["step"].as_u64().unwrap_or(0));
                self.bar.set_message(format!(
                    "epoch {} loss {:.4}",
                    data["epoch"],
                    data["loss"].as_f64().unwrap_or(f64::NAN)
                ));
            }
            "trial" => {
                let score = data["score"].as_f64().map_or("failed".to_owned(), |score| format!("{score:.4}"));
                let algorithm = data["algorithm"].as_str().unwrap_or_default();
                self.say(&format!("trial {} of {}: {algorithm} {score}", data["trial"], data["total"]));
            }
            _ => {}
        }
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, line: &str) {
        match self.terminal {
            true => self.bar.println(line),
            // A reader that is gone is none of the job's business.
            false => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }
}

/// A table: a row for each metric, a column for each split.
pub fn metrics(by_split: &Value) -> Vec<String> {
    let splits = ["train", "validation", "test"];
    let value = |split: &str, name: &str| {
        by_split[split][name].as_f64().map_or("–".to_owned(), |value| format!("{value:.4}"))
    };
    let names: BTreeSet<&String> =
        splits.iter().filter_map(|split| by_split[split].as_object()).flat_map(Map::keys).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let head = ["METRIC", "TRAIN", "VALIDATION", "TEST"].map(str::to_owned);
    let row =
        |name: &&String| [(*name).clone(), value(splits[0], name), value(splits[1], name), value(splits[2], name)];
    table(&std::iter::once(head).chain(names.iter().take(METRICS_MAX).map(row)).collect::<Vec<_>>())
}

/// How the model is called: Hugging Face's API for its task.
pub fn curl(url: &str, model: &str, task: &str, inputs: &[Value]) -> String {
    let example = |input: &Value| match input["kind"].as_str() {
        Some("category") => input["values"][0].clone(),
        Some("date") => json!("2026-01-31"),
        Some("text") => json!("some text"),
        _ => json!("1.0"),
    };
    let name = |input: &Value| input["name"].as_str().unwrap_or_default().to_owned();
    let body = match task {
        "tabular-classification" | "tabular-regression" => {
            let columns: Map<String, Value> =
                inputs.iter().map(|input| (name(input), json!([example(input)]))).collect();
            json!({ "inputs": { "data": columns } })
        }
        "text-classification" => json!({ "inputs": "some text" }),
        "time-series-forecasting" => json!({ "inputs": { "past_values": [[1.0, 2.0, 3.0]] } }),
        _ => json!({ "inputs": "BASE64 OF A PICTURE" }),
    };
    // A quote in a column's name must not end the shell's.
    let body = body.to_string().replace('\'', "'\\''");
    format!(
        "  curl {url}/models/{model} -H \"Authorization: Bearer $(orrery key show)\" \\\n    -H 'Content-Type: application/json' -d '{body}'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_stand_by_split() {
        let lines = metrics(&json!({ "train": { "mae": 0.5, "rmse": 1.25 }, "test": { "rmse": 2.0 } }));
        assert_eq!(
            lines,
            ["METRIC  TRAIN   VALIDATION  TEST", "mae     0.5000  –           –", "rmse    1.2500  –           2.0000"]
        );
        assert_eq!(metrics(&Value::Null), Vec::<String>::new());
    }

    #[test]
    fn the_call_has_every_column_and_is_safe_in_a_shell() {
        let inputs =
            [json!({ "name": "it's", "kind": "number" }), json!({ "name": "c", "kind": "category", "values": ["x"] })];
        let call = curl("http://h", "iris", "tabular-classification", &inputs);
        assert!(call.contains(r#"{"inputs":{"data":{"it'\''s":["1.0"],"c":["x"]}}}"#), "{call}");
    }
}
