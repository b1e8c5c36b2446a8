//! An answer as bytes, the same as the library makes of it.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use httpdate::HttpDate;
use hyper::{HeaderMap, Response};

/// Bytes of a date as HTTP writes it.
const DATE_BYTES: usize = 29;

/// The room that every answer of a thread is written in.
#[derive(Default)]
pub(super) struct Outlet {
    bytes: Vec<u8>,
    /// The date of a second, and which.
    date: [u8; DATE_BYTES],
    date_s: u64,
}

impl Outlet {
    /// The whole answer, and the map that its headers were in.
    pub(super) fn write(&mut self, response: Response<Full<Bytes>>, now_s: u64) -> (&[u8], HeaderMap) {
        self.set_date(now_s);
        let Self { bytes, date, .. } = self;
        let (parts, body) = response.into_parts();
        let body = body.into_inner().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(parts.status.as_str().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
        for (name, value) in &parts.headers {
            for part in [&b"\r\n"[..], name.as_str().as_bytes(), b": ", value.as_bytes()] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\ncontent-length: ");
        bytes.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        for part in [&b"\r\ndate: "[..], &date[..], b"\r\n\r\n", &body] {
            bytes.extend_from_slice(part);
        }
        (bytes, parts.headers)
    }

    fn set_date(&mut self, now_s: u64) {
        if self.date_s != now_s {
            self.date_s = now_s;
            let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(now_s));
            let _ = write!(&mut self.date[..], "{date}");
        }
    }
}
