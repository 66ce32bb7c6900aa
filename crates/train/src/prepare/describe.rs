//! A preparation in words and numbers: the schema beside a model, and a part of its card.

use serde_json::{Value, json};

use super::tabular::{Codes, Columns, Number, Source};
use super::{InputPlan, Preparation};
use crate::Task;

impl Preparation {
    /// `task`, `inputs` and `outputs` of the served model (name, datatype as the Open Inference Protocol writes it, shape
    /// with -1 for the number of rows), `labels`, and how each input is prepared.
    pub fn describe(&self) -> Value {
        json!({
            "task": self.task,
            "target": self.target.column(),
            "labels": self.classes(),
            "inputs": self.describe_inputs(),
            "outputs": self.describe_outputs(),
            "features": self.feature_names(),
            "notes": self.notes,
        })
    }

    fn describe_inputs(&self) -> Vec<Value> {
        match &self.inputs {
            InputPlan::Columns(columns) => columns.describe(),
            InputPlan::Text(text) => vec![json!({
                "name": "text", "datatype": "BYTES", "shape": [-1, 1], "kind": "text",
                "column": text.column(), "vocabulary": text.vocabulary(), "length": text.length(),
            })],
            InputPlan::Pictures(scale) => vec![json!({
                "name": "pixels", "datatype": "UINT8", "kind": "picture",
                "shape": [-1, scale.height, scale.width, scale.channels()],
                "offset": scale.offset, "scale": scale.scale, "resize": "triangle",
            })],
            InputPlan::Series(series) => vec![json!({
                "name": "history", "datatype": "FP32", "shape": [-1, series.history()], "kind": "series",
            })],
        }
    }

    fn describe_outputs(&self) -> Vec<Value> {
        match (&self.inputs, self.task) {
            (InputPlan::Series(series), _) => {
                vec![json!({"name": "forecast", "datatype": "FP32", "shape": [-1, series.horizon()]})]
            }
            (_, Task::TabularRegression) => {
                vec![json!({"name": "prediction", "datatype": "FP32", "shape": [-1, 1]})]
            }
            _ => vec![
                json!({"name": "label", "datatype": "BYTES", "shape": [-1]}),
                json!({"name": "probabilities", "datatype": "FP32", "shape": [-1, self.classes().len()]}),
            ],
        }
    }
}

impl Columns {
    fn describe(&self) -> Vec<Value> {
        let mut inputs: Vec<Value> = Vec::new();
        for number in &self.numbers {
            if inputs.last().is_none_or(|last| last["name"] != number.column.as_str()) {
                inputs.push(number.describe());
            }
        }
        let one_hot = |column: &str, codes: &Codes| {
            json!({
                "name": column, "datatype": "BYTES", "shape": [-1, 1], "kind": "category",
                "encoding": "one_hot", "categories": codes.categories,
            })
        };
        inputs.extend(self.one_hots.iter().map(|hot| one_hot(&hot.column, &hot.codes)));
        inputs
    }
}

impl Number {
    fn describe(&self) -> Value {
        let scale = json!({"offset": self.offset, "scale": self.scale, "missing": self.fill});
        let input = |datatype: &str, kind: &str, more: Value| {
            let mut input = json!({"name": self.column, "datatype": datatype, "shape": [-1, 1], "kind": kind});
            if let (Some(input), Value::Object(more)) = (input.as_object_mut(), more) {
                input.extend(more);
            }
            input
        };
        match &self.source {
            Source::Number => input("FP32", "number", scale),
            Source::Boolean => input("FP32", "boolean", json!({"missing": self.fill})),
            Source::Date(format, _) => input("BYTES", "date", json!({"format": format})),
            Source::Place(codes) => {
                input("BYTES", "category", json!({"encoding": "ordinal", "categories": codes.categories}))
            }
        }
    }
}
