//! What is in a table or in pictures, before anything is learnt from them.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::{Column, Kind, Pictures, Strings, Table, Values, quoted};
use crate::prepare::statistics::{Sorted, standard};

/// Values of a column of categories that are counted one by one.
const VALUES_SHOWN: usize = 20;
/// Rows shown.
const ROWS_SHOWN: usize = 10;
/// Characters of a cell that are shown.
const CELL_SHOWN: usize = 200;
/// Warnings of one kind, such as columns that are equal.
const WARNINGS_MAX: usize = 100;
/// Columns that are compared with each other.
const COMPARED_MAX: usize = 500;
/// Categories from which a column has many.
const MANY: usize = 100;

/// A look at a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// How many.
    pub rows: usize,
    /// Of a table.
    pub columns: Vec<ColumnPreview>,
    /// The first rows' cells as text, `null` where one is missing.
    pub sample: Vec<Vec<Option<String>>>,
    /// Of pictures: their height, width and channels.
    pub picture: Option<[usize; 3]>,
    /// Of pictures: the classes with their counts.
    pub classes: Vec<(String, usize)>,
    /// What may be wrong. Each names its column.
    pub warnings: Vec<String>,
}

/// A look at a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnPreview {
    /// As in the file.
    pub name: String,
    /// What its cells are.
    pub kind: Kind,
    /// Cells without a value.
    pub missing: usize,
    /// Different values.
    pub distinct: usize,
    /// Of numbers.
    pub numbers: Option<NumbersPreview>,
    /// The most frequent values with their counts, of all kinds but numbers.
    pub values: Vec<(String, usize)>,
}

/// Where a column's numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumbersPreview {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub deviation: f64,
    /// At 5, 25, 50, 75 and 95 per cent.
    pub quantiles: [f64; 5],
}

impl Table {
    /// A look at the table. `target` is the column to be predicted, if it is known: columns that give it away are warned of.
    pub fn preview(&self, target: Option<&str>) -> Preview {
        let columns: Vec<ColumnPreview> = self.columns.iter().map(column_preview).collect();
        let mut warnings = self.warnings.clone();
        for (column, preview) in self.columns.iter().zip(&columns) {
            warn_of_column(column, preview, self.rows, &mut warnings);
        }
        warn_of_equal_columns(self, target, &mut warnings);
        let duplicates = duplicates(self);
        if duplicates > 0 {
            warnings.push(format!("{duplicates} rows are equal to one before them; `drop_duplicates` leaves them out"));
        }
        let cell = |values: &Values, row: usize| {
            (!values.is_missing(row)).then(|| values.text(row).chars().take(CELL_SHOWN).collect())
        };
        let row = |row: usize| self.columns.iter().map(|column| cell(&column.values, row)).collect();
        Preview {
            rows: self.rows,
            columns,
            sample: (0..self.rows.min(ROWS_SHOWN)).map(row).collect(),
            picture: None,
            classes: Vec::new(),
            warnings,
        }
    }
}

impl Pictures {
    /// A look at the pictures.
    pub fn preview(&self) -> Preview {
        let mut counts = vec![0; self.classes.len()];
        self.of_row.iter().for_each(|&class| counts[class as usize] += 1);
        let mut warnings = self.warnings.clone();
        if self.classes.len() < 2 {
            warnings.push("all pictures are of one class; there is nothing to tell apart".to_owned());
        }
        let mut seen = HashSet::new();
        let duplicates = (0..self.rows()).filter(|&row| !seen.insert(hash(&self.picture(row)))).count();
        if duplicates > 0 {
            warnings
                .push(format!("{duplicates} pictures are equal to one before them; `drop_duplicates` leaves them out"));
        }
        Preview {
            rows: self.rows(),
            columns: Vec::new(),
            sample: Vec::new(),
            picture: Some([self.pixels.height, self.pixels.width, self.pixels.channels]),
            classes: self.classes.iter().cloned().zip(counts).collect(),
            warnings,
        }
    }
}

fn column_preview(column: &Column) -> ColumnPreview {
    let values = &column.values;
    let rows = values.len();
    let missing = (0..rows).filter(|&row| values.is_missing(row)).count();
    let (distinct, numbers, values) = match values {
        Values::Number(all) => {
            let sorted = Sorted::of(all.iter().copied());
            (sorted.distinct(), numbers_preview(&sorted, all), Vec::new())
        }
        Values::Category(strings) | Values::Text(strings) => counted(strings),
        Values::Date(..) | Values::Boolean(_) => {
            let texts: Vec<Option<String>> =
                (0..rows).map(|row| (!values.is_missing(row)).then(|| values.text(row))).collect();
            counted(&Strings::of(texts.iter().map(Option::as_deref)))
        }
    };
    ColumnPreview { name: column.name.clone(), kind: column.values.kind(), missing, distinct, numbers, values }
}

fn numbers_preview(sorted: &Sorted, all: &[f64]) -> Option<NumbersPreview> {
    let present: Vec<f64> = all.iter().copied().filter(|value| !value.is_nan()).collect();
    let is_flat = sorted.min() == sorted.max();
    let quantile = |share| sorted.quantile(share);
    Some(NumbersPreview {
        min: sorted.min()?,
        max: sorted.max()?,
        mean: sorted.mean()?,
        deviation: if is_flat { 0.0 } else { standard(&present).1 },
        quantiles: [quantile(0.05)?, quantile(0.25)?, quantile(0.5)?, quantile(0.75)?, quantile(0.95)?],
    })
}

