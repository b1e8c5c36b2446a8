//! The little of an HTTP/1.1 answer that a load generator needs: status, `Retry-After`, where it ends.

use std::time::Duration;

/// Bytes of an answer's head: what common servers allow.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A complete head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Bytes of head and body together.
    pub(crate) total_bytes: usize,
    pub(crate) retry_after: Option<Duration>,
    /// The server will close the connection.
    pub(crate) closes: bool,
}

/// The bytes are no answer that this reader understands. Bodies without a `Content-Length` are not: no Turnstile
/// server sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Garbled;

/// Reads the head of an answer; `None` while it is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, Garbled> {
    let Some(head_bytes) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX { Err(Garbled) } else { Ok(None) };
    };
    let head = &bytes[..head_bytes];
    let status = match head {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', digits @ ..] if digits.len() >= 3 => decimal(&digits[..3]),
        _ => None,
    };
    let status = status.ok_or(Garbled)? as u16;
    let mut body_bytes = None;
    let mut result = Head { status, total_bytes: 0, retry_after: None, closes: false };
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        let Some(colon) = memchr::memchr(b':', line) else { return Err(Garbled) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            body_bytes = Some(decimal(value).ok_or(Garbled)? as usize);
        } else if name.eq_ignore_ascii_case(b"retry-after") {
            result.retry_after = decimal(value).map(Duration::from_secs);
        } else if name.eq_ignore_ascii_case(b"connection") {
            result.closes = value.eq_ignore_ascii_case(b"close");
        }
    }
    let body_bytes = match status {
        204 | 304 => 0,
        _ => body_bytes.ok_or(Garbled)?,
    };
    result.total_bytes = head_bytes + 4 + body_bytes;
    Ok(Some(result))
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 16\r\n\r\n{\"success\":true}";

    #[test]
    fn an_answer_is_read_as_soon_as_its_head_is_whole() {
        let head_bytes = OK.len() - 16;
        for end in 0..OK.len() {
            let expected = (end >= head_bytes).then_some(OK.len());
            assert_eq!(parse(&OK[..end]).map(|head| head.map(|head| head.total_bytes)), Ok(expected), "{end}");
        }
    }

    #[test]
    fn waiting_and_closing_are_noticed() {
        let answer =
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\nConnection: Close\r\ncontent-length:0\r\n\r\n";
        let expected =
            Head { status: 503, total_bytes: answer.len(), retry_after: Some(Duration::from_secs(7)), closes: true };
        assert_eq!(parse(answer), Ok(Some(expected)));
    }

    #[test]
    fn what_cannot_be_framed_is_garbled() {
        for answer in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 xyz\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        ] {
            assert_eq!(parse(answer.as_bytes()), Err(Garbled), "{answer}");
        }
        assert_eq!(parse(&vec![b'x'; HEAD_BYTES_MAX + 1]), Err(Garbled));
    }
}
