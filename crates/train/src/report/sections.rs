//! What a page says, section by section.

use super::chart::{self, Axes};
use super::text::{Page, number};
use super::{Line, Report};
use crate::data::ColumnPreview;
use crate::metrics::{Metric, Point, Scores};

/// Rows of the longer tables.
const ROWS_SHOWN: usize = 100;
/// Columns of the sample of rows.
const SAMPLE_COLUMNS: usize = 12;

pub(super) fn summary(page: &mut Page, report: &Report) {
    page.section("Summary", |page| {
        let mut tiles = Vec::new();
        for split in report.splits.iter().rev().take(2) {
            if let Some(value) = split.scores.get(report.metric) {
                tiles.push((format!("{} on {}", title(report.metric), split.name), number(value)));
            }
        }
        if let Some(last) = report.splits.last() {
            let more = match &last.scores {
                Scores::Classification(_) => [Metric::Accuracy, Metric::F1Macro, Metric::RocAuc],
                Scores::Regression(_) => [Metric::Mae, Metric::Rmse, Metric::R2],
            };
            for metric in more.into_iter().filter(|metric| *metric != report.metric) {
                if let Some(value) = last.scores.get(metric) {
                    tiles.push((format!("{} on {}", title(metric), last.name), number(value)));
                }
            }
        }
        page.tiles(&tiles);
        page.facts(&report.summary);
        if !report.notes.is_empty() {
            page.list("notes", &report.notes);
        }
    });
}

pub(super) fn scores(page: &mut Page, report: &Report) {
    let splits: Vec<_> = report.splits.iter().chain(&report.baseline).collect();
    if splits.is_empty() {
        return;
    }
    page.section("Metrics", |page| {
        let head: Vec<&str> = std::iter::once("").chain(splits.iter().map(|split| split.name.as_str())).collect();
        let cell = |value: Option<f64>| value.map_or("–".to_owned(), number);
        let metrics = Metric::ALL.into_iter().filter(|metric| metric.is_of(report.task));
        let metrics: Vec<Metric> = metrics.collect();
        let row = |metric: &Metric| {
            let values = splits.iter().map(|split| cell(split.scores.get(*metric)));
            std::iter::once(title(*metric).to_owned()).chain(values).collect::<Vec<_>>()
        };
        let mut rows: Vec<Vec<String>> = metrics.iter().map(row).collect();
        let counts = splits.iter().map(|split| match &split.scores {
            Scores::Classification(scores) => scores.rows.to_string(),
            Scores::Regression(scores) => scores.rows.to_string(),
        });
        rows.push(std::iter::once("Predictions".to_owned()).chain(counts).collect());
        let marked = metrics.iter().position(|metric| *metric == report.metric);
        page.table(&head, &rows, marked);
        page.paragraph("– stands where a metric is not defined, such as an area under the curve with one class.");
    });
}

pub(super) fn curves(page: &mut Page, report: &Report) {
    let drawn: Vec<(&str, String)> = report
        .curves
        .iter()
        .filter_map(|curves| {
            let axes = Axes { x: &curves.over, y: &curves.name, guide: None };
            Some((curves.name.as_str(), chart::lines(&curves.lines, &axes)?))
        })
        .collect();
    if !drawn.is_empty() {
        page.section("Training", |page| {
            page.row(|page| drawn.iter().for_each(|(name, svg)| page.figure(name, svg)));
        });
    }
}

