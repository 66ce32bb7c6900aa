//! Many models: one load for all who ask, the budget, and what is never dropped.

use crate::sample::{refusal, runtime, small};
use crate::session::tensor;
use orrery_predict::{Answer, Data, Error, Input, Model, Request, Settings, Shelf, ShelfSettings};
use serde_json::json;
use std::sync::Arc;
use tempfile::TempDir;

fn shelf(memory_bytes_max: u64) -> Shelf {
    Shelf::new(runtime(), &ShelfSettings { memory_bytes_max, ..ShelfSettings::default() }).expect("it starts")
}

fn series() -> TempDir {
    small("series", &json!({"task": "time-series-forecasting"}))
}

fn names(shelf: &Shelf) -> Vec<String> {
    shelf.list().into_iter().map(|listing| listing.name).collect()
}

async fn load(shelf: &Shelf, name: &str, folder: &TempDir) -> orrery_predict::Result<Arc<Model>> {
    shelf.load(name, folder.path(), &Settings::default()).await
}

#[tokio::test]
async fn a_model_is_loaded_used_and_unloaded() {
    let (shelf, folder) = (shelf(1 << 30), series());
    assert!(matches!(shelf.get("s"), Err(Error::NotFound(name)) if name == "s"));
    let model = load(&shelf, "s", &folder).await.expect("it loads");
    let x = tensor("history", [1, 3], Data::Fp32(vec![1.0, 2.0, 3.0]));
    let outputs = model.infer(Request { inputs: vec![x], ..Request::default() }).await.expect("computed");
    assert_eq!(*outputs[0].data(), Data::Fp32(vec![4.0, 5.0]));
    let answer = shelf.predict("s", Input::Series(vec![vec![0.0, 0.0, 1.0]]), None).await.expect("computed");
    assert_eq!(answer, Answer::Forecasts(vec![vec![2.0, 3.0]]));
    assert_eq!(model.statistics().success.count, 2);
    let listing = shelf.list().remove(0);
    assert!(listing.is_ready && listing.memory_bytes == model.memory_bytes());
    shelf.unload("s").expect("it was there");
    assert!(refusal(shelf.unload("s")).contains("no model `s`"));
    // Who holds it can still use it.
    let answer = model.predict(shelf.workers(), Input::Series(vec![vec![0.0; 3]]), None).await.expect("computed");
    assert_eq!(answer, Answer::Forecasts(vec![vec![0.0, 0.0]]));
    let again = load(&shelf, "s", &folder).await.expect("it loads again");
    assert!(!Arc::ptr_eq(&model, &again));
    tokio::task::spawn_blocking(move || shelf.close()).await.expect("closed");
    let x = tensor("history", [1, 3], Data::Fp32(vec![1.0, 2.0, 3.0]));
    let request = Request { inputs: vec![x], ..Request::default() };
    assert!(matches!(again.submit(request), Err(Error::Unloaded(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_of_one_model_at_the_same_time_are_one() {
    let (shelf, folder) = (shelf(1 << 30), series());
    let path = Arc::new(folder);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (shelf, path) = (shelf.clone(), path.clone());
            tokio::spawn(async move { load(&shelf, "s", &path).await.expect("it loads") })
        })
        .collect();
    let mut models = Vec::new();
    for task in tasks {
        models.push(task.await.expect("no panic"));
    }
    assert!(models.iter().all(|model| Arc::ptr_eq(model, &models[0])));
    assert_eq!(names(&shelf), ["s"]);
}

#[tokio::test]
async fn a_load_that_fails_fails_for_all_and_leaves_nothing() {
    let shelf = shelf(1 << 30);
    let folder = small("series", &json!({"task": "tabular-regression"}));
    let (left, right) = tokio::join!(load(&shelf, "s", &folder), load(&shelf, "s", &folder));
    assert!(refusal(left).contains("no output `prediction`") && refusal(right).contains("no output `prediction`"));
    assert!(shelf.list().is_empty());
    let good = series();
    load(&shelf, "s", &good).await.expect("the name is free");
    assert!(refusal(load(&shelf, "s", &folder).await).contains("another model of this name"));
}

/// A load goes on when who asked for it goes away.
#[tokio::test]
async fn an_abandoned_load_goes_on() {
    let (shelf, folder) = (shelf(1 << 30), series());
    {
        let mut first = std::pin::pin!(load(&shelf, "s", &folder));
        let polled_once = std::future::poll_fn(|context| std::task::Poll::Ready(first.as_mut().poll(context)));
        let _ = polled_once.await;
    }
    let model = load(&shelf, "s", &folder).await.expect("it loads");
    assert_eq!(model.manifest().name, "sample");
}

#[tokio::test]
async fn the_least_used_model_makes_room() {
    let folders: Vec<TempDir> = (0..4).map(|_| series()).collect();
    let one = load(&shelf(1 << 30), "x", &folders[0]).await.expect("it loads").memory_bytes();
    let shelf = shelf(one * 2 + one / 2);
    let a = load(&shelf, "a", &folders[0]).await.expect("it loads");
    drop(load(&shelf, "b", &folders[1]).await.expect("it loads"));
    // `a` was used the longest time ago, but is held.
    drop(load(&shelf, "c", &folders[2]).await.expect("it loads"));
    assert_eq!(names(&shelf), ["a", "c"]);
    let c = shelf.get("c").expect("it is there");
    let Err(Error::Overloaded(message)) = load(&shelf, "d", &folders[3]).await else { panic!("it was loaded") };
    assert!(message.contains("memory_bytes_max"), "{message}");
    assert_eq!(names(&shelf), ["a", "c"]);
    drop(c);
    drop(a);
    drop(shelf.get("a").expect("it is there"));
    // Now `a` was used last.
    load(&shelf, "d", &folders[3]).await.expect("it loads");
    assert_eq!(names(&shelf), ["a", "d"]);
}
