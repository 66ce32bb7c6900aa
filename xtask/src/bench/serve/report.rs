//! All figures of all servers and rounds: as a table for people and as JSON.

use super::columns::Figure;
use crate::bench::figures::{median, ratios, short, table};
use crate::bench::orrery::{commit, machine};
use serde_json::{Value, json};

pub struct Report {
    /// Orrery first.
    subjects: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    figure: Figure,
    /// By subject and round; `None` where the run failed.
    samples: Vec<Vec<Option<f64>>>,
}

impl Row {
    fn median(&self, subject: usize) -> Option<f64> {
        median(&self.samples[subject].iter().copied().flatten().collect::<Vec<_>>())
    }

    /// How many times better Orrery is than the subject, pair by pair.
    fn ratios(&self, subject: usize) -> Vec<f64> {
        ratios(&self.samples[0], &self.samples[subject], self.figure.better)
    }
}

impl Report {
    pub fn new(subjects: Vec<String>, figures: Vec<Figure>) -> Self {
        let samples = vec![Vec::new(); subjects.len()];
        let rows = figures.into_iter().map(|figure| Row { figure, samples: samples.clone() }).collect();
        Self { subjects, rows }
    }

    pub fn add(&mut self, figure: &Figure, subject: usize, value: Option<f64>) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.figure == *figure) {
            row.samples[subject].push(value);
        }
    }

    pub fn subjects(&self) -> &[String] {
        &self.subjects
    }

    /// The figures with each subject's median.
    pub fn medians(&self) -> impl Iterator<Item = (&Figure, Vec<Option<f64>>)> {
        self.rows.iter().map(|row| (&row.figure, (0..self.subjects.len()).map(|subject| row.median(subject)).collect()))
    }

    /// Medians of all, and after each peer's the median of the ratios with the least and the greatest of them.
    pub fn table(&self) -> String {
        let mut head = vec!["median".to_owned(), self.subjects[0].clone()];
        for peer in &self.subjects[1..] {
            head.extend([peer.clone(), "ratio (from–to)".to_owned()]);
        }
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), short);
        let row = |row: &Row| {
            let mut cells = vec![format!("{}, {}", row.figure.title, row.figure.unit), shown(row.median(0))];
            for subject in 1..self.subjects.len() {
                cells.extend([shown(row.median(subject)), spread(&row.ratios(subject))]);
            }
            cells
        };
        format!("{}, {}\n\n{}", machine(), commit(), table(&head, &self.rows.iter().map(row).collect::<Vec<_>>()))
    }

    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            let subject = |index: usize| {
                let ratios = row.ratios(index);
                let ratio = if index == 0 { None } else { median(&ratios) };
                json!({
                    "name": self.subjects[index], "median": row.median(index), "samples": row.samples[index],
                    "ratio": ratio,
                })
            };
            json!({
                "title": row.figure.title, "unit": row.figure.unit,
                "servers": (0..self.subjects.len()).map(subject).collect::<Vec<_>>(),
            })
        };
        json!({"machine": machine(), "commit": commit(), "figures": self.rows.iter().map(row).collect::<Vec<_>>()})
    }
}

fn spread(ratios: &[f64]) -> String {
    let Some(middle) = median(ratios) else { return "–".to_owned() };
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("×{middle:.2} ({least:.2}–{most:.2})")
}

#[cfg(test)]
mod tests {
    use super::super::columns::Run;
    use super::*;

    #[test]
    fn medians_and_ratios_stand_in_the_table_and_in_the_json() {
        let figures = Run::load(8, 4).figures();
        let mut report = Report::new(vec!["Orrery".to_owned(), "peer".to_owned()], figures.clone());
        for (ours, theirs) in [(200.0, 100.0), (300.0, 100.0), (100.0, 200.0)] {
            report.add(&figures[0], 0, Some(ours));
            report.add(&figures[0], 1, Some(theirs));
            report.add(&figures[1], 0, Some(ours));
            report.add(&figures[1], 1, None);
        }
        let text = report.table();
        let line = |begin: &str| text.lines().find(|line| line.contains(begin)).unwrap_or_default().to_owned();
        let output = line("8 clients: output");
        assert!(output.contains(" 200 ") && output.contains(" 100 ") && output.contains("×2.00 (0.50–3.00)"), "{text}");
        assert!(line("8 clients: mean TTFT").ends_with("– |"), "{text}");
        let json = report.json();
        assert_eq!(json["figures"][0]["servers"][1]["ratio"], 2.0);
        assert_eq!(json["figures"][1]["servers"][1]["ratio"], Value::Null);
        assert_eq!(json["figures"][0]["servers"][0]["samples"].as_array().map(Vec::len), Some(3));
    }
}
