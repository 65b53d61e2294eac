//! Signals by name and number.

use std::str::FromStr;

use nix::sys::signal::Signal;

use crate::error::{Result, with_hint};

/// Whether a word after a dash is meant as a signal: `-9`, `-KILL`, `-sigterm`, and any number, even an invalid one.
pub fn is_meant(text: &[u8]) -> bool {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits || std::str::from_utf8(text).is_ok_and(|text| number(text).is_ok())
}

/// A signal by number (1 to 64, or 0, which only checks that the process exists) or by name, with or without `SIG`, in upper
/// or lower case; real-time signals as `RTMIN+3`, `RTMAX-1`.
pub fn number(text: &str) -> Result<i32> {
    let invalid = || {
        with_hint(
            format!("unknown signal {text:?}"),
            "give a name that `kill -l` lists, with or without SIG, or a number up to 64",
        )
    };
    // Digits only: parse would accept a sign.
    let decimal = |text: &str| -> Option<i32> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    if let Some(number) = decimal(text) {
        return if (0..=64).contains(&number) {
            Ok(number)
        } else {
            Err(invalid())
        };
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Ok(signal) = Signal::from_str(&format!("SIG{name}")) {
        return Ok(signal as i32);
    }
    // The kernel's range. The C library reserves the first two, but a container may have another library.
    let (first, last) = (34, 64);
    let real_time = |rest: &str, sign: char, base: i32| -> Option<i32> {
        if rest.is_empty() {
            return Some(base);
        }
        let offset = decimal(rest.strip_prefix(sign)?)?;
        let number = if sign == '+' {
            base.checked_add(offset)?
        } else {
            base.checked_sub(offset)?
        };
        (first..=last).contains(&number).then_some(number)
    };
    name.strip_prefix("RTMIN")
        .and_then(|rest| real_time(rest, '+', first))
        .or_else(|| name.strip_prefix("RTMAX").and_then(|rest| real_time(rest, '-', last)))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers_of_signals() {
        let table = [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("Kill", 9),
            ("HUP", 1),
            ("USR1", 10),
            ("SIGWINCH", 28),
            ("0", 0),
            ("1", 1),
            ("9", 9),
            ("09", 9),
            ("64", 64),
            ("33", 33),
            ("RTMIN", 34),
            ("SIGRTMIN+0", 34),
            ("rtmin+30", 64),
            ("RTMAX", 64),
            ("SIGRTMAX-1", 63),
            ("RTMAX-30", 34),
        ];
        for (text, expected) in table {
            assert_eq!(number(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn invalid_signals() {
        for text in [
            "",
            "65",
            "-1",
            "-9",
            "99999999999",
            "SIG",
            "SIGSIGTERM",
            "TERMX",
            " TERM",
            "9 ",
            "0x9",
            "RTMIN-1",
            "RTMIN+31",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN+-1",
            "RTMIN++3",
            "SIGRTMIN++0",
            "RTMAX-+3",
            "+9",
            "RTMAX--1",
            "RTMIN+2147483647",
            "RTMIN+2147483648",
            "RTMAX-2147483647",
            "RTMIN 1",
            "é",
            "\0",
        ] {
            let error = number(text).unwrap_err();
            assert_eq!(error.to_string(), format!("unknown signal {text:?}"));
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None, ..Default::default()
        })]

        #[test]
        fn every_result_is_a_signal(text in "(SIG)?(RTMIN|RTMAX|[A-Z0-9]{0,6})[+-]?[0-9+-]{0,11}") {
            if let Ok(number) = number(&text) {
                proptest::prop_assert!((0..=64).contains(&number));
            }
        }
    }
}
