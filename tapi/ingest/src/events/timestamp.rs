//! Points in time as SDKs write them, to milliseconds since the Unix epoch and back. No allocation, no locale, no panic.

/// Milliseconds of the first and last instant that [`format`] can write: years 0000 to 9999.
const FIRST_MS: i64 = -62_167_219_200_000;
const LAST_MS: i64 = 253_402_300_799_999;
pub(super) const DAY_MS: i64 = 86_400_000;
/// Fraction digits looked at; those behind are cut off.
const FRACTION_DIGITS: i32 = 3;

/// `2026-11-21T04:25:36.126Z`
pub(super) type Text = [u8; 24];

/// Whether [`format`] can write it without clamping.
pub(super) fn is_writable(ms: i64) -> bool {
    (FIRST_MS..=LAST_MS).contains(&ms)
}

/// RFC 3339 in UTC with milliseconds; clamped to the years 0000 to 9999.
pub(super) fn format(ms: i64) -> Text {
    let ms = ms.clamp(FIRST_MS, LAST_MS);
    let (year, month, day) = date_of(ms.div_euclid(DAY_MS));
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put2(&mut text, 0, year as u32 / 100);
    put2(&mut text, 2, year as u32 % 100);
    put2(&mut text, 5, month as u32);
    put2(&mut text, 8, day as u32);
    put_time(&mut text, ms.rem_euclid(DAY_MS) as u32);
    text
}

/// Writes the time of day, milliseconds since midnight.
pub(super) fn put_time(text: &mut Text, of_day_ms: u32) {
    let (second, thousandth) = (of_day_ms / 1_000, of_day_ms % 1_000);
    put2(text, 11, second / 3_600);
    put2(text, 14, second / 60 % 60);
    put2(text, 17, second % 60);
    text[20] = b'0' + (thousandth / 100) as u8;
    put2(text, 21, thousandth % 100);
}