type Counted = (usize, Option<NumbersPreview>, Vec<(String, usize)>);

fn counted(strings: &Strings) -> Counted {
    let mut counts = vec![0_usize; strings.levels().len()];
    (0..strings.len()).filter_map(|row| strings.level(row)).for_each(|level| counts[level] += 1);
    let mut values: Vec<(&String, usize)> = strings.levels().iter().zip(counts).collect();
    values.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    let shown = values.into_iter().take(VALUES_SHOWN);
    let shown = shown.map(|(value, count)| (value.chars().take(CELL_SHOWN).collect(), count)).collect();
    (strings.levels().len(), None, shown)
}

fn warn_of_column(column: &Column, preview: &ColumnPreview, rows: usize, warnings: &mut Vec<String>) {
    let name = quoted(&preview.name);
    let present = rows - preview.missing;
    if present == 0 {
        warnings.push(format!("column {name} is empty"));
    } else if preview.distinct == 1 {
        warnings.push(format!("column {name} has the same value in every row that has one; it says nothing"));
    } else if preview.missing * 2 > rows {
        warnings.push(format!("column {name} is missing in {} of {rows} rows", preview.missing));
    }
    let is_id = match &column.values {
        Values::Category(_) => preview.distinct == present,
        // 1, 2, 3, … in this order.
        Values::Number(numbers) => numbers.windows(2).all(|pair| pair[1] - pair[0] == 1.0),
        _ => false,
    };
    if is_id && present > ROWS_SHOWN {
        warnings
            .push(format!("column {name} has another value in every row, as an id has; leave it out of the features"));
    } else if column.values.kind() == Kind::Category && preview.distinct > MANY {
        warnings.push(format!(
            "column {name} has {} different values; the most frequent ones are told apart",
            preview.distinct
        ));
    }
    if let Values::Category(strings) | Values::Text(strings) = &column.values {
        warn_of_formula(&name, strings, warnings);
    }
    if let Values::Date(format, _) = &column.values
        && matches!(format.pattern(), "MM/DD/YYYY")
        && reads_both_ways(&column.values)
    {
        warnings.push(format!("column {name}: every date is one by MM/DD/YYYY and by DD/MM/YYYY; read as the first"));
    }
}

/// A spreadsheet would compute such a cell. Here it stays text.
fn warn_of_formula(name: &str, strings: &Strings, warnings: &mut Vec<String>) {
    let is_formula = |level: &String| level.starts_with(['=', '@']);
    let Some(level) = strings.levels().iter().position(is_formula) else { return };
    let Some(row) = (0..strings.len()).find(|&row| strings.level(row) == Some(level)) else { return };
    let cell = quoted(&strings.levels()[level]);
    warnings.push(format!("column {name}: row {} has {cell}, which looks like a formula; it is kept as text", row + 1));
}

fn reads_both_ways(values: &Values) -> bool {
    (0..values.len()).filter(|&row| !values.is_missing(row)).all(|row| {
        let text = values.text(row);
        text.get(3..5).and_then(|day| day.parse::<u32>().ok()).is_some_and(|day| day <= 12)
    })
}

/// Columns of which one says the other: equal cells, or each value of one always with the same of the other.
fn warn_of_equal_columns(table: &Table, target: Option<&str>, warnings: &mut Vec<String>) {
    let codes: Vec<(&str, Vec<u32>)> =
        table.columns.iter().take(COMPARED_MAX).map(|column| (column.name.as_str(), codes(&column.values))).collect();
    let mut found = 0;
    for (index, (one, of_one)) in codes.iter().enumerate() {
        for (other, of_other) in &codes[index + 1..] {
            if found == WARNINGS_MAX || of_one != of_other || of_one.iter().all(|&code| code == of_one[0]) {
                continue;
            }
            found += 1;
            let (one, other) = if target == Some(*other) { (other, one) } else { (one, other) };
            let (quoted_one, quoted_other) = (quoted(one), quoted(other));
            warnings.push(if target == Some(*one) {
                format!("column {quoted_other} gives the target {quoted_one} away: each value of one goes with one of the other")
            } else {
                format!("columns {quoted_one} and {quoted_other} say the same")
            });
        }
    }
}

/// Cells by the order in which their values come first: equal for columns that say the same. Columns with another value in
/// every row are made unequal by their own number, since any two of them would say the same.
fn codes(values: &Values) -> Vec<u32> {
    let mut seen = std::collections::HashMap::new();
    let rows = values.len();
    let mut codes: Vec<u32> = Vec::with_capacity(rows);
    for row in 0..rows {
        let next = seen.len() as u32;
        codes.push(*seen.entry(values.text(row)).or_insert(next));
    }
    if seen.len() == rows {
        return (0..rows).map(|row| hash(&values.text(row)) as u32).collect();
    }
    codes
}

fn duplicates(table: &Table) -> usize {
    let mut seen = HashSet::new();
    let row = |row: usize| table.columns.iter().map(|column| column.values.text(row)).collect::<Vec<_>>();
    (0..table.rows).filter(|&index| !seen.insert(hash(&row(index)))).count()
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
