//! The time format of the state file, compared with the output of `date -u -d`.

use std::time::{Duration, UNIX_EPOCH};

use orlop::rfc3339;

fn at(seconds: u64, nanos: u32) -> String {
    rfc3339::format(UNIX_EPOCH + Duration::new(seconds, nanos))
}

#[test]
fn whole_seconds_have_no_fraction() {
    assert_eq!(at(0, 0), "1970-01-01T00:00:00Z");
    assert_eq!(at(1_795_245_460, 0), "2026-11-21T07:17:40Z");
    assert_eq!(at(86_399, 0), "1970-01-01T23:59:59Z");
}

#[test]
fn the_fraction_has_no_trailing_zeros() {
    assert_eq!(at(1_795_245_460, 260_268_247), "2026-11-21T07:17:40.260268247Z");
    assert_eq!(at(1_795_245_460, 260_000_000), "2026-11-21T07:17:40.26Z");
    assert_eq!(at(1_795_245_460, 1), "2026-11-21T07:17:40.000000001Z");
    assert_eq!(at(1_795_245_460, 100), "2026-11-21T07:17:40.0000001Z");
    assert_eq!(at(1_795_245_460, 999_999_999), "2026-11-21T07:17:40.999999999Z");
}

#[test]
fn leap_years_follow_the_gregorian_rule() {
    // divisible by 4
    assert_eq!(at(68_169_600, 0), "1972-02-29T00:00:00Z");
    assert_eq!(at(1_709_164_800, 0), "2024-02-29T00:00:00Z");
    assert_eq!(at(1_709_251_199, 0), "2024-02-29T23:59:59Z");
    assert_eq!(at(1_709_251_200, 0), "2024-03-01T00:00:00Z");
    assert_eq!(at(1_735_603_200, 0), "2024-12-31T00:00:00Z");
    // not divisible by 4
    assert_eq!(at(1_740_700_800, 0), "2025-02-28T00:00:00Z");
    assert_eq!(at(1_740_787_200, 0), "2025-03-01T00:00:00Z");
    // divisible by 400
    assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00Z");
    assert_eq!(at(951_868_800, 0), "2000-03-01T00:00:00Z");
    // divisible by 100 only
    assert_eq!(at(4_107_456_000, 0), "2100-02-28T00:00:00Z");
    assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00Z");
}

#[test]
fn times_before_1970_count_backwards() {
    let before = |seconds, nanos| rfc3339::format(UNIX_EPOCH - Duration::new(seconds, nanos));
    assert_eq!(before(0, 1), "1969-12-31T23:59:59.999999999Z");
    assert_eq!(before(1, 0), "1969-12-31T23:59:59Z");
    assert_eq!(before(1, 500_000_000), "1969-12-31T23:59:58.5Z");
    assert_eq!(before(2_203_891_200, 0), "1900-03-01T00:00:00Z");
}

/// Checks four centuries day by day with a simple calendar.
#[test]
fn every_day_of_four_centuries() {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    for days in 0..146_097_u64 {
        assert_eq!(at(days * 86_400, 0), format!("{year:04}-{month:02}-{day:02}T00:00:00Z"));
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        day += 1;
        if day > length {
            (day, month) = (1, month + 1);
        }
        if month > 12 {
            (month, year) = (1, year + 1);
        }
    }
    assert_eq!((year, month, day), (2370, 1, 1));
}
