//! Preparation against scikit-learn's own transformers (`fixtures/prepare`), and the graphs that ONNX Runtime has run.

use std::path::{Path, PathBuf};

use orrery_train::data::{Pictures, ReadSettings, Table};
use orrery_train::onnx::{Dim, Element, Graph};
use orrery_train::prepare::{
    ColumnSettings, Encoding, Missing, Normalisation, Outliers, Preparation, Roles, Settings, SplitSettings, prepare,
    usable_rows,
};
use orrery_train::{Inputs, Pixels, Target, Task};
use serde_json::Value;

const TRAIN: usize = 80;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/prepare").join(name)
}

fn table() -> Table {
    let file = std::fs::File::open(fixture("rows.csv")).expect("the fixture");
    Table::read_csv(file, &ReadSettings::default()).expect("a table")
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("expected.json")).expect("the fixture")).expect("JSON")
}

/// A setting of each kind for some column.
fn settings() -> Settings {
    let mut settings = Settings::default();
    let column = |set: &dyn Fn(&mut ColumnSettings)| {
        let mut column = ColumnSettings::default();
        set(&mut column);
        column
    };
    for (name, column) in [
        ("age", column(&|column| column.missing = Some(Missing::Own))),
        ("height", column(&|column| column.normalisation = Some(Normalisation::MinMax))),
        ("income", column(&|column| column.outliers = Some(Outliers::ClipQuantile { low: 0.05, high: 0.95 }))),
        ("is member", column(&|column| column.missing = Some(Missing::Mode))),
        (
            "size",
            column(&|column| {
                column.missing = Some(Missing::Mode);
                column.categories = Some(Encoding::Ordinal);
            }),
        ),
    ] {
        settings.columns.insert(name.to_owned(), column);
    }
    settings
}

fn roles(target: &str) -> Roles {
    let other = if target == "price" { "species" } else { "price" };
    let table = table();
    let names = table.columns().iter().map(|column| column.name.clone());
    let features = names.filter(|name| name != target && name != other).collect();
    Roles { target: Some(target.to_owned()), features: Some(features), time: None }
}

fn fitted(task: Task, target: &str) -> Preparation {
    let rows: Vec<usize> = (0..TRAIN).collect();
    Preparation::fit(&table(), task, &roles(target), &settings(), &rows).expect("a preparation")
}

#[test]
fn features_are_those_of_scikit_learn() {
    let (table, expected) = (table(), expected());
    let preparation = fitted(Task::TabularRegression, "price");
    let names: Vec<&str> = expected["names"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    assert_eq!(preparation.feature_names(), names);
    let rows: Vec<usize> = (0..table.rows()).collect();
    let dataset = preparation.apply(&table, &rows).expect("a dataset");
    let Inputs::Matrix(matrix) = &dataset.inputs else { panic!("a matrix") };
    assert_eq!((matrix.rows, matrix.width), (120, names.len()));
    for (row, (ours, theirs)) in
        matrix.values.chunks_exact(matrix.width).zip(expected["rows"].as_array().expect("rows")).enumerate()
    {
        for ((ours, theirs), name) in ours.iter().zip(theirs.as_array().expect("a row")).zip(&names) {
            let theirs = theirs.as_f64().expect("a number");
            assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "row {row}, {name}: {ours}, not {theirs}");
        }
    }
    let Target::Numbers(prices) = &dataset.target else { panic!("numbers") };
    for (ours, theirs) in prices.values.iter().zip(expected["price"].as_array().expect("prices")) {
        assert!((ours - theirs.as_f64().expect("a number")).abs() < 1e-12);
    }
    let in_units = preparation.truth(&dataset).expect("of a regression");
    let first: f64 = table.column("price").expect("a column").values.text(0).parse().expect("a number");
    assert!((in_units.values[0] - first).abs() < 1e-9);
}

