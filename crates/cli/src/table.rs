//! Tables in the terminal.

/// Rows with columns under each other.
pub fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let row = |cells: [&str; 4]| cells.map(str::to_owned);
        let lines = table(&[row(["NAME", "SIZE", "LICENCE", "STATE"]), row(["a-long-name", "1 B", "MIT", "pulled"])]);
        assert_eq!(lines, ["NAME         SIZE  LICENCE  STATE", "a-long-name  1 B   MIT      pulled"]);
    }
}
