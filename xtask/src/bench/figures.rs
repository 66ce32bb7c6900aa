//! Statistics of repeated measurements, and tables of them for people.
//!
//! Must not know what was measured.

/// Whether more of a figure is better or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// The middle of the values, or the mean of the two in the middle; `None` of no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted.get(middle).copied()
    } else {
        Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, sorted[middle]))
    }
}

/// How many times better ours is than theirs, in pairs: values of the same index were measured one after the other.
pub fn ratios(ours: &[Option<f64>], theirs: &[Option<f64>], better: Better) -> Vec<f64> {
    let pairs = ours.iter().zip(theirs).filter_map(|(ours, theirs)| ours.zip(*theirs));
    let ratio = |(ours, theirs): (f64, f64)| match better {
        Better::More => ours / theirs,
        Better::Less => theirs / ours,
    };
    pairs.map(ratio).filter(|ratio| ratio.is_finite()).collect()
}

/// Three significant digits.
pub fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// A table of Markdown, its columns aligned so that it reads well in a terminal too: the first flush left, the figures
/// flush right.
pub fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let all = || std::iter::once(head).chain(rows.iter().map(Vec::as_slice));
    let width = |column: usize| all().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0).max(2)).collect();
    let mut out = String::new();
    for (index, row) in all().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).enumerate().map(|(column, (text, width))| cell(column, text, *width)).collect();
        out += &format!("| {} |\n", cells.join(" | "));
        if index == 0 {
            let rules: Vec<String> = widths.iter().enumerate().map(|(column, width)| rule(column, *width)).collect();
            out += &format!("| {} |\n", rules.join(" | "));
        }
    }
    out
}

fn cell(column: usize, text: &str, width: usize) -> String {
    if column == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
}

fn rule(column: usize, width: usize) -> String {
    if column == 0 { "-".repeat(width) } else { format!("{}:", "-".repeat(width - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn ratios_are_of_pairs_and_above_one_where_ours_is_better() {
        let ours = [Some(20.0), None, Some(30.0)];
        let theirs = [Some(10.0), Some(1.0), Some(60.0)];
        assert_eq!(ratios(&ours, &theirs, Better::More), [2.0, 0.5]);
        assert_eq!(ratios(&ours, &theirs, Better::Less), [0.5, 2.0]);
        assert!(ratios(&[Some(1.0)], &[Some(0.0)], Better::More).is_empty());
    }

    #[test]
    fn tables_are_markdown() {
        let text = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let got = table(&text(&["what", "a"]), &[text(&["×", "100"]), text(&["prefill", "2"])]);
        assert_eq!(got, "| what    |   a |\n| ------- | --: |\n| ×       | 100 |\n| prefill |   2 |\n");
    }

    #[test]
    fn three_digits() {
        for (value, expected) in [(1234.4, "1234"), (99.95, "100.0"), (12.345, "12.3"), (1.234, "1.23")] {
            assert_eq!(short(value), expected);
        }
    }
}
