//! A job in the terminal: a bar with loss and time left, the log, a table of metrics, and the call of the new model.

use crate::table::table;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};

/// Metrics that make a table too wide; they are in the report and in the JSON.
const METRICS_MAX: usize = 12;
/// Numbers of the example's input: a picture has more than fit in a terminal.
const NUMBERS_MAX: usize = 1_000;

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

/// How the model is called over the Open Inference Protocol, with one made-up row.
pub fn curl(url: &str, model: &str, inputs: &[Value]) -> String {
    let tensor = |input: &Value| {
        // The first dimension is the rows; one that is left open is taken as 1.
        let sizes = input["shape"].as_array().map_or(&[][..], |shape| shape.get(1..).unwrap_or_default());
        let sizes: Vec<u64> = sizes.iter().map(|size| size.as_u64().unwrap_or(1)).collect();
        let count = usize::try_from(sizes.iter().product::<u64>()).unwrap_or(1).min(NUMBERS_MAX);
        let (datatype, data) = match input["kind"].as_str() {
            Some("category") => ("BYTES", json!([input["values"][0].as_str().unwrap_or("")])),
            Some("date") => ("BYTES", json!(["2026-01-31"])),
            Some("text") => ("BYTES", json!(["some text"])),
            Some("image") => ("UINT8", json!(vec![128; count])),
            _ => ("FP32", json!(vec![1.0; count.max(1)])),
        };
        let shape: Vec<u64> = std::iter::once(1).chain(if sizes.is_empty() { vec![1] } else { sizes }).collect();
        json!({ "name": input["name"], "datatype": datatype, "shape": shape, "data": data })
    };
    // A quote in a column's name must not end the shell's.
    let body = json!({ "inputs": inputs.iter().map(tensor).collect::<Vec<_>>() }).to_string().replace('\'', "'\\''");
    format!(
        "  curl {url}/v2/models/{model}/infer -H \"Authorization: Bearer $(orrery key show)\" \\\n    \
         -H 'Content-Type: application/json' -d '{body}'"
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
        let inputs = [
            json!({ "name": "it's", "kind": "number", "shape": [-1, 1] }),
            json!({ "name": "c", "kind": "category", "values": ["x"], "shape": [-1, 1] }),
            json!({ "name": "history", "kind": "series", "shape": [-1, 3] }),
        ];
        let call = curl("http://h", "iris", &inputs);
        assert!(call.starts_with("  curl http://h/v2/models/iris/infer "), "{call}");
        let body = call.split("-d '").nth(1).expect("a body").replace("'\\''", "'");
        let body: Value = serde_json::from_str(body.trim_end_matches('\'')).expect("JSON");
        let expected = json!({ "inputs": [
            { "name": "it's", "datatype": "FP32", "shape": [1, 1], "data": [1.0] },
            { "name": "c", "datatype": "BYTES", "shape": [1, 1], "data": ["x"] },
            { "name": "history", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 1.0, 1.0] },
        ] });
        assert_eq!(body, expected);
    }
}
