//! The time as Docker writes it, without a calendar library in the keeper.

use rustix::time::{ClockId, Timespec};

/// Now, as RFC 3339 with nanoseconds in UTC.
pub(super) fn now() -> String {
    format(rustix::time::clock_gettime(ClockId::Realtime))
}

fn format(time: Timespec) -> String {
    const DAY: i64 = 86_400;
    let (year, month, day) = civil(time.tv_sec.div_euclid(DAY));
    let second = time.tv_sec.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z",
        time.tv_nsec
    )
}

/// Year, month and day of a day counted from 1970-01-01, by eras of 400 years that start in March.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let shifted = days + 719_468;
    let era = shifted.div_euclid(ERA);
    let day_of_era = shifted.rem_euclid(ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_leap_years_are_right() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_781), (2026, 11, 24));
        let time = Timespec {
            tv_sec: 1_700_000_000,
            tv_nsec: 5,
        };
        assert_eq!(format(time), "2023-11-14T22:13:20.000000005Z");
    }
}
