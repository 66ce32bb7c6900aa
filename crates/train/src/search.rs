//! Choosing an algorithm and its settings by trying: successive halving (Jamieson and Talwalkar, 2016).
//!
//! Many candidates learn for a small part of a whole training, the better third for three times as long, and so on; the best of
//! the last round is then trained whole by the job. The same seed and data give the same trials and the same choice.

use crate::artefact::{file, write_synchronised};
use crate::event::Event;
use crate::fit::random::{Purpose, Random};
use crate::fit::{Run, RunSettings};
use crate::metrics::Metric;
use crate::spec::Spec;
use crate::trainers::{Model, Row, Splits, TRAINERS};
use crate::{Error, Result, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Of each round one in so many goes on, and for so many times as long.
const PART: usize = 3;
/// Share of a whole training that the last round takes.
const LAST_ROUND: f64 = 1.0 / 3.0;
/// Rounds at the most.
const ROUNDS_MAX: usize = 3;

/// An algorithm with settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The algorithm.
    pub name: &'static str,
    /// Its settings, where they are not the default ones.
    pub hyperparameters: Value,
}

/// What a search needs.
pub struct Search<'a> {
    /// What is trained for.
    pub task: Task,
    /// How many candidates.
    pub trials: u64,
    /// What is compared.
    pub metric: Metric,
    /// The data.
    pub splits: Splits<'a>,
    /// The metric of a model on the validation split; `None` where it is not defined.
    pub score: &'a dyn Fn(&dyn Model) -> Result<Option<f64>>,
    /// Where finished trials are remembered, so that a search that is broken off goes on; `None`: nowhere.
    pub memory: Option<PathBuf>,
}

/// A finished trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Trial {
    score: Option<f64>,
}

/// The candidates of a task: the algorithms in turn, each first with its default settings.
pub fn candidates(task: Task, count: usize, seed: u64) -> Vec<Candidate> {
    let rows: Vec<&Row> = TRAINERS.iter().filter(|row| row.tasks.contains(&task)).collect();
    let candidate = |index: usize| {
        let row = rows[index % rows.len()];
        let mut random = Random::new(seed, Purpose::Search, index as u64);
        let hyperparameters = if index < rows.len() { json!({}) } else { (row.vary)(&mut random) };
        Candidate { name: row.name, hyperparameters }
    };
    (0..count).map(candidate).collect()
}

impl Search<'_> {
    /// The best candidate.
    ///
    /// # Errors
    /// As [`Run::end`], and [`Error::BadData`] when no candidate could be scored.
    pub fn best(&self, run: &mut Run) -> Result<Candidate> {
        let mut left: Vec<(Candidate, Option<f64>)> =
            candidates(self.task, self.trials as usize, run.settings.seed).into_iter().map(|one| (one, None)).collect();
        let sizes = round_sizes(left.len());
        let mut memory = self.remembered();
        let (mut trial, total) = (0, sizes.iter().sum::<usize>() as u64);
        for (round, &size) in sizes.iter().enumerate() {
            left.truncate(size);
            let budget = LAST_ROUND / (PART as f64).powi((sizes.len() - 1 - round) as i32);
            for (candidate, score) in &mut left {
                let known = memory.get(trial).cloned();
                trial += 1;
                let found = match known {
                    Some(found) => found,
                    None => Trial { score: self.score_of(candidate, budget, run)? },
                };
                *score = found.score;
                self.remember(&mut memory, trial, found)?;
                run.tell(event(candidate, (trial as u64, total), budget, *score));
                if let Some(error) = run.end() {
                    return Err(error);
                }
            }
            // Stable: of equals the one that stands first.
            left.sort_by(|one, other| match (one.1, other.1) {
                (a, b) if self.metric.is_better(a, b) => std::cmp::Ordering::Less,
                (a, b) if self.metric.is_better(b, a) => std::cmp::Ordering::Greater,
                _ => std::cmp::Ordering::Equal,
            });
        }
        match left.into_iter().next() {
            Some((candidate, Some(_))) => Ok(candidate),
            _ => Err(Error::BadData(format!(
                "none of {total} trials has a {} on the validation split; give more rows, or name an `algorithm`",
                self.metric.name()
            ))),
        }
    }

    /// A candidate that cannot learn these data has no score; only what ends the job is an error.
    fn score_of(&self, candidate: &Candidate, budget: f64, run: &mut Run) -> Result<Option<f64>> {
        let mut settings = candidate.hyperparameters.clone();
        if let Some(epochs) = Spec::trainer(candidate.name, &settings)?.settings()["epochs"].as_u64() {
            settings["epochs"] = json!(((epochs as f64 * budget).round() as u64).max(1));
        }
        let trainer = Spec::trainer(candidate.name, &settings)?;
        let plain = RunSettings { checkpoints: None, privacy: None, ..run.settings.clone() };
        let fitted = run.apart(plain, |run| trainer.fit(self.splits, run));
        match fitted {
            Ok(model) => (self.score)(model.as_ref()),
            Err(error @ (Error::Cancelled | Error::LimitReached(_) | Error::File { .. })) => Err(error),
            Err(error) => {
                run.log(format!("{} failed: {error}", candidate.name));
                Ok(None)
            }
        }
    }

    fn remembered(&self) -> Vec<Trial> {
        let read = self.memory.as_ref().and_then(|path| std::fs::read(path).ok());
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn remember(&self, memory: &mut Vec<Trial>, trial: usize, found: Trial) -> Result<()> {
        if memory.len() >= trial {
            return Ok(());
        }
        memory.push(found);
        let Some(path) = &self.memory else { return Ok(()) };
        let staged = path.with_extension("new");
        write_synchronised(&staged, &serde_json::to_vec(memory).expect("invariant: plain fields"))?;
        std::fs::rename(&staged, path).map_err(file("could not be put in its place", path))
    }
}

/// How many candidates each round has: all, a third, a ninth.
fn round_sizes(candidates: usize) -> Vec<usize> {
    let mut sizes = vec![candidates];
    while sizes.len() < ROUNDS_MAX && sizes[sizes.len() - 1] >= 2 * PART {
        sizes.push(sizes[sizes.len() - 1].div_ceil(PART));
    }
    sizes
}

fn event(candidate: &Candidate, (trial, total): (u64, u64), budget: f64, score: Option<f64>) -> Event {
    Event::Trial {
        trial,
        total,
        algorithm: candidate.name.to_owned(),
        hyperparameters: candidate.hyperparameters.clone(),
        budget,
        score,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_shrink_to_few() {
        assert_eq!(round_sizes(16), [16, 6, 2]);
        assert_eq!(round_sizes(3), [3]);
        assert_eq!(round_sizes(100), [100, 34, 12]);
    }

    #[test]
    fn candidates_are_jobs_that_can_be_read() {
        for task in Task::ALL {
            let all = candidates(task, 40, 1);
            assert_eq!(all, candidates(task, 40, 1));
            assert_ne!(all, candidates(task, 40, 2));
            for candidate in all {
                Spec::trainer(candidate.name, &candidate.hyperparameters).expect("a trainer");
            }
        }
    }
}
