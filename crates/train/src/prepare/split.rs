//! Which rows are for training, which to choose by, and which to judge by.

use std::collections::{BTreeMap, HashSet};

use super::random::Random;
use super::settings::SplitSettings;
use crate::{Error, Result};

/// Rows by what they are for. No row is in two of them; each list ascends (in time, for a series).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Split {
    /// To learn from.
    pub train: Vec<usize>,
    /// To choose by: early stopping, search.
    pub validation: Vec<usize>,
    /// To judge the end result by.
    pub test: Vec<usize>,
}

/// In what way rows are drawn.
#[derive(Clone, Copy, Debug)]
pub enum Order<'a> {
    /// At random.
    Random,
    /// At random, each class (`of_row[row]`) in the same proportion.
    Stratified(&'a [u32]),
    /// As they come: what is judged lies after what is learnt.
    AsGiven,
}

/// Splits `rows`.
///
/// # Errors
/// [`Error::BadSpec`] if the shares are none, or leave nothing to learn from.
pub fn split(rows: &[usize], settings: &SplitSettings, order: Order<'_>) -> Result<Split> {
    let (validation, test) = (settings.validation, settings.test);
    if !(validation >= 0.0 && test >= 0.0 && validation + test < 1.0) {
        let message = format!("shares of {validation} and {test} leave nothing to train on; use 0.1 and 0.1, or 0");
        return Err(Error::BadSpec { field: "split".to_owned(), message });
    }
    let count = |share: f64| (share * rows.len() as f64).round() as usize;
    let (validation, test) = (count(validation), count(test));
    let Some(train) = rows.len().checked_sub(validation + test).filter(|&train| train > 0) else {
        let message = format!("{} rows are too few to split; use 0 for `validation` and `test`", rows.len());
        return Err(Error::BadSpec { field: "split".to_owned(), message });
    };
    let drawn = draw(rows, settings.seed, order);
    let part = |begin: usize, length: usize| {
        let mut part = drawn[begin..begin + length].to_vec();
        if !matches!(order, Order::AsGiven) {
            part.sort_unstable();
        }
        part
    };
    Ok(Split { train: part(0, train), validation: part(train, validation), test: part(train + validation, test) })
}

fn draw(rows: &[usize], seed: u64, order: Order<'_>) -> Vec<usize> {
    let mut drawn = rows.to_vec();
    match order {
        Order::AsGiven => {}
        Order::Random => Random::new(seed).shuffle(&mut drawn),
        Order::Stratified(of_row) => {
            Random::new(seed).shuffle(&mut drawn);
            drawn = interleave(&drawn, of_row);
        }
    }
    drawn
}

/// Brings rows into an order in which every stretch has each class in its proportion: the i-th of a class's n rows goes to
/// the place (2i + 1) / 2n of the way, and rows of one place keep their order.
fn interleave(rows: &[usize], of_row: &[u32]) -> Vec<usize> {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for &row in rows {
        *counts.entry(of_row[row]).or_default() += 1;
    }
    let mut seen: BTreeMap<u32, u64> = BTreeMap::new();
    let mut placed: Vec<(f64, usize)> = rows
        .iter()
        .map(|&row| {
            let index = seen.entry(of_row[row]).or_default();
            let place = (2 * *index + 1) as f64 / (2 * counts[&of_row[row]]) as f64;
            *index += 1;
            (place, row)
        })
        .collect();
    placed.sort_by(|one, other| one.0.total_cmp(&other.0));
    placed.into_iter().map(|(_, row)| row).collect()
}

/// The rows of `rows` whose `key` no row before them has.
pub(super) fn without_duplicates<K: std::hash::Hash + Eq>(rows: &[usize], key: impl Fn(usize) -> K) -> Vec<usize> {
    let mut seen = HashSet::new();
    rows.iter().copied().filter(|&row| seen.insert(key(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(split: &Split) -> Vec<usize> {
        let mut rows = [split.train.clone(), split.validation.clone(), split.test.clone()].concat();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn each_row_is_in_one_split_and_the_seed_decides_which() {
        let rows: Vec<usize> = (0..103).collect();
        let settings = SplitSettings { validation: 0.2, test: 0.1, ..SplitSettings::default() };
        let one = split(&rows, &settings, Order::Random).unwrap();
        assert_eq!(all(&one), rows);
        assert_eq!((one.train.len(), one.validation.len(), one.test.len()), (72, 21, 10));
        assert_eq!(one, split(&rows, &settings, Order::Random).unwrap());
        assert_ne!(one, split(&rows, &SplitSettings { seed: 1, ..settings }, Order::Random).unwrap());
    }

    #[test]
    fn each_split_has_the_classes_in_their_proportion() {
        let of_row: Vec<u32> = (0..1000).map(|row| u32::from(row % 10 == 0) + u32::from(row % 100 == 0)).collect();
        let rows: Vec<usize> = (0..1000).collect();
        let settings = SplitSettings { validation: 0.2, test: 0.1, ..SplitSettings::default() };
        let split = split(&rows, &settings, Order::Stratified(&of_row)).unwrap();
        let count = |rows: &[usize], class| rows.iter().filter(|&&row| of_row[row] == class).count();
        for (rows, expected) in [(&split.train, [630, 63, 7]), (&split.validation, [180, 18, 2])] {
            for (class, expected) in expected.into_iter().enumerate() {
                assert!(count(rows, class as u32).abs_diff(expected) <= 1, "class {class} of {}", rows.len());
            }
        }
        assert_eq!(all(&split), rows);
    }

    #[test]
    fn four_rows_are_all_for_training_and_shares_that_leave_none_are_refused() {
        let four = split(&[0, 1, 2, 3], &SplitSettings::default(), Order::Random).unwrap();
        assert_eq!(four.train, [0, 1, 2, 3]);
        for (validation, test) in [(0.5, 0.5), (-0.1, 0.1), (f64::NAN, 0.0)] {
            let settings = SplitSettings { validation, test, ..SplitSettings::default() };
            assert!(split(&[0, 1, 2], &settings, Order::AsGiven).is_err(), "{validation} {test}");
        }
    }
}
