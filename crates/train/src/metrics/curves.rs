//! ROC and precision-recall curves of one class against the rest.

use serde::{Deserialize, Serialize};

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Upwards.
    pub y: f64,
}

/// From (0, 0) to (1, 1): x is the false positive rate, y the true positive rate, at each score as the threshold, from the
/// highest down. Points on a straight line are left out. `None` if there are not both positives and negatives, or a score
/// is no number (scikit-learn warns of the first and raises on the second).
pub fn roc_curve(is_positive: &[bool], scores: &[f64]) -> Option<Vec<Point>> {
    let steps = steps(is_positive, scores)?;
    let (negatives, positives) = *steps.last().filter(|(negatives, positives)| *negatives > 0 && *positives > 0)?;
    let mut kept: Vec<(u64, u64)> = vec![(0, 0)];
    for (index, &step) in steps.iter().enumerate() {
        let before = kept[kept.len() - 1];
        let is_on_line = steps.get(index + 1).is_some_and(|next| {
            let (x, y) = (step.0 - before.0, step.1 - before.1);
            u128::from(x) * u128::from(next.1 - step.1) == u128::from(y) * u128::from(next.0 - step.0)
        });
        if !is_on_line {
            kept.push(step);
        }
    }
    let point = |(x, y): (u64, u64)| Point { x: x as f64 / negatives as f64, y: y as f64 / positives as f64 };
    Some(kept.into_iter().map(point).collect())
}

/// Area under [`roc_curve`], which is the probability that a positive has the higher score (equal ones count half).
/// `None` where there is no curve.
pub fn roc_auc(is_positive: &[bool], scores: &[f64]) -> Option<f64> {
    let steps = steps(is_positive, scores)?;
    let (negatives, positives) = *steps.last().filter(|(negatives, positives)| *negatives > 0 && *positives > 0)?;
    let mut twice_area: u128 = 0;
    let mut before = (0, 0);
    for step in steps {
        twice_area += u128::from(step.0 - before.0) * u128::from(step.1 + before.1);
        before = step;
    }
    Some(twice_area as f64 / 2.0 / (negatives as f64 * positives as f64))
}

/// x is the recall, y the precision, at each score as the threshold, from the lowest up; last comes (0, 1). `None` without
/// rows or if a score is no number; without positives the recall is 1, as scikit-learn has it with a warning.
pub fn precision_recall_curve(is_positive: &[bool], scores: &[f64]) -> Option<Vec<Point>> {
    let steps = steps(is_positive, scores)?;
    let &(_, positives) = steps.last()?;
    let point = |&(false_ones, true_ones): &(u64, u64)| Point {
        x: if positives == 0 { 1.0 } else { true_ones as f64 / positives as f64 },
        y: true_ones as f64 / (true_ones + false_ones) as f64,
    };
    let mut points: Vec<Point> = steps.iter().rev().map(point).collect();
    points.push(Point { x: 0.0, y: 1.0 });
    Some(points)
}

/// (negatives, positives) with at least a score, for each different score from the highest down.
fn steps(is_positive: &[bool], scores: &[f64]) -> Option<Vec<(u64, u64)>> {
    if is_positive.len() != scores.len() || scores.iter().any(|score| !score.is_finite()) {
        return None;
    }
    let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(is_positive.iter().copied()).collect();
    rows.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (mut negatives, mut positives) = (0, 0);
    let mut steps = Vec::new();
    for equal in rows.chunk_by(|one, other| one.0 == other.0) {
        let more = equal.iter().filter(|row| row.1).count() as u64;
        positives += more;
        negatives += equal.len() as u64 - more;
        steps.push((negatives, positives));
    }
    Some(steps)
}