/// The graph of the preparation alone. `fixtures/check_prepare.py` ran it in ONNX Runtime on `rows.csv` and kept it.
fn graph(preparation: &Preparation) -> Vec<u8> {
    let mut graph = Graph::new("preparation");
    let features = preparation.export_inputs(&mut graph);
    let width = preparation.feature_names().len();
    graph.output(&features, "features", Element::F32, &[Dim::Batch, Dim::Fixed(width)]);
    graph.finish(&[])
}

/// Writes the graph where the checking script looks for it, and compares it with the one that was checked.
fn assert_checked(name: &str, bytes: &[u8]) {
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), bytes).expect("written");
    let checked = std::fs::read(fixture(name)).unwrap_or_default();
    assert!(checked == bytes, "{name} is not the graph that was checked; run fixtures/check_prepare.py");
}

#[test]
fn the_graph_of_columns_is_the_one_that_onnx_runtime_ran() {
    assert_checked("columns.onnx", &graph(&fitted(Task::TabularRegression, "price")));
}

#[test]
fn a_preparation_survives_its_text_form() {
    let preparation = fitted(Task::TabularClassification, "species");
    let text = serde_json::to_string(&preparation).expect("JSON");
    assert_eq!(serde_json::from_str::<Preparation>(&text).expect("the same"), preparation);
}

#[test]
fn classes_are_sorted_and_each_split_has_its_share() {
    let settings = SplitSettings { validation: 0.25, test: 0.25, ..SplitSettings::default() };
    let prepared = prepare(&table(), Task::TabularClassification, &roles("species"), &Settings::default(), &settings)
        .expect("prepared");
    assert_eq!(prepared.preparation.classes(), ["setosa", "virginica"]);
    assert_eq!(
        (prepared.train.inputs.rows(), prepared.validation.inputs.rows(), prepared.test.inputs.rows()),
        (60, 30, 30)
    );
}

fn csv(text: &str) -> Table {
    Table::read_csv(text.as_bytes(), &ReadSettings::default()).expect("a table")
}

fn for_target(target: &str) -> Roles {
    Roles { target: Some(target.to_owned()), ..Roles::default() }
}

#[test]
fn rows_are_dropped_from_training_alone() {
    let table = csv("x,c,y\n1,a,1\n2,b,2\n,a,3\n4,,4\n1000,b,5\n3,a,6\n2,b,7\n1,a,1\n");
    let settings = Settings {
        missing_numbers: Missing::Drop,
        missing_categories: Missing::Drop,
        outliers: Outliers::DropIqr { factor: 1.5 },
        drop_duplicates: true,
        ..Settings::default()
    };
    let all = SplitSettings { validation: 0.0, test: 0.0, ..SplitSettings::default() };
    let prepared = prepare(&table, Task::TabularRegression, &for_target("y"), &settings, &all).expect("prepared");
    assert_eq!(prepared.split.train, [0, 1, 5, 6]);
    let every: Vec<usize> = (0..8).collect();
    let answered = prepared.preparation.apply(&table, &every).expect("every row has an answer");
    let Inputs::Matrix(matrix) = answered.inputs else { panic!("a matrix") };
    // The mean of 1, 2, 3, 2 stands in for the missing number, and the most frequent category (the first of two).
    assert_eq!(matrix.values[2 * matrix.width], 0.0);
    assert_eq!(matrix.values[3 * matrix.width + 1..4 * matrix.width], [1.0, 0.0]);
}

#[test]
fn four_rows_are_enough() {
    let table = csv("a,b,y\n1,2,1\n2,3,2\n3,4,3\n4,5,4\n");
    let prepared =
        prepare(&table, Task::TabularRegression, &for_target("y"), &Settings::default(), &SplitSettings::default())
            .expect("prepared");
    assert_eq!(prepared.train.inputs.rows(), 4);
    assert_eq!(prepared.preparation.target_scale().0, 2.5);
}

