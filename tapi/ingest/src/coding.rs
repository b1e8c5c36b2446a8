//! How a body is coded: what its head says, corrected by its first two bytes.
//!
//! Proxies unpack a body and leave the header, clients pack one and forget it, and some write a content type or a charset
//! into `Content-Encoding`. Two bytes tell: gzip starts with 1f 8b, which no JSON does.

use crate::reject::Reject;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// What some editors and writers put before UTF-8 text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Codings that exist and are not undone here.
const OTHERS: [&[u8]; 7] = [b"br", b"deflate", b"zstd", b"compress", b"x-compress", b"dcb", b"dcz"];

/// What `Content-Encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declared {
    /// gzip.
    Gzip,
    /// Nothing, or what is no coding.
    Plain,
}

/// What is to be done with the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Plain,
}

/// Reads the header's values.
///
/// # Errors
/// [`Reject::UnsupportedEncoding`] where it names a coding that is not undone here, alone or among others. What is no
/// coding at all says nothing.
pub(crate) fn declared<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Declared, Reject> {
    let mut declared = Declared::Plain;
    let codings = values.into_iter().flat_map(|value| value.split(|byte| *byte == b','));
    for coding in codings.map(<[u8]>::trim_ascii) {
        let is = |name: &[u8]| coding.eq_ignore_ascii_case(name);
        if is(b"gzip") || is(b"x-gzip") {
            // Several on top of each other are nobody's practice.
            if declared == Declared::Gzip {
                return Err(Reject::UnsupportedEncoding);
            }
            declared = Declared::Gzip;
        } else if OTHERS.into_iter().any(is) {
            return Err(Reject::UnsupportedEncoding);
        }
    }
    Ok(declared)
}

impl Declared {
    /// What the body says, whose first bytes are the last word. A body that claims to be gzip and is neither gzip nor JSON
    /// stays gzip, so that it is refused by that name.
    pub(crate) fn of(self, body: &[u8]) -> Coding {
        let is_gzip = body.starts_with(&GZIP_MAGIC);
        let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii_start();
        let is_text = matches!(text.first(), Some(b'{' | b'['));
        if is_gzip || (self == Self::Gzip && !is_text) { Coding::Gzip } else { Coding::Plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_clients_write_them() {
        let of = |value: &str| declared(Some(value.as_bytes()));
        assert_eq!(declared(None), Ok(Declared::Plain));
        assert_eq!([of("gzip"), of(" GZip "), of("x-gzip"), of("identity, gzip")], [Ok(Declared::Gzip); 4]);
        assert_eq!([of("identity"), of(""), of("utf-8"), of("application/json")], [Ok(Declared::Plain); 4]);
        assert_eq!([of("br"), of("Deflate"), of("zstd"), of("gzip, gzip")], [Err(Reject::UnsupportedEncoding); 4]);
        assert_eq!(of("utf-8,br"), Err(Reject::UnsupportedEncoding));
        let twice = |values: [&'static str; 2]| declared(values.map(str::as_bytes));
        assert_eq!(twice(["identity", "gzip"]), Ok(Declared::Gzip));
        assert_eq!([twice(["gzip", "gzip"]), twice(["gzip", "br"])], [Err(Reject::UnsupportedEncoding); 2]);
    }

    #[test]
    fn the_first_two_bytes_have_the_last_word() {
        for (declared, body, coding) in [
            (Declared::Plain, &b"\x1f\x8b\x08\x00"[..], Coding::Gzip),
            (Declared::Gzip, b"\x1f\x8b", Coding::Gzip),
            (Declared::Gzip, b" {\"batch\":[]}", Coding::Plain),
            (Declared::Gzip, b"\xef\xbb\xbf\r\n[]", Coding::Plain),
            (Declared::Gzip, b"", Coding::Gzip),
            (Declared::Plain, b"", Coding::Plain),
            (Declared::Gzip, b"\x1f", Coding::Gzip),
            (Declared::Gzip, b"\x78\x9c\x03", Coding::Gzip),
            (Declared::Plain, b"\x1f", Coding::Plain),
            (Declared::Plain, b"not json", Coding::Plain),
        ] {
            assert_eq!(declared.of(body), coding, "{body:?}");
        }
    }
}
