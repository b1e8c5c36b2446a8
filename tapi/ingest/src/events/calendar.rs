//! The days at hand, as text and as a number: nearly all events of a batch are of one day, so that dates are neither read nor
//! written again and again. What a client wrote days ago is written as of another day than it is read, so that there are
//! two.

use super::timestamp::{self, DAY_MS, Text};

/// Bytes of `2026-11-21`.
const DATE_BYTES: usize = 10;

/// The days that were last read and written.
#[derive(Default)]
pub(super) struct Calendar {
    read: Day,
    written: Day,
}

struct Day {
    midnight_ms: i64,
    date: [u8; DATE_BYTES],
}

impl Default for Day {
    fn default() -> Self {
        Self { midnight_ms: 0, date: *b"1970-01-01" }
    }
}

impl Calendar {
    /// As [`timestamp::parse`].
    pub(super) fn parse(&mut self, text: &[u8]) -> Option<i64> {
        self.parse_usual(text).or_else(|| timestamp::parse(text))
    }

    /// Reads `2026-11-21T04:25:36`, a fraction of three digits or more or none, and `Z` or `+00:00`. `None` says nothing.
    fn parse_usual(&mut self, text: &[u8]) -> Option<i64> {
        let (date, rest) = text.split_first_chunk::<DATE_BYTES>()?;
        let (time, rest) = rest.split_first_chunk::<9>()?;
        let [b'T', hour @ .., b':', m1, m2, b':', s1, s2] = *time else { return None };
        let hour = two_digits(hour)?;
        let (minute, second) = (two_digits([m1, m2])?, two_digits([s1, s2])?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (thousandths, zone) = match rest {
            [b'.', tenth, hundredth, thousandth, more @ ..] if tenth.is_ascii_digit() => {
                let low = two_digits([*hundredth, *thousandth])?;
                let digits = more.iter().take_while(|byte| byte.is_ascii_digit()).count();
                (i64::from(tenth - b'0') * 100 + low, &more[digits..])
            }
            other => (0, other),
        };
        if zone != b"Z" && zone != b"+00:00" {
            return None;
        }
        let day = &mut self.read;
        if *date != day.date {
            // In the form that `format` writes and in no other.
            let mut bytes = date.iter().enumerate();
            if !bytes.all(|(index, byte)| if matches!(index, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() }) {
                return None;
            }
            day.midnight_ms = timestamp::parse(date)?;
            day.date = *date;
        }
        Some(day.midnight_ms + hour * 3_600_000 + minute * 60_000 + second * 1_000 + thousandths)
    }

    /// As [`timestamp::format`].
    pub(super) fn format(&mut self, ms: i64) -> Text {
        let day = &mut self.written;
        let of_day = ms.wrapping_sub(day.midnight_ms);
        if !(0..DAY_MS).contains(&of_day) {
            let text = timestamp::format(ms);
            if timestamp::is_writable(ms) {
                day.midnight_ms = ms - ms.rem_euclid(DAY_MS);
                day.date.copy_from_slice(&text[..DATE_BYTES]);
            }
            return text;
        }
        let mut text = *b"0000-00-00T00:00:00.000Z";
        text[..DATE_BYTES].copy_from_slice(&day.date);
        timestamp::put_time(&mut text, of_day as u32);
        text
    }
}

fn two_digits([tens, ones]: [u8; 2]) -> Option<i64> {
    let is_number = tens.is_ascii_digit() && ones.is_ascii_digit();
    is_number.then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_change() {
        let mut calendar = Calendar::default();
        for text in [
            "2026-11-21T04:25:36.126Z",
            "2026-11-21T23:59:59.999999Z",
            "2026-11-22T00:00:00+00:00",
            "2026-11-31T00:00:00Z",
            "2026-11-22T00:00:60Z",
            "2026-1-22T00:00:00Z",
            "20261122  T00:00:00Z",
            "2026-11-22T00:00:00.5Z",
            "2026-11-22T00:00:00.12xZ",
            "2026-11-22T00:00:00.Z",
            "2026-11-22T24:00:00Z",
            "2026-11-2",
            "2026-11-2 T04:25:36Z",
            "1970-01-01T00:00:00.000Z",
            "1795235136126",
        ] {
            assert_eq!(calendar.parse(text.as_bytes()), timestamp::parse(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_says_what_the_long_way_says(times in proptest::collection::vec(-100_000_000_000_000_i64..300_000_000_000_000, 1..20), digits in 0..4_usize) {
            let mut calendar = Calendar::default();
            for ms in times {
                for ms in [ms, ms + 1, i64::MIN, i64::MAX] {
                    let text = timestamp::format(ms);
                    prop_assert_eq!(calendar.format(ms), text);
                    let text = [&text[..23 - digits], b"Z"].concat();
                    prop_assert_eq!(calendar.parse(&text), timestamp::parse(&text));
                }
            }
        }
    }
}