#[test]
fn what_cannot_be_prepared_is_refused_by_name() {
    let table = csv("x,label,words,y\n1,u,v w x y z,1\n2,v,a b c d e,\n3,u,f g h i j,2\n");
    let refused = |task, roles: &Roles, settings: &Settings| {
        prepare(&table, task, roles, settings, &SplitSettings::default()).expect_err("refused").to_string()
    };
    let plain = Settings::default();
    assert!(refused(Task::TabularRegression, &Roles::default(), &plain).contains("`x`, `label`"));
    assert!(refused(Task::TabularRegression, &for_target("z"), &plain).contains("`z`"));
    assert!(refused(Task::TabularRegression, &for_target("label"), &plain).contains("`label`"));
    let features = |names: &[&str]| Roles {
        features: Some(names.iter().map(|&name| name.to_owned()).collect()),
        ..for_target("y")
    };
    assert!(refused(Task::TabularRegression, &features(&["w"]), &plain).contains("`w`"));
    assert!(refused(Task::TabularRegression, &features(&["y"]), &plain).contains("`y`"));
    assert!(refused(Task::TabularRegression, &features(&["label"]), &plain).contains("`label`"));
    assert!(refused(Task::TabularRegression, &features(&["words"]), &plain).contains("sentences"));
    let bad = Settings { outliers: Outliers::ClipQuantile { low: 0.9, high: 0.1 }, ..Settings::default() };
    assert!(refused(Task::TabularRegression, &features(&["x"]), &bad).contains("low"));
    let bad = Settings { normalisation: Normalisation::Window, ..Settings::default() };
    assert!(refused(Task::TabularRegression, &features(&["x"]), &bad).contains("`window`"));
    let preparation =
        Preparation::fit(&table, Task::TabularRegression, &features(&["x"]), &plain, &[0, 2]).expect("a preparation");
    let message = preparation.apply(&table, &[1]).expect_err("no target").to_string();
    assert!(message.contains("row 2") && message.contains("`y`"), "{message}");
    let other = csv("x,y\nred,1\n");
    let message = preparation.apply(&other, &[0]).expect_err("no numbers").to_string();
    assert!(message.contains("`x`") && message.contains("Category"), "{message}");
}

/// Writes what the graph should give, for the checking script to compare with.
fn write_expected(name: &str, expected: &Value) {
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), expected.to_string()).expect("written");
}

#[test]
fn texts_become_numbers_of_tokens_of_the_training_texts() {
    let texts = [
        "Free money, FREE!",
        "meet at 10:30?",
        "Émile eats free élan",
        "free Money",
        "ÉMILE said 'no'",
        "",
        "字 字 ok £5",
        "iPhone iphone IPHONE zzz",
    ];
    let rows = texts.iter().enumerate().map(|(row, text)| format!("\"{text}\",{}\n", row % 2));
    let table = csv(&format!("body,label\n{}", rows.collect::<String>()));
    let mut settings = Settings::default();
    settings.text.length = 6;
    settings.text.texts_min = 1;
    let roles = Roles { features: Some(vec!["body".to_owned()]), ..Roles::default() };
    let train: Vec<usize> = (0..6).collect();
    let preparation =
        Preparation::fit(&table, Task::TextClassification, &roles, &settings, &train).expect("a preparation");
    let all: Vec<usize> = (0..8).collect();
    let Inputs::Tokens(tokens) = preparation.apply(&table, &all).expect("tokens").inputs else { panic!("tokens") };
    let of_row = |row: usize| &tokens.ids[row * 6..(row + 1) * 6];
    // `free` is in the most texts; `money` in two, as `émile` is: the alphabet decides.
    assert_eq!(of_row(0)[..2], [2, 3]);
    assert_eq!(of_row(0)[3], 2);
    assert_eq!(of_row(3), [2, 3, 0, 0, 0, 0]);
    assert_eq!(of_row(2)[0], of_row(4)[0]);
    assert_eq!(of_row(5), [0; 6]);
    assert_eq!(of_row(7)[..4], [1, 1, 1, 1]);
    assert!(tokens.ids.iter().all(|&id| id < tokens.vocabulary));
    let mut graph = Graph::new("preparation");
    let ids = preparation.export_inputs(&mut graph);
    graph.output(&ids, "tokens", Element::I64, &[Dim::Batch, Dim::Fixed(6)]);
    write_expected("text.json", &serde_json::json!({"texts": texts, "tokens": tokens.ids}));
    assert_checked("text.onnx", &graph.finish(&[]));
}

