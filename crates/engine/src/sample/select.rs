//! The largest logits, without a sort of the vocabulary.
//!
//! A key holds a logit and its id in one integer whose order is the order of choice: larger logits first, then lower ids.

/// Entries of one chunk, of which only the maximum is looked at first.
const CHUNK: usize = 64;

/// Logit and id; larger keys are chosen first.
pub fn key(logit: f32, id: usize) -> u64 {
    // −0 becomes +0: they are a tie.
    let bits = (logit + 0.0).to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | u64::from(!(id as u32))
}

pub fn id(key: u64) -> u32 {
    !(key as u32)
}

pub fn logit(key: u64) -> f32 {
    let ordered = (key >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

/// The largest entry, NaN aside; −∞ when there is none.
pub fn max(row: &[f32]) -> f32 {
    const LANES: usize = 16;
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *x);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| larger(a, *b))
}

/// The lowest id of that value; 0 when there is none.
pub fn first(row: &[f32], value: f32) -> u32 {
    // Without an early exit inside, a chunk is compared by vectors.
    let holds = |chunk: &[f32]| chunk.iter().fold(false, |found, x| found | (*x == value));
    let chunk = row.chunks(CHUNK).position(holds).unwrap_or(0);
    let within = row.iter().skip(chunk * CHUNK).position(|x| *x == value);
    within.map_or(0, |offset| (chunk * CHUNK + offset) as u32)
}

/// Partial selection with scratch memory.
#[derive(Debug, Default)]
pub struct Select {
    maxima: Vec<f32>,
    sorted: Vec<f32>,
    keys: Vec<u64>,
}

impl Select {
    /// Keys of the `count` largest entries, the largest first; fewer when the row has fewer that are not NaN.
    pub fn top(&mut self, row: &[f32], count: usize) -> &[u64] {
        self.keys.clear();
        if count == 0 {
            return &self.keys;
        }
        self.gather(row, count);
        if self.keys.len() > count {
            self.keys.select_nth_unstable_by(count - 1, |a, b| b.cmp(a));
            self.keys.truncate(count);
        }
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        &self.keys
    }

    /// The smallest key of the fewest largest entries whose weights, of `total`, together reach `needed` (1 to `total`).
    /// Halves the range by selection, so the work is linear.
    pub fn cut(&mut self, row: &[f32], weights: &[f64], total: f64, needed: f64) -> u64 {
        // All entries below this together are less than what may be left out.
        let bound = ((total - needed) / row.len() as f64).max(1.0);
        self.keys.clear();
        let heavy = row.iter().zip(weights).enumerate().filter(|(_, (_, weight))| **weight >= bound);
        self.keys.extend(heavy.map(|(id, (logit, _))| key(*logit, id)));
        // All before `start` is in, nothing from `end` on is; `needed` is what is missing at `start`.
        let (mut start, mut end, mut needed) = (0, self.keys.len(), needed);
        while end - start > 1 {
            let middle = (end - start) / 2;
            let range = &mut self.keys[start..end];
            range.select_nth_unstable_by(middle, |a, b| b.cmp(a));
            let upper: f64 = range[..middle].iter().map(|key| weights[id(*key) as usize]).sum();
            if upper >= needed {
                end = start + middle;
            } else {
                needed -= upper;
                start += middle;
            }
        }
        self.keys.get(start).copied().unwrap_or(0)
    }

    /// Keys of all entries that can be among the `count` largest. The count-th largest of the chunks' maxima is not above
    /// the count-th largest entry, so what is below it is out.
    fn gather(&mut self, row: &[f32], count: usize) {
        self.maxima.clear();
        self.maxima.extend(row.chunks(CHUNK).map(max));
        let bound = if count <= self.maxima.len() {
            self.sorted.clone_from(&self.maxima);
            *self.sorted.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1
        } else {
            f32::NEG_INFINITY
        };
        for (index, chunk) in row.chunks(CHUNK).enumerate().filter(|(index, _)| self.maxima[*index] >= bound) {
            let from = index * CHUNK;
            let passing = chunk.iter().enumerate().filter(|(_, logit)| **logit >= bound);
            self.keys.extend(passing.map(|(offset, logit)| key(*logit, from + offset)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Select, first, id, key, logit, max};

    #[test]
    fn keys_order_by_logit_then_id() {
        let mut keys = [key(-1.0, 3), key(2.0, 9), key(2.0, 1), key(-0.0, 5), key(0.0, 4), key(f32::NEG_INFINITY, 0)];
        keys.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(keys.iter().map(|key| id(*key)).collect::<Vec<_>>(), [1, 9, 4, 5, 3, 0]);
        assert_eq!(
            keys.iter().map(|key| logit(*key)).collect::<Vec<_>>(),
            [2.0, 2.0, 0.0, 0.0, -1.0, f32::NEG_INFINITY]
        );
    }

    #[test]
    fn top_equals_a_full_sort() {
        let mut select = Select::default();
        let mut state = 1u64;
        for length in [1usize, 63, 64, 65, 1000, 5000] {
            // Few distinct values: many ties.
            let row: Vec<f32> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if state >> 60 == 0 { f32::NAN } else { ((state >> 33) % 97) as f32 - 48.0 }
                })
                .collect();
            let mut sorted: Vec<u64> =
                row.iter().enumerate().filter(|(_, x)| !x.is_nan()).map(|(i, x)| key(*x, i)).collect();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            for count in [0, 1, 2, 20, 64, 100, length] {
                assert_eq!(select.top(&row, count), &sorted[..count.min(sorted.len())], "{count} of {length}");
            }
            assert_eq!(max(&row), sorted.first().map_or(f32::NEG_INFINITY, |key| logit(*key)));
        }
    }

    #[test]
    fn the_cut_keeps_the_fewest_that_suffice() {
        let row: Vec<f32> = (0..1000).map(|i| ((i * 7919) % 500) as f32).collect();
        let weights: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        let total: f64 = weights.iter().sum();
        let mut sorted: Vec<u64> = row.iter().enumerate().map(|(id, x)| key(*x, id)).collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let mut select = Select::default();
        for needed in [1.0, 499.0, 500.0, 998.0, 999.0, 10_000.0, 249_499.0, 249_500.0] {
            let mut mass = 0.0;
            let last = sorted.iter().find(|key| {
                mass += f64::from(logit(**key));
                mass >= needed
            });
            assert_eq!(Some(&select.cut(&row, &weights, total, needed)), last, "{needed} of {total}");
        }
    }

    #[test]
    fn first_is_the_lowest_id() {
        let mut row = vec![0.0; 200];
        assert_eq!(first(&row, 5.0), 0);
        for id in [199, 130, 64, 63] {
            row[id] = 5.0;
            assert_eq!(first(&row, 5.0), id as u32);
        }
    }
}
