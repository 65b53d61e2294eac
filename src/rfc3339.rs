//! Timestamps in the state file, the output of `list` and the log.
//!
//! Engines parse the `created` field with Go's `time.RFC3339Nano`, and scripts compare it as text with the output of other
//! runtimes. So the format is the one of Go, always in UTC: `2026-11-21T07:17:40.26Z`, with up to nine fractional digits,
//! without trailing zeros, and without a decimal point if the fraction is zero.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: i64 = 86_400;
/// Every 400 Gregorian years have the same number of days.
const DAYS_PER_ERA: i64 = 146_097;
/// The days from 0000-03-01, where our count of days starts, to 1970-01-01.
const EPOCH_DAY: i64 = 719_468;

/// Formats a timestamp as RFC 3339 in UTC, with as many fractional digits as needed.
pub fn format(time: SystemTime) -> String {
    let (seconds, nanos) = since_epoch(time);
    let (year, month, day) = date(seconds.div_euclid(SECONDS_PER_DAY));
    let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);

    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos != 0 {
        let fraction = format!(".{nanos:09}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Whole seconds since 1970, rounded down, and the remaining nanoseconds.
fn since_epoch(time: SystemTime) -> (i64, u32) {
    let whole = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (whole(after), after.subsec_nanos()),
        Err(error) => {
            let before = error.duration();
            match before.subsec_nanos() {
                0 => (-whole(before), 0),
                nanos => (-whole(before) - 1, 1_000_000_000 - nanos),
            }
        }
    }
}

/// Year, month and day of the date that is `day` days after 1970-01-01.
///
/// Years are counted from 1 March, so that the leap day is the last day of its year. The lengths of the months before it
/// follow a linear formula (153 days in every five months), so no table is needed.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + EPOCH_DAY;
    let era = day.div_euclid(DAYS_PER_ERA);
    let day_of_era = day.rem_euclid(DAYS_PER_ERA);
    // Subtract the leap days: one in 4 years (1,461 days), none in 100 years, one again in 400 years.
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) = if month_from_march < 10 {
        (month_from_march + 3, 0)
    } else {
        (month_from_march - 9, 1)
    };
    (era * 400 + year_of_era + next_year, month, day_of_month)
}
