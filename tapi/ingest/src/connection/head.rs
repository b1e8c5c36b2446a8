//! One head of a request, judged line by line as it comes, more strictly than any client needs.
//!
//! What two parsers read differently is how requests are smuggled, so nothing is guessed here: a head that leaves a
//! doubt about where its message ends, or about whom it is for, is refused and its connection closed (RFC 9112, sections
//! 2.2, 3, 5 and 6). What passes is read in one way only, by us and by the library behind us.

use hyper::Uri;
use memchr::memchr;

use crate::reject::Reject;

/// Bytes of a head. Browsers with many cookies send some 10 KiB.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields of a head; also the library's own bound.
pub(super) const FIELDS_MAX: usize = 100;
/// Bytes of a method: the longest registered one has 17.
const METHOD_BYTES_MAX: usize = 32;

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes, perhaps none.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What is known of a head so far.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the line begins that has not ended yet.
    line: usize,
    /// Bytes that were looked at.
    seen: usize,
    lines: usize,
    is_http_10: bool,
    hosts: usize,
    length: Option<u64>,
    is_chunked: bool,
}

impl Head {
    /// Goes on with a head of which `bytes` have come, those of earlier calls included. `None` as long as it has not
    /// ended, then what follows it and where it ends.
    ///
    /// # Errors
    /// At the first line that is wrong, whether the head has ended or not.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<(Framing, usize)>, Reject> {
        while let Some(found) = memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + found;
            let line = bytes[self.line..end].strip_suffix(b"\r").ok_or(Reject::BadRequest)?;
            self.seen = end + 1;
            self.line = end + 1;
            if self.line > HEAD_BYTES_MAX {
                return Err(Reject::HeadTooLarge);
            }
            if self.lines == 0 {
                self.start(line)?;
            } else if line.is_empty() {
                return Ok(Some((self.framing()?, self.line)));
            } else {
                self.field(line)?;
            }
            self.lines += 1;
        }
        self.seen = bytes.len();
        if self.seen > HEAD_BYTES_MAX {
            return Err(Reject::HeadTooLarge);
        }
        // What is no request at all, as a TLS greeting, is told so at once.
        if self.lines == 0 && bytes.first().is_some_and(|first| !is_token(*first)) {
            return Err(Reject::BadRequest);
        }
        Ok(None)
    }

    fn start(&mut self, line: &[u8]) -> Result<(), Reject> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Reject::BadRequest);
        };
        self.is_http_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Reject::BadRequest),
        };
        let method_is_good = (1..=METHOD_BYTES_MAX).contains(&method.len()) && method.iter().copied().all(is_token);
        demand(method_is_good && is_target(target))
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Reject> {
        if self.lines > FIELDS_MAX {
            return Err(Reject::HeadTooLarge);
        }
        let (name, value) = field(line).ok_or(Reject::BadRequest)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                demand(self.hosts == 1 && is_host(value))
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                demand(self.length.is_none())?;
                self.length = Some(length(value).ok_or(Reject::BadRequest)?);
                Ok(())
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                demand(!self.is_chunked && !self.is_http_10 && value.eq_ignore_ascii_case(b"chunked"))?;
                self.is_chunked = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn framing(&self) -> Result<Framing, Reject> {
        demand(self.hosts == 1 || self.is_http_10)?;
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(Reject::BadRequest),
            (true, None) => Ok(Framing::Chunked),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

fn demand(holds: bool) -> Result<(), Reject> {
    if holds { Ok(()) } else { Err(Reject::BadRequest) }
}

/// Name and value of a field; `None` for what is none: no colon, space around the name, a control character, a
/// continued line.
pub(super) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', line)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_good = !name.is_empty() && name.iter().copied().all(is_token) && is_text(value);
    is_good.then(|| (name, value.trim_ascii()))
}

/// Whether a text has no control character but the tabulator.
fn is_text(text: &[u8]) -> bool {
    // Counted and not searched for, so that the compiler takes many bytes at a time.
    text.iter().filter(|byte| (**byte < b' ' && **byte != b'\t') || **byte == 0x7f).count() == 0
}

/// A character of a method or of a field's name.
pub(super) fn is_token(byte: u8) -> bool {
    const TABLE: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
    TABLE[usize::from(byte)]
}

/// Letters, digits and these.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

/// A path with its query, an absolute address, or `*`.
fn is_target(target: &[u8]) -> bool {
    const PLAIN: [bool; 256] = table(b"-._~!$&'()*+,;=:@/?%");
    let is_plain = |byte: &u8| PLAIN[usize::from(*byte)];
    match target.first() {
        Some(b'/') if target.iter().all(is_plain) => true,
        Some(b'/' | b'*' | b'h' | b'H') => {
            // Rare, so that a copy for the library's own judgement does no harm. It lets a fragment be.
            !target.contains(&b'#') && Uri::try_from(target).is_ok_and(|uri| target[0] == b'/' || names_whole(&uri))
        }
        _ => false,
    }
}

fn names_whole(uri: &Uri) -> bool {
    uri.path() == "*" || (uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https")))
}

/// A host, perhaps with its port; empty where the client knows no name. A comma is what two lines become where somebody
/// joins them.
fn is_host(value: &[u8]) -> bool {
    const NAME: [bool; 256] = table(b"-._~!$&'()*+;=%");
    let (host, port) = match value.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !value[colon..].contains(&b']') => (&value[..colon], &value[colon + 1..]),
        _ => (value, &b""[..]),
    };
    let is_address = |inside: &[u8]| inside.iter().all(|byte| NAME[usize::from(*byte)] || *byte == b':');
    let host_is_good = match host.strip_prefix(b"[") {
        Some(rest) => rest.strip_suffix(b"]").is_some_and(|inside| !inside.is_empty() && is_address(inside)),
        None => host.iter().all(|byte| NAME[usize::from(*byte)]),
    };
    host_is_good && port.iter().all(u8::is_ascii_digit)
}

/// Digits and nothing else; far below what would overflow anywhere.
fn length(value: &[u8]) -> Option<u64> {
    let is_number = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// The `Origin` of a head that was refused, so that a page can read why; also of one that has not ended.
pub(super) fn origin(head: &[u8]) -> Option<&[u8]> {
    const ORIGIN: &[u8] = b"origin:";
    let mut lines = head[..head.len().min(HEAD_BYTES_MAX)].split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.get(..ORIGIN.len()).is_some_and(|name| name.eq_ignore_ascii_case(ORIGIN)))?;
    let value = line[ORIGIN.len()..].trim_ascii();
    value.iter().all(u8::is_ascii_graphic).then_some(value)
}

#[cfg(test)]
mod tests {
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    fn judge(head: &[u8]) -> Result<Option<(Framing, usize)>, Reject> {
        let whole = Head::default().read(head);
        // However it arrives, the judgement is the same.
        let mut head_in_pieces = Head::default();
        let mut in_pieces = Ok(None);
        for end in 1..=head.len() {
            in_pieces = head_in_pieces.read(&head[..end]);
            if in_pieces != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, in_pieces, "{}", head.escape_ascii());
        whole
    }

    #[test]
    fn a_head_says_what_follows_it() {
        for (fields, framing) in [
            ("", Framing::Length(0)),
            ("Content-Length: 5\r\n", Framing::Length(5)),
            ("content-length:\t005 \r\n", Framing::Length(5)),
            ("Transfer-Encoding: Chunked\r\n", Framing::Chunked),
        ] {
            let head = format!("POST /v1/b?a=%20 HTTP/1.1\r\nHost: [::1]:80\r\n{fields}\r\n");
            let behind = format!("{head}GET");
            assert_eq!(judge(behind.as_bytes()), Ok(Some((framing, head.len()))));
        }
    }

    #[test]
    fn the_bounds_hold_to_the_byte() {
        let of = |bytes: usize| {
            let frame = "GET / HTTP/1.1\r\nHost:\r\na: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nHost:\r\na: {}\r\n\r\n", "x".repeat(bytes - frame))
        };
        assert!(matches!(judge(of(HEAD_BYTES_MAX).as_bytes()), Ok(Some(_))));
        assert_eq!(judge(of(HEAD_BYTES_MAX + 1).as_bytes()), Err(Reject::HeadTooLarge));
        assert_eq!(judge("G".repeat(HEAD_BYTES_MAX + 1).as_bytes()), Err(Reject::HeadTooLarge));
        let fields = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(matches!(judge(fields(FIELDS_MAX).as_bytes()), Ok(Some(_))));
        assert_eq!(judge(fields(FIELDS_MAX + 1).as_bytes()), Err(Reject::HeadTooLarge));
    }

    /// The largest heads, made of as much work as fits.
    fn all_work() -> Vec<Vec<u8>> {
        let filled = |start: &str, unit: &str, end: &str| {
            let units = (HEAD_BYTES_MAX - start.len() - end.len()) / unit.len();
            [start, &unit.repeat(units), end].concat().into_bytes()
        };
        let end = " HTTP/1.1\r\nHost:\r\n\r\n";
        vec![
            filled("GET /?", "a=b&", end),
            filled("GET /?", "{", end),
            filled("GET /?", "%", end),
            filled("GET ", "/", end),
            filled("GET / HTTP/1.1\r\nHost:\r\n", &format!("a:{}\r\n", " ".repeat(160)), "\r\n"),
            filled("GET / HTTP/1.1\r\nHost:\r\n", &format!("{}:\r\n", "a".repeat(170)), "\r\n"),
            filled("GET / HTTP/1.1\r\nHost:", "a", "\r\n\r\n"),
            filled("GET / HTTP/1.1\r\nHost:[", ":", "]\r\n\r\n"),
        ]
    }

    #[test]
    fn the_largest_head_is_read_once_however_it_comes() {
        let begun = clock_gettime(ClockId::ThreadCPUTime);
        for bytes in all_work() {
            let mut head = Head::default();
            let mut looked_at = 0;
            let whole = (1..=bytes.len()).find_map(|end| {
                let before = head.seen;
                let read = head.read(&bytes[..end]).unwrap();
                looked_at += end - before.min(end);
                read
            });
            assert_eq!(whole, Some((Framing::Length(0), bytes.len())));
            assert_eq!(looked_at, bytes.len(), "no byte is looked at again for the end of its line");
        }
        let ended = clock_gettime(ClockId::ThreadCPUTime);
        // Sixteen thousand calls each, and a line is judged once: what grows with the square takes many seconds.
        assert!(ended.tv_sec - begun.tv_sec < 2);
    }

    #[test]
    fn the_origin_of_a_refused_head_is_found() {
        assert_eq!(origin(b"GET /\r\n x\r\nORIGIN:  https://a.example \r\n\r\n"), Some(&b"https://a.example"[..]));
        assert_eq!(origin(b"GET /\r\norigin: https://a.exam"), Some(&b"https://a.exam"[..]));
        assert_eq!(origin(b"GET /\r\norigin: a\x01\r\n"), None);
        assert_eq!(origin(b"GET /\r\nx-origin: a\r\n"), None);
    }
}
