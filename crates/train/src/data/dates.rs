//! Dates in the formats that have fixed places for their digits, so that a model's graph can read them too.

use serde::{Deserialize, Serialize};

/// Where the digits stand. All rows of a column have one format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DateFormat {
    /// `2026-03-31`
    #[serde(rename = "YYYY-MM-DD")]
    YearMonthDay,
    /// `2026/03/31`
    #[serde(rename = "YYYY/MM/DD")]
    YearMonthDaySlash,
    /// `2026-03`
    #[serde(rename = "YYYY-MM")]
    YearMonth,
    /// `31.03.2026`
    #[serde(rename = "DD.MM.YYYY")]
    DayMonthYearDot,
    /// `03/31/2026`
    #[serde(rename = "MM/DD/YYYY")]
    MonthDayYear,
    /// `31/03/2026`
    #[serde(rename = "DD/MM/YYYY")]
    DayMonthYear,
    /// `2026-03-31T23:59:58`
    #[serde(rename = "YYYY-MM-DDThh:mm:ss")]
    Time,
    /// `2026-03-31T23:59:58Z`
    #[serde(rename = "YYYY-MM-DDThh:mm:ssZ")]
    TimeZulu,
    /// `2026-03-31 23:59:58`
    #[serde(rename = "YYYY-MM-DD hh:mm:ss")]
    TimeBlank,
    /// `2026-03-31 23:59`
    #[serde(rename = "YYYY-MM-DD hh:mm")]
    MinuteBlank,
    /// `20260331T235958`
    #[serde(rename = "YYYYMMDDThhmmss")]
    TimeCompact,
}

/// A point in time, taken apart. The numbers are those that a model sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateParts {
    /// Of the Gregorian calendar.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 (Monday) to 6.
    pub weekday: i64,
    /// Since 1970-01-01.
    pub days: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
}

const DAY_SECONDS: i64 = 86_400;

impl DateFormat {
    /// All of them. Of two that fit a whole column the first is taken.
    pub const ALL: [DateFormat; 11] = [
        DateFormat::YearMonthDay,
        DateFormat::YearMonthDaySlash,
        DateFormat::YearMonth,
        DateFormat::DayMonthYearDot,
        DateFormat::MonthDayYear,
        DateFormat::DayMonthYear,
        DateFormat::Time,
        DateFormat::TimeZulu,
        DateFormat::TimeBlank,
        DateFormat::MinuteBlank,
        DateFormat::TimeCompact,
    ];

    /// A letter for each digit (`Y`, `M`, `D`, `h`, `m`, `s`); every other character stands for itself.
    pub fn pattern(self) -> &'static str {
        match self {
            DateFormat::YearMonthDay => "YYYY-MM-DD",
            DateFormat::YearMonthDaySlash => "YYYY/MM/DD",
            DateFormat::YearMonth => "YYYY-MM",
            DateFormat::DayMonthYearDot => "DD.MM.YYYY",
            DateFormat::MonthDayYear => "MM/DD/YYYY",
            DateFormat::DayMonthYear => "DD/MM/YYYY",
            DateFormat::Time => "YYYY-MM-DDThh:mm:ss",
            DateFormat::TimeZulu => "YYYY-MM-DDThh:mm:ssZ",
            DateFormat::TimeBlank => "YYYY-MM-DD hh:mm:ss",
            DateFormat::MinuteBlank => "YYYY-MM-DD hh:mm",
            DateFormat::TimeCompact => "YYYYMMDDThhmmss",
        }
    }

    /// Whether it holds a time of day.
    pub fn has_time(self) -> bool {
        self.pattern().contains('h')
    }

    /// Seconds since 1970-01-01; `None` if `text` is of another format or names no day of the calendar.
    pub fn read(self, text: &str) -> Option<i64> {
        let pattern = self.pattern().as_bytes();
        if text.len() != pattern.len() {
            return None;
        }
        let mut parts = [0_i64; 6];
        for (&letter, &byte) in pattern.iter().zip(text.as_bytes()) {
            match place(letter) {
                Some(part) if byte.is_ascii_digit() => parts[part] = parts[part] * 10 + i64::from(byte - b'0'),
                None if byte == letter => {}
                _ => return None,
            }
        }
        let [year, month, day, hour, minute, second] = parts;
        let day = if pattern.contains(&b'D') { day } else { 1 };
        let is_date = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
        let is_time = hour < 24 && minute < 60 && second < 60;
        (is_date && is_time)
            .then(|| days_from_civil(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second)
    }

    /// The text of a point in time.
    pub fn write(self, seconds: i64) -> String {
        let parts = DateParts::of(seconds);
        let numbers = [parts.year, parts.month, parts.day, parts.hour, parts.minute, parts.second];
        let mut text = String::new();
        let mut letters = self.pattern().chars().peekable();
        let mut width = 0;
        while let Some(letter) = letters.next() {
            width += 1;
            match place(letter as u8) {
                None => {
                    text.push(letter);
                    width = 0;
                }
                Some(part) if letters.peek() != Some(&letter) => {
                    text.push_str(&format!("{:0width$}", numbers[part]));
                    width = 0;
                }
                Some(_) => {}
            }
        }
        text
    }
}

/// Which of year, month, day, hour, minute and second a letter of a pattern belongs to.
pub(crate) fn place(letter: u8) -> Option<usize> {
    b"YMDhms".iter().position(|&known| known == letter)
}

impl DateParts {
    /// Takes a point in time apart.
    pub fn of(seconds: i64) -> DateParts {
        let days = seconds.div_euclid(DAY_SECONDS);
        let rest = seconds.rem_euclid(DAY_SECONDS);
        let (year, month, day) = civil_from_days(days);
        DateParts {
            year,
            month,
            day,
            weekday: (days + 3).rem_euclid(7),
            days,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_from_civil(next_year, next_month, 1) - days_from_civil(year, month, 1)
}

/// Days since 1970-01-01. The year begins in March here, so that the leap day is its last one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 1
        - 719_468
}

/// The inverse: the year is estimated, which is at most one too many, and corrected.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(365);
    while days_from_civil(year, 1, 1) > days {
        year -= 1 + (days_from_civil(year, 1, 1) - days) / 366;
    }
    let mut month = 12;
    while days_from_civil(year, month, 1) > days {
        month -= 1;
    }
    (year, month, days - days_from_civil(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_are_read_taken_apart_and_written() {
        for (text, format, days, weekday) in [
            ("1970-01-01", DateFormat::YearMonthDay, 0, 3),
            ("2000-02-29", DateFormat::YearMonthDay, 11_016, 1),
            ("31.12.1999", DateFormat::DayMonthYearDot, 10_956, 4),
            ("1969-12-31T23:59:58Z", DateFormat::TimeZulu, -1, 2),
            ("20260331T235958", DateFormat::TimeCompact, 20_543, 1),
        ] {
            let seconds = format.read(text).expect(text);
            assert_eq!((DateParts::of(seconds).days, DateParts::of(seconds).weekday), (days, weekday), "{text}");
            assert_eq!(format.write(seconds), text);
        }
    }

    #[test]
    fn days_that_no_calendar_has_are_none() {
        for text in ["2023-02-29", "2023-13-01", "2023-00-10", "2023-04-31", "2023-4-3", "2023-04-0x"] {
            assert_eq!(DateFormat::YearMonthDay.read(text), None, "{text}");
        }
    }
}
