//! Numbers that describe a column's training rows, defined as NumPy and scikit-learn define them.

/// Values in ascending order, without the missing ones.
#[derive(Clone, Debug)]
pub(crate) struct Sorted(Vec<f64>);

/// Below this a range or deviation counts as none, relative to the values' size.
const FLAT: f64 = 10.0 * f64::EPSILON;

impl Sorted {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Sorted {
        let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        Sorted(values)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.0.first().copied()
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// Between two neighbours it is interpolated.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let place = share * (self.0.len().checked_sub(1)?) as f64;
        let (below, above) = (self.0.get(place.floor() as usize)?, self.0.get(place.ceil() as usize)?);
        Some(below + (above - below) * place.fract())
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| sum(self.0.iter().copied()) / self.0.len() as f64)
    }

    /// The most frequent value; the smallest of several.
    pub(crate) fn mode(&self) -> Option<f64> {
        let mut best: Option<(usize, f64)> = None;
        for run in self.0.chunk_by(|one, other| one == other) {
            if best.is_none_or(|(length, _)| run.len() > length) {
                best = Some((run.len(), run[0]));
            }
        }
        best.map(|(_, value)| value)
    }

    /// How many different values.
    pub(crate) fn distinct(&self) -> usize {
        self.0.chunk_by(|one, other| one == other).count()
    }
}

/// Mean and population standard deviation; a deviation of rounding errors alone is 1, so that a constant becomes 0.
pub(crate) fn standard(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = sum(values.iter().copied()) / count;
    let variance = sum(values.iter().map(|value| (value - mean) * (value - mean))) / count;
    let size = values.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
    let deviation = variance.sqrt();
    (mean, if deviation <= FLAT * size || deviation == 0.0 { 1.0 } else { deviation })
}

/// Smallest value and range; a range of rounding errors alone is 1.
pub(crate) fn min_max(values: &[f64]) -> (f64, f64) {
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = max - min;
    let is_flat = values.is_empty() || range <= FLAT * min.abs().max(max.abs());
    (if values.is_empty() { 0.0 } else { min }, if is_flat { 1.0 } else { range })
}

/// A sum whose rounding error does not grow with the number of values (Neumaier).
pub(crate) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
        total = next;
    }
    if total.is_finite() { total + lost } else { total }
}