fn put2(text: &mut Text, at: usize, value: u32) {
    text[at] = b'0' + (value / 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

/// Reads a point in time as found in the wild. `None` for anything else.
///
/// * ISO 8601: one or two digits of month and day, or the basic form without separators; `T`, `t` or a space; seconds and
///   a fraction of any length or none; 24:00:00 as the end of the day. Then `Z`, `UTC`, `GMT`, an offset or nothing,
///   which is UTC; a blank or a colon may stand before it. Or a date alone.
/// * Seconds or milliseconds since the Unix epoch, see [`parse_epoch`].
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    iso(text).or_else(|| parse_epoch(text))
}

/// Below it a number is no point in time that a client means: eight digits are a date, and 0 is "not set".
const EPOCH_SECONDS_MIN: i64 = 100_000_000;
/// From here on a number is milliseconds: as seconds it would be the year 5138.
const EPOCH_MS_MIN: i64 = 100_000_000_000;
/// From here on it is neither: microseconds.
const EPOCH_MS_END: i64 = 100_000_000_000_000;

/// Reads seconds or milliseconds since the Unix epoch, as decimal digits with a fraction or none. Which of the two it is
/// tells the size: 2026 has ten digits in seconds, thirteen in milliseconds.
pub(super) fn parse_epoch(text: &[u8]) -> Option<i64> {
    /// Digits of the last number below [`EPOCH_MS_END`].
    const DIGITS_MAX: usize = 14;
    let mut cursor = Cursor(text);
    let whole = cursor.digits(1, DIGITS_MAX)?;
    let fraction_ms = if cursor.expect(b".").is_some() { cursor.fraction_ms()? } else { 0 };
    if !cursor.0.is_empty() {
        return None;
    }
    match whole {
        EPOCH_SECONDS_MIN..EPOCH_MS_MIN => Some(whole * 1_000 + fraction_ms),
        EPOCH_MS_MIN..EPOCH_MS_END => Some(whole),
        _ => None,
    }
}

fn iso(text: &[u8]) -> Option<i64> {
    let mut cursor = Cursor(text);
    let (mut ms, basic) = cursor.date_ms()?;
    if cursor.0.is_empty() {
        return Some(ms);
    }
    cursor.expect(b"Tt ")?;
    let hour = cursor.digits(if basic { 2 } else { 1 }, 2)?;
    let (mut second, mut fraction_ms) = (0, 0);
    // The basic form has all separators or none, and both forms are met with the other's time.
    let colon = cursor.expect(b":").is_some();
    if !colon && !basic {
        return None;
    }
    let minute = cursor.digits(2, 2)?;
    let has_second = if colon { cursor.expect_second() } else { cursor.is_digit() };
    if has_second {
        second = cursor.digits(2, 2)?;
        if cursor.expect(b".,").is_some() {
            fraction_ms = cursor.fraction_ms()?;
        }
    }
    let is_end_of_day = hour == 24 && minute == 0 && second == 0 && fraction_ms == 0;
    // Second 60 is a leap second: the first instant of the next minute.
    if (hour > 23 && !is_end_of_day) || minute > 59 || second > 60 {
        return None;
    }
    ms += hour * 3_600_000 + minute * 60_000 + second * 1_000 + fraction_ms;
    let offset_ms = cursor.offset_minutes()? * 60_000;
    cursor.0.is_empty().then_some(ms - offset_ms)
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Midnight of the date, and whether it is in the basic form.
    fn date_ms(&mut self) -> Option<(i64, bool)> {
        let year = self.digits(4, 4)?;
        let basic = self.expect(b"-").is_none();
        let month = self.digits(if basic { 2 } else { 1 }, 2)?;
        if !basic {
            self.expect(b"-")?;
        }
        let day = self.digits(if basic { 2 } else { 1 }, 2)?;
        let is_date = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        is_date.then(|| (day_number(year, month, day) * DAY_MS, basic))
    }

    fn is_digit(&self) -> bool {
        self.0.first().is_some_and(u8::is_ascii_digit)
    }

    /// Whether a colon and seconds follow; a colon may also stand before an offset.
    fn expect_second(&mut self) -> bool {
        let follows = matches!(self.0, [b':', digit, ..] if digit.is_ascii_digit());
        if follows {
            self.0 = &self.0[1..];
        }
        follows
    }

    fn expect(&mut self, any_of: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        any_of.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }

    fn digit(&mut self) -> Option<i64> {
        let (&first, rest) = self.0.split_first()?;
        first.is_ascii_digit().then(|| {
            self.0 = rest;
            i64::from(first - b'0')
        })
    }

    fn digits(&mut self, at_least: usize, at_most: usize) -> Option<i64> {
        let mut value = 0;
        for count in 0..at_most {
            match self.digit() {
                Some(digit) => value = value * 10 + digit,
                None if count < at_least => return None,
                None => break,
            }
        }
        Some(value)
    }

    fn fraction_ms(&mut self) -> Option<i64> {
        let mut ms = self.digit()? * 100;
        let mut place = 10;
        for _ in 1..FRACTION_DIGITS {
            ms += self.digit().unwrap_or(0) * place;
            place /= 10;
        }
        while self.digit().is_some() {}
        Some(ms)
    }

    fn offset_minutes(&mut self) -> Option<i64> {
        if self.0.is_empty() {
            return Some(0);
        }
        self.expect(b" :");
        if self.0.eq_ignore_ascii_case(b"Z")
            || self.0.eq_ignore_ascii_case(b"UTC")
            || self.0.eq_ignore_ascii_case(b"GMT")
        {
            self.0 = &[];
            return Some(0);
        }
        let sign = if self.expect(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2, 2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            self.expect(b":");
            self.digits(2, 2)?
        };
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
    }
}

/// Days since 1970-01-01. The year is counted from March, so that the leap day is its last.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

/// The inverse of [`day_number`].
fn date_of(day_number: i64) -> (i64, i64, i64) {
    let shifted = day_number + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normalised(text: &str) -> Option<String> {
        parse(text.as_bytes()).map(|ms| String::from_utf8(format(ms).to_vec()).unwrap())
    }

    #[test]
    fn every_recorded_form_is_read() {
        for (text, expected) in [
            ("2026-11-21T04:25:36.126+00:00", "2026-11-21T04:25:36.126Z"),
            ("2026-11-21T04:25:36.126Z", "2026-11-21T04:25:36.126Z"),
            ("2026-11-21T04:25:36.627046+00:00", "2026-11-21T04:25:36.627Z"),
            ("2026-11-21T04:25:36.123456789Z", "2026-11-21T04:25:36.123Z"),
            ("2026-11-21T04:25:36.1Z", "2026-11-21T04:25:36.100Z"),
            ("2026-11-21T04:25:36.12Z", "2026-11-21T04:25:36.120Z"),
            ("2026-11-21T04:43:16+00:00", "2026-11-21T04:43:16.000Z"),
            ("2026-11-21T06:43:16+02:00", "2026-11-21T04:43:16.000Z"),
            ("2026-11-20T23:13:16-0530", "2026-11-21T04:43:16.000Z"),
            ("2026-11-21T05:43:16+01", "2026-11-21T04:43:16.000Z"),
            ("2015-2-02T00:30:19.984Z", "2015-02-02T00:30:19.984Z"),
            ("2015-2-2 00:30", "2015-02-02T00:30:00.000Z"),
            ("2015-02-02", "2015-02-02T00:00:00.000Z"),
            ("1970-01-01T00:00:00z", "1970-01-01T00:00:00.000Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            ("2024-02-29T12:00:00", "2024-02-29T12:00:00.000Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
            ("2026-11-21T04:25:36 +00:00", "2026-11-21T04:25:36.000Z"),
            ("2026-11-21 04:25:36.126 UTC", "2026-11-21T04:25:36.126Z"),
            ("2026-11-21T04:25:36.126GMT", "2026-11-21T04:25:36.126Z"),
            ("2026-11-21T04:25:36.126:Z", "2026-11-21T04:25:36.126Z"),
            ("2026-11-21T04:25:36:+0200", "2026-11-21T02:25:36.000Z"),
            ("2026-11-21 04:25 -01:00", "2026-11-21T05:25:00.000Z"),
            ("20261121T042536Z", "2026-11-21T04:25:36.000Z"),
            ("20261121T042536.126+0100", "2026-11-21T03:25:36.126Z"),
            ("20261121T0425", "2026-11-21T04:25:00.000Z"),
            ("20261121 04:25:36", "2026-11-21T04:25:36.000Z"),
            ("20261121", "2026-11-21T00:00:00.000Z"),
            ("2026-11-21T24:00:00Z", "2026-11-22T00:00:00.000Z"),
            ("2026-12-31T24:00:00.000+00:00", "2027-01-01T00:00:00.000Z"),
            (" 2026-11-21T04:25:36Z\n", "2026-11-21T04:25:36.000Z"),
            ("1795235136", "2026-11-21T04:25:36.000Z"),
            ("1795235136.126", "2026-11-21T04:25:36.126Z"),
            ("1795235136126", "2026-11-21T04:25:36.126Z"),
            ("1795235136126.99", "2026-11-21T04:25:36.126Z"),
        ] {
            assert_eq!(normalised(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_point_in_time_is_none() {
        for text in [
            "",
            "not a date",
            "2026",
            "2026-11",
            "2026-13-01",
            "2026-00-01",
            "2026-02-29",
            "2026-04-31",
            "2026-11-21T",
            "2026-11-21T24:00:01Z",
            "2026-11-21T25:00:00Z",
            "2026-11-21T0425",
            "2026112",
            "20261321",
            "20261121T4",
            "2026-11-21T04:25:36  Z",
            "2026-11-21T04:25:36 PST",
            "0",
            "12",
            "99999999",
            "-1795235136",
            "1795235136.",
            "1795235136126000",
            "1.795235136e9",
            "2026-11-21T04:60:00Z",
            "2026-11-21T04:25:61Z",
            "2026-11-21T04:25:36.Z",
            "2026-11-21T04:25:36Zjunk",
            "2026-11-21T04:25:36+24:00",
            "2026-11-21T04:25:36+1",
            "+58857-01-01T00:00:00Z",
            "99999-01-01T00:00:00Z",
            "-001-01-01",
            "2026-11-21T04:25:36+00:00:00",
        ] {
            assert_eq!(normalised(text), None, "{text}");
        }
    }

    #[test]
    fn format_clamps_and_says_so() {
        assert!(is_writable(FIRST_MS) && is_writable(LAST_MS));
        assert!(!is_writable(FIRST_MS - 1) && !is_writable(LAST_MS + 1));
        assert_eq!(&format(i64::MIN), b"0000-01-01T00:00:00.000Z");
        assert_eq!(&format(i64::MAX), b"9999-12-31T23:59:59.999Z");
        assert_eq!(&format(1_795_235_136_126), b"2026-11-21T04:25:36.126Z");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ms in FIRST_MS..=LAST_MS) {
            prop_assert_eq!(parse(&format(ms)), Some(ms));
        }

        #[test]
        fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            parse(&text);
        }

        #[test]
        fn jiff_agrees(ms in FIRST_MS + 2 * DAY_MS..=LAST_MS - 2 * DAY_MS) {
            let text = jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
            prop_assert_eq!(parse(text.as_bytes()), Some(ms));
        }
    }
}
