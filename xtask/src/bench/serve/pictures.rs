//! The charts of a report: throughput and TTFT against clients, decode time against context.

use super::columns::{Figure, Run};
use super::report::Report;
use crate::bench::plot::{Axis, Chart, Scale, Series};

/// The charts with their files' names; those of what was not measured are empty.
pub fn charts(report: &Report) -> [(&'static str, Chart); 3] {
    let axis = |label: &str, scale| Axis { label: label.to_owned(), scale };
    let clients = axis("clients", Scale::Logarithmic);
    let throughput = Chart {
        title: "Output throughput, 128 tokens in, 64 out".to_owned(),
        x: clients.clone(),
        y: axis("output tokens per second", Scale::Linear),
        series: series(report, "output_throughput"),
    };
    let ttft = Chart {
        title: "Mean time to the first token, 128 tokens in".to_owned(),
        x: clients,
        y: axis("milliseconds", Scale::Logarithmic),
        series: series(report, "mean_ttft_ms"),
    };
    let context = Chart {
        title: "Decode time against context, 1 client".to_owned(),
        x: axis("tokens of context", Scale::Linear),
        y: axis("milliseconds per token", Scale::Linear),
        series: series(report, "p50_tpot_ms"),
    };
    [("throughput.svg", throughput), ("ttft.svg", ttft), ("context.svg", context)]
}

/// One line for each server through the medians of all figures with that key.
fn series(report: &Report, key: &str) -> Vec<Series> {
    let mut series: Vec<Series> =
        report.subjects().iter().map(|name| Series { name: name.clone(), points: Vec::new() }).collect();
    for (figure, medians) in report.medians().filter(|(figure, _)| figure.key == key) {
        let Some(x) = across(figure) else { continue };
        for (series, median) in series.iter_mut().zip(medians) {
            series.points.extend(median.map(|y| (x, y)));
        }
    }
    series.iter_mut().for_each(|series| series.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    series
}

fn across(figure: &Figure) -> Option<f64> {
    match figure.run {
        Run::Load { clients, .. } => Some(f64::from(clients)),
        Run::Context { tokens } => Some(f64::from(tokens)),
        Run::Cold | Run::Cached => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_through_the_medians_by_clients() {
        let figures: Vec<Figure> = [32, 1].into_iter().flat_map(|clients| Run::load(clients, 4).figures()).collect();
        let mut report = Report::new(vec!["Orrery".to_owned(), "peer".to_owned()], figures.clone());
        for (figure, value) in [(&figures[0], 90.0), (&figures[4], 20.0)] {
            report.add(figure, 0, Some(value));
        }
        report.add(&figures[0], 1, None);
        let [(name, throughput), (_, ttft), (_, context)] = charts(&report);
        assert_eq!(name, "throughput.svg");
        assert_eq!(throughput.series[0].points, [(1.0, 20.0), (32.0, 90.0)]);
        assert!(throughput.series[1].points.is_empty(), "what failed is not drawn");
        assert!(ttft.svg().is_none() && context.svg().is_none(), "nothing was measured");
    }
}
