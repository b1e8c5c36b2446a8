//! Points in time, for `crate::fuzzing`.

use super::timestamp::{format, is_writable, parse, parse_epoch};

/// What is read is written and read again as the same, and where the bytes are a time by the letter of the standard,
/// another library reads the same. Any point in time is read however it is written.
pub fn timestamps(bytes: &[u8]) {
    let ms = parse(bytes);
    if let Some(ms) = ms.filter(|ms| is_writable(*ms)) {
        assert_eq!(parse(&format(ms)), Some(ms));
    }
    // A leap second is the next one to us and the last one to them.
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if let (Some(ms), Ok(theirs)) = (ms, text.parse::<jiff::Timestamp>())
        && !text.contains("60")
    {
        assert_eq!(i128::from(ms), theirs.as_nanosecond().div_euclid(1_000_000));
    }
    if let Some((&choice, number)) = bytes.split_first()
        && let Some(number) = number.first_chunk()
    {
        written(choice, i64::from_le_bytes(*number));
    }
}

/// A point in time in one of the ways that clients write it.
fn written(choice: u8, number: i64) {
    // Years of four digits, with a day at either end for an offset.
    let ms = number.rem_euclid(315_537_897_600_000 - 4 * 86_400_000) - 62_167_219_200_000 + 2 * 86_400_000;
    let text = String::from_utf8(format(ms).to_vec()).expect("ASCII");
    let (date, time) = (&text[..10], &text[11..23]);
    let basic = choice & 1 != 0;
    let spelled = |text: &str| if basic { text.replace(['-', ':'], "") } else { text.to_owned() };
    let between = if choice & 2 == 0 { "T" } else { " " };
    let (zone, offset_minutes) = match choice >> 2 & 7 {
        0 => ("Z", 0),
        1 => ("", 0),
        2 => (" UTC", 0),
        3 => ("+02:00", 120),
        4 => (":-0530", -330),
        5 => (" +01", 60),
        6 => ("GMT", 0),
        _ => ("-23:59", -1439),
    };
    let written = [&spelled(date), between, &spelled(time), zone].concat();
    assert_eq!(parse(written.as_bytes()), Some(ms - offset_minutes * 60_000), "{written}");
    if (100_000_000_000..100_000_000_000_000).contains(&ms) {
        assert_eq!(parse_epoch(ms.to_string().as_bytes()), Some(ms));
        let seconds = format!("{}.{:03}", ms / 1_000, ms % 1_000);
        assert_eq!(parse_epoch(seconds.as_bytes()), Some(ms), "{seconds}");
    }
}
