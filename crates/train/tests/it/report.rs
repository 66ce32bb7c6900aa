//! The report's page, and the importance of columns.

use orrery_train::data::{ReadSettings, Table};
use orrery_train::metrics::{Metric, Point, Scores, precision_recall_curve, roc_curve};
use orrery_train::prepare::{Prepared, Random, Roles, Settings, SplitSettings, prepare};
use orrery_train::report::{
    Curves, Importance, ImportanceSettings, Line, Report, SplitScores, Trial, permutation_importance,
};
use orrery_train::{Inputs, Matrix, Target, Task};

const HOSTILE: &str = "<script>alert('x')</script>\" onload=\"y\u{202e}";

fn table() -> Table {
    let mut random = Random::new(1);
    let mut text = "size,noise,kind,price,is dear\n".to_owned();
    for _ in 0..300 {
        let (size, noise) = (random.below(1000) as f64 / 10.0, random.below(1000));
        let kind = ["flat", "house", "<b>farm</b>"][random.below(3)];
        let price = 3.0 * size + if kind == "house" { 40.0 } else { 0.0 } + random.below(20) as f64;
        let class = if price > 180.0 { "yes".to_owned() } else { HOSTILE.replace('"', "'") };
        text += &format!("{size},{noise},{kind},{price},{class}\n");
    }
    Table::read_csv(text.as_bytes(), &ReadSettings::default()).expect("a table")
}

fn prepared(task: Task, target: &str) -> Prepared {
    let features = ["size", "noise", "kind"].map(str::to_owned).to_vec();
    let roles = Roles { target: Some(target.to_owned()), features: Some(features), time: None };
    let settings = SplitSettings { test: 0.3, ..SplitSettings::default() };
    prepare(&table(), task, &roles, &Settings::default(), &settings).expect("prepared")
}

/// A model that knows how the table was made: `price` from the features, normalised.
fn price(prepared: &Prepared, inputs: &Inputs) -> Matrix {
    let Inputs::Matrix(matrix) = inputs else { panic!("a matrix") };
    let names = prepared.preparation.feature_names();
    let size = names.iter().position(|name| name == "size").expect("a feature");
    let house = names.iter().position(|name| name == "kind=house").expect("a feature");
    let values =
        matrix.values.chunks_exact(matrix.width).map(|row| 0.98 * row[size] + 0.25 * row[house] - 0.1).collect();
    Matrix { rows: matrix.rows, width: 1, values }
}

fn importance_of(metric: Metric) -> Vec<Importance> {
    let prepared = prepared(Task::TabularRegression, "price");
    let settings = ImportanceSettings::default();
    let mut predict = |inputs: &Inputs| Ok(price(&prepared, inputs));
    permutation_importance(&prepared.preparation, &prepared.test, metric, &settings, &mut predict).expect("importance")
}

#[test]
fn the_columns_that_a_model_looks_at_are_found() {
    for metric in [Metric::R2, Metric::Rmse] {
        let found = importance_of(metric);
        let names: Vec<&str> = found.iter().map(|one| one.column.as_str()).collect();
        assert_eq!(names, ["size", "kind", "noise"], "{}", metric.name());
        assert!(found[0].mean > 0.5 && found[1].mean > 0.0, "{found:?}");
        assert_eq!((found[2].mean, found[2].deviation), (0.0, 0.0));
        assert_eq!(found, importance_of(metric));
    }
}

fn curves() -> Vec<Curves> {
    let line = |name: &str, floor: f64| Line {
        name: name.to_owned(),
        points: (0..200).map(|step| Point { x: f64::from(step), y: floor + (-f64::from(step) / 40.0).exp() }).collect(),
    };
    let lines = vec![line("train", 0.05), line("validation", 0.15)];
    let mut broken = line("train", 0.0);
    broken.points[100].y = f64::NAN;
    vec![
        Curves { name: "loss".to_owned(), over: "step".to_owned(), lines },
        Curves { name: "learning rate".to_owned(), over: "step".to_owned(), lines: vec![broken] },
    ]
}