fn series(normalisation: Normalisation) -> (Table, Preparation, Vec<usize>) {
    // In the file the later half comes first.
    let value = |month: usize| (month * month) as f64 / 10.0 + (month % 4) as f64;
    let line = |month: usize| match month {
        5 => format!("{:04}-{:02},\n", 1990 + month / 12, month % 12 + 1),
        _ => format!("{:04}-{:02},{}\n", 1990 + month / 12, month % 12 + 1, value(month)),
    };
    let table = csv(&format!("month,sold\n{}", (20..40).chain(0..20).map(line).collect::<String>()));
    let mut settings = Settings { normalisation, missing_numbers: Missing::Median, ..Settings::default() };
    settings.series.history = 6;
    settings.series.horizon = 3;
    let roles = Roles { time: Some("month".to_owned()), ..for_target("sold") };
    let split = SplitSettings { validation: 0.2, test: 0.2, ..SplitSettings::default() };
    let prepared = prepare(&table, Task::TimeSeriesForecasting, &roles, &settings, &split).expect("prepared");
    assert_eq!(prepared.split.test, [12, 13, 14, 15, 16, 17, 18, 19]);
    assert_eq!((prepared.train.inputs.rows(), prepared.test.inputs.rows()), (24 - 9 + 1, 8 - 3 + 1));
    (table, prepared.preparation, prepared.split.test)
}

#[test]
fn series_become_stretches_in_the_order_of_time() {
    for (name, normalisation) in [("series", Normalisation::Standard), ("windows", Normalisation::Window)] {
        let (table, preparation, test) = series(normalisation);
        let truth = preparation.truth_of(&table, &test).expect("the truth");
        let history = preparation.history_of(&table, &test).expect("a history").expect("of a series");
        let value = |month: usize| (month * month) as f64 / 10.0 + (month % 4) as f64;
        assert_eq!(truth.values[..3], [value(32), value(33), value(34)]);
        assert_eq!(history.values[..6], [26, 27, 28, 29, 30, 31].map(value));
        let dataset = preparation.apply(&table, &test).expect("stretches");
        let (Inputs::Windows(windows), Target::Numbers(after)) = (&dataset.inputs, &dataset.target) else {
            panic!("stretches")
        };
        let back = preparation.in_units_of(&table, &test, after).expect("in units");
        assert!(back.values.iter().zip(&truth.values).all(|(one, other)| (one - other).abs() < 1e-9));
        assert!(
            preparation.scores(&table, &test, after).expect("scores").listed().iter().any(|(_, value)| *value > 0.99)
        );
        let mut graph = Graph::new("preparation");
        let features = preparation.export_inputs(&mut graph);
        graph.output(&features, "windows", Element::F32, &[Dim::Batch, Dim::Fixed(6)]);
        // The last three numbers stand in for a model's forecast.
        let (begin, end, axis) = (graph.ints(&[1], &[3]), graph.ints(&[1], &[6]), graph.ints(&[1], &[1]));
        let last = graph.node("Slice", &[&features, &begin, &end, &axis], &[]);
        preparation.export_outputs(&mut graph, &last);
        let expected = serde_json::json!({"history": history.values, "windows": windows.values, "rows": windows.rows});
        write_expected(&format!("{name}.json"), &expected);
        assert_checked(&format!("{name}.onnx"), &graph.finish(&[]));
    }
}

