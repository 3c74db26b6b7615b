//! Durations as Go writes them (`5m0s`), which is how the contract's flags and fields spell them. No IO.

use std::time::Duration;

/// Why a text is not a duration that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not of the form `1h2m3s`.
    #[error("failed to parse duration {0:?}: expected something like 1h30m, 15s or 500ms")]
    Syntax(String),
    /// Below zero; nothing here takes that.
    #[error("duration {0:?} is negative")]
    Negative(String),
    /// More than Go can hold, about 292 years.
    #[error("duration {0:?} is too long")]
    TooLong(String),
}

/// Go's units in nanoseconds; longer names first where one begins like another.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go keeps durations in an `int64` of nanoseconds.
const MOST: u128 = i64::MAX as u128;

/// Reads what Go's `time.ParseDuration` reads, except negative durations. Fits clap's `value_parser`.
pub fn parse(text: &str) -> Result<Duration, Error> {
    let syntax = || Error::Syntax(text.to_owned());
    let too_long = || Error::TooLong(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err(Error::Negative(text.to_owned()));
    }
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(syntax());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(syntax());
        }
        // A unit ends where the next number begins.
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, size) = *UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(syntax)?;
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| too_long())?
        };
        let value = whole
            .checked_mul(size)
            .filter(|value| *value <= MOST)
            .ok_or_else(too_long)?;
        total += value + fraction_of(fraction, size);
        if total > MOST {
            return Err(too_long());
        }
        rest = after;
    }
    let nanoseconds = u64::try_from(total).expect("checked against MOST above");
    Ok(Duration::from_nanos(nanoseconds))
}

/// Writes what Go's `Duration.String` writes; longer than Go can hold becomes the longest.
#[must_use]
pub fn format(duration: Duration) -> String {
    let total = duration.as_nanos().min(MOST);
    let (unit, size) = match total {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("\u{b5}s", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    if size < 1_000_000_000 {
        return format!("{}{unit}", decimal(total, size));
    }
    let (minutes, rest) = (total / 60_000_000_000, total % 60_000_000_000);
    let seconds = decimal(rest, size);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// `0.<fraction>` of `size`, cut off like Go; digits beyond what can matter are ignored.
fn fraction_of(fraction: &str, size: u128) -> u128 {
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = fraction.bytes().fold(1_u128, |scale, _| scale * 10);
    fraction
        .parse::<u128>()
        .map_or(0, |value| value * size / scale)
}

/// `value / size` as a decimal number without trailing zeros.
fn decimal(value: u128, size: u128) -> String {
    let (whole, rest) = (value / size, value % size);
    if rest == 0 {
        return whole.to_string();
    }
    let width = size.to_string().len() - 1;
    let fraction = format!("{rest:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("5m0s", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("168h", 604_800_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("500ms", 500_000_000),
            ("2us", 2_000),
            ("2\u{b5}s", 2_000),
            ("2\u{3bc}s", 2_000),
            ("1ns", 1),
            ("3s1h", 3_603_000_000_000),
            ("0.3333333333333333333h", 1_200_000_000_000 - 1),
            (
                "9223372036854775807ns",
                u64::try_from(i64::MAX).expect("positive"),
            ),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "", "+", "5", "5 s", "s", ".s", ".", "5d", "5M", "1h2", "1e3s", "h1", "++1s",
        ] {
            assert_eq!(parse(text), Err(Error::Syntax(text.to_owned())), "{text}");
        }
        for text in [
            "9223372036854775808ns",
            "2562048h",
            "99999999999999999999999999999999999999999s",
        ] {
            assert_eq!(parse(text), Err(Error::TooLong(text.to_owned())), "{text}");
        }
        assert_eq!(parse("-5s"), Err(Error::Negative("-5s".to_owned())));
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (300_000_000_000, "5m0s"),
            (604_800_000_000_000, "168h0m0s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
        ] {
            assert_eq!(format(Duration::from_nanos(nanoseconds)), text);
        }
        assert_eq!(format(Duration::MAX), "2562047h47m16.854775807s");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanoseconds in 0..=i64::MAX) {
            let duration = Duration::from_nanos(nanoseconds.unsigned_abs());
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_text_of_the_right_letters_panics(text in "[0-9.hmsun\u{b5}+-]{0,60}") {
            let _ = parse(&text);
        }
    }
}