pub(super) fn classes(page: &mut Page, report: &Report) {
    let Some((split, Scores::Classification(scores))) = report.splits.last().map(|split| (&split.name, &split.scores))
    else {
        return;
    };
    page.section(&format!("Classes ({split})"), |page| {
        page.row(|page| {
            if let Some(svg) = chart::confusion(&scores.confusion, &report.classes) {
                page.figure("Confusion matrix", &svg);
            }
            let corner = |x: f64, y: f64| Point { x, y };
            let axes = Axes {
                x: "false positive rate",
                y: "true positive rate",
                guide: Some((corner(0.0, 0.0), corner(1.0, 1.0))),
            };
            figure_of_lines(page, "ROC", &report.roc, &axes);
            let axes = Axes { x: "recall", y: "precision", guide: Some((corner(0.0, 0.0), corner(0.0, 1.0))) };
            figure_of_lines(page, "Precision and recall", &report.precision_recall, &axes);
        });
        let rows = scores.per_class.iter().enumerate().take(ROWS_SHOWN).map(|(class, score)| {
            vec![
                report.classes.get(class).cloned().unwrap_or_default(),
                number(score.precision),
                number(score.recall),
                number(score.f1),
                score.roc_auc.map_or("–".to_owned(), number),
                score.support.to_string(),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        page.table(&["Class", "Precision", "Recall", "F1", "ROC AUC", "Rows"], &rows, None);
        tell_rest(page, scores.per_class.len(), "classes");
    });
}

fn figure_of_lines(page: &mut Page, title: &str, lines: &[Line], axes: &Axes<'_>) {
    if lines.iter().all(|line| line.points.is_empty()) {
        return;
    }
    if let Some(svg) = chart::lines(lines, axes) {
        page.figure(title, &svg);
    }
}

pub(super) fn numbers(page: &mut Page, report: &Report) {
    if report.predictions.is_empty() {
        return;
    }
    let split = report.splits.last().map_or("", |split| split.name.as_str());
    page.section(&format!("Predictions ({split})"), |page| {
        let truths = report.predictions.iter().map(|point| point.x).filter(|value| value.is_finite());
        let (low, high) =
            truths.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let guide = |low: Point, high: Point| (low.x <= high.x).then_some((low, high));
        page.row(|page| {
            let diagonal = guide(Point { x: low, y: low }, Point { x: high, y: high });
            if let Some(svg) = chart::cloud(&report.predictions, &Axes { x: "true", y: "predicted", guide: diagonal }) {
                page.figure("Predicted and true", &svg);
            }
            let residual = |point: &Point| Point { x: point.y, y: point.x - point.y };
            let residuals: Vec<Point> = report.predictions.iter().map(residual).collect();
            let (low, high) = residuals
                .iter()
                .filter(|point| point.x.is_finite())
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| (low.min(point.x), high.max(point.x)));
            let zero = guide(Point { x: low, y: 0.0 }, Point { x: high, y: 0.0 });
            if let Some(svg) = chart::cloud(&residuals, &Axes { x: "predicted", y: "true − predicted", guide: zero })
            {
                page.figure("Residuals", &svg);
            }
            let values: Vec<f64> = residuals.iter().map(|point| point.y).collect();
            if let Some(svg) = chart::histogram(&values, &Axes { x: "true − predicted", y: "rows", guide: None }) {
                page.figure("How far off", &svg);
            }
        });
    });
}

pub(super) fn importance(page: &mut Page, report: &Report) {
    let rows: Vec<(String, f64, f64)> =
        report.importance.iter().map(|one| (one.column.clone(), one.mean, one.deviation)).collect();
    if let Some(svg) = chart::bars(&rows) {
        page.section("What the model looks at", |page| {
            page.figure(&format!("How much worse {} gets when a column is shuffled", title(report.metric)), &svg);
        });
    }
}

pub(super) fn trials(page: &mut Page, report: &Report) {
    if report.trials.is_empty() {
        return;
    }
    page.section("Search", |page| {
        let mut order: Vec<usize> = (0..report.trials.len()).collect();
        order.sort_by(|&one, &other| {
            let (one, other) = (&report.trials[one], &report.trials[other]);
            let is_better = |one, other| report.metric.is_better(one, other);
            match (is_better(one.score, other.score), is_better(other.score, one.score)) {
                (true, _) => std::cmp::Ordering::Less,
                (_, true) => std::cmp::Ordering::Greater,
                _ => std::cmp::Ordering::Equal,
            }
        });
        let rows: Vec<Vec<String>> = order
            .iter()
            .take(ROWS_SHOWN)
            .map(|&index| {
                let trial = &report.trials[index];
                let score = trial.score.map_or("failed".to_owned(), number);
                vec![(index + 1).to_string(), trial.settings.clone(), trial.steps.to_string(), score]
            })
            .collect();
        let marked = order.iter().take(ROWS_SHOWN).position(|&index| report.trials[index].is_chosen);
        let metric = format!("{} on validation", title(report.metric));
        page.table(&["Trial", "Settings", "Steps", &metric], &rows, marked);
        tell_rest(page, report.trials.len(), "trials");
    });
}

pub(super) fn data(page: &mut Page, report: &Report) {
    let Some(preview) = &report.preview else { return };
    page.section("Data", |page| {
        let size = match preview.picture {
            Some([height, width, channels]) => format!("{height} × {width} × {channels}"),
            None => format!("{} columns", preview.columns.len()),
        };
        page.paragraph(&format!("{} rows, {size}", preview.rows));
        let rows: Vec<Vec<String>> = preview.columns.iter().take(ROWS_SHOWN).map(column).collect();
        if !rows.is_empty() {
            page.table(&["Column", "Kind", "Missing", "Different", "Values"], &rows, None);
            tell_rest(page, preview.columns.len(), "columns");
        }
        let classes: Vec<Vec<String>> = preview
            .classes
            .iter()
            .take(ROWS_SHOWN)
            .map(|(name, count)| vec![name.clone(), count.to_string()])
            .collect();
        if !classes.is_empty() {
            page.table(&["Class", "Pictures"], &classes, None);
        }
        if !preview.sample.is_empty() {
            let head: Vec<&str> =
                preview.columns.iter().take(SAMPLE_COLUMNS).map(|column| column.name.as_str()).collect();
            let row = |row: &Vec<Option<String>>| {
                row.iter().take(SAMPLE_COLUMNS).map(|cell| cell.clone().unwrap_or("–".to_owned())).collect()
            };
            let sample: Vec<Vec<String>> = preview.sample.iter().map(row).collect();
            page.paragraph("The first rows");
            page.table(&head, &sample, None);
        }
        if !preview.warnings.is_empty() {
            page.list("notes", &preview.warnings);
        }
    });
}

fn column(column: &ColumnPreview) -> Vec<String> {
    let values = match &column.numbers {
        Some(numbers) => format!(
            "{} to {}, mean {}, median {}",
            number(numbers.min),
            number(numbers.max),
            number(numbers.mean),
            number(numbers.quantiles[2])
        ),
        None => {
            const SHOWN: usize = 4;
            let short = |text: &String| text.chars().take(16).collect::<String>();
            let values = column.values.iter().take(SHOWN);
            values.map(|(value, count)| format!("{} ({count})", short(value))).collect::<Vec<_>>().join(", ")
        }
    };
    vec![
        column.name.clone(),
        format!("{:?}", column.kind).to_lowercase(),
        column.missing.to_string(),
        column.distinct.to_string(),
        format!("\u{2060}{values}"),
    ]
}

pub(super) fn lineage(page: &mut Page, report: &Report) {
    if !report.lineage.is_empty() {
        page.section("Lineage", |page| page.facts(&report.lineage));
    }
}

fn tell_rest(page: &mut Page, count: usize, what: &str) {
    if count > ROWS_SHOWN {
        page.paragraph(&format!("and {} more {what}", count - ROWS_SHOWN));
    }
}

/// A metric's name for people.
fn title(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "Accuracy",
        Metric::BalancedAccuracy => "Balanced accuracy",
        Metric::PrecisionMacro => "Precision (macro)",
        Metric::PrecisionMicro => "Precision (micro)",
        Metric::PrecisionWeighted => "Precision (weighted)",
        Metric::RecallMacro => "Recall (macro)",
        Metric::RecallMicro => "Recall (micro)",
        Metric::RecallWeighted => "Recall (weighted)",
        Metric::F1Macro => "F1 (macro)",
        Metric::F1Micro => "F1 (micro)",
        Metric::F1Weighted => "F1 (weighted)",
        Metric::RocAuc => "ROC AUC",
        Metric::RocAucWeighted => "ROC AUC (weighted)",
        Metric::LogLoss => "Log loss",
        Metric::Mae => "Mean absolute error",
        Metric::Mse => "Mean squared error",
        Metric::Rmse => "Root mean squared error",
        Metric::R2 => "R²",
        Metric::Mape => "Mean absolute percentage error",
        Metric::Smape => "Symmetric MAPE",
    }
}
