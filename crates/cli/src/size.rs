//! Sizes as a user writes them: `512MB`, `1GiB`, `1048576`.

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Bytes of a size. A unit must be whole, since `1G` means different things to different programs.
///
/// # Errors
/// A sentence that names the text and the forms that work.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim();
    let factor = if unit.is_empty() {
        1
    } else {
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor).ok_or_else(|| {
            format!("the size `{text}` has the unknown unit `{unit}`; write for example 512MB or 1GiB")
        })?
    };
    let bytes = if let Ok(whole) = number.parse::<u64>() {
        whole.checked_mul(factor)
    } else {
        let number: f64 = number
            .parse()
            .map_err(|_| format!("the size `{text}` does not begin with a number; write for example 512MB or 1GiB"))?;
        let bytes = number * factor as f64;
        (bytes < u64::MAX as f64).then_some(bytes as u64)
    };
    bytes.ok_or_else(|| format!("the size `{text}` is too large; the most is {} bytes", u64::MAX))
}

/// A size for people, in powers of 1000 as disks and downloads are counted: `93.8 MB`.
pub fn show(bytes: u64) -> String {
    let (name, factor) = UNITS[..5].iter().rev().find(|(_, factor)| bytes >= *factor).unwrap_or(&UNITS[0]);
    if *factor == 1 { format!("{bytes} B") } else { format!("{:.1} {name}", bytes as f64 / *factor as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_work() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("512MB", 512_000_000),
            ("1GiB", 1 << 30),
            ("1.5 kib", 1536),
            ("64KiB", 65536),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_that_do_not_name_the_way_out() {
        for (text, part) in [
            ("1G", "unknown unit `G`"),
            ("many", "unknown unit `many`"),
            ("", "does not begin with a number"),
            ("1.2.3GB", "does not begin with a number"),
            ("-1GB", "unknown unit `-1GB`"),
            ("99999999999TB", "too large"),
        ] {
            let message = parse(text).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn shown_for_people() {
        assert_eq!(show(999), "999 B");
        assert_eq!(show(98_362_432), "98.4 MB");
        assert_eq!(show(1_500_000_000), "1.5 GB");
    }
}
