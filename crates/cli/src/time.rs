//! Points and lengths of time as people write them.

use crate::failure::Usage;
use std::time::{SystemTime, UNIX_EPOCH};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds of a length such as `30m`, `12h` or `90d`.
///
/// # Errors
/// It is none, or longer than a hundred years.
pub fn length_ms(text: &str) -> Result<i64, Usage> {
    let refuse = || Usage(format!("`{text}` is no length of time; write a number and m, h or d, such as 12h or 90d"));
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refuse)?;
    let unit = match unit {
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return Err(refuse()),
    };
    let number: i64 = number.parse().map_err(|_| refuse())?;
    let ms = number.checked_mul(unit).filter(|ms| *ms > 0 && *ms <= 36_525 * DAY_MS);
    ms.ok_or_else(refuse)
}

/// `2026-11-24 23:47` (UTC) of milliseconds since 1970.
pub fn minute(ms: i64) -> String {
    let (date, minutes) = (date(ms), ms.rem_euclid(DAY_MS) / MINUTE_MS);
    format!("{date} {:02}:{:02}", minutes / 60, minutes % 60)
}

/// `2026-11-24` (UTC). The days of the civil calendar are counted from 1 March 0000 in eras of 400 years.
pub fn date(ms: i64) -> String {
    let days = ms.div_euclid(DAY_MS) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, year) = (if month < 10 { month + 3 } else { month - 9 }, year + era * 400);
    format!("{:04}-{month:02}-{date:02}", year + i64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(length_ms("90d").ok(), Some(90 * DAY_MS));
        assert_eq!(length_ms("1h").ok(), Some(3_600_000));
        assert_eq!(length_ms("5m").ok(), Some(300_000));
        for bad in ["", "d", "5", "-1d", "0h", "5 weeks", "99999999999999d", "é"] {
            assert!(length_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From `date -u -d @SECONDS`.
        for (seconds, text) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_825_600, "2000-02-29 12:00"),
            (4_107_542_400, "2100-03-01 00:00"),
            (1_795_564_020, "2026-11-24 23:47"),
        ] {
            assert_eq!(minute(seconds * 1000), text);
        }
    }
}
