//! time-series-forecasting: `history` `[N, L]` gives `forecast` `[N, H]`.

use super::{Answer, Input, Parts, Pipeline, Plan, check_count, numbers, odd, wrong_kind};
use crate::error::{Error, Result};
use crate::model::Request;
use crate::tensor::{Data, DataType, Tensor};
use std::sync::Arc;

struct Forecasting {
    input: String,
    output: String,
    /// How many values the model looks at; `None`: any number.
    length: Option<usize>,
    series_max: usize,
}

/// time-series-forecasting.
pub(super) fn forecasting(parts: &Parts<'_>) -> Result<Arc<dyn Pipeline>> {
    let input = parts.only_input()?;
    let port = parts.signature.inputs.first().filter(|port| port.dtype == DataType::Fp32 && port.dims.len() == 2);
    let port =
        port.ok_or_else(|| Error::BadArtefact(format!("its input `{input}` has to take FP32 of [N, length]")))?;
    let length = port.dims.get(1).and_then(|length| usize::try_from(*length).ok());
    let output = parts.output("forecast")?;
    Ok(Arc::new(Forecasting { input, output, length, series_max: parts.settings.items_max }))
}

impl Pipeline for Forecasting {
    fn plan(&self, input: Input) -> Result<Plan> {
        let Input::Series(series) = input else { return Err(wrong_kind("series of numbers", &input)) };
        check_count(series.len(), self.series_max)?;
        let run = |(index, values): (usize, &Vec<f32>)| {
            let last = self.last_values(index, values)?;
            let tensor = Tensor::made(&*self.input, [1, last.len()], Data::Fp32(last.to_vec()));
            Ok(Request { inputs: vec![tensor], outputs: vec![self.output.clone()], deadline: None })
        };
        // A run each: the queue puts those of one length together.
        let runs = series.iter().enumerate().map(run).collect::<Result<_>>()?;
        let output = self.output.clone();
        let finish = move |results: Vec<Vec<Tensor>>| {
            let read = |outputs: &Vec<Tensor>| match numbers(outputs, &output)? {
                (shape, values) if shape.first() == Some(&1) => Ok(values),
                _ => Err(odd(&output, "is not one forecast for each series")),
            };
            results.iter().map(read).collect::<Result<_>>().map(Answer::Forecasts)
        };
        Ok(Plan { runs, finish: Box::new(finish) })
    }
}

impl Forecasting {
    /// What is older than the model looks back is left out; what is missing cannot be made up.
    fn last_values<'a>(&self, index: usize, values: &'a [f32]) -> Result<&'a [f32]> {
        let length = self.length.unwrap_or(values.len());
        let last =
            values.len().checked_sub(length).and_then(|start| values.get(start..)).filter(|last| !last.is_empty());
        last.ok_or_else(|| {
            let needed = length.max(1);
            let reason = format!("series {index} has {} values; the model needs the last {needed}", values.len());
            Error::bad_input("inputs", reason)
        })
    }
}
