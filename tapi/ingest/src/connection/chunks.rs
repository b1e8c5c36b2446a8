//! The framing of a body in chunks, byte by byte, so that it is known where the next head begins.
//!
//! Only the plain form is let through: a size in hexadecimal digits, perhaps an extension, and a line end of two
//! characters everywhere.

use super::head::{FIELDS_MAX, is_token};

/// Chunks of one body. Each costs work of its own, so a body of the largest size has chunks of 64 bytes on average.
const CHUNKS_MAX: usize = 16 * 1024;
/// Bytes of the extensions and trailers of one body, which nobody reads. Trailers are as many as a head has fields, which
/// is also the library's bound.
const EXTRA_BYTES_MAX: usize = 4 * 1024;
/// Digits of a size: more than any body may have.
const SIZE_DIGITS_MAX: usize = 8;

/// Where in a chunk, or behind the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size {
        digits: usize,
    },
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// At the start of a trailer, or of the line that ends all.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    EndLineFeed,
}

/// A body in chunks that is on its way.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Of the chunk: what its size says so far, then what is left of it.
    left: u64,
    begun: usize,
    extra: usize,
    trailers: usize,
}

/// Not to be understood, or more framing than a body needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Chunks {
    pub(super) fn new() -> Self {
        Self { place: Place::Size { digits: 0 }, left: 0, begun: 0, extra: 0, trailers: 0 }
    }

    /// Goes over bytes that came: how many of them belong to the body, and whether it has ended with them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), Broken> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.place == Place::Data {
                let step = self.left.min((bytes.len() - at) as u64);
                self.left -= step;
                at += step as usize;
                if self.left == 0 {
                    self.place = Place::DataReturn;
                }
                continue;
            }
            at += 1;
            if self.place == Place::EndLineFeed {
                return if *byte == b'\n' { Ok((at, true)) } else { Err(Broken) };
            }
            self.place = self.next(*byte).ok_or(Broken)?;
        }
        Ok((at, false))
    }

    fn next(&mut self, byte: u8) -> Option<Place> {
        match (self.place, byte) {
            (Place::Size { digits: 1.. } | Place::Extension, b'\r') => Some(Place::SizeLineFeed),
            (Place::Size { digits: 1.. }, b';') => self.extra(Place::Extension),
            (Place::Size { digits }, _) if digits < SIZE_DIGITS_MAX => {
                self.left = self.left * 16 + u64::from(char::from(byte).to_digit(16)?);
                Some(Place::Size { digits: digits + 1 })
            }
            (Place::Extension, _) if is_text(byte) => self.extra(Place::Extension),
            (Place::SizeLineFeed, b'\n') if self.left == 0 => Some(Place::Trailer),
            (Place::SizeLineFeed, b'\n') => {
                self.begun += 1;
                (self.begun <= CHUNKS_MAX).then_some(Place::Data)
            }
            (Place::DataReturn, b'\r') => Some(Place::DataLineFeed),
            (Place::DataLineFeed, b'\n') => Some(Place::Size { digits: 0 }),
            (Place::Trailer, b'\r') => Some(Place::EndLineFeed),
            (Place::Trailer, _) if is_token(byte) && self.trailers < FIELDS_MAX => {
                self.trailers += 1;
                self.extra(Place::TrailerName)
            }
            (Place::TrailerName, _) if is_token(byte) => self.extra(Place::TrailerName),
            (Place::TrailerName, b':') => self.extra(Place::TrailerValue),
            (Place::TrailerValue, b'\r') => Some(Place::TrailerLineFeed),
            (Place::TrailerValue, _) if is_text(byte) => self.extra(Place::TrailerValue),
            (Place::TrailerLineFeed, b'\n') => Some(Place::Trailer),
            _ => None,
        }
    }

    fn extra(&mut self, place: Place) -> Option<Place> {
        self.extra += 1;
        (self.extra <= EXTRA_BYTES_MAX).then_some(place)
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(usize, bool), Broken> {
        let whole = Chunks::new().read(bytes);
        let mut chunks = Chunks::new();
        let mut in_pieces = Ok((0, false));
        for (at, byte) in bytes.iter().enumerate() {
            in_pieces = chunks.read(&[*byte]).map(|(read, ended)| (at + read, ended));
            if !matches!(in_pieces, Ok((_, false))) {
                break;
            }
        }
        assert_eq!(whole, in_pieces, "{}", bytes.escape_ascii());
        whole
    }

    #[test]
    fn a_body_ends_where_it_says() {
        for body in [
            "0\r\n\r\n",
            "00000000\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n00a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
            "1;name=value\r\nx\r\n0;a=\"b\"\r\n\r\n",
            "1\r\nx\r\n0\r\nExpires: now\r\nX:\r\n\r\n",
        ] {
            assert_eq!(read(body.as_bytes()), Ok((body.len(), true)), "{body:?}");
            assert_eq!(read(format!("{body}POST").as_bytes()), Ok((body.len(), true)), "{body:?}");
            let cut = &body.as_bytes()[..body.len() - 1];
            assert_eq!(read(cut), Ok((cut.len(), false)), "{body:?}");
        }
    }

    #[test]
    fn anything_else_is_broken() {
        for body in [
            "\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\t\r\n",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "g\r\n",
            ";a\r\n",
            "5\n",
            "5\rx",
            "5\r\nhello\n",
            "5\r\nhello\rx",
            "5\r\nhellox",
            "5\r\nhello\r\n\r\n",
            "000000005\r\n",
            "100000000\r\n",
            "1;a\nb\r\n",
            "1;a\0\r\n",
            "1;\x7f\r\n",
            "0\r\n x: y\r\n",
            "0\r\nx : y\r\n",
            "0\r\n: y\r\n",
            "0\r\nx\r\n",
            "0\r\nx: \0\r\n",
            "0\r\nx: y\n",
            "0\r\n\n",
            "0\r\n\rx",
        ] {
            assert_eq!(read(body.as_bytes()), Err(Broken), "{body:?}");
        }
    }

    #[test]
    fn framing_has_a_bound() {
        let chunks = "1\r\nx\r\n".repeat(CHUNKS_MAX);
        assert_eq!(Chunks::new().read(chunks.as_bytes()), Ok((chunks.len(), false)));
        assert_eq!(Chunks::new().read(format!("{chunks}1\r\nx\r\n").as_bytes()), Err(Broken));
        for start in ["1;", "0\r\n", "0\r\nx:"] {
            let text = format!("{start}{}", "x".repeat(EXTRA_BYTES_MAX + 1));
            assert_eq!(Chunks::new().read(text.as_bytes()), Err(Broken), "{start:?}");
        }
        let trailers = |count: usize| format!("0\r\n{}\r\n", "x:\r\n".repeat(count));
        assert_eq!(read(trailers(FIELDS_MAX).as_bytes()), Ok((trailers(FIELDS_MAX).len(), true)));
        assert_eq!(read(trailers(FIELDS_MAX + 1).as_bytes()), Err(Broken));
    }
}