#[test]
fn series_that_are_none_are_refused() {
    let fit = |text: &str, time: &str| {
        let roles = Roles { time: Some(time.to_owned()), ..for_target("y") };
        let rows = usable_rows(&csv(text), Task::TimeSeriesForecasting, &roles, &Settings::default())?;
        Preparation::fit(&csv(text), Task::TimeSeriesForecasting, &roles, &Settings::default(), &rows)
    };
    let message = |text, time| fit(text, time).expect_err("refused").to_string();
    assert!(message("t,y\n2020-01,1\n2020-02,2\n2020-01,3\n", "t").contains("row 3, column `t`: row 1"));
    assert!(message("t,y\n2020-01,1\n,2\n2020-03,3\n", "t").contains("row 2"));
    assert!(message("t,y\na,1\nb,2\n", "t").contains("`t`"));
    assert!(message("t,y\n1,1\n2,2\n", "z").contains("`z`"));
    assert!(message("t,y\n1,1\n2,2\n", "t").contains("needs 36"));
}

#[test]
fn pictures_become_channels_by_their_mean_and_deviation() {
    let values: Vec<u8> = (0..4 * 2 * 3 * 3).map(|index| (index * 37 % 251) as u8).collect();
    let pixels = Pixels { rows: 4, height: 2, width: 3, channels: 3, values: values.clone() };
    let classes = ["b", "a", "b", "a"].map(str::to_owned);
    let pictures = Pictures::new(pixels, &classes).expect("pictures");
    let preparation =
        Preparation::fit(&pictures, Task::ImageClassification, &Roles::default(), &Settings::default(), &[0, 1, 2])
            .expect("a preparation");
    assert_eq!(preparation.classes(), ["a", "b"]);
    let dataset = preparation.apply(&pictures, &[3, 0]).expect("a dataset");
    assert_eq!(dataset.target, Target::Classes { count: 2, of_row: vec![0, 1] });
    let scale = preparation.picture_scale().expect("of pictures");
    let channel: Vec<f64> = values[..54].iter().skip(1).step_by(3).map(|&byte| f64::from(byte) / 255.0).collect();
    let mean = channel.iter().sum::<f64>() / 18.0;
    let deviation = (channel.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 18.0).sqrt();
    assert!((scale.offset[1] - mean).abs() < 1e-12 && (scale.scale[1] - deviation).abs() < 1e-12);
    assert_eq!(scale.values(1)[51], ((0.2 - scale.offset[1]) / scale.scale[1]) as f32);
    let mut graph = Graph::new("preparation");
    let floats = preparation.export_inputs(&mut graph);
    graph.output(&floats, "floats", Element::F32, &[Dim::Batch, Dim::Fixed(3), Dim::Fixed(2), Dim::Fixed(3)]);
    let expected = serde_json::json!({"pixels": values, "offset": scale.offset, "scale": scale.scale});
    write_expected("pictures.json", &expected);
    assert_checked("pictures.onnx", &graph.finish(&[]));
}

#[test]
fn outputs_are_names_probabilities_and_numbers_in_units() {
    let preparation = fitted(Task::TabularClassification, "species");
    let mut graph = Graph::new("outputs");
    let logits = graph.input("logits", Element::F32, &[Dim::Batch, Dim::Fixed(2)]);
    preparation.export_outputs(&mut graph, &logits);
    assert_checked("classes.onnx", &graph.finish(&[]));
    let preparation = fitted(Task::TabularRegression, "price");
    let mut graph = Graph::new("outputs");
    let raw = graph.input("raw", Element::F32, &[Dim::Batch, Dim::Fixed(1)]);
    preparation.export_outputs(&mut graph, &raw);
    let (offset, scale) = preparation.target_scale();
    write_expected("number.json", &serde_json::json!({"offset": offset, "scale": scale}));
    assert_checked("number.onnx", &graph.finish(&[]));
    let described = preparation.describe();
    assert_eq!(described["inputs"].as_array().expect("inputs").len(), 10);
    assert_eq!(described["outputs"][0]["name"], "prediction");
}