fn empty(task: Task) -> Report {
    Report {
        title: "empty".to_owned(),
        task,
        metric: Metric::default_of(task),
        summary: Vec::new(),
        notes: Vec::new(),
        preview: None,
        splits: Vec::new(),
        baseline: None,
        curves: Vec::new(),
        classes: Vec::new(),
        roc: Vec::new(),
        precision_recall: Vec::new(),
        predictions: Vec::new(),
        importance: Vec::new(),
        trials: Vec::new(),
        lineage: Vec::new(),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn trial(settings: &str, steps: u64, score: Option<f64>, is_chosen: bool) -> Trial {
    Trial { settings: settings.to_owned(), steps, score, is_chosen }
}

fn regression() -> Report {
    let prepared = prepared(Task::TabularRegression, "price");
    let scores = |dataset| {
        let raw = price(&prepared, &orrery_train::Dataset::clone(dataset).inputs);
        let truth = prepared.preparation.truth(dataset).expect("numbers");
        Scores::of_numbers(&truth, &prepared.preparation.in_units(&raw)).expect("scores")
    };
    let splits = [("train", &prepared.train), ("validation", &prepared.validation), ("test", &prepared.test)];
    let truth = prepared.preparation.truth(&prepared.test).expect("numbers");
    let predicted = prepared.preparation.in_units(&price(&prepared, &prepared.test.inputs));
    Report {
        title: "house prices".to_owned(),
        summary: pairs(&[("Algorithm", "linear regression"), ("Target", "price"), ("Trained in", "0.4 s")]),
        preview: Some(table().preview(Some("price"))),
        splits: splits.map(|(name, dataset)| SplitScores { name: name.to_owned(), scores: scores(dataset) }).to_vec(),
        curves: curves(),
        predictions: truth.values.iter().zip(&predicted.values).map(|(&x, &y)| Point { x, y }).collect(),
        importance: importance_of(Metric::R2),
        lineage: pairs(&[("Data", "sha256:9f86d081884c7d659a2feaa0c55ad015"), ("Seed", "0"), ("Version", "0.1.0")]),
        ..empty(Task::TabularRegression)
    }
}

fn classification() -> Report {
    let prepared = prepared(Task::TabularClassification, "is dear");
    let Target::Classes { of_row, .. } = &prepared.test.target else { panic!("classes") };
    let regression = self::prepared(Task::TabularRegression, "price");
    let raw = price(&regression, &prepared.test.inputs);
    let chance: Vec<f64> = raw.values.iter().map(|value| 1.0 / (1.0 + (-3.0 * value).exp())).collect();
    let values = chance.iter().flat_map(|chance| [1.0 - chance, *chance]).collect();
    let probabilities = Matrix { rows: chance.len(), width: 2, values };
    let is_second: Vec<bool> = of_row.iter().map(|&class| class == 1).collect();
    let scores = Scores::of_classes(of_row, &probabilities).expect("scores");
    let name = || prepared.preparation.classes()[1].clone();
    Report {
        title: format!("dear or not {HOSTILE}"),
        summary: pairs(&[("Algorithm", "logistic regression"), ("Target", "is dear")]),
        notes: vec![format!("column `{HOSTILE}` is left out: it is empty")],
        preview: Some(table().preview(None)),
        splits: vec![SplitScores { name: "test".to_owned(), scores }],
        curves: curves(),
        classes: prepared.preparation.classes().to_vec(),
        roc: vec![Line { name: name(), points: roc_curve(&is_second, &chance).expect("a curve") }],
        precision_recall: vec![Line {
            name: name(),
            points: precision_recall_curve(&is_second, &chance).expect("a curve"),
        }],
        trials: vec![
            trial("mlp, 64 × 32, rate 0.01", 100, Some(0.31), false),
            trial("logistic, L2 0.1", 400, Some(0.22), true),
            trial("mlp, 8, rate 10", 25, None, false),
        ],
        ..empty(Task::TabularClassification)
    }
}

/// Tags whose names and order a page of ours has; a text of a user's that opened one would add to them.
fn tags(html: &str) -> Vec<&str> {
    let starts = html.match_indices('<').map(|(start, _)| &html[start + 1..]);
    starts.map(|rest| rest.split([' ', '>', '\n']).next().unwrap_or_default()).collect()
}

#[test]
fn a_page_stands_alone_and_no_text_of_a_user_is_markup() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, report) in [("regression", regression()), ("classification", classification())] {
        let html = report.html();
        std::fs::write(folder.join(format!("{name}.html")), &html).expect("written");
        for refused in ["<script", "<b>", "src=", "href=", "url(", "@import", "\u{202e}", "NaN", "inf\""] {
            assert!(!html.contains(refused), "{name}: {refused}");
        }
        assert!(
            !html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").contains("://"),
            "{name} refers to elsewhere"
        );
        let known = [
            "!doctype",
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "main",
            "header",
            "p",
            "h1",
            "h2",
            "section",
            "div",
            "figure",
            "figcaption",
            "svg",
            "path",
            "text",
            "rect",
            "circle",
            "dl",
            "dt",
            "dd",
            "ul",
            "li",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
        ];
        for tag in tags(&html) {
            let tag = tag.trim_start_matches('/').trim_end_matches('/');
            assert!(known.contains(&tag), "{name}: a tag <{tag}");
        }
        let depth = |tag: &str| {
            let ends = html.matches(&format!("</{tag}>")).count();
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count() == ends
        };
        assert!(["section", "div", "svg", "table", "tr", "td", "dl", "ul", "text"].into_iter().all(depth), "{name}");
    }
    let html = classification().html();
    for part in ["&lt;script&gt;", "Confusion matrix", "ROC", "Search", "prefers-color-scheme:dark", "failed"] {
        assert!(html.contains(part), "{part}");
    }
    let html = regression().html();
    for part in ["Residuals", "Predicted and true", "What the model looks at", "Lineage", "9f86d081", "R²"] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn a_report_of_nothing_is_a_page_too() {
    for task in Task::ALL {
        let mut report = empty(task);
        report.curves = vec![Curves { name: "loss".to_owned(), over: "step".to_owned(), lines: Vec::new() }];
        report.predictions = vec![Point { x: f64::NAN, y: f64::INFINITY }];
        let nothing = Matrix { rows: 0, width: 2, values: Vec::new() };
        let scores = match task.is_classification() {
            true => Scores::of_classes(&[], &nothing),
            false => Scores::of_numbers(&nothing, &nothing),
        };
        report.splits = vec![SplitScores { name: "test".to_owned(), scores: scores.expect("scores") }];
        let html = report.html();
        assert!(html.ends_with("</html>\n") && !html.contains("NaN") && !html.contains("inf"), "{}", task.name());
    }
}
