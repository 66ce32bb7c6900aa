//! Tables and series through models like those that training makes.

use crate::sample::{load, refusal, small};
use crate::session::run;
use orrery_predict::{Answer, Cell, Class, Column, Data, Input, Settings, Table, Tensor};
use serde_json::json;

fn column(name: &str, cells: Vec<Cell>) -> Column {
    Column { name: name.into(), cells }
}

fn table(columns: Vec<Column>) -> Input {
    Input::Table(Table { columns })
}

fn number(value: f64) -> Cell {
    Cell::Number(value)
}

fn text(value: &str) -> Cell {
    Cell::Text(value.into())
}

#[test]
fn regression() {
    let inputs = json!([{"name": "a", "kind": "number"}, {"name": "b", "kind": "number"}]);
    let fields = json!({"task": "tabular-regression", "inputs": inputs});
    let model = load(&small("regression", &fields), &Settings::default()).expect("it loads");
    let a = column("a", vec![number(1.0), text(" 2.5 "), Cell::Missing, text("")]);
    let b = column("b", vec![number(1.0), number(0.0), number(2.0), text("-1e1")]);
    // 2a + 3b + 1, and a missing a counts as 10.
    let answer = model.predict_blocking(table(vec![b.clone(), a]), None).expect("computed");
    assert_eq!(answer, Answer::Numbers(vec![6.0, 6.0, 27.0, -9.0]));
    for (columns, part) in [
        (vec![b.clone()], "`a`: the column is missing; given were: b"),
        (vec![column("a", vec![number(1.0)]), b.clone()], "the column has 4 cells, the first column 1"),
        (
            vec![column("a", vec![text("2"), text("two"), text(""), text("")]), b],
            "row 1 holds `two`, which is no number",
        ),
    ] {
        let message = refusal(model.predict_blocking(table(columns), None));
        assert!(message.contains(part), "{message}");
    }
    let none = table(vec![column("a", vec![]), column("b", vec![])]);
    assert_eq!(model.predict_blocking(none, None).expect("no rows"), Answer::Numbers(vec![]));
    assert!(refusal(model.predict_blocking(Input::Texts(vec![]), None)).contains("takes a table, not texts"));
}

#[test]
fn classification() {
    let inputs =
        json!([{"name": "size", "kind": "number"}, {"name": "color", "kind": "category", "values": ["red", "blue"]}]);
    let outputs = json!({"label": "label", "probabilities": "probabilities"});
    let fields =
        json!({"task": "tabular-classification", "inputs": inputs, "outputs": outputs, "labels": ["big", "small"]});
    let model = load(&small("classification", &fields), &Settings::default()).expect("it loads");
    let size = column("size", vec![number(1.0), number(-1.0), number(0.0)]);
    let color = column("color", vec![text("red"), number(3.0), Cell::Missing]);
    let answer = model.predict_blocking(table(vec![size, color]), None).expect("computed");
    let Answer::Classes(rows) = answer else { panic!("{answer:?}") };
    let ranked = |row: &Vec<Class>| row.iter().map(|class| (class.label.clone(), class.score)).collect::<Vec<_>>();
    // Logits are ±(size + 2 code); the first of two equal ones goes first.
    for (row, (label, logit)) in rows.iter().zip([("big", 3.0_f32), ("small", 1.0), ("big", 0.0)]) {
        let probability = 1.0 / (1.0 + (-2.0 * logit).exp());
        let row = ranked(row);
        assert_eq!(row[0].0, label);
        assert!((row[0].1 - probability).abs() < 1e-6 && (row[0].1 + row[1].1 - 1.0).abs() < 1e-6, "{row:?}");
    }
    assert_eq!(rows.len(), 3);
}

/// A classifier as converters of scikit-learn make it: its probabilities are a list of maps.
#[test]
fn probabilities_in_maps() {
    let outputs = json!({"probabilities": "maps"});
    let labels = json!(["a", "b"]);
    let folder = small("maps", &json!({"outputs": outputs, "labels": labels}));
    let model = load(&folder, &Settings::default()).expect("it loads");
    let x = Tensor::new("x", [2, 2], Data::Fp32(vec![0.75, 0.25, 0.5, 0.5])).expect("a tensor");
    let found = run(&model, vec![x]).expect("computed");
    // In the order of the labels: the model's columns are b, a.
    assert_eq!((found[0].shape(), found[0].data()), (&[2, 2][..], &Data::Fp32(vec![0.25, 0.75, 0.5, 0.5])));
    let message = refusal(load(&small("lists", &json!({})), &Settings::default()));
    assert!(message.starts_with("the model's artefact"), "{message}");
}

#[test]
fn forecasts() {
    let model =
        load(&small("series", &json!({"task": "time-series-forecasting"})), &Settings::default()).expect("it loads");
    let series = |series: Vec<Vec<f32>>| model.predict_blocking(Input::Series(series), None);
    let answer = series(vec![vec![1.0, 2.0, 3.0], vec![9.0, 0.0, 5.0, 10.0, 20.0]]).expect("computed");
    assert_eq!(answer, Answer::Forecasts(vec![vec![4.0, 5.0], vec![30.0, 40.0]]));
    assert!(
        refusal(series(vec![vec![1.0, 2.0, 3.0], vec![1.0]]))
            .contains("series 1 has 1 values; the model needs the last 3")
    );
}

/// More items than the queue has room for go through all the same.
#[test]
fn many_items_do_not_overflow_the_queue() {
    let settings = Settings { queue_max: 3, batch_max: 8, ..Settings::default() };
    let model = load(&small("series", &json!({"task": "time-series-forecasting"})), &settings).expect("it loads");
    let series = (0..50).map(|value| vec![0.0, 0.0, value as f32]).collect();
    let answer = model.predict_blocking(Input::Series(series), None).expect("computed");
    let wanted = (0..50).map(|value| vec![2.0 * value as f32, 3.0 * value as f32]).collect();
    assert_eq!(answer, Answer::Forecasts(wanted));
}

#[test]
fn too_many_items_are_refused() {
    let settings = Settings { items_max: 2, ..Settings::default() };
    let model = load(&small("series", &json!({"task": "time-series-forecasting"})), &settings).expect("it loads");
    let message = refusal(model.predict_blocking(Input::Series(vec![vec![0.0; 3]; 3]), None));
    assert!(message.contains("at most 2 are taken"), "{message}");
}

#[test]
fn a_model_without_a_task_takes_tensors_only() {
    let model = load(&small("series", &json!({})), &Settings::default()).expect("it loads");
    assert!(refusal(model.predict_blocking(Input::Series(vec![]), None)).contains("no task"));
}
