//! `deploy/grafana.json` asks for nothing that the server does not tell.

use crate::engine::{Served, fixture};
use serde_json::{Value, json};

/// A metric of an expression, with what stands between its braces.
#[derive(Debug, PartialEq)]
struct Asked {
    metric: String,
    selector: String,
}

/// Metrics, and labels of `by`, of a PromQL expression. Only for what the dashboard uses of the language: names,
/// selectors, ranges, functions, `by` and arithmetic.
fn read(expression: &str) -> (Vec<Asked>, Vec<String>) {
    let (mut asked, mut labels) = (Vec::new(), Vec::new());
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"_:.".contains(letter));
        let word = &rest[..end.unwrap_or(rest.len())];
        if word.is_empty() || first.is_ascii_digit() {
            let skipped = if first == '[' { rest.find(']').expect("an end") + 1 } else { word.len().max(1) };
            rest = &rest[skipped..];
            continue;
        }
        rest = rest[word.len()..].trim_start();
        let until = |end: char| rest.find(end).expect("an end");
        if word == "by" {
            labels.extend(rest[1..until(')')].split(',').map(|label| label.trim().to_owned()));
            rest = &rest[until(')') + 1..];
        } else if rest.starts_with('{') {
            asked.push(Asked { metric: word.to_owned(), selector: rest[1..until('}')].to_owned() });
            rest = &rest[until('}') + 1..];
        } else if !rest.starts_with('(') && !rest.starts_with("by ") {
            asked.push(Asked { metric: word.to_owned(), selector: String::new() });
        }
    }
    (asked, labels)
}

#[test]
fn expressions_are_read() {
    let (asked, labels) = read(r#"sum by (le, a) (rate(x:y_total{b="c"}[$__rate_interval])) / 1.5 > max (z)"#);
    let expected = [("x:y_total", r#"b="c""#), ("z", "")]
        .map(|(metric, selector)| Asked { metric: metric.to_owned(), selector: selector.to_owned() });
    assert_eq!(asked, expected);
    assert_eq!(labels, ["le", "a"]);
}

/// What in an expression is not in a scrape. `instance` is Prometheus's own label.
fn missing(expression: &str, scrape: &str) -> Vec<String> {
    let (asked, mut labels) = read(expression);
    let of = |metric: &str| -> Vec<&str> {
        let is_of = |line: &&str| line.split(['{', ' ']).next() == Some(metric);
        scrape.lines().filter(is_of).collect()
    };
    let samples: Vec<&str> = asked.iter().flat_map(|asked| of(&asked.metric)).collect();
    let mut missing = Vec::new();
    for asked in &asked {
        if of(&asked.metric).is_empty() {
            missing.push(asked.metric.clone());
        }
        for part in asked.selector.split(',').filter(|part| !part.is_empty()) {
            match part.split_once("=~") {
                Some((label, _)) => labels.push(label.to_owned()),
                None if of(&asked.metric).iter().any(|line| line.contains(part)) => {}
                None => missing.push(format!("{} with {part}", asked.metric)),
            }
        }
    }
    labels.retain(|label| label != "instance");
    labels.retain(|label| !samples.iter().any(|line| line.contains(&format!("{label}=\""))));
    missing.extend(labels.into_iter().map(|label| format!("a label {label}")));
    if asked.is_empty() {
        missing.push("any metric".into());
    }
    missing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_the_dashboard_asks_for_is_in_a_scrape() {
    let served = Served::start(&fixture("llama-q8_0.gguf"), |_| {}).await;
    let body = json!({"prompt": [1, 2, 3], "max_tokens": 5, "ignore_eos": true});
    assert_eq!(served.post("/v1/completions", body).await.status, 200);
    let scrape = served.connect().await.request("GET", "/metrics", &[], b"").await.text();
    let dashboard: Value =
        serde_json::from_str(include_str!("../../../../deploy/grafana.json")).expect("the dashboard is JSON");
    let mut panels = 0;
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            let missing = missing(expression, &scrape);
            assert!(missing.is_empty(), "panel {}: no {missing:?} for {expression}\n{scrape}", panel["title"]);
            assert_eq!(target["datasource"]["uid"], "${datasource}", "panel {}", panel["title"]);
        }
        panels += 1;
    }
    assert!(panels >= 10, "{panels}");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    assert!(variables.iter().any(|variable| variable["type"] == "datasource" && variable["name"] == "datasource"));
    for query in variables.iter().filter_map(|variable| variable["query"]["query"].as_str()) {
        let (metric, label) = query
            .strip_prefix("label_values(")
            .and_then(|query| query.strip_suffix(')')?.split_once(", "))
            .expect("label_values(METRIC, LABEL)");
        let missing = missing(&format!("sum by ({label}) ({metric})"), &scrape);
        assert!(missing.is_empty(), "no {missing:?} for {query}");
    }
}
