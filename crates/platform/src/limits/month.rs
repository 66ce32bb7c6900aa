//! Calendar months (UTC), and what was spent and reserved in them.

use orrery_store::{DAY_MS, Spent};

/// Months since January of the year 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month(i64);

impl Month {
    pub(super) fn of(wall_ms: i64) -> Self {
        // Years begin in March here, so that the leap day is a year's last; 400 years have 146,097 days.
        let day = wall_ms.div_euclid(DAY_MS) + 719_468;
        let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // From March on, five months have 153 days, twice in a year.
        let month_from_march = (5 * day_of_year + 2) / 153;
        Self((era * 400 + year_of_era) * 12 + month_from_march + 2)
    }

    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(super) fn year(self) -> i64 {
        self.0.div_euclid(12)
    }

    /// 1 to 12.
    pub(super) fn number(self) -> i64 {
        self.0.rem_euclid(12) + 1
    }

    pub(super) fn start_ms(self) -> i64 {
        let from_march = self.0 - 2;
        let (year, month) = (from_march.div_euclid(12), from_march.rem_euclid(12));
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let day = 365 * year + leap_days + (153 * month + 2) / 5 - 719_468;
        day * DAY_MS
    }
}

/// When the calendar month (UTC) of `wall_ms` began: what a ledger is asked for before [`Limiter::seed`].
///
/// [`Limiter::seed`]: super::Limiter::seed
pub fn month_start_ms(wall_ms: i64) -> i64 {
    Month::of(wall_ms).start_ms()
}

/// What counts against the budgets of one month.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) spent: Spent,
    pub(super) reserved: Spent,
}

impl Sums {
    pub(super) fn reserve(&mut self, most: Spent) {
        self.reserved = plus(self.reserved, most);
    }

    /// Ends a reservation of `most`, of which `used` were needed.
    pub(super) fn settle(&mut self, most: Spent, used: Spent) {
        self.reserved.tokens = self.reserved.tokens.saturating_sub(most.tokens);
        self.reserved.cost_nano = self.reserved.cost_nano.saturating_sub(most.cost_nano);
        self.spent = plus(self.spent, used);
    }
}

fn plus(a: Spent, b: Spent) -> Spent {
    Spent { tokens: a.tokens.saturating_add(b.tokens), cost_nano: a.cost_nano.saturating_add(b.cost_nano) }
}

/// The sums of this month and of the one before, in which requests may still run.
#[derive(Debug)]
pub(super) struct Months {
    month: Month,
    this: Sums,
    /// `None`: it is not known what was spent then.
    before: Option<Sums>,
}

impl Months {
    pub(super) fn seeded(month: Month, spent: Spent) -> Self {
        Self { month, this: Sums { spent, ..Sums::default() }, before: None }
    }

    /// Begins `month` if it is new. Returns the month against which a request counts that comes in `month`: a clock that
    /// was set back by more than the sums reach does not make an old budget new.
    pub(super) fn enter(&mut self, month: Month) -> Month {
        if month > self.month {
            self.before = (month == self.month.next()).then_some(self.this);
            self.this = Sums::default();
            self.month = month;
        }
        if self.before.is_some() && month.next() == self.month { month } else { self.month }
    }

    /// `None`: too long ago to count against a budget.
    pub(super) fn sums(&mut self, month: Month) -> Option<&mut Sums> {
        if month == self.month {
            return Some(&mut self.this);
        }
        if month.next() == self.month { self.before.as_mut() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_when_calendars_say() {
        // From `date -u -d 2024-03-01 +%s`.
        for (year, number, start_s) in [
            (1970, 1, 0),
            (1969, 12, -2_678_400),
            (2000, 3, 951_868_800),
            (2024, 2, 1_706_745_600),
            (2024, 3, 1_709_251_200),
            (2025, 1, 1_735_689_600),
            (2100, 3, 4_107_542_400),
        ] {
            let start_ms = start_s * 1000;
            for (wall_ms, inside) in [(start_ms, true), (start_ms - 1, false), (start_ms + 28 * DAY_MS - 1, true)] {
                let month = Month::of(wall_ms);
                assert_eq!((month.year(), month.number()) == (year, number), inside, "{year}-{number} {wall_ms}");
                assert_eq!(month.start_ms() == start_ms, inside, "{year}-{number} {wall_ms}");
            }
        }
    }

    #[test]
    fn every_day_of_a_thousand_years_lies_in_its_month() {
        let mut month = Month::of(-200_000 * DAY_MS);
        for day in -200_000..200_000 {
            let now = Month::of(day * DAY_MS);
            assert!(now == month || (now == month.next() && now.start_ms() == day * DAY_MS), "{day}");
            assert!(now.start_ms() <= day * DAY_MS && day * DAY_MS < now.next().start_ms());
            month = now;
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_new_budget() {
        let june = Month::of(1_750_000_000_000);
        let mut months = Months::seeded(june, Spent { tokens: 5, cost_nano: 0 });
        assert_eq!(months.enter(june), june);
        // Of May nothing is known: such a request counts in June.
        assert_eq!(months.enter(Month(june.0 - 1)), june);
        assert_eq!(months.enter(june.next()), june.next());
        assert_eq!(months.enter(june), june);
        assert_eq!(months.sums(june).expect("kept").spent.tokens, 5);
        assert_eq!(months.enter(Month(june.0 - 1)), june.next());
        assert_eq!(months.enter(Month(june.0 + 5)), Month(june.0 + 5));
        assert!(months.sums(june).is_none());
    }
}
